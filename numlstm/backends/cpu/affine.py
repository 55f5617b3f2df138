"""An affine map on the CPU: the output layer of a network."""

from __future__ import annotations

import numpy as np

from .linear.gradients import Outer, OuterSums
from .linear.packing import AffinePacking, Block
from .linear.products import product, take_in
from .linear.transposed import TurnedWeights
from .machine import threads
from .machine.arrays import address_of, aligned
from .machine.tags import width
from .machine.target import TILE_VECTORS, target

PRODUCTS_KEPT = 8  # numbers of rows, both ways


class AffineWeights:
    """Packed weights, and what is derived from them."""

    def __init__(self, packing: AffinePacking, flat: np.ndarray, training: bool) -> None:
        self.packing, self.flat, self.training, self.real = packing, flat, training, flat.dtype.type
        self.inputs, self.outputs = packing.spec.input_size, packing.spec.output_size
        self.turned = TurnedWeights(flat, [packing.weight])
        zeros = aligned(self.turned.array.shape[0] * packing.weight.columns, flat.dtype, zero=True)
        self.zeros, self.kept = address_of(zeros), zeros
        self.weight, self.bias = (self.address(block, flat) for block in (packing.weight, packing.bias))
        self.buffers: BackwardBuffers | None = None
        self.products: dict[tuple[int, int], Product] = {}

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        self.turned.stale = True

    def address(self, block: Block, flat: np.ndarray) -> int:
        """Where a block of a flat vector starts."""
        return address_of(flat) + block.start * flat.itemsize

    def product_for(self, rows: int, inputs: int, columns: int, w: int) -> Product:
        """Memory for a product with the weights at `w`: kept in training, of the call's own otherwise."""
        if not self.training:
            return Product(self.real, rows, inputs, columns)
        kept = self.products.get((rows, w))
        if kept is None:
            if len(self.products) >= PRODUCTS_KEPT:
                del self.products[next(iter(self.products))]
            kept = self.products[rows, w] = Product(self.real, rows, inputs, columns)
        return kept

    def buffers_for(self, rows: int) -> BackwardBuffers:
        """Memory for the way back: kept from batch to batch in training, of the call's own otherwise."""
        if not self.training:
            return BackwardBuffers(self, rows)
        if self.buffers is None or self.buffers.rows != rows:
            self.buffers = BackwardBuffers(self, rows)
        return self.buffers


class BackwardBuffers:
    """Memory for the way back of a batch, and the sums that make the gradient."""

    def __init__(self, weights: AffineWeights, rows: int) -> None:
        weight, real = weights.packing.weight, weights.real
        self.rows = rows
        self.panels = aligned((weight.panels, rows, weight.columns), real, zero=True)
        self.addresses = np.empty(rows, np.int64)
        out, bias = (block.start * self.panels.itemsize for block in (weight, weights.packing.bias))
        self.sums = OuterSums(
            real, [Outer(weight, out, bias, address_of(self.addresses), address_of(self.panels))], rows
        )

    def fill(self, x: np.ndarray, dy: np.ndarray) -> None:
        """Take in a batch."""
        take_in[dy.dtype](np.ascontiguousarray(dy), self.panels, address_of(x), x.strides[0], self.addresses)


class Product:
    """Room for a product, and what does not change from one to the next."""

    def __init__(self, real: type, rows: int, inputs: int, columns: int) -> None:
        self.out: np.ndarray = np.empty((rows, columns), real)
        self.addresses = np.empty(rows, np.int64)
        self.place = real, width(TILE_VECTORS), address_of(self.out), self.out.strides[0], columns
        self.end = inputs, address_of(self.addresses)
        self.shards = threads.even_shards(rows, 2.0 * rows * inputs * columns, target().unit)


def _product(weights: AffineWeights, x: np.ndarray, columns: int, start: int, w: int) -> np.ndarray:
    """``start + x W`` with packed W at address `w`."""
    rows, inputs = x.shape
    room = weights.product_for(rows, inputs, columns, w)
    threads.run(product[x.dtype], room.shards, *room.place, start, w, address_of(x), x.strides[0], *room.end)
    return room.out


def affine_forward(weights: AffineWeights, x: np.ndarray) -> np.ndarray:
    """`Backend.affine_forward` for NumPy arrays."""
    return _product(weights, x, weights.outputs, weights.bias, weights.weight)


def affine_backward(weights: AffineWeights, x: np.ndarray, dy: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """`Backend.affine_backward` for NumPy arrays."""
    buffers = weights.buffers_for(len(dy))
    buffers.fill(x, dy)
    buffers.sums.add(address_of(gradient), len(dy), True)
    panels = buffers.panels
    padded = panels[0] if len(panels) == 1 else np.concatenate(list(panels), axis=1)
    return _product(weights, padded, weights.inputs, weights.zeros, weights.turned.fresh_address())
