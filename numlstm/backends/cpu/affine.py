"""An affine map on the CPU: the output layer of a network."""

from __future__ import annotations

import numpy as np

from . import threads
from .arguments import address_of, aligned
from .gradients import add_products
from .packing import AffinePacking
from .products import product, transpose
from .tags import width
from .target import TILE_VECTORS, target


class AffineWeights:
    """Packed weights, and what is derived from them; a view of `flat`, valid until that changes."""

    def __init__(self, packing: AffinePacking, flat: np.ndarray, training: bool) -> None:
        self.packing, self.flat, self.real = packing, flat, flat.dtype.type
        self.inputs, self.outputs = packing.spec.input_size, packing.spec.output_size
        weight = packing.weight
        self.padded = weight.panels * weight.columns
        self.numbers = weight.columns
        if training:
            shape = (-(-self.inputs // self.numbers), self.padded, self.numbers)
            self.transposed = aligned(shape, flat.dtype, zero=True)
            transpose[self.real](flat[: weight.size].reshape(weight.panels, self.inputs, -1), self.transposed, 0)

    def address(self, block) -> int:
        """Where a block of the flat vector starts."""
        return address_of(self.flat) + block.start * self.flat.itemsize


def _product(weights: AffineWeights, x: np.ndarray, columns: int, start: int, w: int) -> np.ndarray:
    rows, inputs = x.shape
    out = np.empty((rows, columns), x.dtype)
    addresses = np.empty(rows, np.int64)
    arguments = (
        weights.real, width(TILE_VECTORS), address_of(out), out.strides[0], columns, start, w,
        address_of(x), x.strides[0], inputs, address_of(addresses),
    )  # fmt: skip
    unit = target().tile_rows(TILE_VECTORS)[0]
    shards = threads.even_shards(rows, 2.0 * rows * inputs * columns, unit)
    threads.run(lambda first, last: product[weights.real](*arguments, first, last), shards)
    return out


def affine_forward(weights: AffineWeights, x: np.ndarray) -> np.ndarray:
    """`Backend.affine_forward` for NumPy arrays."""
    bias, weight = weights.packing.bias, weights.packing.weight
    return _product(weights, x, weights.outputs, weights.address(bias), weights.address(weight))


def affine_backward(weights: AffineWeights, x: np.ndarray, dy: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """`Backend.affine_backward` for NumPy arrays."""
    rows, panels = len(dy), weights.packing.weight.panels
    padded = aligned((rows, weights.padded), dy.dtype, zero=True)
    padded[:, : weights.outputs] = dy
    by_panel = aligned((panels, rows, weights.numbers), dy.dtype)
    by_panel[...] = padded.reshape(rows, panels, weights.numbers).transpose(1, 0, 2)
    gradient[:] = 0
    addresses = address_of(x) + x.strides[0] * np.arange(rows)
    start, block = address_of(gradient), weights.packing.weight
    bias = start + weights.packing.bias.start * gradient.itemsize
    add_products(weights.real, TILE_VECTORS, start, bias, addresses, block, (address_of(by_panel), rows, rows))
    zeros = aligned(weights.inputs + weights.numbers, dy.dtype, zero=True)
    return _product(weights, padded, weights.inputs, address_of(zeros), address_of(weights.transposed))
