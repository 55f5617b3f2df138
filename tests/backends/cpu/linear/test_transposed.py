"""Transposed weights: every weight is in its place, and no product on the way back is wider than it must be."""

import numpy as np
import pytest

from numlstm.backends.contract import LayerSpec
from numlstm.backends.cpu.linear.transposed import TransposedWeights
from numlstm.backends.cpu.machine.target import TILE_VECTORS, target
from numlstm.backends.cpu.recurrent.packing import layer_packing

LANES = target().lanes(32)


def transposed(inputs, fitted, kind="lstm"):
    """Packed input weights and their transpose."""
    packing = layer_packing(LayerSpec(kind, inputs, 5))
    flat = np.zeros(packing.size, np.float32)
    rng = np.random.default_rng(0)
    packing.pack({name: rng.normal(size=shape) for name, shape in packing.shapes.items()}, flat)
    block = packing.phases[0].products[0].weight
    result = TransposedWeights(flat, [block], fitted=fitted)
    result.bring_up_to_date()
    return flat[block.start : block.end].reshape(block.panels, inputs, -1), result


@pytest.mark.parametrize(
    ("inputs", "widths"),
    [
        (1, [1]),
        (LANES, [1]),
        (LANES + 1, [2]),
        (3 * LANES, [2, 1]),
        (4 * LANES, [TILE_VECTORS]),
        (4 * LANES + 1, [TILE_VECTORS, 1]),
        (15 * LANES, [TILE_VECTORS] * 3 + [2, 1]),
    ],
)
def test_last_panels_are_narrow(inputs, widths):
    packed, result = transposed(inputs, fitted=True)
    panels = [panel for each in result.panels for panel in each.array]
    assert [panel.shape[1] for panel in panels] == [width * LANES for width in widths]
    assert all(each.array.ctypes.data % 64 == 0 for each in result.panels)
    everything = np.concatenate(panels, axis=1).T
    np.testing.assert_array_equal(everything[:inputs], packed.swapaxes(0, 1).reshape(inputs, -1))
    assert not everything[inputs:].any()
    assert result.numbers == len(everything)


def test_all_panels_are_wide_where_one_product_takes_them():
    _, result = transposed(5 * LANES, fitted=False)
    (panels,) = result.panels
    assert (panels.first, panels.array.shape) == (0, (2, result.columns, TILE_VECTORS * LANES))
    assert result.address == panels.array.ctypes.data
