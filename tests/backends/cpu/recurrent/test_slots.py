"""Where the values of a cell are kept, for cells of other shapes than those that are compiled in tests."""

import pytest
from variants import ONE_BY_ONE, OTHERS, name_of

from numlstm.backends.cpu.recurrent.slots import Slots
from numlstm.cells import Cell, Parameter, Phase, Product, describe


def phase(source, reads, gives):
    """A phase without equations: `Slots` looks at names only."""
    product = Product(("a",), source, "weight_hh", None, (0,))
    return Phase(("a",), (product,), reads, gives, keeps=(), uses=(), forward=None, backward=None)


WEIGHTS = (Parameter("weight_hh", 1, columns="hidden"),)
CELLS = {
    "reads its own source": Cell("own", ("h",), (phase("h_prev", ("h_prev",), ("h",)),), WEIGHTS),
    "one source twice": Cell("twice", ("h",), (phase("h_prev", (), ("m",)), phase("h_prev", ("m",), ("h",))), WEIGHTS),
    "reads a new state": Cell(
        "new",
        ("h", "c"),
        (
            phase("h_prev", ("c_prev",), ("m",)),
            phase("m", ("m",), ("c",)),
            phase("c", ("c", "m"), ("h",)),
        ),
        WEIGHTS,
    ),
} | {
    name_of(kind): describe(kind["cell"], **{name: value for name, value in kind.items() if name != "cell"})
    for kind in [*ONE_BY_ONE, *OTHERS]
}


def contributions(cell):
    """What the way back adds up, in order: phase, value it reads or number of a product, whose gradient."""
    for index in reversed(range(len(cell.phases))):
        yield from ((index, name, name) for name in cell.phases[index].reads)
        products = enumerate(cell.phases[index].products)
        yield from ((index, k, product.source) for k, product in products if product.source != "x")


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_first_contribution_to_a_gradient_overwrites_and_others_add(cell):
    slots = Slots(cell)
    reached = set(cell.carried)  # a new state's gradient comes from outside, and from the step after
    for index, name, target in contributions(cell):
        assert slots.contributions[index, name] == (target not in reached), (index, name, target)
        reached.add(target)
    assert reached >= {f"{state}_prev" for state in cell.states} | set(slots.handed_on)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_values_and_gradients_have_places_of_their_own(cell):
    slots = Slots(cell)
    assert [slots.place(name) for name in slots.names] == [(slot, False) for slot in range(len(slots.names))]
    assert [slots.place(f"{name}_prev") for name in cell.states] == [(slot, True) for slot in range(len(cell.states))]
    targets = {target for *_, target in contributions(cell)} | set(cell.carried)
    assert len({slots.gradient(target) for target in targets}) == len(targets)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_inference_carries_states_and_what_phases_hand_on(cell):
    slots = Slots(cell)
    carried = slots.names[: slots.carried]
    assert carried[: len(cell.states)] == cell.carried
    assert {value for each in cell.phases for value in each.gives} == set(carried)
