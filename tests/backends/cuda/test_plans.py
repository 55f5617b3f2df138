"""How work is laid out over blocks: on the simulator, which runs blocks one after another, a stage at a time."""

import itertools

import pytest
from conformance_checks import LayerCase, check_layer
from variants import ONE_BY_ONE, OTHERS, name_of, variant

from numlstm.backends.cuda.backend import CudaBackend
from numlstm.backends.cuda.layer import Segment
from numlstm.backends.cuda.plan import Planner

WAYS = [
    {"hidden": 9, "inputs": 2, "shape": (3, 5), "lengths": "unequal"},
    {"hidden": 6, "inputs": 1, "shape": (2, 9), "reverse": True, "training": True},
]
KINDS = [variant("lstm"), variant("gru"), variant("lstm", layer_norm=True), variant("lstm", proj_size=2)]


@pytest.fixture
def backend():
    return CudaBackend(0)


@pytest.fixture
def many_blocks(monkeypatch):
    """Two slices of the units and two groups of rows; a launch for each stage of each step, in place of barriers."""

    def plan(planner, rows, *, forward):
        return planner._plan(2, 2, 4, 3, forward=forward, fused=True)

    launch = Segment._launch

    def apart(segment, kernel, plan, table, steps, stages, *others, **options):
        each = list(itertools.product(range(*steps), range(*stages)))
        if others:  # on the way back the last step comes first
            each = list(itertools.product(reversed(range(*steps)), range(*stages)))
        for s, stage in each:
            launch(segment, kernel, plan, table, (s, s + 1), (stage, stage + 1), *others, **options)

    monkeypatch.setattr(Planner, "best", plan)
    monkeypatch.setattr(Segment, "_launch", apart)


@pytest.fixture
def products_outside(monkeypatch):
    """Products made step by step, as where the weights do not fit into shared memory."""
    monkeypatch.setattr(Planner, "best", lambda planner, rows, *, forward: planner.stepwise(rows))


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", [*KINDS, variant("lstm", full_gate_recurrence=True, zoneout=(0.2, 0.4))], ids=name_of)
def test_many_blocks(backend, many_blocks, kind, way):
    check_layer(backend, LayerCase(dtype="float64", kind=kind, noise=True, **way))


@pytest.mark.parametrize("kind", [*KINDS, *OTHERS[-1:], *ONE_BY_ONE[:1]], ids=name_of)
def test_products_outside(backend, products_outside, kind):
    check_layer(backend, LayerCase(dtype="float64", kind=kind, noise=True, **WAYS[0]))


def test_segments_of_inference(backend, monkeypatch):
    """A sequence too long to be kept at once goes through in parts."""
    monkeypatch.setattr("numlstm.backends.cuda.layer.SEGMENT", 200)
    check_layer(backend, LayerCase(dtype="float64", hidden=5, shape=(7, 3), lengths="unequal", reverse=True))
