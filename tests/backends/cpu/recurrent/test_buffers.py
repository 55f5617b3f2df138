"""Memory of calls is kept for later ones, up to a bound."""

import numpy as np
import pytest

from numlstm.backends.contract import LayerSpec
from numlstm.backends.cpu.recurrent import prepared as module
from numlstm.backends.cpu.recurrent.packing import layer_packing
from numlstm.backends.cpu.recurrent.prepared import SPARE_CALLS, SPARE_SHAPES, PreparedLayer
from numlstm.backends.cpu.recurrent.weights import LayerWeights


@pytest.fixture
def prepared():
    packing = layer_packing(LayerSpec("lstm", 3, 5))
    return PreparedLayer(LayerWeights(packing, np.zeros(packing.size, np.float32), training=False))


def acquired(prepared, rows, steps):
    """Memory for a call with gradients, all of it."""
    memory = prepared.acquire(rows, steps, 1, True, True)
    assert memory.full_pieces
    return memory


def test_calls_of_a_shape_use_the_same_memory(prepared):
    first = acquired(prepared, 4, 7)
    prepared.release(first)
    assert acquired(prepared, 4, 7) is first
    assert acquired(prepared, 4, 7) is not first, "two calls at once share no memory"


def test_all_memory_counts(prepared):
    memory = acquired(prepared, 4, 7)
    (group,) = memory.groups
    tables = group.backward.tables
    arrays = group.values, group.backward.carried, tables.gates
    assert memory.nbytes == sum(array.nbytes for array in arrays)


@pytest.mark.parametrize("bound", [0, 1.5, 2.5])
def test_spare_memory_has_a_bound(prepared, monkeypatch, bound):
    several = [acquired(prepared, 4, 7) for _ in range(SPARE_CALLS + 1)]
    monkeypatch.setattr(module, "SPARE_BYTES", bound * several[0].nbytes)
    for memory in several:
        prepared.release(memory)
        kept = [memory for memories in prepared._idle.values() for memory in memories]
        assert sum(memory.nbytes for memory in kept) <= module.SPARE_BYTES
        assert len(kept) <= SPARE_CALLS
        assert bool(kept) == bool(bound), "what fits is kept"


def test_spare_shapes_have_a_bound(prepared):
    for steps in range(1, 2 * SPARE_SHAPES):
        prepared.release(acquired(prepared, 2, steps))
        assert 0 < len(prepared._idle) <= SPARE_SHAPES
