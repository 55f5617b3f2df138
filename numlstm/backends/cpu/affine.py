"""An affine map on the CPU: the output layer of a network."""

from __future__ import annotations

from functools import partial

import numpy as np

from . import threads
from .arguments import address_of, aligned
from .gradients import Outer, add_products
from .layer import TurnedWeights
from .packing import AffinePacking, Block
from .products import product
from .tags import width
from .target import TILE_VECTORS, target


class AffineWeights:
    """Packed weights, and what is derived from them."""

    def __init__(self, packing: AffinePacking, flat: np.ndarray) -> None:
        self.packing, self.flat, self.real = packing, flat, flat.dtype.type
        self.inputs, self.outputs = packing.spec.input_size, packing.spec.output_size
        self.turned = TurnedWeights(flat, [packing.weight])
        self.zeros = aligned(self.turned.array.shape[0] * packing.weight.columns, flat.dtype, zero=True)

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        self.turned.stale = True

    def address(self, block: Block) -> int:
        """Where a block of the flat vector starts."""
        return address_of(self.flat) + block.start * self.flat.itemsize


def _product(weights: AffineWeights, x: np.ndarray, columns: int, start: int, w: int) -> np.ndarray:
    """``start + x W`` with packed W at address `w`."""
    rows, inputs = x.shape
    out = np.empty((rows, columns), x.dtype)
    addresses = np.empty(rows, np.int64)
    arguments = (
        weights.real, width(TILE_VECTORS), address_of(out), out.strides[0], columns, start, w,
        address_of(x), x.strides[0], inputs, address_of(addresses),
    )  # fmt: skip
    run = product[x.dtype]
    shards = threads.even_shards(rows, 2.0 * rows * inputs * columns, target().tile_rows(TILE_VECTORS)[0])
    threads.run(partial(run, *arguments), shards)
    return out


def affine_forward(weights: AffineWeights, x: np.ndarray) -> np.ndarray:
    """`Backend.affine_forward` for NumPy arrays."""
    bias, weight = weights.packing.bias, weights.packing.weight
    return _product(weights, x, weights.outputs, weights.address(bias), weights.address(weight))


def affine_backward(weights: AffineWeights, x: np.ndarray, dy: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """`Backend.affine_backward` for NumPy arrays."""
    rows, weight = len(dy), weights.packing.weight
    by_panel = _by_panel(dy, weight)
    gradient[:] = 0
    out = address_of(gradient)
    bias = out + weights.packing.bias.start * gradient.itemsize
    addresses = address_of(x) + x.strides[0] * np.arange(rows)
    products = [Outer(weight, out, bias, address_of(addresses))]
    add_products(weights.real, products, address_of(by_panel), rows, rows)
    padded = by_panel[0] if weight.panels == 1 else np.concatenate(list(by_panel), axis=1)
    return _product(weights, padded, weights.inputs, address_of(weights.zeros), weights.turned.fresh_address())


def _by_panel(dy: np.ndarray, weight: Block) -> np.ndarray:
    """(N, outputs) as (panels, N, columns), zeros behind the last output."""
    panels = np.zeros((weight.panels, len(dy), weight.columns), dy.dtype)
    for panel, start in zip(panels, range(0, dy.shape[1], weight.columns), strict=True):
        part = dy[:, start : start + weight.columns]
        panel[:, : part.shape[1]] = part
    return panels
