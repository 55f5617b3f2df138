"""Weight gradients: the same bits where rows are copied first and where they are read in place, on any threads."""

import numpy as np
import pytest
from tolerances import assert_close

from numlstm.backends.cpu.linear import gradients
from numlstm.backends.cpu.linear.gradients import OuterProduct, Target, add_sums, outer_sums
from numlstm.backends.cpu.linear.packing import Block, lanes_for
from numlstm.backends.cpu.linear.products import BLOCK
from numlstm.backends.cpu.machine.arrays import address_of, aligned
from numlstm.backends.cpu.machine.thread_count import limit_threads

RNG = np.random.default_rng(0)
PANELS, GATES = 3, 4


def blocks_of(dtype, inputs):
    """Weights with so many inputs, one after the other, and a bias behind them."""
    lanes, start, blocks = lanes_for(dtype), 0, []
    for count in (*inputs, 1):
        block = Block("w", start, PANELS, count, 1, lanes, PANELS * lanes, tuple(range(GATES)))
        blocks.append(block)
        start = block.end
    return blocks


def gradient(dtype, inputs, pairs, before, fresh, threads):
    """The gradient, and what it should be."""
    rng, blocks = np.random.default_rng(1), blocks_of(dtype, inputs)
    *weights, bias = blocks
    columns = PANELS * bias.columns
    d = aligned((pairs, columns + 16), dtype)
    d[...] = rng.normal(size=d.shape)
    rows = [aligned((pairs, count + 5), dtype) for count in inputs]
    addresses, products, expected = [], [], np.zeros(bias.end)
    panels = d[:, :columns].astype(float).reshape(pairs, PANELS, -1)
    for number, (block, a) in enumerate(zip(weights, rows, strict=True)):
        a[...] = rng.normal(size=a.shape)
        addresses.append(address_of(a) + a.strides[0] * np.arange(pairs))
        products.append(
            OuterProduct(
                block=block, out=block.start * d.itemsize, bias=bias.start * d.itemsize if number == 0 else -1, copy=-1,
                a=address_of(addresses[-1]), d=address_of(d), d_panel=bias.columns * d.itemsize, d_row=d.strides[0],
            )
        )  # fmt: skip
        sums = np.einsum("ki,kpc->pic", a[:, : block.inputs].astype(float), panels)
        expected[block.start : block.end] = sums.ravel()
    expected[bias.start :] = panels.sum(axis=0).ravel()
    flat = before.astype(dtype)
    count = np.array([pairs])
    with limit_threads(threads):
        for sums in outer_sums(dtype, products, max(pairs, 1)):
            sums.flop = 1e9  # enough for threads to share it
            add_sums([sums], [Target(address_of(flat), count, fresh)])
    return flat, expected + (0 if fresh else before.astype(dtype))


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("pairs", [1, 5, BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("inputs", [(9,), (7, 20), (1, 13, 2)])
def test_copied_or_not(monkeypatch, dtype, inputs, pairs, fresh):
    before = RNG.normal(size=blocks_of(dtype, inputs)[-1].end)
    results = []
    for least in (1, 8, 1 << 30):
        monkeypatch.setattr(gradients, "COPIED_INPUTS", least)
        for threads in (1, 2):
            flat, expected = gradient(dtype, inputs, pairs, before, fresh, threads)
            results.append(flat)
    assert_close("gradient", "sums", results[0], expected.astype(dtype))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
