"""`from_torch` and `to_torch`: state dicts of PyTorch's LSTM, GRU and RNN as layers, and back, without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ...backends.dispatch import check_name
from ...checks import check_option
from ...layers import GRU, LAYERS, LSTM, RNN
from ...layers.layer import Layer, layer_of
from ...layers.options import not_defaults, stack_of
from ...layers.stack import Stack
from ..foreign import BLOCKS, DTYPES, checked_stack, refuse_options
from .derived import parameter
from .files import StateDict, state_dict_of
from .names import PARTS, RECURRENT, complete, forms_under, layer_number, located, refuse_above, unwrapped

A_MODULE = {"lstm": "an LSTM", "gru": "a GRU", "rnn": "an RNN"}
OPTIONS = ("hidden_size", "num_layers", "nonlinearity", "bias", "dropout", "bidirectional", "proj_size")  # as shown
SHARED_OPTIONS = ("proj_size",)  # options of cells that PyTorch's modules also have
NONLINEARITIES = ("tanh", "relu")  # of PyTorch's RNN


def from_torch(
    state_dict: StateDict | str | os.PathLike[str],
    prefix: str = "",
    *,
    kind: str | None = None,
    nonlinearity: str = "tanh",
    dropout: float = 0.0,
    backend: str | None = None,
    dtype: str | None = None,
) -> LSTM | GRU | RNN:
    """Make the layer that computes what a module of PyTorch's does, from the module's state dict.

    The kind, the sizes, the directions, the projection and the biases follow from names and shapes.

    Parameters
    ----------
    state_dict : mapping of str to tensor or array, or path
        What ``module.state_dict()`` gives of a `torch.nn.LSTM`, `torch.nn.GRU` or `torch.nn.RNN`, or of a model that
        has one: PyTorch's tensors on any device, or NumPy's arrays. It may stand in other mappings, as in checkpoints:
        ``{"state_dict": {"rnn.weight_ih_l0": ...}, "epoch": 3}`` has the name ``"state_dict.rnn.weight_ih_l0"``. Or the
        path of a file that holds such a mapping, whatever its name: one of safetensors, or of ``torch.save``, for
        which PyTorch must be installed.
    prefix : str, default ""
        The start of the module's names in a larger model, such as ``"encoder.rnn."``, or the end of this after a dot,
        if it fits only one module: ``"rnn."``, or ``""`` if there is no other module. Names of wrappers (``"module."``)
        may be left out. Under it there must be the parameters of one module and nothing else; other names are ignored.
    kind : {"lstm", "gru", "rnn"} or None, default None
        The kind that the module must have; None takes the kind that fits the shapes.
    nonlinearity : {"tanh", "relu"}, default "tanh"
        The nonlinearity of an RNN, which its state dict does not hold.
    dropout : float in [0, 1), default 0.0
        The dropout between layers in training, which a state dict does not hold.
    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        The backend of the layer.
    dtype : {"float32", "float64"} or None, default None
        The dtype of the layer; None takes that of the state dict, and float32 for float16 and bfloat16, which is exact.

    Returns
    -------
    LSTM, GRU or RNN
        With copies of the parameters, NaN and infinities included. It reads batches first, whatever `batch_first` was.

    Raises
    ------
    ValueError
        If names are missing or unknown; if shapes do not fit one another; if a file has another format, or holds
        objects that only code can make. Names of quantised modules, of spectral norm and of parametrizations other than
        weight norm are unknown. The message gives the name; if no module or several fit `prefix`, it gives all
        prefixes.
    TypeError
        If it is no mapping of names to real numbers, dense and in memory.
    ImportError
        If a file of ``torch.save`` is given and PyTorch is not installed.

    See Also
    --------
    to_torch : The way back.
    estimator_from_torch : The same of a module with a pooling and a linear map after it.

    Notes
    -----
    A parameter may have another form. This computes from it the parameter that the module uses in evaluation mode:

    - weight dropout (AWD-LSTM, fastai): ``weight_hh_l0_raw``, whatever ``weight_hh_l0`` beside it is;
    - weight norm, of each row or of all: ``g v / ‖v‖`` of ``weight_hh_l0_g`` and ``weight_hh_l0_v``, or of
      ``parametrizations.weight_hh_l0.original0`` and ``original1``;
    - pruning: ``weight_hh_l0_orig`` times ``weight_hh_l0_mask``.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm.io import from_torch
    >>> rng = np.random.default_rng(0)
    >>> state_dict = {
    ...     "rnn.weight_ih_l0": rng.normal(size=(20, 3)),
    ...     "rnn.weight_hh_l0": rng.normal(size=(20, 5)),
    ...     "rnn.bias_ih_l0": np.zeros(20),
    ...     "rnn.bias_hh_l0": np.zeros(20),
    ...     "head.weight": rng.normal(size=(1, 5)),
    ... }
    >>> from_torch(state_dict, "rnn.")
    LSTM(3, 5, dtype='float64')
    >>> from_torch({"state_dict": state_dict, "epoch": 3})
    LSTM(3, 5, dtype='float64')
    """
    if kind is not None:
        check_option(kind, "kind", [*BLOCKS])
    backend = None if backend is None else check_name(backend)
    check_choices(nonlinearity, dtype, prefix=prefix)
    whole = unwrapped(state_dict_of(state_dict))
    module = read(whole, located([*whole], prefix), kind, dtype, {"dropout": dropout, "nonlinearity": nonlinearity})
    stack = stack_of(module.cell, module.input_size, module.dtype, module.options)
    module.check_shapes(stack)
    layer = layer_of(LAYERS[module.cell], stack, module.parameters, not_defaults(module.options), backend)
    return cast("LSTM | GRU | RNN", layer)


def to_torch(layer: Layer) -> dict[str, np.ndarray]:
    """Make the state dict of the module of PyTorch's that computes what a layer does.

    Parameters
    ----------
    layer : LSTM, GRU or RNN
        With options that `torch.nn.LSTM`, `torch.nn.GRU` or `torch.nn.RNN` has. Options that matter only in training
        are left out: all kinds of dropout and `recompute`; so are `backend` and `compute_dtype`.

    Returns
    -------
    dict of str to array
        Copies of the parameters, with PyTorch's names in PyTorch's order, in the layer's dtype. PyTorch loads them with
        ``module.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(layer).items()})``; the
        module needs the layer's sizes and options, and ``batch_first=True`` to take the same arrays.

    Raises
    ------
    ValueError
        If PyTorch's module does not have an option, which the message names: `layer_norm`, `merge`, `residual`,
        `zoneout` (which changes predictions, too), hidden sizes that differ between layers, activations and clipping,
        ``reset_after=False`` of a GRU, and peepholes and gates of an LSTM.
    TypeError
        If it is no layer.

    See Also
    --------
    from_torch : The way back.

    Examples
    --------
    >>> from numlstm import GRU
    >>> from numlstm.io import from_torch, to_torch
    >>> state_dict = to_torch(GRU(3, 5, bidirectional=True, random_state=0))
    >>> list(state_dict)[:4]
    ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
    >>> from_torch(state_dict)
    GRU(3, 5, bidirectional=True)
    """
    stack = checked_stack(layer, "PyTorch")
    refuse_options(_foreign_options(stack), stack, f"torch.nn.{LAYERS[stack.cell.cell].__name__}")
    names = [part + suffix for suffix in stack.specs for part in PARTS if part + suffix in stack.shapes]
    return {name: np.array(layer.parameters[name], order="C") for name in names}


def _foreign_options(stack: Stack) -> dict[str, Any]:
    """Options that PyTorch's modules do not have, and that change what is computed."""
    foreign = {name: value for name, value in stack.cell.options if not _shared(name, value)}
    if len({*stack.hidden_sizes}) > 1:
        foreign["hidden_size"] = [*stack.hidden_sizes]
    if stack.merges:
        foreign["merge"] = stack.merge
    return foreign | ({"residual": True} if stack.residual else {})


def _shared(name: str, value: Any) -> bool:
    """Whether PyTorch's modules have an option of a cell, with this value."""
    return value[0] in NONLINEARITIES if name == "nonlinearity" else name in SHARED_OPTIONS


# Reading ------------------------------------------------------------------------------------------------------


def check_choices(nonlinearity: Any, dtype: Any, **prefixes: Any) -> None:
    """Refuse an unknown nonlinearity or dtype, and prefixes that are no strings."""
    for name, prefix in prefixes.items():
        if not isinstance(prefix, str):
            raise TypeError(f"{name} must be a string, got {type(prefix).__name__}")
    check_option(nonlinearity, "nonlinearity", NONLINEARITIES)
    if dtype is not None:
        check_option(dtype, "dtype", [*dict.fromkeys(DTYPES.values())])


@dataclass(frozen=True)
class Module:
    """A recurrent module in a state dict.

    Attributes
    ----------
    prefix : str
        The start of its names.
    cell : {"lstm", "gru", "rnn"}
    dtype : {"float32", "float64"}
    options : mapping of str to value
        The options of the layer.
    parameters : mapping of str to array
        In that dtype, in PyTorch's order.
    """

    prefix: str
    cell: str
    dtype: str
    options: dict[str, Any]
    parameters: dict[str, np.ndarray]

    @property
    def input_size(self) -> int:
        """The number of features of a step."""
        return int(self.parameters["weight_ih_l0"].shape[1])

    def check_shapes(self, stack: Stack) -> None:
        """Refuse arrays whose shapes do not fit those of layer 0."""
        for name, array in self.parameters.items():
            if array.shape != stack.shapes[name]:
                raise ValueError(
                    f"{self.prefix + name!r} must have shape {stack.shapes[name]}, as those of layer 0 tell, "
                    f"got {array.shape}"
                )


def read(
    whole: StateDict, prefix: str, kind: str | None, dtype: str | None, other_options: Mapping[str, Any]
) -> Module:
    """The module under a prefix, with the options that a state dict does not hold.

    Raises
    ------
    TypeError, ValueError
        As `from_torch`; `Module.check_shapes` compares shapes.
    """
    forms = forms_under([*whole], prefix, RECURRENT, "LSTM, GRU or RNN")
    names = complete(forms, prefix)
    refuse_above([*whole], prefix, names)
    arrays = {name: parameter(whole, prefix + name, forms[name]) for name in names}
    dtype = common_dtype({prefix + name: array for name, array in arrays.items()}) if dtype is None else dtype
    cell, options = _description(arrays, prefix, kind)
    options |= other_options
    parameters = {name: np.ascontiguousarray(array, dtype) for name, array in arrays.items()}
    return Module(prefix, cell, dtype, {name: options[name] for name in OPTIONS}, parameters)


def common_dtype(arrays: Mapping[str, np.ndarray]) -> str:
    """The common dtype of all arrays.

    Raises
    ------
    ValueError
        If two differ; the message names their keys.
    """
    (first, array), *_ = arrays.items()
    for key, other in arrays.items():
        if other.dtype != array.dtype:
            raise ValueError(f"{key!r} must be {array.dtype}, as {first!r} is, got {other.dtype}; or give dtype")
    return array.dtype.name


def _description(arrays: Mapping[str, np.ndarray], prefix: str, kind: str | None) -> tuple[str, dict[str, Any]]:
    """The cell, and the options of the layer."""
    for name, array in arrays.items():
        if array.ndim != (1 if name.startswith("bias") else 2) or not array.size:
            axes = "one axis" if name.startswith("bias") else "two axes"
            raise ValueError(f"{prefix + name!r} must have {axes} and some numbers, got shape {array.shape}")
    recurrent, projection = (arrays.get(f"{name}_l0") for name in ("weight_hh", "weight_hr"))
    assert recurrent is not None  # one of the names that must be there
    hidden = (recurrent if projection is None else projection).shape[1]
    kinds = [cell for cell in BLOCKS if kind in (None, cell) and (projection is None or cell == "lstm")]
    fitting = [cell for cell in kinds if recurrent.shape[0] == BLOCKS[cell] * hidden]
    if not fitting:
        raise _no_kind(prefix, recurrent.shape, hidden, kinds, projection is not None)
    options = {
        "hidden_size": hidden,
        "num_layers": 1 + max(map(layer_number, arrays)),
        "bias": "bias_ih_l0" in arrays,
        "bidirectional": "weight_ih_l0_reverse" in arrays,
        "proj_size": 0 if projection is None else projection.shape[0],
    }
    return fitting[0], options


def _no_kind(prefix: str, shape: tuple[int, ...], hidden: int, kinds: list[str], projected: bool) -> ValueError:
    """The error for recurrent weights whose rows fit no kind of module."""
    if not kinds:
        return ValueError(f"kind must be 'lstm' with {prefix + 'weight_hr_l0'!r}: only an LSTM has a projection")
    rows = " or ".join(f"{BLOCKS[cell] * hidden} rows for {A_MODULE[cell]}" for cell in kinds)
    of = f"{prefix + 'weight_hr_l0'!r}" if projected else "it"
    return ValueError(f"{prefix + 'weight_hh_l0'!r} must have {rows}, as {of} has {hidden} columns, got shape {shape}")
