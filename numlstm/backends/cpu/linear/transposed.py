"""Packed weights transposed: for products with gradients, and to named parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, aligned, integers
from ..machine.board import ShardCall
from ..machine.compiling import kernel
from ..machine.memory import copy_row, lanes_of, lesser, load_address, stored, vector_bytes
from ..machine.simd import I64, VectorLayout, stack_bytes, vector_of
from ..machine.target import TILE_VECTORS
from .packing import Block

FLOP_OF_A_NUMBER = 16.0  # which take as long as to transpose a number
SQUARE_BYTES = 1 << 10  # holds as many vectors as a vector has lanes


@intrinsic
def transpose_square(typing_context, real, source, source_row, count, place, row):
    """As many vectors as there are lanes, transposed from `source` to `place`; zeros for those after `count` >= 1."""

    def generate(context, builder, signature, arguments):
        layout = VectorLayout.of(vector_of(real))
        _, source, source_row, count, place, row = arguments
        last, vectors = builder.sub(count, I64(1)), []
        for i in range(layout.lanes):
            there = builder.icmp_signed("<", I64(i), count)
            address = builder.add(source, builder.mul(builder.select(there, I64(i), last), source_row))
            vectors.append(builder.select(there, layout.load(builder, address), layout.constant(0)))
        distance = 1
        while distance < layout.lanes:  # exchanges halves of pairs of vectors, for each bit of a lane's number
            vectors = [_exchanged(builder, vectors, i, distance, layout.lanes) for i in range(layout.lanes)]
            distance *= 2
        for i, vector in enumerate(vectors):
            layout.store(builder, vector, builder.add(place, builder.mul(I64(i), row)))
        return context.get_dummy_value()

    return types.void(real, *[types.intp] * 5), generate


def _exchanged(builder, vectors, i, distance, lanes):
    """Vector i after an exchange with its partner at a distance."""
    first = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
    second = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
    order = ir.Constant(ir.VectorType(ir.IntType(32), lanes), second if i & distance else first)
    return builder.shuffle_vector(vectors[i & ~distance], vectors[i | distance], order)


class Transposition(NamedTuple):
    """Packed weights, and where their transpose goes."""

    packed: int  # address of (packed panels, all inputs, columns) numbers, from the first input on that is taken
    packed_panel: int  # bytes from panel to panel
    columns: int  # a multiple of the lanes
    inputs: int  # how many are taken
    out: int  # address of (panels, rows, numbers) numbers, with a row for each column
    out_panel: int  # bytes from panel to panel
    numbers: int  # inputs in a panel, a multiple of the lanes


@kernel
def transpose(real, at, first, last):
    """Transpose packed weights: column j of the packed panel k becomes the row ``k * columns + j`` of each panel.

    It does so for the packed panels first <= k < last. A `Transposition` is at the address.
    """
    p = stored(Transposition, at)
    lanes = lanes_of(real)
    number = vector_bytes(real) // lanes
    for start in range(0, p.inputs, lanes):
        panel, place = start // p.numbers, start % p.numbers
        for k in range(first, last):
            for j in range(0, p.columns, lanes):
                transpose_square(
                    real, p.packed + k * p.packed_panel + (start * p.columns + j) * number, p.columns * number,
                    lesser(lanes, p.inputs - start),
                    p.out + panel * p.out_panel + ((k * p.columns + j) * p.numbers + place) * number,
                    p.numbers * number,
                )  # fmt: skip


transpose.takes(ShardCall)


class Unpacking(NamedTuple):
    """Packed weights, and the named parameter that they are written to."""

    packed: int  # address of (panels, inputs, groups, gates) vectors
    inputs: int
    groups: int
    gates: int
    units: int  # rows of the parameter that belong to a gate
    parts: int  # address of (gates,) addresses: of the first row of each gate
    row: int  # bytes from row to row


@kernel
def unpack(real, at, first, last):
    """Write the panels first <= k < last of packed weights to rows of a parameter; an `Unpacking` is at the address."""
    p, square = stored(Unpacking, at), stack_bytes(SQUARE_BYTES)
    lanes, size = lanes_of(real), vector_bytes(real)
    vectors = p.groups * p.gates
    for k in range(first, last):
        for start in range(0, p.inputs, lanes):
            count = lesser(lanes, p.inputs - start)
            for j in range(vectors):
                unit = (k * p.groups + j // p.gates) * lanes
                rows = lesser(lanes, p.units - unit)
                source = p.packed + ((k * p.inputs + start) * vectors + j) * size
                place = load_address(p.parts + 8 * (j % p.gates)) + unit * p.row + start * (size // lanes)
                fits = rows == lanes and count == lanes
                out, out_row = (place, p.row) if fits else (square, size)
                transpose_square(real, source, vectors * size, count, out, out_row)
                if not fits:
                    for i in range(rows):
                        copy_row(real, place + i * p.row, square + i * size, count)


unpack.takes(ShardCall)


class TransposedPanels(NamedTuple):
    """Panels of one width."""

    array: np.ndarray  # (panels, columns, width)
    factors: np.ndarray  # what products take: `array`, or, in fewer bits, (panels, words of columns, width)
    first: int  # the input at the first place


def panel_widths(vectors: int) -> Iterator[tuple[int, int]]:
    """Numbers of panels and their widths, which add up to so many vectors; the last ones are narrow."""
    width = TILE_VECTORS
    while vectors:
        if count := vectors // width:
            yield count, width
        vectors %= width
        width //= 2


class TransposedWeights:
    """Packed weights, transposed for the way back when they are first wanted after a change.

    Parameters
    ----------
    flat : array
    blocks : list of Block
        Weights of the same inputs.
    fitted : bool
        Whether the last panels are no wider than they must be; else all have TILE_VECTORS vectors.
    training : bool
        Whether weights are others when calls are repeated that a recording has noted.
    kind : module or None
        Of the numbers of fewer bits that products take.
    """

    def __init__(
        self, flat: np.ndarray, blocks: list[Block], *, fitted: bool = False, training: bool = True,
        kind: ModuleType | None = None,
    ) -> None:  # fmt: skip
        lanes, vectors = blocks[0].lanes, -(-blocks[0].inputs // blocks[0].lanes)
        self.real, self.flat = flat.dtype.type, flat  # kernels know the address of `flat` alone
        self.training, self.kind = training, kind
        self.columns = sum(block.panels * block.columns for block in blocks)
        self.panels: list[TransposedPanels] = []
        first = 0
        for count, width in panel_widths(vectors) if fitted else [(-(-vectors // TILE_VECTORS), TILE_VECTORS)]:
            array = aligned((count, self.columns, width * lanes), flat.dtype, zero=True)
            words = aligned((count, kind.words(self.columns), width * lanes), np.int32) if kind else array
            self.panels.append(TransposedPanels(array, words, first))
            first += count * width * lanes
        self.numbers = first  # places for inputs
        self.transpositions = [
            (Arguments.of(integers(each)), block)
            for panels in self.panels
            for block, each in zip(blocks, _transpositions(flat, blocks, panels), strict=True)
        ]
        self.stale = True

    @property
    def address(self) -> int:
        """Where the first panels are."""
        return address_of(self.panels[0].array)

    def bring_up_to_date(self) -> None:
        """Follow changes of the weights."""
        bring_up_to_date([self])


def bring_up_to_date(same: Sequence[TransposedWeights]) -> None:
    """Let all transposes of the same weights follow changes of these."""
    stale = [each for each in same if each.stale or (each.training and recording.current())]
    with recording.only_if(same[0].training):  # else they stay as they are
        for together in zip(*(each.transpositions for each in stale), strict=True):
            block = together[0][1]
            parts = threads.parts_for(block.panels, FLOP_OF_A_NUMBER * block.size * len(stale))
            shards = threads.split(block.panels, threads.parts_of_each(parts, len(stale)), 1)
            threads.share_all(transpose, stale[0].real, [(arguments, shards) for arguments, _ in together])
    for each in stale:
        for panels in each.panels if each.kind else ():
            each.kind.pair(panels.array, panels.factors)
        each.stale = False


def _transpositions(flat: np.ndarray, blocks: list[Block], panels: TransposedPanels) -> Iterator[Transposition]:
    """What fills panels, one for each block."""
    array, first, size, column = panels.array, panels.first, flat.itemsize, 0
    for block in blocks:
        yield Transposition(
            packed=address_of(flat) + (block.start + first * block.columns) * size,
            packed_panel=block.inputs * block.columns * size, columns=block.columns,
            inputs=min(block.inputs - first, array.shape[0] * array.shape[2]),
            out=address_of(array) + column * array.strides[1], out_panel=array.strides[0], numbers=array.shape[2],
        )  # fmt: skip
        column += block.panels * block.columns
