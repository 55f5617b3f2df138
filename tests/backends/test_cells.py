"""Descriptions of cells: what is refused, what is told apart, and equations that fit their derivatives."""

import dis
import inspect
import numbers
from collections import namedtuple
from dataclasses import replace

import mgu
import numpy as np
import pytest
from tolerances import assert_close
from variants import ONE_BY_ONE, OTHERS, lstm_variants, name_of

from numlstm import cells
from numlstm.cells.elementary import sigmoid, tanh

PHASE = cells.LSTM.phases[0]
KINDS = [*ONE_BY_ONE, *OTHERS, *lstm_variants()]
DESCRIBED = {
    name_of(kind): cells.describe(kind["cell"], **{name: value for name, value in kind.items() if name != "cell"})
    for kind in KINDS
}
PHASES = {
    f"{name}, phase {k}": (cell, phase) for name, cell in DESCRIBED.items() for k, phase in enumerate(cell.phases)
}


def other_forward(one, v):
    """Without the forget gate."""
    i, g, o = sigmoid(v.input_gate), tanh(v.cell_input), sigmoid(v.output_gate)
    c = v.c_prev + i * g
    return o * tanh(c), c, i, i, g, o


def with_literal(one, x):
    return 2.0 * x


def literals(function):
    """Numbers written out in a function."""
    loads = (each for each in dis.get_instructions(function) if each.opname.startswith(("LOAD_CONST", "LOAD_SMALL")))
    return [each.argval for each in loads if isinstance(each.argval, numbers.Number)]


def plain_functions(function):
    """A function, and those of cells that it calls."""
    captured = [each.cell_contents for each in function.__closure__ or ()]
    called = [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]
    inside = [each for each in (*captured, *called) if inspect.isfunction(each)]
    inside = [each for each in inside if each.__module__ != "numlstm.cells.elementary"]
    return [function, *(deeper for each in inside for deeper in plain_functions(each))]


def record(values):
    """Values as equations take them; names with a blank are reached by their places only."""
    return namedtuple("Values", values, rename=True)(*values.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"products": (PHASE.products[0], replace(PHASE.products[1], source="r"))}, "source 'r' is not known yet"),
        ({"products": (PHASE.products[0],)}, r"nothing reads \['h_prev'\]"),
        (
            {"products": (PHASE.products[1], replace(PHASE.products[0], weight="w"))},
            r"\['w'\], which are no parameters",
        ),
        (
            {"products": (PHASE.products[1], replace(PHASE.products[0], rows=(1, 2, 3, 4)))},
            r"rows \(1, 2, 3, 4\) lie outs",
        ),
        ({"products": (replace(PHASE.products[0], gates=("a",)),)}, r"added to \('a',\), the phase has"),
        ({"gates": (*PHASE.gates, "a"), "gradients": (*PHASE.gradients, "a")}, r"no product is added to \['a'\]"),
        ({"reads": ("c_prev", "r"), "gradients": (*PHASE.gradients, "r")}, r"reads \['r'\] before they are given"),
        ({"reads": ("c_prev", "h"), "gradients": (*PHASE.gradients, "h")}, r"reads \['h'\] before they are given"),
        ({"keeps": ("i", "f", "g", "c_prev")}, r"forward does not return \['c_prev'\]"),
        ({"keeps": ("i", "f", "g", "h")}, r"\['h'\] given twice"),
        ({"gradients": PHASE.gates}, r"backward does not return the gradients of \['c_prev'\]"),
        ({"uses": ("i", "r")}, r"backward uses unknown values \['r'\]"),
        ({"gives": ("h",), "keeps": ("i",), "uses": ("i",)}, r"no phase gives \['c'\]"),
        ({"reads": ()}, r"nothing reads \['c_prev'\]"),
        ({"gives": ("h", "c", "i"), "keeps": ("f", "g", "o")}, r"nothing reads \['i'\]"),
    ],
)
def test_inconsistent_phases_are_refused(change, message):
    with pytest.raises(ValueError, match=f"cell 'wrong': .*{message}"):
        cells.Cell("wrong", ("h", "c"), (replace(PHASE, **change),), cells.LSTM.parameters)


def test_a_value_is_given_by_one_phase():
    with pytest.raises(ValueError, match="given twice"):
        cells.Cell("wrong", ("h", "c"), (PHASE, PHASE), cells.LSTM.parameters)


def test_a_later_phase_gives_nothing_to_an_earlier_one():
    with pytest.raises(ValueError, match="source 'm' is not known yet"):
        replace(mgu.MGU, phases=mgu.MGU.phases[::-1])


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"one of \[.*'lstm'.*\], got 'lsmt'"):
        cells.get("lsmt")


def test_a_name_is_given_once():
    cells.register("mgu", mgu.MGU)
    with pytest.raises(ValueError, match="'lstm' is registered already"):
        cells.register("lstm", mgu.MGU)


@pytest.mark.parametrize("options", [{"options": (("peephole", True),)}, {"candidate_dropout": 0.5}])
def test_what_a_cell_has_no_place_for_is_refused(options):
    with pytest.raises(ValueError, match="cell 'mgu' has no"):
        cells.describe("mgu", **options)


@pytest.mark.parametrize(
    "change",
    [
        {"forward": other_forward},
        {"backward": other_forward},
        {"finish": other_forward},
        {"gates": PHASE.gates[::-1]},
        {"uses": PHASE.uses[::-1]},
        {"forward": cells.describe("lstm", (("input_activation", ("relu",)),)).phases[0].forward},
    ],
)
def test_the_digest_follows_the_equations(change):
    assert replace(cells.LSTM, phases=(replace(PHASE, **change),)).digest != cells.LSTM.digest


def test_the_digest_is_that_of_equal_cells():
    assert replace(cells.LSTM).digest == cells.LSTM.digest


def test_cells_that_differ_have_digests_that_differ():
    numbers = {name: replace(cell, constants=(), masks=()) for name, cell in DESCRIBED.items()}
    digests = {cell.digest for cell in numbers.values()}
    assert len(digests) > 0.8 * len(DESCRIBED)  # some differ in numbers only, which are no part of it
    probabilities = [cells.describe("gru", zoneout=(p,)).digest for p in (0.1, 0.2)]
    assert probabilities[0] == probabilities[1]


@pytest.mark.parametrize(("cell", "phase"), PHASES.values(), ids=PHASES)
def test_equations_have_no_numeric_literal(cell, phase):
    assert literals(with_literal) == [2.0]
    for equations in filter(None, (phase.forward, phase.backward, phase.finish)):
        for function in plain_functions(equations):
            assert literals(function) == []


@pytest.mark.parametrize(("cell", "phase"), PHASES.values(), ids=PHASES)
def test_equations_agree_with_finite_differences(cell, phase):
    rng = np.random.default_rng(1)
    parameters = [name for name, _, _ in phase.parameters]
    names = [*phase.gates, *phase.reads, *parameters]
    point = rng.normal(size=len(names))
    numbers = {name: dict(cell.constants)[name] for name in phase.constants} | dict.fromkeys(phase.masks, 0.7)
    weights = rng.normal(size=len(phase.gives))

    def results(point):
        made = phase.forward(1.0, record(dict(zip(names, point, strict=True)) | numbers))
        made = dict(zip(phase.results, made, strict=True))
        if phase.finish is None:
            return made
        late = phase.finish(1.0, record({name: made[name] for name in phase.finish_reads} | numbers))
        return made | dict(zip(phase.finish_gives, late, strict=True))

    def loss(point):
        made = results(point)
        return sum(weight * made[name] for weight, name in zip(weights, phase.gives, strict=True))

    known = dict(zip(names, point, strict=True)) | results(point)
    taken = {name: known[name] for name in (*phase.uses, *parameters)} | numbers
    d = record(dict(zip(phase.gives, weights, strict=True)))
    gradient = dict(zip(phase.gradients, phase.backward(1.0, d, record(taken)), strict=True))
    changes = 1e-6 * np.eye(len(names))
    differences = [(loss(point + change) - loss(point - change)) / 2e-6 for change in changes]
    assert_close("equation", "gradient", np.array([gradient[name] for name in names]), np.array(differences))
