"""The LSTM, GRU and RNN nodes of ONNX as layers of numlstm's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import cells
from ...backends.contract import BackendUnavailableError
from ...backends.dispatch import backend_for
from ...checks import check_option
from ...layers import LAYERS
from ...layers.layer import Layer, layer_of
from ...layers.options import not_defaults, stack_of
from . import TooLarge

# For each block of rows in numlstm's order, its number in ONNX's: i, f, g, o among i, o, f, c; r, z, n among z, r, h.
ORDERS = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2), "rnn": (0,)}
PEEPHOLES = (0, 2, 1)  # likewise, i, f, o among i, o, f

# The options of a cell that are activations, in ONNX's order; and ONNX's defaults for them.
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
BY_LOWER_CASE = {name.lower(): ours for name, ours in ACTIVATIONS.items()}
WITHOUT_DEFAULTS = ("affine", "scaled_tanh")  # no operators of ONNX's, which would have defaults
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}  # whether each goes backwards
READ_ONLY = "a graph's layers are for reading: its weights are its constants; copy.copy(layer) is a layer of its own"
DTYPES = {"float16": "float32", "float32": "float32", "float64": "float64"}  # of layers, for those of nodes


class Weights(NamedTuple):
    """The weights of a node of ONNX's, for each direction.

    Attributes
    ----------
    W : array, shape (directions, blocks · H, D)
    R : array, shape (directions, blocks · H, H)
    B : array, shape (directions, 2 · blocks · H), or None
        The biases of both products, one after the other.
    P : array, shape (directions, 3H), or None
    """

    W: np.ndarray
    R: np.ndarray
    B: np.ndarray | None = None
    P: np.ndarray | None = None


class DirectedLayer(NamedTuple):
    """A layer for one direction of a node, or for both.

    Attributes
    ----------
    layer : Layer
    backwards : bool
        Whether it reads sequences from the last step to the first.
    """

    layer: Layer
    backwards: bool


class LayerCache:
    """The layers of a graph by what they are made of: nodes share them, as models share layers.

    Parameters
    ----------
    left : int
        Bytes that layers and results of constants may still take.
    backend : str or None
        Of the layers.
    """

    def __init__(self, left: int, backend: str | None) -> None:
        self._layers: dict[Any, list[DirectedLayer]] = {}
        self._weights: list[Weights] = []
        self._backend = backend
        self.left = left

    def reserve(self, size: int) -> None:
        """Take some of the bytes that are left.

        Raises
        ------
        TooLarge
            If there are not so many.
        """
        if size > self.left:
            raise TooLarge(f"what is made of constants must have at most {self.left} bytes more, got {size}")
        self.left -= size

    def get(
        self, cell: str, attributes: Mapping[str, Any], weights: Weights, quantised: bool = False
    ) -> list[DirectedLayer]:
        """The layers that compute what a node does; where weights were `quantised`, in int8 if the backend can."""
        key = (cell, repr(attributes), *map(id, weights))
        if key not in self._layers:
            item = np.dtype(DTYPES.get(weights.W.dtype.name, "float64")).itemsize
            self.reserve(sum(item * array.size for array in weights if array is not None))
            backend, kind = _quantised_on(self._backend) if quantised else (self._backend, None)
            self._weights.append(weights)  # while these are kept, no others have their ids
            self._layers[key] = layers_of(cell, attributes, weights, backend, kind)
        return self._layers[key]


def _quantised_on(backend: str | None) -> tuple[str | None, str | None]:
    """The backend that computes in int8, where the one in force does; and int8, or None."""
    try:
        chosen = backend_for(backend)
    except BackendUnavailableError:
        return backend, None
    return (chosen.name, "int8") if "int8" in chosen.compute_dtypes else (backend, None)


def layers_of(
    cell: str, attributes: Mapping[str, Any], weights: Weights, backend: str | None, compute_dtype: str | None = None
) -> list[DirectedLayer]:
    """The layers that compute what a node does: one for both directions if they are alike, else one for each."""
    directions = DIRECTIONS[check_option(attributes["direction"], "direction", [*DIRECTIONS])]
    hidden = _check_weights(cell, weights, len(directions), attributes["hidden_size"])
    single = DTYPES[weights.W.dtype.name] == "float32"
    options = {"hidden_size": hidden, "bias": weights.B is not None} | _options(cell, attributes, weights, single)
    chosen = _activations(cell, attributes, len(directions), single)
    if len(chosen) == 2 and chosen[0] == chosen[1]:
        both = options | chosen[0] | {"bidirectional": True}
        return [DirectedLayer(_layer(cell, both, [(0, ""), (1, "_reverse")], weights, backend, compute_dtype), False)]
    return [
        DirectedLayer(_layer(cell, options | of_direction, [(k, "")], weights, backend, compute_dtype), backwards)
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
    """H, if the shapes of all weights fit it."""
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
    """The activations of each direction, as options. Parameters go in order to the activations that take some."""
    roles = ROLES[cell]
    names = attributes["activations"] or USUAL[cell] * directions
    if cell == "rnn" and len(names) == 2:
        names = names[:directions]  # ONNX's default has one for each direction, whether there are two or not
    if len(names) != len(roles) * directions:
        raise ValueError(f"activations must be {len(roles)} for each of {directions} directions, got {[*names]}")
    alphas_and_betas = [iter(attributes[f"activation_{name}"]) for name in ("alpha", "beta")]
    chosen: list[Any] = []
    for name in names:
        ours = BY_LOWER_CASE.get(name.lower(), "")
        if not ours:
            raise ValueError(f"activations must be among {[*ACTIVATIONS]}, got {name!r:.80}")
        defaults = cells.ACTIVATIONS[ours][1]
        numbers = [next(numbers, None) for numbers, _ in zip(alphas_and_betas, defaults, strict=False)]
        if None in numbers and ours in WITHOUT_DEFAULTS:
            raise ValueError(f"activation {name!r:.80} must have its number in activation_alpha and in activation_beta")
        parameters = [default if number is None else number for number, default in zip(numbers, defaults, strict=True)]
        parameters = [_shortest(number) for number in parameters] if single else parameters
        chosen.append(ours if (*parameters,) == defaults else (ours, *parameters))
    return [dict(zip(roles, chosen[k * len(roles) :], strict=False)) for k in range(directions)]


def _shortest(number: float) -> float:
    """A number of single precision as its author wrote it: 0.2, not the double nearest to its rounded value."""
    return float(str(np.float32(number)))


def _layer(
    cell: str, options: Mapping[str, Any], directions: list[tuple[int, str]], weights: Weights, backend: str | None,
    compute_dtype: str | None,
) -> Layer:  # fmt: skip
    """A layer with the weights of one direction or of both."""
    dtype = DTYPES[weights.W.dtype.name]
    stack = stack_of(cell, weights.W.shape[2], dtype, options).computing_in(compute_dtype)
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
