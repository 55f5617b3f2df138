"""Where the values of a cell are kept, for cells of other shapes than those that are compiled in tests."""

import mgu
import pytest

from numlstm.backends.cpu.slots import Slots
from numlstm.cells import LSTM, Cell, Phase


def phase(source, reads, gives):
    """A phase without equations: `Slots` looks at names only."""
    return Phase(("a",), source, reads, gives, keeps=(), uses=(), forward=None, backward=None)


CELLS = {
    "lstm": LSTM,
    "mgu": mgu.MGU,
    "reads its own source": Cell("own", ("h",), (phase("h_prev", ("h_prev",), ("h",)),)),
    "one source twice": Cell("twice", ("h",), (phase("h_prev", (), ("m",)), phase("h_prev", ("m",), ("h",)))),
    "reads a new state": Cell(
        "new",
        ("h", "c"),
        (
            phase("h_prev", ("c_prev",), ("m",)),
            phase("m", ("m",), ("c",)),
            phase("c", ("c", "m"), ("h",)),
        ),
    ),
}


def contributions(cell):
    """What the way back adds up, in order: phase, value it reads (None: its product), whose gradient."""
    for index in reversed(range(len(cell.phases))):
        yield from ((index, name, name) for name in cell.phases[index].reads)
        yield index, None, cell.phases[index].source


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_first_contribution_to_a_gradient_overwrites_and_others_add(cell):
    slots = Slots(cell)
    reached = set(cell.states)  # a new state's gradient comes from outside, and from the step after
    for index, name, target in contributions(cell):
        assert slots.overwrites(index, name) == (target not in reached), (index, name, target)
        reached.add(target)
    assert reached >= {f"{state}_prev" for state in cell.states} | set(slots.handed_on)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_values_and_gradients_have_places_of_their_own(cell):
    slots = Slots(cell)
    assert [slots.place(name) for name in slots.names] == [(slot, False) for slot in range(len(slots.names))]
    assert [slots.place(f"{name}_prev") for name in cell.states] == [(slot, True) for slot in range(len(cell.states))]
    targets = {target for *_, target in contributions(cell)} | set(cell.states)
    assert len({slots.gradient(target) for target in targets}) == len(targets)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_inference_carries_states_and_what_phases_hand_on(cell):
    slots = Slots(cell)
    carried = slots.names[: slots.carried]
    assert carried[: len(cell.states)] == cell.states
    assert {value for each in cell.phases for value in each.gives} == set(carried)
