"""Parameters of PyTorch's LSTM, GRU and RNN modules as layers, and back; PyTorch itself is not needed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..backends.dispatch import check_name, gpu_array_in
from ..layers import GRU, LAYERS, LSTM, RNN
from ..layers.layer import Layer, layer_of
from ..layers.options import not_defaults, stack_of
from ..layers.sequences import check_option
from ..layers.stack import Stack
from .files import check_file
from .values import from_json

BLOCKS = {"lstm": 4, "gru": 3, "rnn": 1}  # rows of the weights for each hidden unit: what tells modules apart
A_MODULE = {"lstm": "an LSTM", "gru": "a GRU", "rnn": "an RNN"}
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")  # in the order of PyTorch's state dicts
OPTIONS = ("hidden_size", "num_layers", "nonlinearity", "bias", "dropout", "bidirectional", "proj_size")  # to be shown
SHARED_OPTIONS = ("proj_size",)  # options of cells that PyTorch's modules have, too
NONLINEARITIES = ("tanh", "relu")  # of PyTorch's RNN
DTYPES = {"float32": "float32", "float64": "float64", "float16": "float32", "bfloat16": "float32"}  # what becomes what
STORED = {"F32": ("<f4", "float32"), "F64": ("<f8", "float64"), "F16": ("<f2", "float16"), "BF16": ("<u2", "bfloat16")}
LISTED = 10  # names in a message

NAME = r"(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l(?:0|[1-9][0-9]{0,8})(?:_reverse)?"
PATTERN = re.compile(rf"({NAME})\Z")
FOREIGN = (  # names that modules which compute something else, or the same from other numbers, have in their place
    (
        rf"(?:{NAME})_(?:g|v|u|orig|mask)|parametrizations\.(?:{NAME})\..*",
        "of a module with weight norm, spectral norm, pruning or another parametrization; take that off first "
        "(torch.nn.utils.parametrize.remove_parametrizations, torch.nn.utils.remove_weight_norm, ...)",
    ),
    (
        r"_all_weight_values\..*|layers\.[0-9]+\.layer_(?:fw|bw)\..*",
        "of a quantised or quantisable module; take the state dict of the module that it was made from",
    ),
    (
        r"(?:weight|bias)_(?:ih|hh)",
        "of an LSTMCell, GRUCell or RNNCell, which has no layers; add '_l0' to its names to read it as one layer",
    ),
)

StateDict = Mapping[str, Any]


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
    """The layer that computes what a module of PyTorch's does, from the module's state dict.

    Kind and sizes, directions, projection and biases follow from names and shapes.

    Parameters
    ----------
    state_dict : mapping of str to tensor or array, or path
        What ``module.state_dict()`` gives of a `torch.nn.LSTM`, `torch.nn.GRU` or `torch.nn.RNN`, or of a model that
        has one: PyTorch's tensors on any device, or NumPy's arrays. Or the path of a file that holds such a mapping:
        ``.safetensors``, or ``.pt`` or ``.pth``, for which PyTorch must be installed.
    prefix : str, default ""
        What names in a larger model begin with, such as ``"encoder.rnn."``. Under it there must be the parameters of
        one module and nothing else; other names are left alone.
    kind : {"lstm", "gru", "rnn"} or None, default None
        What it must be; None takes what the shapes tell.
    nonlinearity : {"tanh", "relu"}, default "tanh"
        Of an RNN, as its state dict does not hold it.
    dropout : float in [0, 1), default 0.0
        Between layers in training; likewise.
    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        Of the layer.
    dtype : {"float32", "float64"} or None, default None
        Of the layer; None takes that of the state dict, and float32 for float16 and bfloat16, which loses nothing.

    Returns
    -------
    LSTM, GRU or RNN
        With copies of the parameters, NaN and infinities included. It reads batches first, whatever `batch_first` was.

    Raises
    ------
    ValueError
        If names are missing or unknown, or shapes do not fit one another, or a file is none of its kind; names of
        quantised modules, and of those with weight norm or other parametrizations, are among the unknown. The message
        gives the name; if there are no parameters under `prefix`, it gives prefixes that have some.
    TypeError
        If it is no mapping of names, or holds other than real numbers, dense and in memory.
    ImportError
        If a ``.pt`` or ``.pth`` file is given and PyTorch is not installed.

    See Also
    --------
    to_torch : The way back.

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
    """
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, got {type(prefix).__name__}")
    if kind is not None:
        check_option(kind, "kind", [*BLOCKS])
    check_option(nonlinearity, "nonlinearity", NONLINEARITIES)
    if dtype is not None:
        check_option(dtype, "dtype", [*dict.fromkeys(DTYPES.values())])
    backend = None if backend is None else check_name(backend)
    whole = _mapping(state_dict)
    arrays = {name: _array(whole[prefix + name], prefix + name) for name in _names(whole, prefix)}
    dtype = _common_dtype(arrays, prefix) if dtype is None else dtype
    cell, given = _description(arrays, prefix, kind)
    given |= {"dropout": dropout, "nonlinearity": nonlinearity}
    given = {name: given[name] for name in OPTIONS}
    stack = stack_of(cell, arrays["weight_ih_l0"].shape[1], dtype, given)
    _check_shapes(arrays, stack, prefix)
    parameters = {name: np.ascontiguousarray(array, dtype) for name, array in arrays.items()}
    layer = layer_of(LAYERS[cell], stack, parameters, not_defaults(given), backend)
    return cast("LSTM | GRU | RNN", layer)


def to_torch(layer: Layer) -> dict[str, np.ndarray]:
    """The state dict of the module of PyTorch's that computes what a layer does.

    Parameters
    ----------
    layer : LSTM, GRU or RNN
        With options that `torch.nn.LSTM`, `torch.nn.GRU` or `torch.nn.RNN` has, too. Those that matter in training
        alone may be any, and are left out: all kinds of dropout and `recompute`; so are `backend` and `compute_dtype`.

    Returns
    -------
    dict of str to array
        Copies of the parameters, with PyTorch's names in PyTorch's order, in the layer's dtype. PyTorch loads them with
        ``module.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(layer).items()})``; the
        module needs the layer's sizes and options, and ``batch_first=True`` to take the same arrays.

    Raises
    ------
    ValueError
        If PyTorch's module has no place for an option, which the message names: `layer_norm`, `merge`, `residual`,
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
    if not isinstance(layer, Layer):
        raise TypeError(f"layer must be an LSTM, a GRU or an RNN, got {type(layer).__name__}")
    stack = layer._stack
    if stack.cell.cell not in BLOCKS:
        raise ValueError(f"layer must be an LSTM, a GRU or an RNN for PyTorch, got cell={stack.cell.cell!r}")
    if foreign := _foreign_options(stack):
        shown = ", ".join(f"{name}={value!r}" for name, value in foreign.items())
        raise ValueError(f"layer must be one that torch.nn.{LAYERS[stack.cell.cell].__name__} can be, got {shown}")
    names = [part + suffix for suffix in stack.specs for part in PARTS if part + suffix in stack.shapes]
    return {name: np.array(layer.parameters[name], order="C") for name in names}


def _foreign_options(stack: Stack) -> dict[str, Any]:
    """Options that PyTorch's modules do not have, and that change what is computed."""
    cell = stack.cell
    foreign = {name: value for name, value in cell.options if not _shared(name, value)}
    if len({*stack.hidden_sizes}) > 1:
        foreign["hidden_size"] = [*stack.hidden_sizes]
    if stack.merges:
        foreign["merge"] = stack.merge
    others = {"residual": stack.residual, "layer_norm": cell.layer_norm, "zoneout": cell.zoneout}
    return foreign | {name: value for name, value in others.items() if value}


def _shared(name: str, value: Any) -> bool:
    """Whether PyTorch's modules have an option of a cell, with this value."""
    return value[0] in NONLINEARITIES if name == "nonlinearity" else name in SHARED_OPTIONS


# What is given ------------------------------------------------------------------------------------------------


def _mapping(given: Any) -> StateDict:
    """What is given as a mapping, or in a file."""
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        readers = {".safetensors": _Safetensors, ".pt": _load_pickled, ".pth": _load_pickled}
        suffix = check_option(path.suffix.lower(), f"suffix of {path.name!r}", [*readers])
        return readers[suffix](path)
    if not isinstance(given, Mapping):
        hint = "; its state_dict() is one" if hasattr(given, "state_dict") else ""
        raise TypeError(
            f"state_dict must be a mapping of names to tensors, or a path, got {type(given).__name__}{hint}"
        )
    return _flat(given)


def _load_pickled(path: Path) -> StateDict:
    """What PyTorch saved in a file, read by PyTorch; nothing in it is run."""
    try:
        torch: Any = import_module("torch")
    except ImportError as error:
        message = f"{path.name!r} is read by PyTorch: install torch, or save the state dict as .safetensors"
        raise ImportError(message) from error
    check_file(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of many kinds: of pickle, of zip files, of PyTorch
        reason = re.split(r"[\n.](?:\s|$)", str(error))[0]  # what comes after that is advice that is risky to take
        expected = f"{path.name!r} must hold a state dict, as torch.save(module.state_dict(), path) writes it"
        raise ValueError(f"{expected}, but PyTorch reads none: {reason or type(error).__name__}") from error
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path.name!r} must hold a mapping of names to tensors, got {type(loaded).__name__}")
    return _flat(loaded)


def _flat(mapping: StateDict) -> StateDict:
    """A mapping without mappings in it, as checkpoints have them: their names come before those inside, with a dot."""
    nested = [name for name, value in mapping.items() if isinstance(value, Mapping)]
    if not nested:
        return mapping
    inner = {f"{name}.{key}": value for name in nested for key, value in mapping[name].items()}
    return {name: value for name, value in mapping.items() if name not in nested} | inner


class _Safetensors(Mapping[str, np.ndarray]):
    """The tensors of a file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        check_file(path)
        try:
            # It checks types, shapes and offsets against the size of the file.
            with safe_open(os.fspath(path), framework="numpy"):
                self._path = path
        except SafetensorError as error:
            raise ValueError(f"{path.name!r} must be a file of safetensors: {error}") from None
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            self._entries: dict[str, Any] = from_json(file.read(length).decode(), f"header of {path.name!r}")
        self._start = 8 + length
        if "numlstm" in (self._entries.pop("__metadata__", None) or {}):
            raise ValueError(
                f"{path.name!r} was written by numlstm, and holds more than weights: numlstm.load reads it"
            )

    def __getitem__(self, key: str) -> np.ndarray:
        """An array; safetensors itself gives NumPy no bfloat16, which is the upper half of a float32."""
        entry = self._entries[key]
        if entry["dtype"] not in STORED:
            raise _wrong_dtype(key, entry["dtype"])
        raw, name = STORED[entry["dtype"]]
        first, last = entry["data_offsets"]
        count = (last - first) // np.dtype(raw).itemsize
        array = np.fromfile(self._path, raw, count, offset=self._start + first).reshape(entry["shape"])
        return (array.astype("uint32") << 16).view("float32") if name == "bfloat16" else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _array(value: Any, key: str) -> np.ndarray:
    """A tensor or array as NumPy's, in float32 or float64."""
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        return _array_of_tensor(torch, value, key)
    if gpu_array_in(value) is not None:
        raise TypeError(f"{key!r} must be PyTorch's tensor or in the host's memory, got {type(value).__name__}")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{key!r} must be a tensor or an array, got {type(value).__name__}: {error}") from None
    if array.dtype.name not in DTYPES:
        raise _wrong_dtype(key, array.dtype.name if array.ndim else type(value).__name__)
    return array.astype(DTYPES[array.dtype.name], copy=False)


def _array_of_tensor(torch: Any, tensor: Any, key: str) -> np.ndarray:
    """PyTorch's tensor as an array, which may share its memory."""
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise _wrong_dtype(key, name)
    try:
        return tensor.detach().to("cpu", getattr(torch, DTYPES[name])).numpy(force=True)
    except (RuntimeError, TypeError, ValueError) as error:  # sparse, without data, or not initialised
        raise TypeError(f"{key!r} must be a dense tensor with data, got {type(tensor).__name__}: {error}") from error


def _wrong_dtype(key: str, name: str) -> TypeError:
    return TypeError(f"{key!r} must hold real numbers, {', '.join(DTYPES)}, got {name}")


# What it is ---------------------------------------------------------------------------------------------------


def _names(whole: StateDict, prefix: str) -> list[str]:
    """Names of a module's parameters under `prefix`, without it: all that its layers and directions need."""
    if strange := [key for key in whole if not isinstance(key, str)]:
        raise TypeError(f"state_dict must have strings as keys, got {strange[0]!r}")
    under = [key.removeprefix(prefix) for key in whole if key.startswith(prefix)]
    for pattern, what in FOREIGN:
        if foreign := [name for name in under if re.fullmatch(pattern, name)]:
            raise ValueError(f"state_dict must hold plain parameters, but {prefix + foreign[0]!r} is {what}")
    own = {name for name in under if PATTERN.match(name)}
    if not own:
        raise _nothing_there(whole, prefix)
    if unknown := [prefix + name for name in under if name not in own]:
        raise ValueError(
            f"state_dict must hold parameters of one LSTM, GRU or RNN and nothing else under prefix={prefix!r}, "
            f"got {_listed(unknown)}"
        )
    for name in _complete(own):
        if name not in own:
            raise ValueError(f"state_dict must hold {prefix + name!r}, which is missing; it has {_listed(own, prefix)}")
    return [*_complete(own)]


def _complete(own: Collection[str]) -> Iterator[str]:
    """All names of a module that has some, in PyTorch's order; made one by one, as a number of layers may be absurd."""
    absent = [start for start in ("bias", "weight_hr") if not any(name.startswith(start) for name in own)]
    parts = [part for part in PARTS if not part.startswith((*absent,))]
    directions = ("", "_reverse") if any(name.endswith("_reverse") for name in own) else ("",)
    for layer in range(1 + max(_layer(name) for name in own)):
        for direction in directions:
            for part in parts:
                yield f"{part}_l{layer}{direction}"


def _layer(name: str) -> int:
    """The number of the layer that a parameter belongs to."""
    return int(name.removesuffix("_reverse").rpartition("_l")[2])


def _nothing_there(whole: StateDict, prefix: str) -> ValueError:
    """The error where there are no parameters under a prefix: it tells where there are some."""
    found = (match for match in map(PATTERN.search, whole) if match)
    prefixes = {match.string[: match.start()] for match in found}
    expected = f"prefix must be that of an LSTM, GRU or RNN, got {prefix!r}"
    if prefixes:
        return ValueError(f"{expected}; prefixes of some are {_listed(prefixes)}")
    return ValueError(f"{expected}; state_dict has none, its keys are {_listed(whole)}")


def _listed(names: Collection[str], prefix: str = "") -> str:
    """Names for a message: all of them, or the first."""
    names = sorted(map(str, names))
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{[prefix + name for name in names[:LISTED]]}{more}"


def _common_dtype(arrays: Mapping[str, np.ndarray], prefix: str) -> str:
    """The dtype of all arrays."""
    (first, array), *_ = arrays.items()
    for name, other in arrays.items():
        if other.dtype != array.dtype:
            raise ValueError(
                f"{prefix + name!r} must be {array.dtype}, as {prefix + first!r} is, got {other.dtype}; or give dtype"
            )
    return array.dtype.name


def _description(arrays: Mapping[str, np.ndarray], prefix: str, kind: str | None) -> tuple[str, dict[str, Any]]:
    """The cell, and options of a layer."""
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
        "num_layers": 1 + max(map(_layer, arrays)),
        "bias": "bias_ih_l0" in arrays,
        "bidirectional": "weight_ih_l0_reverse" in arrays,
        "proj_size": 0 if projection is None else projection.shape[0],
    }
    return fitting[0], options


def _no_kind(prefix: str, shape: tuple[int, ...], hidden: int, kinds: list[str], projected: bool) -> ValueError:
    """The error where the rows of the recurrent weights fit no kind of module."""
    if not kinds:
        return ValueError(f"kind must be 'lstm' with {prefix + 'weight_hr_l0'!r}, a projection, which no other has")
    rows = " or ".join(f"{BLOCKS[cell] * hidden} rows for {A_MODULE[cell]}" for cell in kinds)
    of = f"{prefix + 'weight_hr_l0'!r}" if projected else "it"
    return ValueError(f"{prefix + 'weight_hh_l0'!r} must have {rows}, as {of} has {hidden} columns, got shape {shape}")


def _check_shapes(arrays: Mapping[str, np.ndarray], stack: Stack, prefix: str) -> None:
    """Refuse arrays whose shapes do not fit those of the first layer."""
    for name, shape in stack.shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(
                f"{prefix + name!r} must have shape {shape}, as those of layer 0 tell, got {arrays[name].shape}"
            )
