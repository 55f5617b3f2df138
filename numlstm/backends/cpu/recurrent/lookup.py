"""Inputs that are rows of a table: each row is multiplied with the input weights once, not at each step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...contract import Lookup
from ..linear.products import PanelProduct, ProductCall, panel_products, product
from ..linear.tile import ROWS_TOGETHER, product_address, product_heights
from ..linear.transposed import TransposedWeights
from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, aligned, integers
from ..machine.target import TILE_VECTORS
from .weights import LayerWeights


class LookupMemory:
    """The products of a table's rows with the input weights, and the gradients of these products.

    Both hold (panels, rows, columns) for each block of input weights. The last row is that of a vector of zeros.

    Parameters
    ----------
    weights : LayerWeights
    count : int
        Rows of the table.
    allocate : callable
        ``allocate(name, shape)`` gives an array to work in.
    """

    def __init__(
        self, weights: LayerWeights, count: int, allocate: Callable[[str, tuple[int, ...]], np.ndarray]
    ) -> None:
        self.weights, self.rows, self.count = weights, count + 1, np.array([count + 1])
        self.inputs = weights.packing.spec.input_size
        self.transposed = TransposedWeights(weights.flat, weights.input_blocks)
        columns = max(block.columns for block in weights.input_blocks)
        self.zeros = aligned(max(columns, self.transposed.numbers), weights.real, zero=True)
        self.addresses = np.empty(self.rows, np.int64)  # of the rows of the table
        self.products, self.gradients = (
            {
                block: allocate(f"{name} {number}", (block.panels, self.rows, block.columns))
                for number, block in enumerate(weights.input_blocks)
            }
            for name in ("products of rows", "gradients of rows")
        )

    def read(self, x: Lookup) -> np.ndarray:
        """Compute the products, and give the numbers of the rows, (N, T, 1), as the tiles read them."""
        count, row = self.rows - 1, x.table.strides[0]
        self.transposed.stale = True
        self.addresses[:count] = address_of(x.table) + row * np.arange(count)
        self.addresses[count] = address_of(self.zeros)
        real = self.weights.real
        for block, products in self.products.items():
            vectors = block.columns // block.lanes
            arguments = PanelProduct(
                out=address_of(products), rows=self.rows, a=address_of(self.addresses), inputs=self.inputs,
                w=address_of(self.weights.flat) + block.start * products.itemsize, zeros=address_of(self.zeros),
                tile=product_address(real, vectors), vectors=vectors, tallest=product_heights(vectors)[0],
            )  # fmt: skip
            flop = 2.0 * block.size * self.rows
            kept = products, self.addresses, self.zeros
            shards = threads.even_shards(block.panels, flop)
            threads.share(panel_products, real, Arguments.of(integers(arguments), kept), shards)
        numbers = recording.memory(x.rows.shape, np.int64)
        recording.do(_number_rows, x.rows, count, numbers)
        return numbers[:, :, None]

    def clear(self) -> None:
        """Begin with gradients of zero."""
        for gradients in self.gradients.values():
            recording.do(gradients.fill, 0)

    def table_gradient(self, out: np.ndarray) -> None:
        """Write the gradient of the table, (V, D), from that of the products."""
        panels = [panel for gradients in self.gradients.values() for panel in gradients]
        gates = panels[0] if len(panels) == 1 else recording.computed(np.concatenate, panels, axis=1)
        real, (count, columns) = self.weights.real, out.shape
        room = np.empty(count, np.int64)
        self.transposed.bring_up_to_date()
        call = ProductCall(
            a=address_of(gates), a_row=gates.strides[0], out=address_of(out), out_row=out.strides[0], columns=columns,
            inputs=gates.shape[1], addresses=address_of(room), start=address_of(self.zeros), w=self.transposed.address,
            w_rows=self.transposed.columns, tile=product_address(real, TILE_VECTORS),
            tallest=product_heights(TILE_VECTORS)[0],
        )  # fmt: skip
        shards = threads.even_shards(count, 2.0 * gates.size * columns, ROWS_TOGETHER)
        threads.share(product, real, Arguments.of(integers(call), (gates, room)), shards)


def _number_rows(rows: np.ndarray, zeros: int, out: np.ndarray) -> None:
    """Write the numbers of rows, and `zeros` in the place of negative ones."""
    np.copyto(out, rows)
    out[rows < 0] = zeros
