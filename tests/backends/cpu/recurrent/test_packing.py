"""Named parameters survive packing; padding is zero and stays so."""

from dataclasses import replace

import numpy as np
import pytest
from kernel_calls import CPU, make_problem, packed
from variants import ONE_BY_ONE, OTHERS

from numlstm.backends.contract import AffineSpec, LayerSpec
from numlstm.backends.cpu.linear import unpacking
from numlstm.backends.cpu.recurrent.packing import packing_of

SIZES = [(1, 1), (3, 5), (7, 16), (16, 7), (19, 37), (2, 64), (33, 65)]


SPECS = [
    spec
    for inputs, units in SIZES
    for dtype in ("float32", "float64")
    for spec in (
        AffineSpec(inputs, units, dtype),
        LayerSpec("lstm", inputs, units, True, dtype),
        LayerSpec("lstm", inputs, units, False, dtype),
    )
] + [
    LayerSpec(input_size=3, hidden_size=units, dtype="float32", **kind)
    for kind in [*ONE_BY_ONE, *OTHERS]
    for units in (5, 37)
]


def padding(spec):
    """Mask of the places in the flat vector that hold no parameter."""
    flat = np.zeros(CPU.size(spec), spec.dtype)
    CPU.pack(spec, {name: np.ones(shape) for name, shape in spec.shapes.items()}, flat)
    return flat == 0


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_parameters_survive_packing(spec):
    rng = np.random.default_rng(0)
    parameters = {name: rng.normal(size=shape).astype(spec.dtype) for name, shape in spec.shapes.items()}
    flat = np.full(CPU.size(spec), np.nan, spec.dtype)
    CPU.pack(spec, parameters, flat)
    unpacked = CPU.unpack(spec, flat)
    assert unpacked.keys() == parameters.keys()
    for name, value in parameters.items():
        np.testing.assert_array_equal(unpacked[name], value)
    assert not flat[padding(spec)].any()
    assert np.count_nonzero(~padding(spec)) == sum(value.size for value in parameters.values())


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_large_blocks_are_transposed(spec, monkeypatch):
    """To the same parameters; an unpacker that a recording knows gives those of each repeat."""
    rng = np.random.default_rng(0)
    flat = rng.normal(size=CPU.size(spec)).astype(spec.dtype)
    expected = CPU.unpack(spec, flat)
    other = rng.normal(size=flat.size).astype(spec.dtype)
    made = []
    _, repeat = CPU.record(lambda: made.append(CPU.unpacker(spec, flat)) or 0.0)
    monkeypatch.setattr(unpacking, "LARGE", 0)
    for unpacked in (CPU.unpack(spec, flat), made[0]()):
        for name, value in expected.items():
            np.testing.assert_array_equal(unpacked[name], value)
    expected = CPU.unpack(spec, other)
    flat[...] = other
    repeat()
    for name, value in made[0]().items():
        np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_blocks_fill_the_flat_vector_without_overlap(spec):
    ends = 0
    for block in packing_of(spec).blocks():
        assert block.start == ends
        ends += block.size
    assert CPU.size(spec) == ends + sum(int(mask.sum()) for mask in packing_of(spec).unused.values())


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_blocks_hold_what_is_used(spec):
    held = {name: np.zeros(shape, bool) for name, shape in spec.shapes.items()}
    for block in packing_of(spec).blocks():
        for part in block.part(held[block.name]):
            assert not part.any()
            part[...] = True
    for name, mask in held.items():
        np.testing.assert_array_equal(~mask, packing_of(spec).unused.get(name, np.zeros_like(mask)))


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("inputs", "units"), SIZES[:5])
def test_gradient_of_padding_is_zero(inputs, units, ragged):
    problem = make_problem(5, 4, inputs, units, ragged=ragged)
    weights = CPU.prepare(problem.spec, packed(problem))
    _, tape = CPU.sequence_forward(
        weights, problem.x, problem.initial, [None, None], lengths=problem.lengths, training=True
    )
    gradient = np.full(CPU.size(problem.spec), np.nan, "float32")
    CPU.sequence_backward(weights, tape, problem.doutputs, problem.dfinal, gradient, np.empty_like(problem.x))
    assert not gradient[padding(problem.spec)].any()
    assert gradient[~padding(problem.spec)].all()


def test_gradient_of_padding_is_zero_when_all_gradients_are_infinite():
    problem = make_problem(5, 4, 3, 5)
    problem = replace(problem, doutputs=tuple(np.full_like(d, np.inf) for d in problem.doutputs))
    weights = CPU.prepare(problem.spec, packed(problem))
    _, tape = CPU.sequence_forward(weights, problem.x, problem.initial, [None, None], training=True)
    gradient = np.empty(CPU.size(problem.spec), "float32")
    CPU.sequence_backward(weights, tape, problem.doutputs, problem.dfinal, gradient)
    assert not np.isfinite(gradient[~padding(problem.spec)]).all()
    assert not gradient[padding(problem.spec)].any()
