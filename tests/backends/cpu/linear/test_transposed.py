"""Transposed weights: no product on the way back is wider than it must be."""

import numpy as np
import pytest

from numlstm.backends.contract import LayerSpec
from numlstm.backends.cpu.linear.transposed import TransposedWeights
from numlstm.backends.cpu.machine.target import TILE_VECTORS, target
from numlstm.backends.cpu.recurrent.packing import layer_packing

LANES = target().lanes(32)
WIDTH = TILE_VECTORS * LANES


@pytest.mark.parametrize(
    ("inputs", "whole", "last_vectors"),
    [
        (1, 0, 1),
        (LANES, 0, 1),
        (LANES + 1, 0, 2),
        (WIDTH, 0, TILE_VECTORS),
        (WIDTH + 1, 1, 1),
        (3 * WIDTH + 2 * LANES, 3, 2),
    ],
)
def test_every_weight_is_in_its_place_and_the_last_panel_is_narrow(inputs, whole, last_vectors):
    packing = layer_packing(LayerSpec("lstm", inputs, 5))
    flat = np.zeros(packing.size, np.float32)
    rng = np.random.default_rng(0)
    packing.pack({name: rng.normal(size=shape) for name, shape in packing.shapes.items()}, flat)
    block = packing.phases[0].products[0].weight
    transposed = TransposedWeights(flat, [block], 0)
    assert (transposed.whole, transposed.last_vectors) == (whole, last_vectors)
    assert transposed.bring_up_to_date() % 64 == 0
    panels = flat[block.start : block.end].reshape(block.panels, inputs, -1)
    expected = panels.swapaxes(0, 1).reshape(inputs, -1)
    parts = [panel for part, _ in transposed.parts for panel in part]
    assert [part.shape[1] for part in parts] == [WIDTH] * whole + [last_vectors * LANES]
    got = np.concatenate(parts, axis=1).T
    np.testing.assert_array_equal(got[:inputs], expected)
    assert not got[inputs:].any()


def test_vectors_that_are_wanted_are_there():
    packing = layer_packing(LayerSpec("lstm", 1, 5))
    flat = np.zeros(packing.size, np.float32)
    assert TransposedWeights(flat, [packing.phases[0].products[0].weight], 3).last_vectors == 3
