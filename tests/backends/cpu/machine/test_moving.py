"""Arrays take the places of others in calls that know these by their addresses alone."""

from functools import partial

import numpy as np
import pytest
from kernel_calls import CPU, make_problem, packed

from numlstm.backends.cpu.machine.arrays import Arguments, address_of
from numlstm.backends.cpu.machine.moving import MachineCalls, mover

PLACE = np.dtype([("address", np.int64), ("row", np.int64)])


def test_addresses_inside_the_array_follow_it():
    first, other, unrelated = np.zeros((4, 5), "float32"), np.ones((4, 5), "float32"), np.zeros(3)
    inner = address_of(first[2, 3:])
    table = np.array([7, address_of(first), address_of(unrelated), inner])
    places = np.array([(inner, 20), (0, 0)], PLACE)
    behind = np.array([address_of(first) + first.nbytes, address_of(first) - 1])
    calls = [MachineCalls(int, [Arguments.of(table, (places, None)), first, "no", behind]), MachineCalls(int, ())]
    expected, offset = behind.copy(), inner - address_of(first)
    for array in (other, first):
        mover(calls, first)(array)
        assert table.tolist() == [7, address_of(array), address_of(unrelated), address_of(array) + offset]
        assert places["address"].tolist() == [address_of(array) + offset, 0]
        assert np.array_equal(behind, expected)
        first = array


FIRST, UNRELATED = np.zeros(5), np.zeros(5)


@pytest.mark.parametrize(
    "other",
    [
        partial(np.add, FIRST, UNRELATED, UNRELATED),
        partial(np.multiply, UNRELATED, 2, out=FIRST[1:]),
        partial(FIRST.fill, 0),
        partial(np.concatenate, [UNRELATED, FIRST]),
        partial(int, address_of(FIRST) + 8),
        lambda: FIRST,
    ],
)
def test_what_others_may_know_does_not_move(other):
    assert mover([MachineCalls(int, (), [other])], FIRST) is None
    assert mover([other], FIRST) is None


@pytest.mark.parametrize(
    "other",
    [
        partial(np.add, UNRELATED, UNRELATED, UNRELATED),
        partial(UNRELATED.fill, 0),
        partial(np.copyto, UNRELATED, 1.0, "unsafe"),
        partial(np.multiply, UNRELATED, 2, out=UNRELATED, dtype=np.dtype("float64")),
    ],
)
def test_what_others_cannot_know_does(other):
    assert mover([MachineCalls(int, (), [other])], FIRST)


def test_what_moves_stays_with_the_recording():
    """Calls before and after it find arguments of their own."""
    problem = make_problem(4, 5, 3, 6)
    weights, y = CPU.prepare(problem.spec, packed(problem), training=True), np.empty((4, 5, 6), "float32")
    dy, gradient, dx = np.ones_like(y), np.empty(CPU.size(problem.spec), "float32"), np.empty_like(problem.x)

    def step():
        _, tape = CPU.sequence_forward(weights, problem.x, problem.initial, [y, None], training=True)
        CPU.sequence_backward(weights, tape, [dy, None], [None, None], gradient, dx)
        return 0.0

    step()
    expected = y.copy(), dx.copy()
    _, repeat = CPU.record(step)
    other_x, other_dy = -problem.x, -dy
    CPU.mover([repeat], problem.x)(other_x)
    CPU.mover([repeat], dy)(other_dy)
    repeat()
    assert not np.allclose(y, expected[0])
    assert not np.allclose(dx, expected[1])
    step()
    assert np.array_equal(y, expected[0])
    assert np.array_equal(dx, expected[1])
