"""How the learning rate changes."""

import numpy as np
import pytest

from numlstm.training.schedules import SHAPES, Schedule, ends


def rates(name, steps=100, **options):
    schedule = Schedule(name, 2.0, steps, **options)
    return np.array([schedule(step) for step in range(steps)])


def test_constant():
    assert set(rates("constant")) == {2.0}


def test_cosine_falls_from_the_rate_to_nothing():
    found = rates("cosine")
    assert found[0] == 2.0
    assert found[50] == pytest.approx(1.0)
    assert (np.diff(found) < 0).all()
    assert found[-1] < 0.001


def test_one_cycle_rises_and_falls():
    found = rates("one_cycle", 1000)
    assert found[0] == pytest.approx(2.0 / 25)
    assert found.argmax() == 300
    assert found.max() == pytest.approx(2.0)
    assert found[-1] < 0.001 * found[0]


def test_one_cycle_is_that_of_torch():
    torch = pytest.importorskip("torch")
    steps = 200
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2.0, total_steps=steps + 1)
    wanted = []
    for _ in range(steps):
        wanted.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    np.testing.assert_allclose(rates("one_cycle", steps), wanted, rtol=0.05, atol=0.02)  # theirs peaks a step before


@pytest.mark.parametrize("name", ["constant", "cosine", "reduce_on_plateau"])
def test_warm_up_rises_in_a_straight_line(name):
    cold, warm = rates(name), rates(name, warm_up=0.2)
    np.testing.assert_allclose(warm[:20], cold[:20] * np.arange(1, 21) / 20)
    np.testing.assert_array_equal(warm[20:], cold[20:])


def test_reduce_on_plateau():
    schedule = Schedule("reduce_on_plateau", 1.0, 100, patience=2)
    found = []
    for improved in (True, False, True, False, False, False, False, True):
        schedule.end_epoch(improved)
        found.append(schedule(0))
    np.testing.assert_allclose(found, [1, 1, 1, 1, 0.2, 0.2, 0.04, 0.04])


def test_others_take_no_notice_of_a_plateau():
    schedule = Schedule("constant", 1.0, 100, patience=1)
    schedule.end_epoch(False)
    assert schedule(50) == 1.0


def test_which_rates_come_to_an_end():
    assert {name: ends(name) for name in SHAPES} == {
        "constant": False, "cosine": True, "one_cycle": True, "reduce_on_plateau": False
    }  # fmt: skip
