"""The FMA peak of this machine, to compare products with."""

from __future__ import annotations

import time

import numpy as np

from ..machine import threads
from ..machine.arrays import address_of, aligned
from ..machine.compiling import call, kernel
from ..machine.simd import stack_bytes
from ..machine.target import TILE_VECTORS, target
from ..machine.thread_count import limit_threads
from .tile import TILE_BYTES, ProductTile, product_address

DEPTH, REPEATS = 64, 20000


@kernel
def _products(tile, rows, row_bytes, addresses, weights, depth, repeats):
    scratch = stack_bytes(TILE_BYTES)
    for _ in range(repeats):
        call(
            tile,
            ProductTile(
                rows=rows, out=scratch, out_row=row_bytes, start=weights, start_row=0,
                w=weights, a=addresses, a_count=depth, v=weights, b=addresses, b_count=0,
            ),
        )  # fmt: skip


def flops(count: int) -> float:
    """Operations per second of `count` threads, on float32 tiles that never leave the first cache."""
    rows = target().tile_rows(TILE_VECTORS)[0]
    numbers = TILE_VECTORS * target().lanes(32)
    a, weights = aligned((rows, DEPTH), np.float32, zero=True), aligned((DEPTH, numbers), np.float32, zero=True)
    addresses = address_of(a) + a.strides[0] * np.arange(rows)
    tile = product_address(np.float32, TILE_VECTORS)
    arguments = tile, rows, 4 * numbers, address_of(addresses), address_of(weights), DEPTH, REPEATS

    def work(first, last):
        _products[np.float32](*arguments)

    with limit_threads(count):
        threads.pool.run(work, [(i, i + 1) for i in range(count)])
        start = time.perf_counter()
        threads.pool.run(work, [(i, i + 1) for i in range(count)])
        seconds = time.perf_counter() - start
    return 2.0 * count * rows * numbers * DEPTH * REPEATS / seconds
