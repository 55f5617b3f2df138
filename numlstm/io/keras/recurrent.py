"""Keras's recurrent layers as ONNX's LSTM, GRU and RNN nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...graphs.operators.layers import USUAL
from .activations import of_cell
from .builder import (
    OWN,
    GraphBuilder,
    Tensor,
    binary,
    concat,
    flip,
    number,
    reshape,
    squeeze,
    take,
    transpose,
    unsqueeze,
)
from .config import KerasLayer

# For each cell: ONNX's name; the order of Keras's blocks of columns in ONNX; its activations, in ONNX's order.
CELLS: dict[str, tuple[str, tuple[int, ...], tuple[str, ...]]] = {
    "LSTM": ("LSTM", (0, 3, 1, 2), ("recurrent_activation", "activation", "activation")),  # i f c o as i o f c
    "GRU": ("GRU", (0, 1, 2), ("recurrent_activation", "activation")),  # both z r h
    "SimpleRNN": ("RNN", (0,), ("activation",)),
}
DEFAULTS = {"activation": "tanh", "recurrent_activation": "sigmoid"}
LAYERS = (*CELLS, "RNN")
MERGES = ("concat", "sum", "mul", "ave", None)


@dataclass(frozen=True)
class Scan:
    """The results of a recurrent layer.

    Attributes
    ----------
    steps : Tensor
        Outputs (N, T, H), in the order of the input.
    last : Tensor
        The output (N, H) of the last step that was computed.
    states : list of Tensor
        The final ones (N, H).
    """

    steps: Tensor
    last: Tensor
    states: list[Tensor]


def recurrent(layer: KerasLayer, x: Tensor, mask: Tensor | None, state: Sequence[Tensor], zeros: bool | None = None,
              turned: bool = False) -> list[Tensor]:  # fmt: skip
    """The outputs of a layer of `LAYERS`, and final states if it returns them.

    `zeros` replaces the option zero_output_for_mask in a `Bidirectional`; `turned` reverses the outputs in time.
    """
    builder = layer.builder
    sequences, with_state, backwards, own_zeros = _flags(layer, x, mask)
    scan = _scan(layer, x, mask, state, backwards, own_zeros if zeros is None else zeros)
    output = scan.last
    if sequences:
        output = flip(builder, scan.steps, 1) if backwards != turned else scan.steps
    return [output, *(scan.states if with_state else [])]


def _flags(layer: KerasLayer, x: Tensor, mask: Tensor | None) -> tuple[bool, bool, bool, bool]:
    """Whether it returns all outputs, returns states, goes backwards, and has zeros as masked outputs."""
    options = layer.options
    options.off("stateful", "a graph keeps no state from one call to the next")
    options.ignore("cell", "unroll", "dropout", "recurrent_dropout", "unit_forget_bias", "implementation")
    if x.ndim != 3:
        raise layer.refused(f"its input must have axes (N, T, D), got shape {x.shape}")
    if mask is not None and (mask.ndim != 2 or mask.dtype != "bool"):
        raise layer.refused(f"its mask must be bool with axes (N, T), got {mask.dtype} of shape {mask.shape}")
    names = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
    sequences, with_state, backwards, zeros = (options.flag(name, False) for name in names)
    return sequences, with_state, backwards, zeros


def _scan(
    layer: KerasLayer, x: Tensor, mask: Tensor | None, state: Sequence[Tensor], backwards: bool, zeros: bool
) -> Scan:
    """One pass over the steps that count, by one cell or by several cells on top of one another."""
    builder = layer.builder
    x, counts = _compact(builder, x, mask)
    cells, left, finals = _cells(layer), [*state], []
    if left and len(left) != (needed := sum(cell.states for cell in cells)):
        raise layer.refused(f"initial_state must have {needed} arrays, got {len(left)}")
    y = transpose(builder, x, (1, 0, 2))
    for cell in cells:
        if (features := cell.weights[0].shape[2]) != y.shape[2]:
            raise layer.refused(f"its input must have {features} features, as its kernel tells, got shape {y.shape}")
        initial, left = left[: cell.states], left[cell.states :]
        y, states = cell.run(builder, y, counts, initial, backwards)
        finals.append(states)
    steps = transpose(builder, y, (1, 0, 2))
    last = finals[-1][0]
    if mask is not None:
        steps = _spread(builder, steps, mask, zeros, backwards)
        last = take(builder, steps, 0 if backwards else -1, 1)
    return Scan(steps, last, [state for states in finals for state in states])


def _compact(builder: GraphBuilder, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The steps that count, moved to the front, and their number; without a mask all steps count."""
    if mask is None:
        return x, None
    x, counts = builder.nodes("Compact", [x, mask], [(x.shape, x.dtype), (x.shape[:1], "int32")], OWN)
    return x, counts


def _spread(builder: GraphBuilder, y: Tensor, mask: Tensor, zeros: bool, backwards: bool) -> Tensor:
    """The outputs of steps that count, moved back to where they were."""
    flags = {"zeros": int(zeros), "reverse": int(backwards)}
    (spread,) = builder.nodes("Spread", [y, mask], [(y.shape, y.dtype)], OWN, **flags)
    return spread


# Cells --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnnxCell:
    """A cell with its weights, for a recurrent node of ONNX's.

    Attributes
    ----------
    op : {"LSTM", "GRU", "RNN"}
    units : int
    weights : tuple of Tensor or None
        W, R and B.
    attributes : mapping of str to value
    """

    op: str
    units: int
    weights: tuple[Tensor, Tensor, Tensor | None]
    attributes: Mapping[str, Any]

    @property
    def states(self) -> int:
        """The number of states."""
        return 2 if self.op == "LSTM" else 1

    def node(
        self, builder: GraphBuilder, x: Tensor, counts: Tensor | None, initial: Sequence[Tensor], direction: str
    ) -> tuple[Tensor, ...]:
        """Outputs (T, directions, N, H) of an input (T, N, D), and final states (directions, N, H)."""
        time, rows, _ = x.shape
        directions = 2 if direction == "bidirectional" else 1
        shapes: list[Any] = [((time, directions, rows, self.units), x.dtype)]
        shapes += [((directions, rows, self.units), x.dtype)] * self.states
        inputs = [x, *self.weights, counts, *(unsqueeze(builder, state, 0) for state in initial)]
        while inputs[-1] is None:
            inputs.pop()
        return builder.nodes(self.op, inputs, shapes, hidden_size=self.units, direction=direction, **self.attributes)

    def run(
        self, builder: GraphBuilder, x: Tensor, counts: Tensor | None, initial: Sequence[Tensor], backwards: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Outputs (T, N, H) of an input (T, N, D), and final states (N, H)."""
        y, *finals = self.node(builder, x, counts, initial, "reverse" if backwards else "forward")
        states = [squeeze(builder, final, 0) for final in finals]
        if counts is not None and initial:  # a row without steps keeps its state
            some = binary(builder, "Greater", unsqueeze(builder, counts, 1), number(builder, 0, counts), "bool")
            states = [
                builder.node("Where", [some, state, first], state.shape, state.dtype)
                for state, first in zip(states, initial, strict=True)
            ]
        return squeeze(builder, y, 1), states

    def beside(self, builder: GraphBuilder, other: OnnxCell) -> OnnxCell:
        """The cell of both directions; they differ in nothing but weights."""
        w, r, b = (
            None if one is None or two is None else concat(builder, [one, two], 0)
            for one, two in zip(self.weights, other.weights, strict=True)
        )
        assert w is not None
        assert r is not None
        twice = {name: 2 * value if isinstance(value, tuple) else value for name, value in self.attributes.items()}
        return OnnxCell(self.op, self.units, (w, r, b), twice)


def _cells(layer: KerasLayer) -> list[OnnxCell]:
    """The cells of a layer, from the first to the last."""
    if layer.kind in CELLS:
        return [_cell(layer, layer.kind, f"{layer.path}/cell")]
    (child,) = layer.children
    cells = child.children if child.kind == "StackedRNNCells" else [child]
    for cell_layer in cells:
        if cell_layer.kind.removesuffix("Cell") not in CELLS or cell_layer.kind in CELLS:
            raise cell_layer.refused(f"a cell must be one of {[f'{kind}Cell' for kind in CELLS]}")
    cells_made = [_cell(cell_layer, cell_layer.kind.removesuffix("Cell"), cell_layer.path) for cell_layer in cells]
    for cell_layer in (child, *cells):
        cell_layer.options.ignore("cells", "dropout", "recurrent_dropout", "unit_forget_bias", "implementation")
        cell_layer.options.finish()
    return cells_made


def _cell(layer: KerasLayer, kind: str, path: str) -> OnnxCell:
    """The cell with the options and arrays of a layer."""
    op, order, roles = CELLS[kind]
    options, dtype = layer.options, layer.options.dtype
    units, bias = options.integer("units", least=1), options.flag("use_bias", True)
    after = options.flag("reset_after", True) if op == "GRU" else False
    names = ("kernel", "recurrent_kernel", *(("bias",) if bias else ()))
    arrays = layer.arrays(names, dtype, path)
    columns = len(order) * units
    shapes = [(None, columns), (units, columns), (2, columns) if after else (columns,)]
    for array, name, shape in zip(arrays, names, shapes, strict=False):
        layer.check(array, name, shape)
    kernel, recurrent_kernel, *biases = arrays
    attributes = _activations(layer, op, roles) | ({"linear_before_reset": 1} if after else {})
    weights = (
        layer.constant("W", lambda: _rows(kernel, order)),
        layer.constant("R", lambda: _rows(recurrent_kernel, order)),
        layer.constant("B", lambda: _biases(biases[0], order)) if bias else None,
    )
    return OnnxCell(op, units, weights, attributes)


def _rows(kernel: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """The columns of a kernel as rows, in blocks in another order, for one direction."""
    blocks = np.split(kernel.T, len(order))
    return np.concatenate([blocks[k] for k in order])[None]


def _biases(bias: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """The biases of the products with x and with h; a single bias belongs to x."""
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return np.concatenate([_rows(part[None], order)[0, :, 0] for part in both])[None]


def _activations(layer: KerasLayer, op: str, roles: Sequence[str]) -> dict[str, Any]:
    """Attributes that name activations, unless they are ONNX's defaults."""
    chosen = [of_cell(layer, role, DEFAULTS[role]) for role in roles]
    names = tuple(name for name, _ in chosen)
    if names == USUAL[op.lower()]:
        return {}
    alphas, betas = (tuple(values[k] for _, values in chosen if len(values) > k) for k in (0, 1))
    attributes: dict[str, Any] = {"activations": names}
    return attributes | ({"activation_alpha": alphas} if alphas else {}) | ({"activation_beta": betas} if betas else {})


def count_sequences(layer: KerasLayer) -> int:
    """The number of outputs that are sequences and have a mask; they come first."""
    if layer.kind != "Bidirectional":
        return int(layer.options.flag("return_sequences", False))
    merged = layer.options.value("merge_mode", "concat") is not None
    return count_sequences(layer.children[0]) * (1 if merged else 2)


# Both directions ----------------------------------------------------------------------------------------------


def bidirectional(layer: KerasLayer, x: Tensor, mask: Tensor | None, state: Sequence[Tensor]) -> list[Tensor]:
    """The merged outputs of a layer in each direction, and the states of both."""
    merge = layer.options.choice("merge_mode", MERGES, "concat")
    layer.options.ignore("layer", "backward_layer")
    flags = [[child.options.flag(name, default) for name, default in SHARED] for child in layer.children]
    if flags[0] != flags[1] or len({child.options.flag("go_backwards", False) for child in layer.children}) == 1:
        raise layer.refused("its two layers must differ in go_backwards, and not in return_sequences or return_state")
    if merge == "concat" and not state and (alike := _alike(layer)) is not None:
        return _both(layer, *alike, x, mask)
    zeros, half = flags[0][0], len(state) // 2
    results = []
    for k, child in enumerate(layer.children):
        initial = state[half:] if k else state[:half]
        with layer.builder.within(("forward", "backward")[k]):
            results.append(recurrent(child, x, mask, initial, zeros, turned=bool(k)))
        child.options.finish()
    (y, *states), (back, *others) = results
    return [*_merged(layer, merge, y, back), *states, *others]


SHARED = (("return_sequences", False), ("return_state", False))


def _alike(layer: KerasLayer) -> tuple[OnnxCell, OnnxCell] | None:
    """The cells of the two directions, if one node can compute both."""
    forward, backward = layer.children
    if forward.kind not in CELLS or backward.kind not in CELLS or forward.options.flag("go_backwards", False):
        return None
    cells = []
    for child, name in zip(layer.children, ("forward", "backward"), strict=True):
        with layer.builder.within(name):
            cells += _cells(child)
    first, second = cells
    same = (first.op, first.units, first.attributes) == (second.op, second.units, second.attributes)
    return (first, second) if same and (first.weights[2] is None) == (second.weights[2] is None) else None


def _both(layer: KerasLayer, first: OnnxCell, second: OnnxCell, x: Tensor, mask: Tensor | None) -> list[Tensor]:
    """Both directions by one node: outputs side by side, and the states of both."""
    builder = layer.builder
    (sequences, with_state, *_), _ = (_flags(child, x, mask) for child in layer.children)
    for child in layer.children:
        child.options.finish()
    x, counts = _compact(builder, x, mask)
    rows, time, _ = x.shape
    cell = first.beside(builder, second)
    y, *finals = cell.node(builder, transpose(builder, x, (1, 0, 2)), counts, [], "bidirectional")
    width = 2 * first.units
    if not sequences:
        output = reshape(builder, transpose(builder, finals[0], (1, 0, 2)), (rows, width))
    else:
        output = reshape(builder, transpose(builder, y, (2, 0, 1, 3)), (rows, time, width))
    if sequences and mask is not None:
        output = _spread(builder, output, mask, zeros=True, backwards=False)
    states = [take(builder, state, direction, 0) for direction in (0, 1) for state in finals]
    return [output, *(states if with_state else [])]


def _merged(layer: KerasLayer, merge: str | None, y: Tensor, back: Tensor) -> list[Tensor]:
    """The outputs of two directions as one, or both."""
    builder = layer.builder
    if merge is None:
        return [y, back]
    if merge == "concat":
        return [concat(builder, [y, back], -1)]
    if y.shape[-1] != back.shape[-1]:
        raise layer.refused(f"its two layers must have the same units with merge_mode={merge!r}")
    combined = binary(builder, "Mul" if merge == "mul" else "Add", y, back)
    return [binary(builder, "Div", combined, number(builder, 2.0, combined)) if merge == "ave" else combined]
