"""Keras's recurrent layers as ONNX's LSTM, GRU and RNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...graphs.operators.recurrent import USUAL
from .activations import of_cell
from .config import Part
from .sketch import OWN, Sketch, Tensor, binary, concat, flip, number, reshape, squeeze, take, transpose, unsqueeze

# Of cells: ONNX's name; Keras's blocks of columns in ONNX's order; options that are activations, as ONNX orders them.
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
    """What a recurrent layer gives, whatever parts of it are wanted.

    Attributes
    ----------
    steps : Tensor
        Outputs (N, T, H), in the order of the input.
    last : Tensor
        The output (N, H) of the step that was taken last.
    states : list of Tensor
        The final ones (N, H).
    """

    steps: Tensor
    last: Tensor
    states: list[Tensor]


def recurrent(part: Part, x: Tensor, mask: Tensor | None, state: Sequence[Tensor], zeros: bool | None = None,
              turned: bool = False) -> list[Tensor]:  # fmt: skip
    """What a layer of `LAYERS` gives: the output, and final states if they are asked for.

    `zeros` is what a `Bidirectional` around it makes of zero_output_for_mask; `turned` reverses the outputs in time.
    """
    sketch = part.sketch
    sequences, with_state, backwards, own_zeros = _flags(part, x, mask)
    scan = _scan(part, x, mask, state, backwards, own_zeros if zeros is None else zeros)
    output = scan.last
    if sequences:
        output = flip(sketch, scan.steps, 1) if backwards != turned else scan.steps
    return [output, *(scan.states if with_state else [])]


def _flags(part: Part, x: Tensor, mask: Tensor | None) -> tuple[bool, bool, bool, bool]:
    """Whether all outputs are wanted, and the states, it goes backwards, and masked outputs are zeros."""
    options = part.options
    options.off("stateful", "what a model remembers from one call to the next is not in its graph")
    options.ignore("cell", "unroll", "dropout", "recurrent_dropout", "unit_forget_bias", "implementation")
    if x.ndim != 3:
        raise part.refused(f"its input must have axes (N, T, D), got shape {x.shape}")
    if mask is not None and (mask.ndim != 2 or mask.dtype != "bool"):
        raise part.refused(f"its mask must be bool with axes (N, T), got {mask.dtype} of shape {mask.shape}")
    names = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
    sequences, with_state, backwards, zeros = (options.flag(name, False) for name in names)
    return sequences, with_state, backwards, zeros


def _scan(part: Part, x: Tensor, mask: Tensor | None, state: Sequence[Tensor], backwards: bool, zeros: bool) -> Scan:
    """One pass over the steps that count, by one cell or several on top of one another."""
    sketch, counts = part.sketch, None
    if mask is not None:
        shapes = [(x.shape, x.dtype), (x.shape[:1], "int32")]
        x, counts = sketch.nodes("Compact", [x, mask], shapes, OWN)
    cells, given, finals = _cells(part), [*state], []
    if given and len(given) != (needed := sum(cell.states for cell in cells)):
        raise part.refused(f"initial_state must have {needed} arrays, got {len(given)}")
    y = transpose(sketch, x, (1, 0, 2))
    for cell in cells:
        if (features := cell.weights[0].shape[2]) != y.shape[2]:
            raise part.refused(f"its input must have {features} features, as its kernel tells, got shape {y.shape}")
        own, given = given[: cell.states], given[cell.states :]
        y, states = cell.run(sketch, y, counts, own, backwards)
        finals.append(states)
    steps = transpose(sketch, y, (1, 0, 2))
    last = finals[-1][0]
    if mask is not None:
        (steps,) = sketch.nodes(
            "Spread", [steps, mask], [(steps.shape, steps.dtype)], OWN, zeros=int(zeros), reverse=int(backwards)
        )
        last = take(sketch, steps, 0 if backwards else -1, 1)
    return Scan(steps, last, [each for states in finals for each in states])


# Cells --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One recurrent operation of ONNX's.

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
        """How many there are."""
        return 2 if self.op == "LSTM" else 1

    def node(
        self, sketch: Sketch, x: Tensor, counts: Tensor | None, initial: Sequence[Tensor], direction: str
    ) -> tuple[Tensor, ...]:
        """Outputs (T, directions, N, H) of an input (T, N, D), and final states (directions, N, H)."""
        time, rows, _ = x.shape
        directions = 2 if direction == "bidirectional" else 1
        shapes: list[Any] = [((time, directions, rows, self.units), x.dtype)]
        shapes += [((directions, rows, self.units), x.dtype)] * self.states
        inputs = [x, *self.weights, counts, *(unsqueeze(sketch, each, 0) for each in initial)]
        while inputs[-1] is None:
            inputs.pop()
        return sketch.nodes(self.op, inputs, shapes, hidden_size=self.units, direction=direction, **self.attributes)

    def run(
        self, sketch: Sketch, x: Tensor, counts: Tensor | None, initial: Sequence[Tensor], backwards: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Outputs (T, N, H) of an input (T, N, D), and final states (N, H)."""
        y, *finals = self.node(sketch, x, counts, initial, "reverse" if backwards else "forward")
        states = [squeeze(sketch, each, 0) for each in finals]
        if counts is not None and initial:  # a row without steps keeps its state
            some = binary(sketch, "Greater", unsqueeze(sketch, counts, 1), number(sketch, 0, counts), "bool")
            states = [
                sketch.node("Where", [some, state, first], state.shape, state.dtype)
                for state, first in zip(states, initial, strict=True)
            ]
        return squeeze(sketch, y, 1), states

    def beside(self, sketch: Sketch, other: Cell) -> Cell:
        """The cell of both directions; they differ in nothing but weights."""
        w, r, b = (
            None if one is None or two is None else concat(sketch, [one, two], 0)
            for one, two in zip(self.weights, other.weights, strict=True)
        )
        assert w is not None
        assert r is not None
        twice = {name: 2 * value if isinstance(value, tuple) else value for name, value in self.attributes.items()}
        return Cell(self.op, self.units, (w, r, b), twice)


def _cells(part: Part) -> list[Cell]:
    """The cells of a layer, from the first to the last."""
    if part.kind in CELLS:
        return [_cell(part, part.kind, f"{part.path}/cell")]
    (child,) = part.children
    cells = child.children if child.kind == "StackedRNNCells" else [child]
    for each in cells:
        if each.kind.removesuffix("Cell") not in CELLS or each.kind in CELLS:
            raise each.refused(f"a cell must be one of {[f'{kind}Cell' for kind in CELLS]}")
    made = [_cell(each, each.kind.removesuffix("Cell"), each.path) for each in cells]
    for each in (child, *cells):
        each.options.ignore("cells", "dropout", "recurrent_dropout", "unit_forget_bias", "implementation")
        each.options.finish()
    return made


def _cell(part: Part, kind: str, path: str) -> Cell:
    """The cell that options and arrays describe."""
    op, order, roles = CELLS[kind]
    options, dtype = part.options, part.options.dtype
    units, bias = options.integer("units", least=1), options.flag("use_bias", True)
    after = options.flag("reset_after", True) if op == "GRU" else False
    names = ("kernel", "recurrent_kernel", *(("bias",) if bias else ()))
    arrays = part.arrays(names, dtype, path)
    columns = len(order) * units
    shapes = [(None, columns), (units, columns), (2, columns) if after else (columns,)]
    for array, name, shape in zip(arrays, names, shapes, strict=False):
        part.check(array, name, shape)
    kernel, recurrent_kernel, *biases = arrays
    attributes = _activations(part, op, roles) | ({"linear_before_reset": 1} if after else {})
    weights = (
        part.constant("W", lambda: _rows(kernel, order)),
        part.constant("R", lambda: _rows(recurrent_kernel, order)),
        part.constant("B", lambda: _biases(biases[0], order)) if bias else None,
    )
    return Cell(op, units, weights, attributes)


def _rows(kernel: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Columns of a kernel as rows, in blocks in another order, for one direction."""
    blocks = np.split(kernel.T, len(order))
    return np.concatenate([blocks[k] for k in order])[None]


def _biases(bias: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """What is added to the products with x and with h; one bias is all with x."""
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return np.concatenate([_rows(each[None], order)[0, :, 0] for each in both])[None]


def _activations(part: Part, op: str, roles: Sequence[str]) -> dict[str, Any]:
    """Attributes that name activations, unless they are ONNX's defaults."""
    found = [of_cell(part, role, DEFAULTS[role]) for role in roles]
    names = tuple(name for name, _ in found)
    if names == USUAL[op.lower()]:
        return {}
    alphas, betas = (tuple(values[k] for _, values in found if len(values) > k) for k in (0, 1))
    made: dict[str, Any] = {"activations": names}
    return made | ({"activation_alpha": alphas} if alphas else {}) | ({"activation_beta": betas} if betas else {})


def count_sequences(part: Part) -> int:
    """How many outputs of a layer are sequences, the first ones, which a mask goes with."""
    if part.kind != "Bidirectional":
        return int(part.options.flag("return_sequences", False))
    merged = part.options.value("merge_mode", "concat") is not None
    return count_sequences(part.children[0]) * (1 if merged else 2)


# Both directions ----------------------------------------------------------------------------------------------


def bidirectional(part: Part, x: Tensor, mask: Tensor | None, state: Sequence[Tensor]) -> list[Tensor]:
    """What a layer in each direction gives, merged, with the states of both."""
    merge = part.options.choice("merge_mode", MERGES, "concat")
    part.options.ignore("layer", "backward_layer")
    flags = [[child.options.flag(name, default) for name, default in SHARED] for child in part.children]
    if flags[0] != flags[1] or len({child.options.flag("go_backwards", False) for child in part.children}) == 1:
        raise part.refused("its two layers must differ in go_backwards, and not in return_sequences or return_state")
    if merge == "concat" and not state and (alike := _alike(part)) is not None:
        return _both(part, *alike, x, mask)
    zeros, half = flags[0][0], len(state) // 2
    made = []
    for k, child in enumerate(part.children):
        own = state[half:] if k else state[:half]
        with part.sketch.within(("forward", "backward")[k]):
            made.append(recurrent(child, x, mask, own, zeros, turned=bool(k)))
        child.options.finish()
    (y, *states), (back, *others) = made
    return [*_merged(part, merge, y, back), *states, *others]


SHARED = (("return_sequences", False), ("return_state", False))


def _alike(part: Part) -> tuple[Cell, Cell] | None:
    """The cells of the two directions, if one node can have both."""
    if any(child.kind not in CELLS for child in part.children) or part.children[0].options.flag("go_backwards", False):
        return None
    made = []
    for child, name in zip(part.children, ("forward", "backward"), strict=True):
        with part.sketch.within(name):
            made += _cells(child)
    first, second = made
    same = (first.op, first.units, first.attributes) == (second.op, second.units, second.attributes)
    return (first, second) if same and (first.weights[2] is None) == (second.weights[2] is None) else None


def _both(part: Part, first: Cell, second: Cell, x: Tensor, mask: Tensor | None) -> list[Tensor]:
    """Both directions by one node: outputs side by side, and the states of both."""
    sketch, counts = part.sketch, None
    (sequences, with_state, *_), _ = (_flags(child, x, mask) for child in part.children)
    for child in part.children:
        child.options.finish()
    if mask is not None:
        x, counts = sketch.nodes("Compact", [x, mask], [(x.shape, x.dtype), (x.shape[:1], "int32")], OWN)
    rows, time, _ = x.shape
    cell = first.beside(sketch, second)
    y, *finals = cell.node(sketch, transpose(sketch, x, (1, 0, 2)), counts, [], "bidirectional")
    width = 2 * first.units
    if not sequences:
        output = reshape(sketch, transpose(sketch, finals[0], (1, 0, 2)), (rows, width))
    else:
        output = reshape(sketch, transpose(sketch, y, (2, 0, 1, 3)), (rows, time, width))
    if sequences and mask is not None:
        (output,) = sketch.nodes("Spread", [output, mask], [(output.shape, output.dtype)], OWN, zeros=1, reverse=0)
    states = [take(sketch, each, direction, 0) for direction in (0, 1) for each in finals]
    return [output, *(states if with_state else [])]


def _merged(part: Part, merge: str | None, y: Tensor, back: Tensor) -> list[Tensor]:
    """The outputs of two directions as one, or both."""
    sketch = part.sketch
    if merge is None:
        return [y, back]
    if merge == "concat":
        return [concat(sketch, [y, back], -1)]
    if y.shape[-1] != back.shape[-1]:
        raise part.refused(f"its two layers must have the same units with merge_mode={merge!r}")
    made = binary(sketch, "Mul" if merge == "mul" else "Add", y, back)
    return [binary(sketch, "Div", made, number(sketch, 2.0, made)) if merge == "ave" else made]
