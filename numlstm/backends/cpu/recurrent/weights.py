"""The packed weights of a recurrent layer, and what is derived from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numba
import numpy as np

from ....cells.cell import INPUT
from ....concurrency import cached_property
from ..linear import transposed
from ..linear.narrow import KINDS
from ..linear.packing import Block
from ..linear.products import RowSum, sum_rows
from ..linear.transposed import TransposedWeights
from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, aligned, integers
from .norm import norm_backward, spread
from .packing import LayerPacking, PhaseBlocks
from .tags import phase_types

TEAM_ROWS = 10  # with so many rows for each thread or fewer, threads share the units of each step
TEAM_FLOP = 2e5  # least work of a thread in a step, some microseconds: threads wait for one another a tenth of that


class Transposes:
    """The transposes of a layer's weights."""

    def __init__(self, weights: LayerWeights) -> None:
        flat, kind = weights.flat, weights.kind
        options: Any = {
            "fitted": True, "training": weights.training, "kind": kind if kind and kind.GRADIENTS else None
        }  # fmt: skip
        self.recurrent = {block: TransposedWeights(flat, [block], **options) for block in weights.recurrent_blocks}
        self.input = TransposedWeights(flat, weights.input_blocks, **options)

    def forget(self) -> None:
        """Take note of a change of the weights."""
        for each in (self.input, *self.recurrent.values()):
            each.stale = True


def bring_up_to_date(same: Sequence[Transposes], with_input: bool) -> None:
    """Let all transposes of the same weights follow changes of these; those of input weights if they are wanted."""
    for together in zip(*(each.recurrent.values() for each in same), strict=True):
        transposed.bring_up_to_date(together)
    if with_input:
        transposed.bring_up_to_date([each.input for each in same])


class LayerWeights:
    """The packed weights of a layer, and what is derived from them."""

    def __init__(self, packing: LayerPacking, flat: np.ndarray, training: bool) -> None:
        self.packing, self.flat, self.training = packing, flat, training
        self.real: Any = flat.dtype.type
        self.vector = packing.lanes * flat.itemsize
        self.biases = [self._bias(phase) for phase in packing.phases]
        sums = [*self._bias_sums()]
        self.bias_sums, self.sums = Arguments.of(integers(*sums), (self.biases, flat)), ((0, len(sums)),)
        self.constants = _vectors([value for _, value in packing.cell.constants], packing.lanes, flat.dtype)
        self.mask_values = _vectors(
            [value for mask in packing.cell.masks for value in (mask.dropped, mask.kept, mask.expected)],
            packing.lanes, flat.dtype,
        )  # fmt: skip
        blocks: dict[bool, list[Block]] = {True: [], False: []}
        for phase in packing.phases:
            for product in phase.products:
                blocks[product.source == INPUT].append(product.weight)
        self.kind = kind = KINDS.get(packing.spec.compute_dtype or "")
        self.input_blocks, self.recurrent_blocks = blocks[True], blocks[False]
        self._transposes: dict[int, Transposes] = {}
        self.narrow: dict[Block, np.ndarray] = {}  # weights in fewer bits, where products take these
        if kind:
            for block in (*blocks[True], *blocks[False]):
                self.narrow[block] = aligned(kind.packed_shape(block), np.int32)
        self.refresh()
        self.bring_up_to_date()

    def _bias(self, phase: PhaseBlocks) -> np.ndarray:
        """Memory for the sums of the biases of a phase: (panels, groups, gates, lanes)."""
        return aligned((phase.panels, phase.groups, max(1, phase.gates), phase.lanes), self.flat.dtype, zero=True)

    def _bias_sums(self) -> Iterator[RowSum]:
        """What makes the sums of biases: zeros, and then each bias."""
        size, lanes = self.flat.itemsize, self.packing.lanes
        for total, phase, sides in zip(self.biases, self.packing.phases, self.packing.slots.sides, strict=True):
            panels, groups, gates, _ = total.shape
            row, out = gates * self.vector, address_of(total)
            yield RowSum(out=out, out_row=row, rows=panels * groups, vectors=gates, terms=0, terms_row=0)
            for product in phase.products:
                if product.bias:
                    side = sides[product.side]
                    yield RowSum(
                        out=out + side.first * self.vector, out_row=row, rows=panels * groups, vectors=len(side.gates),
                        terms=address_of(self.flat) + product.bias.start * size,
                        terms_row=product.bias.gates * lanes * size,
                    )  # fmt: skip

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        self.stale = True
        for block, words in self.narrow.items():
            assert self.kind
            self.kind.pack(block, self.flat, words)
        for transposes in self._transposes.values():
            transposes.forget()

    def transposes(self, number: int) -> Transposes:
        """The transposes that the group of rows with a number reads."""
        if number not in self._transposes:
            self._transposes[number] = Transposes(self)
        return self._transposes[number]

    def bring_up_to_date(self) -> None:
        """Sum the biases, if they may have changed."""
        if self.stale or (self.training and recording.current()):
            threads.share(sum_rows, self.real, self.bias_sums, self.sums)
            self.stale = False

    @cached_property
    def narrow_row(self) -> int:
        """Bytes of the longest row in fewer bits; 0 where there are none."""
        lanes = self.packing.lanes
        return max((self.kind.row_bytes(block.inputs, lanes) for block in self.narrow), default=0) if self.kind else 0

    @cached_property
    def step_flop(self) -> float:
        """Floating-point operations of a row at a step."""
        return 2.0 * sum(block.size for phase in self.packing.phases for block in phase.blocks())

    @cached_property
    def shares_steps(self) -> bool:
        """Whether threads can share a step: it must have one phase, with equations that need no other units."""
        packing = self.packing
        return len(packing.phases) == 1 and not (packing.sums_columns or packing.cell.masks or packing.phases[0].copied)

    def team_of(self, rows: int, steps: int) -> int:
        """The number of threads that share the units of each step; 1 where they share the rows."""
        work = rows * self.step_flop
        parts = min(threads.parts_for(self.packing.phases[0].panels, work * steps), int(work / TEAM_FLOP))
        return parts if parts > 1 and rows <= TEAM_ROWS * parts and self.shares_steps else 1

    @cached_property
    def types(self) -> tuple[Any, tuple[Any, ...]]:
        """The types that select machine code: that of numbers, and that of each phase."""
        return numba.typeof(self.real), phase_types(self.packing.cell)

    @cached_property
    def narrowing(self) -> int:
        """The machine code that writes rows in fewer bits; 0 where there is none."""
        return self.kind.rows_address(self.real) if self.kind else 0

    @cached_property
    def norms(self) -> tuple[int, int]:
        """The machine code for the way back through normalisation, where there is any."""
        real = self.types[0]
        return (norm_backward.address(real), spread.address(real)) if self.packing.sums_columns else (0, 0)


def _vectors(values: Sequence[float], lanes: int, dtype: Any) -> np.ndarray:
    """Each value in all lanes of a vector."""
    vectors = aligned((len(values), lanes), dtype)
    vectors[...] = np.reshape(values, (-1, 1)) if len(values) else 0
    return vectors
