"""ONNX's LSTM, GRU and RNN as layers, and what a layer is as one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import cells
from ...backends.dispatch import backend_for
from ...checks import check_option
from ...layers import LAYERS
from ...layers.layer import Layer, layer_of
from ...layers.options import DEFAULTS, not_defaults, stack_of
from . import FLOAT, FLOATS, INT, TEXT, TEXTS, TooLarge, check_room, operator
from .gathering import reversed_within

# For each of our blocks of rows, in our order, which one it is in ONNX's: i, f, g, o of i, o, f, c; r, z, n of z, r, h.
ORDERS = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2), "rnn": (0,)}
PEEPHOLES = (0, 2, 1)  # likewise, i, f, o of i, o, f
OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}

# Where a cell's activations are among its options, in ONNX's order, and what they are by default.
ROLES = {
    "lstm": ("recurrent_activation", "input_activation", "output_activation"),
    "gru": ("recurrent_activation", "input_activation"),
    "rnn": ("nonlinearity",),
}
USUAL = {"lstm": ("Sigmoid", "Tanh", "Tanh"), "gru": ("Sigmoid", "Tanh"), "rnn": ("Tanh",)}
ACTIVATIONS = {
    "Affine": "affine", "Relu": "relu", "LeakyRelu": "leaky_relu", "ThresholdedRelu": "thresholded_relu",
    "Tanh": "tanh", "ScaledTanh": "scaled_tanh", "Sigmoid": "sigmoid", "HardSigmoid": "hard_sigmoid", "Elu": "elu",
    "Softsign": "softsign", "Softplus": "softplus",
}  # fmt: skip
BY_LOWER_CASE = {name.lower(): own for name, own in ACTIVATIONS.items()}
WITHOUT_DEFAULTS = ("affine", "scaled_tanh")  # no operators of ONNX's that would say what they are
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}  # whether each goes backwards
READ_ONLY = "a graph's layers are for reading: its weights are its constants; copy.copy(layer) is a layer of its own"
SMALL = 1 << 20  # elements that there is room for in any case
FEW = 32  # rows of a small batch
DTYPES = {"float16": "float32", "float32": "float32", "float64": "float64"}  # of layers, for those of nodes


class Weights(NamedTuple):
    """What ONNX's nodes keep, for each direction.

    Attributes
    ----------
    W : array, shape (directions, blocks · H, D)
    R : array, shape (directions, blocks · H, H)
    B : array, shape (directions, 2 · blocks · H), or None
        Of both products, one after the other.
    P : array, shape (directions, 3H), or None
    """

    W: np.ndarray
    R: np.ndarray
    B: np.ndarray | None = None
    P: np.ndarray | None = None


class Part(NamedTuple):
    """A layer, for one direction of a node or for both.

    Attributes
    ----------
    layer : Layer
    backwards : bool
        Whether its sequences are to be turned.
    """

    layer: Layer
    backwards: bool


class Made:
    """What has been made for a graph.

    Attributes
    ----------
    parts : dict
        Layers by what they were made of: nodes share them, as models share layers.
    left : int
        Bytes that there may still be of what is made once for all.
    backend : str or None
        Of layers.
    """

    def __init__(self, left: int, backend: str | None) -> None:
        self.parts: dict[Any, list[Part]] = {}
        self.left, self.backend = left, backend

    def take(self, size: int) -> None:
        """Have some bytes.

        Raises
        ------
        TooLarge
            If there are not so many left.
        """
        if size > self.left:
            raise TooLarge(f"what is made of constants would have {size} bytes more, and must have at most {self.left}")
        self.left -= size


# From nodes ---------------------------------------------------------------------------------------------------

_attributes: dict[str, Any] = {
    "activation_alpha": FLOATS(()), "activation_beta": FLOATS(()), "activations": TEXTS(), "clip": FLOAT(),
    "direction": TEXT("forward"), "hidden_size": INT(), "layout": INT(0, since=14),
}  # fmt: skip


def _prepare(
    cell: str, attributes: Mapping[str, Any], known: Sequence[Any], wanted: tuple[bool, ...], made: Made
) -> tuple[Callable[..., Any], list[Part], list[int]]:
    """The function of a node's arrays, the layers in it, and which inputs these are made of."""
    places = {name: place for name, place in {"W": 1, "R": 2, "B": 3, "P": 7}.items() if place < len(known)}
    for name, place in places.items():
        if known[place] is ...:
            raise ValueError(f"{name} must be a constant, or follow from constants: it is what a layer is made of")
    weights = Weights(**{name: known[place] for name, place in places.items()})
    key = (cell, repr(attributes), *map(id, weights))
    if key not in made.parts:
        wide = np.dtype(DTYPES.get(weights.W.dtype.name, "float64")).itemsize
        made.take(sum(wide * array.size for array in weights if array is not None))
        made.parts[key] = parts_of(cell, attributes, weights, made.backend)
    parts = made.parts[key]
    if attributes["layout"] not in (0, 1):
        raise ValueError(f"layout must be 0 or 1, got {attributes['layout']}")
    node = _Recurrent(parts, weights.W.dtype.name, batch_first=bool(attributes["layout"]), wanted=wanted)
    return node, parts, [place for place in places.values() if known[place] is not None]


@operator("LSTM", (3, 8), (0, 3), prepares=True, input_forget=INT(0), **_attributes)
def lstm(*given: Any) -> Any:
    """Long Short-Term Memory."""
    return _prepare("lstm", *given)


@operator("GRU", (3, 6), (0, 2), prepares=True, linear_before_reset=INT(0), **_attributes)
def gru(*given: Any) -> Any:
    """Gated recurrent units."""
    return _prepare("gru", *given)


@operator("RNN", (3, 6), (0, 2), prepares=True, **_attributes)
def rnn(*given: Any) -> Any:
    """Units that see their own outputs."""
    return _prepare("rnn", *given)


def parts_of(cell: str, attributes: Mapping[str, Any], weights: Weights, backend: str | None) -> list[Part]:
    """The layers that compute what a node does: one for both directions if they are alike, else one for each."""
    directions = DIRECTIONS[check_option(attributes["direction"], "direction", [*DIRECTIONS])]
    hidden = _check_weights(cell, weights, len(directions), attributes["hidden_size"])
    single = DTYPES[weights.W.dtype.name] == "float32"
    options = {"hidden_size": hidden, "bias": weights.B is not None} | _options(cell, attributes, weights, single)
    chosen = _activations(cell, attributes, len(directions), single)
    if len(chosen) == 2 and chosen[0] == chosen[1]:
        both = options | chosen[0] | {"bidirectional": True}
        return [Part(_layer(cell, both, [(0, ""), (1, "_reverse")], weights, backend), False)]
    return [
        Part(_layer(cell, options | of_direction, [(k, "")], weights, backend), backwards)
        for k, (of_direction, backwards) in enumerate(zip(chosen, directions, strict=True))
    ]


def _options(cell: str, attributes: Mapping[str, Any], weights: Weights, single: bool) -> dict[str, Any]:
    """Options that both directions share."""
    options: dict[str, Any] = {}
    if attributes["clip"] is not None and attributes["clip"] != math.inf:
        options["preactivation_clip"] = _shortest(attributes["clip"]) if single else attributes["clip"]
    if cell == "lstm":
        options["peepholes"] = weights.P is not None
        options["coupled_gates"] = "input" if attributes["input_forget"] else False
    if cell == "gru":
        options["reset_after"] = bool(attributes["linear_before_reset"])
    return options


def _check_weights(cell: str, weights: Weights, directions: int, hidden: int | None) -> int:
    """H, if all weights have the shapes that go with it."""
    blocks = len(ORDERS[cell])
    for name, array in (("W", weights.W), ("R", weights.R)):
        if array.ndim != 3 or not array.size:
            raise ValueError(f"{name} must have three axes and some numbers, got shape {array.shape}")
    size = weights.R.shape[2] if hidden is None else hidden
    rows = blocks * size
    shapes = {
        "W": (directions, rows, weights.W.shape[2]), "R": (directions, rows, size), "B": (directions, 2 * rows),
        "P": (directions, 3 * size),
    }  # fmt: skip
    for name, array in weights._asdict().items():
        if array is None:
            continue
        if array.shape != shapes[name]:
            known = f"hidden_size {size} and {directions} direction{'s' if directions > 1 else ''}"
            raise ValueError(f"{name} must have shape {shapes[name]}, as {known} tell, got {array.shape}")
        if array.dtype != weights.W.dtype or array.dtype.name not in DTYPES:
            raise ValueError(f"{name} must be of one of {[*DTYPES]}, all weights of the same, got {array.dtype}")
    return size


def _activations(cell: str, attributes: Mapping[str, Any], directions: int, single: bool) -> list[dict[str, Any]]:
    """For each direction the activations, as options. Parameters go to those that take some, in order."""
    roles = ROLES[cell]
    names = attributes["activations"] or USUAL[cell] * directions
    if cell == "rnn" and len(names) == 2:
        names = names[:directions]  # ONNX's default has one for each direction, whether there are two or not
    if len(names) != len(roles) * directions:
        raise ValueError(f"activations must be {len(roles)} for each of {directions} directions, got {[*names]}")
    given = [iter(attributes[f"activation_{name}"]) for name in ("alpha", "beta")]
    chosen: list[Any] = []
    for name in names:
        own = BY_LOWER_CASE.get(name.lower(), "")
        if not own:
            raise ValueError(f"activations must be among {[*ACTIVATIONS]}, got {name!r:.80}")
        defaults = cells.ACTIVATIONS[own][1]
        numbers = [next(numbers, None) for numbers, _ in zip(given, defaults, strict=False)]
        if None in numbers and own in WITHOUT_DEFAULTS:
            raise ValueError(f"activation {name!r:.80} must have its number in activation_alpha and in activation_beta")
        known = [default if number is None else number for number, default in zip(numbers, defaults, strict=True)]
        known = [_shortest(number) for number in known] if single else known
        chosen.append(own if (*known,) == defaults else (own, *known))
    return [dict(zip(roles, chosen[k * len(roles) :], strict=False)) for k in range(directions)]


def _shortest(number: float) -> float:
    """A number in single precision as its author wrote it: 0.2, not the double that is nearest to what it became."""
    return float(str(np.float32(number)))


def _layer(
    cell: str, options: Mapping[str, Any], directions: list[tuple[int, str]], weights: Weights, backend: str | None
) -> Layer:
    """A layer with the weights of one direction or of both."""
    dtype = DTYPES[weights.W.dtype.name]
    stack = stack_of(cell, weights.W.shape[2], dtype, options)
    order = ORDERS[cell]
    parameters: dict[str, np.ndarray] = {}
    for k, suffix in directions:
        parameters[f"weight_ih_l0{suffix}"] = reordered(weights.W[k], order)
        parameters[f"weight_hh_l0{suffix}"] = reordered(weights.R[k], order)
        if weights.B is not None:
            for name, half in zip(("bias_ih", "bias_hh"), np.split(weights.B[k], 2), strict=True):
                parameters[f"{name}_l0{suffix}"] = reordered(half, order)
        if weights.P is not None:
            parameters[f"peephole_l0{suffix}"] = reordered(weights.P[k], PEEPHOLES)
    whole = {name: np.ascontiguousarray(parameters[name], dtype) for name in stack.shapes}
    return layer_of(LAYERS[cell], stack, whole, not_defaults(options), backend, READ_ONLY)


def reordered(array: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Blocks of rows in another order."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[k] for k in order])


class _Recurrent:
    """What runs a node: arrays in ONNX's layout in and out, around layers.

    Parameters
    ----------
    parts : list of Part
        One for each direction, or one for all.
    dtype : str
        Of the node's arrays.
    batch_first : bool
    wanted : tuple of bool
        Which of Y, Y_h and Y_c there are to be.
    """

    def __init__(self, parts: list[Part], dtype: str, *, batch_first: bool, wanted: tuple[bool, ...]) -> None:
        self._parts, self._dtype, self._batch_first = parts, np.dtype(dtype), batch_first
        self._outputs, self._finals = len(wanted), any(wanted[1:])
        layer = self._layer = parts[0].layer
        self._own = np.dtype(layer.dtype)  # half-precision numbers are computed with as single-precision ones
        self._features, self._hidden = layer.input_size, layer._stack.hidden_sizes[0]
        self._directions = sum(part.layer._stack.directions for part in parts)
        self._states = layer._stack.states
        self._growth = self._directions * self._hidden
        self._plain = len(parts) == 1 and not parts[0].backwards and self._own is self._dtype

    def __call__(
        self, x: np.ndarray, w: Any, r: Any, b: Any = None, lengths: np.ndarray | None = None,
        h_0: np.ndarray | None = None, c_0: np.ndarray | None = None, p: Any = None,
    ) -> tuple[np.ndarray, ...]:  # fmt: skip
        """Y, Y_h and Y_c, as many as there are."""
        if x.dtype != self._dtype or x.ndim != 3 or x.shape[2] != self._features:
            axes = "N, T" if self._batch_first else "T, N"
            expected = f"X must be {self._dtype} of shape ({axes}, {self._features})"
            raise ValueError(f"{expected}, got {x.dtype} of shape {x.shape}")
        rows = x if self._batch_first else x.transpose(1, 0, 2)
        steps = None if lengths is None else self._check_lengths(lengths, rows.shape)
        if self._plain and steps is h_0 is c_0 is None and (given := self._small(rows)):
            return given
        if self._own is not self._dtype:
            rows = rows.astype(self._own)
        state = None if h_0 is None and c_0 is None else self._initial(h_0, c_0, len(rows))
        if x.size * self._growth > SMALL:
            check_room((*rows.shape[:2], self._directions, self._hidden), x)
        y, final = self._run(rows, state, steps) if rows.size else self._nothing(rows)
        return self._given(y, final)

    def _small(self, rows: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """Results of a call that is small, for which all arrays are there already; None if it is none."""
        layer = self._layer
        backend = backend_for(layer.backend)
        if (free := layer.runners(rows.shape, backend)) is None:
            return None
        runner = layer.taken(free, rows.shape, backend)
        runner.x[...] = rows
        runner()
        y = backend.to_numpy(runner.y).copy()
        final = runner.copies() if self._finals else ()
        layer.put_back(free, runner)
        return self._given(y, [final] if type(final) is np.ndarray else list(final))

    def _check_lengths(self, lengths: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """Steps of each row, or None where all have the same."""
        if lengths.dtype.kind not in "iu" or lengths.shape != shape[:1]:
            expected = f"sequence_lens must be integers of shape ({shape[0]},)"
            raise ValueError(f"{expected}, got {lengths.dtype} of shape {lengths.shape}")
        if not lengths.size:
            return None
        if lengths.size < FEW:  # NumPy would take longer
            own = lengths.tolist()
            least, most = min(own), max(own)
        else:
            least, most = int(lengths.min()), int(lengths.max())
        if least < 0 or most > shape[1]:
            raise ValueError(f"sequence_lens must be in 0..{shape[1]}, got {least} to {most}")
        if least == shape[1]:
            return None
        return lengths.astype("int64")

    def _initial(self, h_0: np.ndarray | None, c_0: np.ndarray | None, rows: int) -> list[np.ndarray] | None:
        """Initial states, (directions, N, H) each; None for zeros, with which calls take less time."""
        shape = (rows, self._directions) if self._batch_first else (self._directions, rows)
        found = []
        for name, state in (("initial_h", h_0), ("initial_c", c_0))[: self._states]:
            if state is None:
                continue
            if state.shape != (*shape, self._hidden) or state.dtype != self._dtype:
                expected = f"{name} must be {self._dtype} of shape {(*shape, self._hidden)}"
                raise ValueError(f"{expected}, got {state.dtype} of shape {state.shape}")
            found.append(state.any())
        if not any(found):
            return None
        zeros = np.zeros((self._directions, rows, self._hidden), self._own)
        states = (h_0, c_0)[: self._states]
        turned = [each.swapaxes(0, 1) if self._batch_first and each is not None else each for each in states]
        return [zeros if each is None else each.astype(self._own, copy=False) for each in turned]

    def _run(
        self, rows: np.ndarray, state: list[np.ndarray] | None, lengths: np.ndarray | None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Outputs (N, T, directions · H) and final states (directions, N, H)."""
        empty = None
        if lengths is not None and not lengths.all():
            empty, lengths = lengths == 0, np.maximum(lengths, 1)  # they run for a step, of which nothing is left
        made = []
        for k, (layer, backwards) in enumerate(self._parts):
            own = state if state is None or len(self._parts) == 1 else [each[k : k + 1] for each in state]
            made.append(self._run_part(layer, backwards, rows, own, lengths))
        y, final = made[0]
        if len(made) > 1:
            y = np.concatenate([each for each, _ in made], 2)
            final = [np.concatenate(states) for states in zip(*(states for _, states in made), strict=True)]
        if empty is not None:
            y[empty] = 0
            for each in final:
                each[:, empty] = 0
        return y, final

    def _run_part(
        self, layer: Layer, backwards: bool, rows: np.ndarray, state: list[np.ndarray] | None,
        lengths: np.ndarray | None,
    ) -> tuple[np.ndarray, list[np.ndarray]]:  # fmt: skip
        """Outputs and final states of one layer."""
        given: Any = state if state is None or self._states > 1 else state[0]
        y, final = layer(_turned(rows, lengths) if backwards else rows, given, lengths)
        return _turned(y, lengths) if backwards else y, list(final) if self._states > 1 else [final]

    def _nothing(self, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Results where there are no rows or no steps: of no steps zeros are left."""
        y = np.zeros((*rows.shape[:2], self._directions * self._hidden), self._own)
        return y, [np.zeros((self._directions, len(rows), self._hidden), self._own) for _ in range(self._states)]

    def _given(self, y: np.ndarray, final: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Results in ONNX's layout and type."""
        rows, steps, _ = y.shape
        y = y.reshape(rows, steps, self._directions, self._hidden)
        if self._batch_first:
            final = [each.swapaxes(0, 1) for each in final]
        else:
            y = y.transpose(1, 2, 0, 3)
        made = (y, *final)[: self._outputs]
        if self._own is self._dtype:
            return made
        with np.errstate(over="ignore"):
            return tuple(each.astype(self._dtype) for each in made)


def _turned(rows: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """(N, T, ...) with the steps of each row in the opposite order."""
    return rows[:, ::-1] if lengths is None else reversed_within(rows, lengths)


# To nodes -----------------------------------------------------------------------------------------------------


def node_of(layer: Layer, index: int = 0) -> tuple[str, dict[str, Any], Weights]:
    """The operator, the attributes and the weights of the node that computes what one layer of a stack does.

    Parameters
    ----------
    layer : LSTM, GRU or RNN
    index : int, default 0
        Which one of those on top of one another.

    Raises
    ------
    ValueError
        If it is of another cell, or has an option that ONNX has no place for; the message names it.
    """
    stack = layer._stack
    cell = stack.cell.cell
    if cell not in ORDERS:
        raise ValueError(f"layer must be an LSTM, a GRU or an RNN for ONNX, got cell={cell!r}")
    options = _plain_options(layer)
    order, back = (np.argsort(each).tolist() for each in (ORDERS[cell], PEEPHOLES))
    suffixes = [f"_l{index}{suffix}" for suffix in ("", "_reverse")[: stack.directions]]
    parameters = layer.parameters
    weights = Weights(
        np.stack([reordered(parameters[f"weight_ih{suffix}"], order) for suffix in suffixes]),
        np.stack([reordered(parameters[f"weight_hh{suffix}"], order) for suffix in suffixes]),
        np.stack([
            np.concatenate([reordered(parameters[f"{name}{suffix}"], order) for name in ("bias_ih", "bias_hh")])
            for suffix in suffixes
        ]) if stack.cell.bias else None,
        np.stack([reordered(parameters[f"peephole{suffix}"], back) for suffix in suffixes])
        if options.get("peepholes") else None,
    )  # fmt: skip
    attributes: dict[str, Any] = {
        "hidden_size": stack.hidden_sizes[index],
        "direction": "bidirectional" if stack.bidirectional else "forward",
    }
    attributes |= _activation_attributes(cell, options, stack.directions)
    if options.get("preactivation_clip", math.inf) < math.inf:
        attributes["clip"] = options["preactivation_clip"]
    if options.get("coupled_gates") == "input":
        attributes["input_forget"] = 1
    if cell == "gru" and options.get("reset_after", True):
        attributes["linear_before_reset"] = 1
    return OPERATORS[cell], attributes, weights


def _plain_options(layer: Layer) -> dict[str, Any]:
    """Options of a layer's cell that are not at their defaults, if ONNX has a place for all of them."""
    cell = layer._stack.cell
    options = dict(cell.options)
    known = {*ROLES[cell.cell], "preactivation_clip", "peepholes", "reset_after"}
    foreign = {name: value for name, value in options.items() if name not in known and value != DEFAULTS[name]}
    if foreign.get("coupled_gates") == "input":
        del foreign["coupled_gates"]
    foreign |= {name: value for name in ("layer_norm", "zoneout") if (value := getattr(cell, name))}
    if foreign:
        shown = ", ".join(f"{name}={value!r}" for name, value in foreign.items())
        raise ValueError(f"layer must be one that ONNX's {OPERATORS[cell.cell]} can be, got {shown}")
    return options


def _activation_attributes(cell: str, options: Mapping[str, Any], directions: int) -> dict[str, Any]:
    """Activations with all their parameters, if they are not those that ONNX has by default."""
    names = {own: name for name, own in ACTIVATIONS.items()}
    chosen = [options.get(role, (ACTIVATIONS[usual],)) for role, usual in zip(ROLES[cell], USUAL[cell], strict=True)]
    chosen = [("affine", 1.0, 0.0) if own == "identity" else (own, *given) for own, *given in chosen]
    if [names[own] for own, *_ in chosen] == [*USUAL[cell]]:
        return {}
    made: dict[str, Any] = {"activations": tuple(names[own] for own, *_ in chosen) * directions}
    for k, name in enumerate(("activation_alpha", "activation_beta")):
        if numbers := tuple(given[k] for _, *given in chosen if len(given) > k) * directions:
            made[name] = numbers
    return made
