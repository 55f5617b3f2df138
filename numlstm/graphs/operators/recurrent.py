"""ONNX's LSTM, GRU and RNN: layers in a graph, with arrays in ONNX's order of axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...backends.dispatch import backend_for
from ...layers.layer import Layer
from . import FLOAT, FLOATS, INT, TEXT, TEXTS, check_room, operator
from .gathering import reversed_within
from .layers import DirectedLayer, LayerCache, Weights
from .quantised import BYTES

SMALL = 1 << 20  # elements that there is room for in any case
FEW = 32  # rows of a small batch
PLACES = {"W": 1, "R": 2, "B": 3, "P": 7}  # of inputs that layers are made of
QUANTISED_PLACES = {"W_scale": 8, "W_zero_point": 9, "R_scale": 10, "R_zero_point": 11}

_attributes: dict[str, Any] = {
    "activation_alpha": FLOATS(()), "activation_beta": FLOATS(()), "activations": TEXTS(), "clip": FLOAT(),
    "direction": TEXT("forward"), "hidden_size": INT(), "layout": INT(0, since=14),
}  # fmt: skip


def _prepare(
    cell: str, attributes: Mapping[str, Any], known: Sequence[Any], wanted: tuple[bool, ...], cache: LayerCache
) -> tuple[Callable[..., Any], list[DirectedLayer], list[int]]:
    """The function of a node's arrays, the layers in it, and the inputs that these are made of."""
    arrays, used = _constants(known, PLACES)
    weights = Weights(**arrays)
    layers = cache.get(cell, attributes, weights)
    if attributes["layout"] not in (0, 1):
        raise ValueError(f"layout must be 0 or 1, got {attributes['layout']}")
    node = _Recurrent(layers, weights.W.dtype.name, batch_first=bool(attributes["layout"]), wanted=wanted)
    return node, layers, used


def _constants(known: Sequence[Any], places: Mapping[str, int]) -> tuple[dict[str, Any], list[int]]:
    """The inputs that layers are made of, by name, and their places."""
    places = {name: place for name, place in places.items() if place < len(known)}
    for name, place in places.items():
        if known[place] is ...:
            raise ValueError(f"{name} must be a constant, or follow from constants: a layer is made of it")
    arrays = {name: known[place] for name, place in places.items()}
    return arrays, [place for place in places.values() if known[place] is not None]


@operator("LSTM", (3, 8), (0, 3), prepares=True, input_forget=INT(0), **_attributes)
def lstm(*arguments: Any) -> Any:
    """Long Short-Term Memory."""
    return _prepare("lstm", *arguments)


@operator("GRU", (3, 6), (0, 2), prepares=True, linear_before_reset=INT(0), **_attributes)
def gru(*arguments: Any) -> Any:
    """Gated recurrent units."""
    return _prepare("gru", *arguments)


@operator("RNN", (3, 6), (0, 2), prepares=True, **_attributes)
def rnn(*arguments: Any) -> Any:
    """Elman's recurrent units."""
    return _prepare("rnn", *arguments)


@operator("DynamicQuantizeLSTM", (3, 12), (0, 3), domain="com.microsoft", prepares=True, input_forget=INT(0),
          **{name: attribute for name, attribute in _attributes.items() if name != "layout"})  # fmt: skip
def quantised_lstm(
    attributes: Mapping[str, Any], known: Sequence[Any], wanted: tuple[bool, ...], cache: LayerCache
) -> tuple[Callable[..., Any], list[DirectedLayer], list[int]]:
    """ONNX Runtime's LSTM with weights in int8 or uint8, (directions, D, 4H), and a step for each direction or row."""
    arrays, used = _constants(known, PLACES | QUANTISED_PLACES)
    dense = {name: _dequantised(name, *(arrays.get(part) for part in (name, f"{name}_scale", f"{name}_zero_point")))
             for name in "WR"}  # fmt: skip
    weights = Weights(**dense, B=arrays.get("B"), P=arrays.get("P"))
    layers = cache.get("lstm", attributes, weights, quantised=True)
    node = _Recurrent(layers, "float32", batch_first=False, wanted=wanted)
    return lambda *inputs: node(*inputs[:8]), layers, used


def _dequantised(name: str, numbers: Any, scale: Any, zero: Any) -> np.ndarray:
    """Weights as ONNX's LSTM has them, (directions, 4H, .)."""
    if scale is None or scale.dtype != np.float32 or numbers.dtype.name not in BYTES or numbers.ndim != 3:
        raise ValueError(f"{name} must be of one of {[*BYTES]} with three axes, and {name}_scale float32")
    directions, _, rows = numbers.shape
    zero = np.zeros_like(scale, numbers.dtype) if zero is None else zero
    if (
        scale.shape not in ((directions,), (directions, rows))
        or zero.shape != scale.shape
        or zero.dtype != numbers.dtype
    ):
        raise ValueError(
            f"{name}_scale and {name}_zero_point must have shape {(directions,)} or {(directions, rows)}, and the "
            f"latter the type of {name}, got {scale.shape}, and {zero.dtype} of {zero.shape}"
        )
    scale, zero = (array.reshape(directions, 1, -1) for array in (scale, zero.astype("float32")))
    return ((numbers.astype("float32") - zero) * scale).transpose(0, 2, 1)


class _Recurrent:
    """The function of a node: it runs layers on arrays in ONNX's layout.

    Parameters
    ----------
    layers : list of DirectedLayer
        One for each direction, or one for both.
    dtype : str
        Of the node's arrays.
    batch_first : bool
    wanted : tuple of bool
        Which of Y, Y_h and Y_c are read.
    """

    def __init__(self, layers: list[DirectedLayer], dtype: str, *, batch_first: bool, wanted: tuple[bool, ...]) -> None:
        self._layers, self._dtype, self._batch_first = layers, np.dtype(dtype), batch_first
        self._outputs, self._finals = len(wanted), any(wanted[1:])
        layer = self._layer = layers[0].layer
        self._layer_dtype = np.dtype(layer.dtype)  # float32 for half-precision numbers
        self._features, self._hidden = layer.input_size, layer._stack.hidden_sizes[0]
        self._directions = sum(directed.layer._stack.directions for directed in layers)
        self._states = layer._stack.states
        self._growth = self._directions * self._hidden
        self._plain = len(layers) == 1 and not layers[0].backwards and self._layer_dtype is self._dtype

    def __call__(
        self, x: np.ndarray, w: Any, r: Any, b: Any = None, lengths: np.ndarray | None = None,
        h_0: np.ndarray | None = None, c_0: np.ndarray | None = None, p: Any = None,
    ) -> tuple[np.ndarray, ...]:  # fmt: skip
        """Y, Y_h and Y_c, or the first of them."""
        if x.dtype != self._dtype or x.ndim != 3 or x.shape[2] != self._features:
            axes = "N, T" if self._batch_first else "T, N"
            expected = f"X must be {self._dtype} of shape ({axes}, {self._features})"
            raise ValueError(f"{expected}, got {x.dtype} of shape {x.shape}")
        rows = x if self._batch_first else x.transpose(1, 0, 2)
        steps = None if lengths is None else self._check_lengths(lengths, rows.shape)
        if self._plain and steps is h_0 is c_0 is None and (results := self._small(rows)):
            return results
        if self._layer_dtype is not self._dtype:
            rows = rows.astype(self._layer_dtype)
        state = None if h_0 is None and c_0 is None else self._initial(h_0, c_0, len(rows))
        if x.size * self._growth > SMALL:
            check_room((*rows.shape[:2], self._directions, self._hidden), x)
        y, final = self._run(rows, state, steps) if rows.size else self._zeros(rows)
        return self._in_onnx_layout(y, final)

    def _small(self, rows: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """The results of a small call, for which the layer keeps arrays; None if the call is not small."""
        layer = self._layer
        backend = backend_for(layer.backend)
        if (idle := layer.idle_runners(rows.shape, backend)) is None:
            return None
        runner = layer.acquire_runner(idle, rows.shape, backend)
        y = runner.outputs(rows)
        final = runner.copies() if self._finals else ()
        layer.release_runner(idle, runner)
        return self._in_onnx_layout(y, [final] if type(final) is np.ndarray else list(final))

    def _check_lengths(self, lengths: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """The length of each row, or None if all rows have all steps."""
        if lengths.dtype.kind not in "iu" or lengths.shape != shape[:1]:
            expected = f"sequence_lens must be integers of shape ({shape[0]},)"
            raise ValueError(f"{expected}, got {lengths.dtype} of shape {lengths.shape}")
        if not lengths.size:
            return None
        if lengths.size < FEW:  # NumPy would take longer
            numbers = lengths.tolist()
            least, most = min(numbers), max(numbers)
        else:
            least, most = int(lengths.min()), int(lengths.max())
        if least < 0 or most > shape[1]:
            raise ValueError(f"sequence_lens must be in 0..{shape[1]}, got {least} to {most}")
        if least == shape[1]:
            return None
        return lengths.astype("int64")

    def _initial(self, h_0: np.ndarray | None, c_0: np.ndarray | None, rows: int) -> list[np.ndarray] | None:
        """Initial states, (directions, N, H) each; None if all are zeros, which makes calls faster."""
        shape = (rows, self._directions) if self._batch_first else (self._directions, rows)
        nonzero = False
        for name, state in (("initial_h", h_0), ("initial_c", c_0))[: self._states]:
            if state is None:
                continue
            if state.shape != (*shape, self._hidden) or state.dtype != self._dtype:
                expected = f"{name} must be {self._dtype} of shape {(*shape, self._hidden)}"
                raise ValueError(f"{expected}, got {state.dtype} of shape {state.shape}")
            nonzero = nonzero or bool(state.any())
        if not nonzero:
            return None
        zeros = np.zeros((self._directions, rows, self._hidden), self._layer_dtype)
        states = []
        for state in (h_0, c_0)[: self._states]:
            if state is None:
                states.append(zeros)
            else:
                ordered = state.swapaxes(0, 1) if self._batch_first else state
                states.append(ordered.astype(self._layer_dtype, copy=False))
        return states

    def _run(
        self, rows: np.ndarray, state: list[np.ndarray] | None, lengths: np.ndarray | None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Outputs (N, T, directions · H) and final states (directions, N, H)."""
        empty = None
        if lengths is not None and not lengths.all():
            empty, lengths = lengths == 0, np.maximum(lengths, 1)  # empty rows run for one step, then become zeros
        results = []
        for k, (layer, backwards) in enumerate(self._layers):
            initial = state if state is None or len(self._layers) == 1 else [array[k : k + 1] for array in state]
            results.append(self._run_layer(layer, backwards, rows, initial, lengths))
        y, final = results[0]
        if len(results) > 1:
            y = np.concatenate([outputs for outputs, _ in results], 2)
            final = [np.concatenate(states) for states in zip(*(states for _, states in results), strict=True)]
        if empty is not None:
            y[empty] = 0
            for array in final:
                array[:, empty] = 0
        return y, final

    def _run_layer(
        self, layer: Layer, backwards: bool, rows: np.ndarray, state: list[np.ndarray] | None,
        lengths: np.ndarray | None,
    ) -> tuple[np.ndarray, list[np.ndarray]]:  # fmt: skip
        """Outputs and final states of one layer."""
        initial: Any = state if state is None or self._states > 1 else state[0]
        y, final = layer(_reversed(rows, lengths) if backwards else rows, initial, lengths)
        return _reversed(y, lengths) if backwards else y, list(final) if self._states > 1 else [final]

    def _zeros(self, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """The results if there are no rows or no steps."""
        y = np.zeros((*rows.shape[:2], self._directions * self._hidden), self._layer_dtype)
        state_shape = self._directions, len(rows), self._hidden
        return y, [np.zeros(state_shape, self._layer_dtype) for _ in range(self._states)]

    def _in_onnx_layout(self, y: np.ndarray, final: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Results in ONNX's layout and type."""
        rows, steps, _ = y.shape
        y = y.reshape(rows, steps, self._directions, self._hidden)
        if self._batch_first:
            final = [state.swapaxes(0, 1) for state in final]
        else:
            y = y.transpose(1, 2, 0, 3)
        results = (y, *final)[: self._outputs]
        if self._layer_dtype is self._dtype:
            return results
        with np.errstate(over="ignore"):
            return tuple(array.astype(self._dtype) for array in results)


def _reversed(rows: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """(N, T, ...) with the steps of each row in the opposite order."""
    return rows[:, ::-1] if lengths is None else reversed_within(rows, lengths)
