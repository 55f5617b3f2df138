"""The memory that kernels work in, for batches of one shape, or a group of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ....concurrency import cached_property
from ...contract import Noise
from ..linear.gradients import ColumnSums, OuterProduct, OuterSums, RowGradients, outer_sums
from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, aligned, integers
from ..machine.target import target
from ..machine.team import Team, synchronisation
from ..machine.thread_count import thread_count
from .arguments import (
    MASK,
    Ahead,
    BackwardChunk,
    BackwardLayer,
    BackwardMemory,
    Chunk,
    ForwardMemory,
    Gradients,
    LayerShape,
    Records,
)
from .lookup import LookupMemory
from .masks import mask_table
from .multiplying import multiply_ahead
from .packing import PhaseBlocks
from .tables import BackwardTables, ForwardTables
from .weights import LayerWeights

NO_SUMS = np.zeros((1, 0), np.int64)
NO_MASKS = np.zeros(0, MASK)
NO_AHEAD = Ahead(steps=0, room=0, sums=0, row=0, xs=0, multiply=0)
CHUNK_BYTES = 1 << 22  # gate gradients of a chunk, so that they stay in the last cache
CHUNK_PAIRS = 512  # least pairs of a chunk, as threads wait for one another after each
AHEAD_PAIRS, AHEAD_STEPS = 512, 4  # whose products of x are computed together: most pairs, least steps
AHEAD_BYTES = 1 << 16  # least input weights where there is one row: to read them at each step takes longer than sums
FAR_BYTES = target().vector_bytes ** 2 << 12  # for any number of rows: processors with wide vectors read faster, too
PAIRS_BACK = 512  # most pairs whose gradients of x are computed together


def chunk_steps(weights: LayerWeights, rows: int, steps: int) -> int:
    """Steps of a chunk of the way back."""
    pair_bytes = sum(phase.columns for phase in weights.packing.phases) * weights.flat.itemsize
    return min(steps, max(1, max(CHUNK_PAIRS, CHUNK_BYTES // max(1, pair_bytes)) // rows))


def steps_ahead(weights: LayerWeights, rows: int, steps: int) -> int:
    """Steps whose products of x are computed together; 0 where each step computes its own."""
    size = sum(block.size for block in weights.input_blocks) * weights.flat.itemsize
    worth = size >= min(AHEAD_BYTES * rows**2, FAR_BYTES) and not weights.kind
    together = min(steps, AHEAD_PAIRS // rows) if worth else 0
    return together if together >= AHEAD_STEPS else 0


def steps_back(weights: LayerWeights, rows: int, steps: int) -> int:
    """Steps whose gradients of x are computed together."""
    return 1 if weights.kind else min(steps, max(1, PAIRS_BACK // rows))


class Layer(Protocol):
    """A layer that is ready to compute, as `PreparedLayer` is."""

    weights: LayerWeights
    lookup: LookupMemory | None

    @property
    def tables(self) -> ForwardTables:
        """The tables that the forward kernel finds the weights by."""

    def allocate(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Memory to work in."""

    def release(self, batch: Any) -> None:
        """Take the memory of a batch back."""


class Piece(NamedTuple):
    """A chunk, as kernels take it."""

    chunk: Chunk
    starts: np.ndarray  # the number of the first pair of each step, and then the number of all
    arguments: Arguments  # a `BackwardChunk`

    def number(self, lengths: np.ndarray) -> None:
        """Number the pairs, where the rows of the group have so many steps, the longest first."""
        rows_longer_than = (-lengths).searchsorted(np.arange(-self.chunk.first, -self.chunk.last, -1))
        rows_longer_than.cumsum(out=self.starts[1:])

    @property
    def pairs(self) -> np.ndarray:
        """The number of pairs."""
        return self.starts[-1:]


class Buffers:
    """Memory that the forward kernel works in.

    Parameters
    ----------
    prepared : Layer
    rows, steps : int
        The shape of the batch, or of a group of its rows.
    span : int
        Steps of a chunk of the way back.
    parts : int
        Threads that share the units of each step.
    number : int
        That of the group.
    training, keep : bool
        Whether the way back follows; whether values are kept that no phase needs forward.
    """

    def __init__(
        self, prepared: Layer, rows: int, steps: int, span: int, parts: int, number: int, training: bool,
        keep: bool,
    ) -> None:  # fmt: skip
        weights = prepared.weights
        self.prepared, self.weights, self.rows, self.steps = prepared, weights, rows, steps
        self.span, self.parts, self.number = span, parts, number
        packing = weights.packing
        self.nbytes = 0  # of all memory but that for addresses
        kept = steps + 1 if training else 2
        size = packing.record_sizes[keep]
        self.values = self.allocate("values", (kept, rows, size))
        row = size * weights.flat.itemsize
        slot = packing.groups * weights.vector
        self.records = Records(
            address=address_of(self.values), row=row, step=rows * row, slot=slot, wrap=-1 if training else 1,
            keep=int(keep), first=0, last=steps,
        )  # fmt: skip
        columns = packing.sums_columns
        self.sums = self.allocate("sums", (rows, columns)) if columns else NO_SUMS
        self.room = aligned((self.parts, 1 + len(prepared.tables.sources), rows), np.int64)
        self.synchronisation = synchronisation(self.parts)
        self.narrow = aligned((*self.room.shape, weights.narrow_row), np.uint8)  # rows of all that weights multiply
        self.nbytes += self.narrow.nbytes
        self.layer_shape = LayerShape(steps=steps, inputs=packing.spec.input_size, groups=packing.groups)
        self.memory = ForwardMemory(
            addresses=address_of(self.room), span=8 * rows,
            sums=address_of(self.sums) if columns else 0, sums_row=self.sums.strides[0],
            narrowing=weights.narrowing, narrow=address_of(self.narrow), narrow_row=weights.narrow_row,
            ahead=self._ahead(),
        )  # fmt: skip
        self.team = Team(parts=self.parts, rows=rows, address=address_of(self.synchronisation))
        self.layer = address_of(prepared.tables.arguments)

    def _ahead(self) -> Ahead:
        """Memory for the products of x of several steps, where it pays."""
        steps = steps_ahead(self.weights, self.rows, self.steps)
        if self.prepared.lookup or not steps:
            return NO_AHEAD
        room, row = steps * self.rows, self.prepared.tables.ahead
        self.xs = np.empty((self.parts, room), np.int64)
        self.products_of_x = self.allocate("products of x", (room, row // self.weights.flat.itemsize))
        return Ahead(
            steps=steps, room=room, sums=address_of(self.products_of_x), row=row, xs=address_of(self.xs),
            multiply=multiply_ahead.address(self.weights.types[0]),
        )  # fmt: skip

    def allocate(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Memory for one of these."""
        memory = self.prepared.allocate(f"{name} of {self.number}", shape)
        self.nbytes += memory.nbytes
        return memory

    def team_shards(self) -> Sequence[threads.Shard]:
        """The parts of a team, for a new call; none where there is no team."""
        if self.parts == 1:
            return ()
        recording.do(self.synchronisation.fill, 0)
        return threads.each(self.parts)

    @cached_property
    def backward(self) -> BackwardBuffers:
        """Memory for the way back."""
        return BackwardBuffers(self)

    def masks(self, noise: Noise | None) -> np.ndarray:
        """The table of masks."""
        return mask_entries(self.weights, noise, self.keys)

    @cached_property
    def keys(self) -> np.ndarray:
        """Room for the keys of all masks and rows."""
        return np.empty((len(self.weights.packing.cell.masks), self.rows), np.int64)


def mask_entries(weights: LayerWeights, noise: Noise | None, keys: np.ndarray) -> np.ndarray:
    """The table of masks, with room for the keys of all masks and rows, which noise alone needs."""
    masks = weights.packing.cell.masks
    if not masks:
        return NO_MASKS
    return mask_table(
        masks, noise, address_of(keys), keys.shape[-1], address_of(weights.mask_values), weights.vector
    )  # fmt: skip


class BackwardBuffers:
    """Memory for the way back: gate gradients of a chunk, gradients carried from chunk to chunk, and the tables."""

    def __init__(self, buffers: Buffers) -> None:
        prepared, weights, rows = buffers.prepared, buffers.weights, buffers.rows
        packing = weights.packing
        self.weights, self.rows, self.steps = weights, rows, buffers.steps
        self.span = buffers.span
        self.room = rows * self.span
        count = 2 * len(packing.cell.states) + len(packing.slots.handed_on)
        self.carried = buffers.allocate("carried", (rows, count, packing.groups * packing.lanes))
        self.gradients = Gradients(
            address=address_of(self.carried), row=self.carried.strides[0], slot=self.carried.strides[1]
        )
        self.xs = aligned(self.room, np.int64)
        together = steps_back(weights, rows, self.span)
        self.addresses = aligned((buffers.parts, 2, rows * together), np.int64)
        self.transposes = weights.transposes(buffers.number if thread_count() > 1 else 0)
        self.tables = BackwardTables(
            weights, self.transposes, prepared.tables, buffers.allocate, rows, self.room, self.xs
        )  # fmt: skip
        gates, kind = self.tables.gates, weights.kind
        row = kind.row_bytes(gates.shape[1], packing.lanes) if kind else 0
        self.narrow = aligned((buffers.parts, rows, row), np.uint8)  # gate gradients in fewer bits
        factors = self.narrow[0] if kind else gates
        self.memory = BackwardMemory(
            xs=address_of(self.xs), gates=address_of(gates), row=gates.strides[0],
            sums=address_of(buffers.sums), sums_row=buffers.sums.strides[0],
            together=together, gate_rows=address_of(self.addresses),
            places=address_of(self.addresses) + self.addresses.strides[1], span=self.addresses.strides[0],
            narrowing=weights.narrowing, factors=address_of(factors), factors_row=factors.strides[0],
            factors_part=self.narrow.strides[0] if kind else 0, ratio=gates.itemsize // kind.BYTES if kind else 1,
        )  # fmt: skip
        norm, spread = weights.norms
        self.arguments = integers(
            BackwardLayer(
                phases=address_of(self.tables.phases), phase_count=len(self.tables.phases),
                sides=address_of(self.tables.sides), backs=address_of(self.tables.backs),
                first_dx=self.tables.first_dx, last_dx=len(self.tables.backs),
                constants=prepared.tables.constants, norm=norm, spread=spread,
                states=len(packing.cell.states), memory=self.memory, gradients=self.gradients, team=buffers.team,
            )
        )  # fmt: skip
        self.layer, self.records = address_of(self.arguments), buffers.records
        self.copies: list[tuple[slice, slice]] = []  # parts of the gradient, and others that are the same
        outer = [product for index, blocks in enumerate(packing.phases) for product in self._outer(index, blocks)]
        self.sums: list[OuterSums | ColumnSums | RowGradients] = [  # what makes the gradient of all parameters
            *(ColumnSums(weights.real, *unit) for phase in self.tables.unit_gradients for unit in phase),
        ]
        self.last_sums: list[OuterSums] = []  # the rest, after all chunks
        if prepared.lookup:
            outer = self._look_up(prepared.lookup, outer)
        self.sums += outer_sums(weights.real, outer, self.room)

    def _look_up(self, lookup: LookupMemory, outer: list[OuterProduct]) -> list[OuterProduct]:
        """Append the sums for the input weights of a layer that looks its inputs up; the other products."""
        real, kept, last = self.weights.real, [], []
        for product in outer:
            gradients = lookup.gradients.get(product.block)
            if gradients is None:
                kept.append(product)
            else:
                self.sums.append(RowGradients(real, gradients, product))
                panel, row, _ = gradients.strides
                of_rows = product._replace(
                    a=address_of(lookup.addresses), d=address_of(gradients), d_panel=panel, d_row=row
                )
                last.append(of_rows)
        self.last_sums = outer_sums(real, last, lookup.rows)
        return kept

    def _outer(self, index: int, blocks: PhaseBlocks) -> Iterator[OuterProduct]:
        """Sums for the weights and biases of a phase; biases of the same gates have the same gradient."""
        size, tables = self.weights.flat.itemsize, self.tables
        first, count = tables.phases[index]["first_side"], tables.phases[index]["sides"]
        for number, side in enumerate(tables.sides[first : first + count]):
            products = [product for product in blocks.products if product.side == number]
            biases = [product.bias for product in products if product.bias]
            for product in products:
                with_bias = biases and product.bias is biases[0]
                yield OuterProduct(
                    block=product.weight, out=product.weight.start * size,
                    bias=biases[0].start * size if with_bias else -1,
                    copy=biases[1].start * size if with_bias and len(biases) > 1 else -1,
                    a=address_of(tables.sources[index, product.source]), d=int(side["address"]),
                    d_panel=product.weight.columns * size, d_row=int(side["row"]),
                )  # fmt: skip
            for other in biases[2:]:
                self.copies.append((slice(biases[0].start, biases[0].end), slice(other.start, other.end)))

    def pieces(self, records: Records) -> list[Piece]:
        """Chunks of the steps that records are for, the last first."""
        return [self.piece(records, chunk) for chunk in self.chunks(records)]

    def piece(self, records: Records, chunk: Chunk) -> Piece:
        """A chunk, whose pairs have no numbers yet."""
        starts = np.zeros(chunk.last - chunk.first + 1, np.int64)
        arguments = integers(
            BackwardChunk(call=0, layer=self.layer, records=records, chunk=chunk, starts=address_of(starts))
        )
        return Piece(chunk, starts, Arguments.of(arguments, (self, starts)))

    def chunks(self, records: Records) -> list[Chunk]:
        """Chunks of some steps, the last first."""
        ends = range(records.last, records.first, -self.span)
        return [Chunk(first=max(records.first, end - self.span), last=end) for end in ends]


def new_states(weights: LayerWeights, rows: int) -> tuple[np.ndarray, ...]:
    """New arrays (N, .) for states."""
    return tuple(np.empty((rows, size), weights.flat.dtype) for size in weights.packing.spec.state_sizes)
