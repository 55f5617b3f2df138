"""Kernels touch nothing outside the arrays they are given, wherever these start and however far rows are apart.

Every array sits inside a larger one. Around what is read that one holds NaN, which would poison results; around
what is written, a pattern that must still be there.
"""

import numpy as np
import pytest
from kernel_calls import CPU, assert_same_bits, make_problem, named, named_gradients, packed, run

PATTERN = 12345.0
BAND = 16  # numbers: a vector at least
SIZES = [(1, 1), (3, 5), (7, 9), (17, 15), (13, 33)]  # (D, H), no multiples of the lanes
OFFSETS = [1, 3]  # numbers before every row: float32 rows that start off the 16-byte grid


class Room:
    """Places for arrays, with a band around every row."""

    def __init__(self, offset):
        self.offset, self.bands = offset, []

    def _place(self, array, filling, *, kept):
        shape = [size + 2 for size in array.shape[:-1]] + [array.shape[-1] + self.offset + 2 * BAND]
        inside = (*[slice(1, -1)] * (array.ndim - 1), slice(BAND + self.offset, -BAND))
        room, band = np.full(shape, filling, array.dtype), np.ones(shape, bool)
        room[inside] = array
        band[inside] = kept
        self.bands.append((room, band, room.copy()))
        return room[inside]

    def read(self, *arrays):
        """The arrays in the midst of NaN; neither may change."""
        return [self._place(array, np.nan, kept=True) for array in arrays]

    def written(self, *shapes):
        """Arrays of NaN, to be overwritten, in the midst of the pattern."""
        return [self._place(np.full(shape, np.nan, "float32"), PATTERN, kept=False) for shape in shapes]

    def assert_intact(self):
        """All arrays read, and all bands, are as they were."""
        for room, kept, before in self.bands:
            assert room[kept].tobytes() == before[kept].tobytes()


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("kind", [{}, {"ragged": True}, {"ragged": True, "reverse": True}], ids=str)
@pytest.mark.parametrize(("inputs", "units"), SIZES)
def test_passes_stay_inside_their_arrays(inputs, units, kind, offset):
    problem = make_problem(7, 5, inputs, units, **kind)
    room, states = Room(offset), (7, 5, units)
    flat, x = room.read(packed(problem), problem.x)
    initial, doutputs, dfinal = (room.read(*a) for a in (problem.initial, problem.doutputs, problem.dfinal))
    outputs = room.written(states, states)
    gradient, dx = room.written(flat.shape, x.shape)

    weights = CPU.prepare(problem.spec, flat)
    options = {"lengths": problem.lengths, "reverse": problem.reverse}
    final, tape = CPU.sequence_forward(weights, x, initial, outputs, **options, training=True)
    dinitial = CPU.sequence_backward(weights, tape, doutputs, dfinal, gradient, dx)

    room.assert_intact()
    assert np.isfinite(gradient).all()
    results = named(outputs, final) | named_gradients(dx, dinitial, CPU.unpack(problem.spec, gradient))
    assert_same_bits(results, run(problem))


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize(("inputs", "units"), SIZES)
def test_runner_stays_inside_its_arrays(inputs, units, offset):
    problem = make_problem(7, 1, inputs, units)
    room = Room(offset)
    flat, x = room.read(packed(problem), problem.x)
    states = room.written((7, units), (7, units))
    for state, start in zip(states, problem.initial, strict=True):
        state[...] = start
    CPU.runner(CPU.prepare(problem.spec, flat), x, states)()
    room.assert_intact()
    expected = run(problem)
    assert_same_bits(
        {"final h": states[0], "final c": states[1]}, {name: expected[name] for name in ("final h", "final c")}
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_what_lies_past_the_lengths_is_not_read(reverse):
    problem = make_problem(7, 5, 3, 5, ragged=True, reverse=reverse)
    expected = run(problem)
    past = np.arange(5) >= problem.lengths[:, np.newaxis]
    assert past.any()
    for array in (problem.x, *problem.doutputs):
        array[past] = np.nan
    assert_same_bits(run(problem), expected)
    assert not expected["h"][past].any()
    assert not expected["dx"][past].any()
