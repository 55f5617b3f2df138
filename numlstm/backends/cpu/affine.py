"""An affine map on the CPU: the output layer of a network."""

from __future__ import annotations

import numpy as np

from .linear.gradients import OuterProduct, OuterSums, Target, add_sums
from .linear.packing import AffinePacking, Block
from .linear.products import PaddedCopy, ProductCall, copy_padded, product
from .linear.tile import ROWS_TOGETHER, product_address, product_heights
from .linear.transposed import FLOP_OF_A_NUMBER, TransposedWeights
from .machine import recording, threads
from .machine.arrays import Arguments, address_of, aligned, integers, odd_lines
from .machine.target import TILE_VECTORS

PRODUCTS_KEPT = 8  # memories of products, forward and back, one for each number of rows


class AffineWeights:
    """The packed weights of an affine map, their transpose, and memory that is kept."""

    def __init__(self, packing: AffinePacking, flat: np.ndarray, training: bool) -> None:
        self.packing, self.flat, self.training, self.real = packing, flat, training, flat.dtype.type
        self.inputs, self.outputs = packing.spec.input_size, packing.spec.output_size
        self.transposed = TransposedWeights(flat, [packing.weight], training=training)
        zeros = aligned(self.transposed.numbers, flat.dtype, zero=True)
        self.zeros, self.kept = address_of(zeros), zeros
        self.weight, self.bias = (self.address(block, flat) for block in (packing.weight, packing.bias))
        self.buffers: AffineBuffers | None = None
        self.products: dict[tuple[int, int], ProductMemory] = {}

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        self.transposed.stale = True

    def address(self, block: Block, flat: np.ndarray) -> int:
        """Where a block of a flat vector starts."""
        return address_of(flat) + block.start * flat.itemsize

    def product_for(self, rows: int, inputs: int, columns: int, start: int, w: int, w_rows: int) -> ProductMemory:
        """Memory for a product with the weights at `w`: kept in training, else for this call alone."""
        if not self.training:
            return ProductMemory(self.real, rows, inputs, columns, start, w, w_rows)
        kept = self.products.get((rows, w))
        if kept is None:
            if len(self.products) >= PRODUCTS_KEPT:
                del self.products[next(iter(self.products))]
            kept = self.products[rows, w] = ProductMemory(self.real, rows, inputs, columns, start, w, w_rows)
        return kept

    def buffers_for(self, rows: int) -> AffineBuffers:
        """Memory for the way back: in training kept from batch to batch, else for this call alone."""
        if not self.training:
            return AffineBuffers(self, rows)
        if self.buffers is None or self.buffers.rows != rows:
            self.buffers = AffineBuffers(self, rows)
        return self.buffers


class AffineBuffers:
    """Memory for the way back of a batch, and the sums that make the gradient."""

    def __init__(self, weights: AffineWeights, rows: int) -> None:
        weight, real = weights.packing.weight, weights.real
        self.real, self.rows = real, rows
        size, columns = np.dtype(real).itemsize, weight.panels * weight.columns
        self.dy = aligned((rows, odd_lines(columns * size) // size), real)
        self.addresses, self.count = np.empty(rows, np.int64), np.array([rows])
        product = OuterProduct(
            block=weight, out=weight.start * size, bias=weights.packing.bias.start * size, copy=-1,
            a=address_of(self.addresses), d=address_of(self.dy), d_panel=weight.columns * size,
            d_row=self.dy.strides[0],
        )  # fmt: skip
        self.sums = OuterSums(real, [product], rows)
        copy = PaddedCopy(
            dy=0, dy_row=0, a=0, a_row=0, columns=weights.outputs, out=address_of(self.dy),
            out_row=self.dy.strides[0], vectors=columns // weight.lanes, addresses=address_of(self.addresses),
        )  # fmt: skip
        self.copy = Arguments.of(integers(copy), (self.dy, self.addresses))

    def fill(self, x: np.ndarray, dy: np.ndarray) -> None:
        """Copy the gradients of a batch, and note the addresses of its rows."""
        self.copy.integers[:4] = address_of(dy), dy.strides[0], address_of(x), x.strides[0]
        recording.keep(x, dy)
        shards = threads.even_shards(self.rows, FLOP_OF_A_NUMBER * dy.size)
        threads.share(copy_padded, self.real, self.copy, shards)


class ProductMemory:
    """Memory for products of one shape with the same weights."""

    def __init__(self, real: type, rows: int, inputs: int, columns: int, start: int, w: int, w_rows: int) -> None:
        self.real, self.rows, self.flop = real, rows, 2.0 * rows * inputs * columns
        self.out: np.ndarray = np.empty((rows, columns), real)
        addresses = np.empty(rows, np.int64)
        call = ProductCall(
            a=0, a_row=0, out=address_of(self.out), out_row=self.out.strides[0], columns=columns, inputs=inputs,
            addresses=address_of(addresses), start=start, w=w, w_rows=w_rows,
            tile=product_address(real, TILE_VECTORS), tallest=product_heights(TILE_VECTORS)[0],
        )  # fmt: skip
        self.call = Arguments.of(integers(call), (self.out, addresses))

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """The product with the rows of an array; the next call overwrites it."""
        self.call.integers[:2] = address_of(x), x.strides[0]
        recording.keep(x)
        threads.share(product, self.real, self.call, threads.even_shards(self.rows, self.flop, ROWS_TOGETHER))
        return self.out


def affine_forward(weights: AffineWeights, x: np.ndarray) -> np.ndarray:
    """`Backend.affine_forward` for NumPy arrays."""
    memory = weights.product_for(len(x), weights.inputs, weights.outputs, weights.bias, weights.weight, weights.inputs)
    return memory.multiply(x)


def affine_backward(weights: AffineWeights, x: np.ndarray, dy: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """`Backend.affine_backward` for NumPy arrays."""
    dy, buffers, transposed = recording.contiguous(dy), weights.buffers_for(len(dy)), weights.transposed
    buffers.fill(x, dy)
    add_sums([buffers.sums], [Target(address_of(gradient), buffers.count, True)])
    transposed.bring_up_to_date()
    memory = weights.product_for(
        len(x), weights.outputs, weights.inputs, weights.zeros, transposed.address, transposed.columns
    )
    return memory.multiply(dy)
