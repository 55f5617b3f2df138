"""`from_keras` and `to_keras_weights`: Keras's weights as layers and back, and its files as graphs, without Keras."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...backends.dispatch import check_name
from ...checks import check_flag, check_integer, check_option
from ...graphs.graph import Graph
from ...layers import GRU, LAYERS, LSTM, RNN
from ...layers.layer import Layer, layer_of
from ...layers.options import not_defaults, stack_of
from ...layers.stack import Stack
from ..foreign import BLOCKS, checked_stack, real_numbers, refuse_options
from .activations import OF_CELLS
from .files import KerasFile
from .models import graph_of

CLASSES = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}
ORDERS = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}  # Keras's i f c o and z r h: to numlstm's, and back
MERGES = {"concat": "concat", "sum": "sum", "ave": "mean"}  # numlstm's, by Keras's names
SUFFIXES = (".keras", ".h5")
ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "lstm": {
        "recurrent_activation": ("recurrent_activation",),
        "activation": ("input_activation", "output_activation"),
    },
    "gru": {"recurrent_activation": ("recurrent_activation",), "activation": ("input_activation",)},
    "rnn": {"activation": ("nonlinearity",)},
}  # numlstm's options for each activation of Keras's
EXPRESSED = ("reset_after", "recurrent_activation", "input_activation", "output_activation", "nonlinearity")


def from_keras(
    source: Sequence[Any] | str | os.PathLike[str],
    config: Any = None,
    *,
    kind: str | None = None,
    num_layers: int = 1,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool | None = None,
    merge_mode: str = "concat",
    backend: str | None = None,
    dtype: str | None = None,
) -> LSTM | GRU | RNN | Graph:
    """Read a file of Keras 3 or 2 as a graph, or make a layer from the weights of a recurrent layer of Keras's.

    Parameters
    ----------
    source : path, or list of array
        A ``.keras`` file of Keras 3 or a ``.h5`` file of Keras 3 or 2, as ``model.save(path)`` writes them; or a
        ``.weights.h5`` or ``.h5`` file, as ``model.save_weights(path)`` writes it. h5py reads all of them
        (``pip install "numlstm[keras]"``). Or the arrays that ``layer.get_weights()`` gives of an LSTM, a GRU, a
        SimpleRNN or a `Bidirectional` of one. Sizes, directions and biases follow from the shapes.
    config : str, mapping or path, optional
        The configuration, for a file that holds only weights: ``model.to_json()``, the content of that text, or a
        ``.json`` file.
    kind : {"lstm", "gru", "rnn"} or None, default None
        The kind of layer that the weights must belong to; None takes the kind that fits the shapes.
    num_layers : int, at least 1, default 1
        The number of layers that the weights belong to, in the order of ``get_weights()`` of a `Sequential`.
    activation, recurrent_activation : str, default "tanh" and "sigmoid"
        The activations of the layer that the weights come from: "linear", "relu", "leaky_relu", "elu", "sigmoid",
        "hard_sigmoid", "tanh", "softplus" or "softsign". Weights do not hold them.
    reset_after : bool or None, default None
        The option of a GRU; None takes it from the bias, or Keras's default if there is no bias.
    merge_mode : {"concat", "sum", "ave"}, default "concat"
        The option of a `Bidirectional`.
    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        The backend of the layer, or of the layers in the graph.
    dtype : {"float32", "float64"} or None, default None
        The dtype of the layer; None takes that of the weights.

    Returns
    -------
    Graph, or LSTM, GRU or RNN
        For a file, a graph that computes what ``model.predict`` does: its ``run({name: array})`` takes an array for
        each input of the model, by the name of its InputLayer, batches first, and returns a list. For weights, a layer
        with copies of them: a single bias of Keras's is in ``bias_ih``, and ``bias_hh`` is 0.

    Raises
    ------
    ValueError
        If the shapes of weights do not fit one another; if a file is of another kind, of an older Keras, or damaged; if
        a layer or one of its options is custom or not supported. The message names it. No code in a file is run: a
        `Lambda` is refused.
    TypeError
        If `source` is neither a path nor a list of arrays of real numbers.
    OSError
        If the file cannot be read.
    ImportError
        If a file is given and h5py is not installed.

    See Also
    --------
    to_keras_weights : The way back, for a layer.

    Notes
    -----
    Of recurrent layers there are LSTM, GRU, SimpleRNN, RNN with their cells and StackedRNNCells, and Bidirectional; of
    others InputLayer, Masking, Embedding, Dense, TimeDistributed, activations and the layers of that name, Dropout and
    its kin, normalisations of batches and layers, Normalization, Flatten, Reshape, Permute, RepeatVector,
    ZeroPadding1D, Cropping1D, UpSampling1D, Conv1D, pooling over steps, Rescaling, Attention, AdditiveAttention, Dot,
    and others that merge several inputs. They may be in Sequential and functional models, and these in one another;
    between layers there may be ``x + 1``, ``x[:, -1]`` and other simple operations.
    Masks are as in Keras: a step that is masked is skipped wherever it is. Where layers that merge several inputs
    have masks, Keras 3 before 3.10 did something else.

    What Keras 2 wrote computes what Keras 2 does, where Keras 3 does something else with it: "hard_sigmoid" is
    ``0.2 x + 0.5``; layers that merge several inputs look at no mask and pass on where all are true; a recurrent layer
    looks at its input's mask beside an initial state, too; `Identity`, `Normalization` and `Rescaling` pass on no mask.
    Between its layers there may be ``x[:, -1]``, and arithmetic by operators.

    ``stateful=True``, and policies of types other than float32 and float64, are refused.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm.io import from_keras
    >>> rng = np.random.default_rng(0)
    >>> weights = [rng.normal(size=shape) for shape in [(3, 20), (5, 20), (20,)]]  # layer.get_weights()
    >>> from_keras(weights)
    LSTM(3, 5, dtype='float64')
    """
    backend = None if backend is None else check_name(backend)
    if isinstance(source, str | os.PathLike):
        weight_options = {
            "kind": kind, "num_layers": num_layers, "activation": activation, "dtype": dtype, "merge_mode": merge_mode,
            "recurrent_activation": recurrent_activation, "reset_after": reset_after,
        }  # fmt: skip
        _check_defaults(weight_options)
        return _graph(Path(source), config, backend)
    if config is not None:
        raise ValueError("config must be None with weights, whose options are given one by one")
    if not isinstance(source, list | tuple):
        hint = "; its get_weights() is one" if hasattr(source, "get_weights") else ""
        raise TypeError(f"source must be a path or a list of arrays, got {type(source).__name__}{hint}")
    if dtype is not None:
        check_option(dtype, "dtype", ["float32", "float64"])
    weights = _Weights(source, check_integer(num_layers, "num_layers", 1), kind, reset_after)
    layer_options = weights.options | _layer_options(weights.kind, activation, recurrent_activation, merge_mode)
    stack = stack_of(weights.kind, weights.input_size, weights.dtype if dtype is None else dtype, layer_options)
    layer = layer_of(LAYERS[weights.kind], stack, weights.parameters(stack), not_defaults(layer_options), backend)
    return cast("LSTM | GRU | RNN", layer)


def to_keras_weights(layer: Layer) -> list[np.ndarray]:
    """The arrays with which ``set_weights`` makes a layer of Keras's compute what a layer does.

    Parameters
    ----------
    layer : LSTM, GRU or RNN
        With options that Keras's LSTM, GRU or SimpleRNN has. Options that matter only in training are left out: all
        kinds of dropout and `recompute`; so are `backend` and `compute_dtype`.

    Returns
    -------
    list of array
        The kernel, the recurrent kernel and the bias, if there is one, of each layer; with ``bidirectional=True`` those
        of the forward layer and then those of the backward layer, as ``Bidirectional(...)`` takes them. Several layers
        follow one another, as a `Sequential` takes them. The dtype is the layer's.

    Raises
    ------
    ValueError
        If Keras's layer does not have an option, which the message names: `layer_norm`, `residual`, `zoneout` (which
        changes predictions, too), `preactivation_clip`; for an LSTM also `proj_size`, `peepholes`, `coupled_gates`,
        `cell_clip`, `full_gate_recurrence`, missing gates, and different `input_activation` and `output_activation`.
    TypeError
        If it is no layer.

    See Also
    --------
    from_keras : The way back.

    Notes
    -----
    The two biases of an LSTM or an RNN are added. Give Keras's layer the options that weights do not hold:

    - ``units=hidden_size``, ``use_bias=bias``, and ``return_sequences=True`` to give all outputs;
    - ``activation``: `input_activation` of an LSTM or a GRU, `nonlinearity` of an RNN ("identity" is "linear" there);
    - ``recurrent_activation``, whose "hard_sigmoid" is ``("hard_sigmoid", 1 / 6, 0.5)`` here;
    - ``reset_after`` of a GRU;
    - ``merge_mode`` of `Bidirectional`: `merge`, where "mean" is "ave".

    Give activations that Keras has no name for as functions.

    Examples
    --------
    >>> from numlstm import GRU
    >>> from numlstm.io import from_keras, to_keras_weights
    >>> weights = to_keras_weights(GRU(3, 5, bidirectional=True, random_state=0))
    >>> [array.shape for array in weights]
    [(3, 15), (5, 15), (2, 15), (3, 15), (5, 15), (2, 15)]
    >>> from_keras(weights)
    GRU(3, 5, bidirectional=True)
    """
    stack = checked_stack(layer, "Keras")
    refuse_options(_foreign_options(stack), stack, f"Keras's {CLASSES[stack.cell.cell]}")
    separate = stack.cell.cell == "gru" and bool(dict(stack.cell.options).get("reset_after", True))
    weights = []
    for suffix in stack.specs:
        kernels = (layer.parameters[name + suffix] for name in ("weight_ih", "weight_hh"))
        weights += [_blocks(kernel.T, stack.cell.cell) for kernel in kernels]
        if stack.cell.bias:
            biases = np.stack([layer.parameters[name + suffix] for name in ("bias_ih", "bias_hh")])
            weights.append(_blocks(biases if separate else biases.sum(0), stack.cell.cell))
    return weights


def _foreign_options(stack: Stack) -> dict[str, Any]:
    """Options that Keras's layers do not have, and that change what is computed."""
    cell, options = stack.cell, dict(stack.cell.options)
    foreign = {name: value for name, value in options.items() if name not in EXPRESSED}
    if cell.cell == "lstm":
        both = {name: options.get(name, ("tanh",)) for name in ("input_activation", "output_activation")}
        foreign |= both if len({*both.values()}) > 1 else {}
    return foreign | ({"residual": True} if stack.residual else {})


def _blocks(array: np.ndarray, kind: str) -> np.ndarray:
    """Blocks of columns from Keras's order to numlstm's, or back."""
    blocks = np.split(array, BLOCKS[kind], axis=-1)
    return np.concatenate([blocks[k] for k in ORDERS[kind]], axis=-1)


# Arguments ----------------------------------------------------------------------------------------------------


def _check_defaults(options: dict[str, Any]) -> None:
    """Refuse options of weights for a file, which holds its own."""
    usual = {"num_layers": 1, "activation": "tanh", "recurrent_activation": "sigmoid", "merge_mode": "concat"}
    for name, value in options.items():
        if value != usual.get(name):
            raise ValueError(f"{name} must be left out for a file, which holds its own configuration, got {value!r}")


def _graph(path: Path, config: Any, backend: str | None) -> Graph:
    """The model in a file."""
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(f"source must be a file of one of the kinds {[*SUFFIXES]}, got {path.name!r}")
    try:
        with KerasFile(path, config) as file:
            return graph_of(file, backend)
    except RecursionError:
        raise ValueError(f"the configuration of {path.name!r} is nested too deep") from None


def _layer_options(kind: str, activation: str, recurrent_activation: str, merge_mode: str) -> dict[str, Any]:
    """The options that weights do not hold, as those of a layer."""
    check_option(merge_mode, "merge_mode", [*MERGES])
    options: dict[str, Any] = {"merge": MERGES[merge_mode]}
    for name, value in {"recurrent_activation": recurrent_activation, "activation": activation}.items():
        _, ours, parameters = OF_CELLS[check_option(value, name, [*OF_CELLS])]
        chosen = ours if ours == "identity" or not parameters else (ours, *parameters)
        options |= dict.fromkeys(ROLES[kind].get(name, ()), chosen)
    return options


class _Weights:
    """The arrays of recurrent layers, and the options that follow from them.

    Parameters
    ----------
    arrays : sequence of array
        The kernel, the recurrent kernel and the bias, if there is one, of each layer and direction.
    num_layers : int
    kind : str or None
        The kind that they must have.
    reset_after : bool or None
        The option of a GRU, if it is known.
    """

    def __init__(self, arrays: Sequence[Any], num_layers: int, kind: str | None, reset_after: bool | None) -> None:
        if kind is not None:
            check_option(kind, "kind", [*BLOCKS])
        if reset_after is not None:
            check_flag(reset_after, "reset_after")
        self._arrays = [real_numbers(array, f"source[{k}]") for k, array in enumerate(arrays)]
        per_layer, rest = divmod(len(arrays), num_layers)
        if rest or per_layer not in (2, 3, 4, 6):
            raise ValueError(
                "source must have a kernel, a recurrent kernel and a bias or none for each direction of "
                f"{num_layers} {'layers' if num_layers > 1 else 'layer'}, got {len(arrays)} arrays"
            )
        self._step = 3 if per_layer % 3 == 0 else 2
        self.bidirectional = per_layer // self._step == 2
        self.kind = self._kind(kind)
        self.input_size = self._arrays[0].shape[0]
        self.dtype = self._dtype()
        self.options = self._options(reset_after)

    def _kind(self, kind: str | None) -> str:
        """The cell, from the shape of the first recurrent kernel."""
        for k, array in enumerate(self._arrays):
            if k % self._step < 2 and (array.ndim != 2 or not array.size):
                raise ValueError(f"source[{k}], a kernel, must have two axes and some numbers, got shape {array.shape}")
        units, columns = self._arrays[1].shape
        fitting = [cell for cell in BLOCKS if kind in (None, cell) and columns == BLOCKS[cell] * units]
        if not fitting:
            kinds = [cell for cell in BLOCKS if kind in (None, cell)]
            expected = " or ".join(f"{BLOCKS[cell] * units} columns of {LAYERS[cell].__name__}" for cell in kinds)
            raise ValueError(f"source[1], the recurrent kernel, must have {expected}, as it has {units} rows, got "
                             f"shape {self._arrays[1].shape}")  # fmt: skip
        return fitting[0]

    def _dtype(self) -> str:
        """The dtype of all arrays."""
        for k, array in enumerate(self._arrays):
            if array.dtype != self._arrays[0].dtype:
                raise ValueError(f"source[{k}] must be {self._arrays[0].dtype}, as source[0] is, got {array.dtype}")
        return self._arrays[0].dtype.name

    def _options(self, reset_after: bool | None) -> dict[str, Any]:
        """The options of the layer."""
        per_layer = self._step * (1 + self.bidirectional)
        sizes = [array.shape[0] for array in self._arrays[1::per_layer]]
        bias = self._step == 3
        options = {
            "hidden_size": sizes[0] if len({*sizes}) == 1 else sizes,
            "num_layers": len(sizes),
            "bias": bias,
            "bidirectional": self.bidirectional,
        }
        if self.kind != "gru":
            if reset_after is not None:
                raise ValueError(f"reset_after must be None with weights of kind {self.kind!r}, got {reset_after!r}")
            return options
        told = self._arrays[2].ndim == 2 if bias else None
        if told is not None and reset_after not in (None, told):
            raise ValueError(f"reset_after must be {told}, to fit the shape of the bias, got {reset_after!r}")
        return options | {"reset_after": next(each for each in (told, reset_after, True) if each is not None)}

    def parameters(self, stack: Stack) -> dict[str, np.ndarray]:
        """The parameters of the layer."""
        return dict(self._named(stack))

    def _named(self, stack: Stack) -> Iterator[tuple[str, np.ndarray]]:
        """The parameters by name, checked."""
        columns = BLOCKS[self.kind]
        for number, (suffix, spec) in enumerate(stack.specs.items()):
            first, units = number * self._step, spec.hidden_size
            shapes: list[tuple[int, ...]] = [(spec.input_size, columns * units), (units, columns * units)]
            if self._step == 3:
                shapes.append((2, columns * units) if self.options.get("reset_after") else (columns * units,))
            for k, shape in enumerate(shapes, first):
                if self._arrays[k].shape != shape:
                    raise ValueError(f"source[{k}] must have shape {shape}, as those before it tell, got "
                                     f"{self._arrays[k].shape}")  # fmt: skip
            arrays = [_blocks(array, self.kind) for array in self._arrays[first : first + self._step]]
            yield f"weight_ih{suffix}", np.ascontiguousarray(arrays[0].T, stack.dtype)
            yield f"weight_hh{suffix}", np.ascontiguousarray(arrays[1].T, stack.dtype)
            if self._step == 3:
                both = arrays[2] if arrays[2].ndim == 2 else [arrays[2], np.zeros_like(arrays[2])]
                for name, bias in zip(("bias_ih", "bias_hh"), both, strict=True):
                    yield name + suffix, np.ascontiguousarray(bias, stack.dtype)
