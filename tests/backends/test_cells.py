"""Descriptions of cells: what is refused, what is told apart, and equations that fit their derivatives."""

import dis
import numbers
from dataclasses import replace

import mgu
import numpy as np
import pytest
from tolerances import assert_close

from numlstm import cells

PHASE = cells.LSTM.phases[0]
PHASES = {f"{cell.name}, phase {k}": phase for cell in (cells.LSTM, mgu.MGU) for k, phase in enumerate(cell.phases)}


def other_forward(one, i, f, g, o, c_prev):
    """Without the forget gate."""
    i, f, g, o = cells.lstm.sigmoid(i), cells.lstm.sigmoid(f), cells.lstm.tanh(g), cells.lstm.sigmoid(o)
    c = c_prev + i * g
    return o * cells.lstm.tanh(c), c, i, f, g, o


def with_literal(one, x):
    return 2.0 * x


def literals(function):
    """Numbers written out in a function."""
    loads = (each for each in dis.get_instructions(function) if each.opname.startswith(("LOAD_CONST", "LOAD_SMALL")))
    return [each.argval for each in loads if isinstance(each.argval, numbers.Number)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "r"}, "source 'r' is not known yet"),
        ({"reads": ("c_prev", "r")}, r"reads \['r'\] before they are given"),
        ({"reads": ("c_prev", "h")}, r"reads \['h'\] before they are given"),
        ({"keeps": ("i", "f", "g", "c_prev")}, r"\['c_prev'\] given twice"),
        ({"uses": ("i", "r")}, r"backward uses unknown values \['r'\]"),
        ({"gives": ("h",), "keeps": ("i",), "uses": ("i",)}, r"no phase gives the states \['c'\]"),
        ({"reads": ()}, r"nothing reads \['c_prev'\]"),
        ({"gives": ("h", "c", "m")}, r"nothing reads \['m'\]"),
    ],
)
def test_inconsistent_phases_are_refused(change, message):
    with pytest.raises(ValueError, match=f"cell 'wrong': .*{message}"):
        cells.Cell("wrong", ("h", "c"), (replace(PHASE, **change),))


def test_a_value_is_given_by_one_phase():
    with pytest.raises(ValueError, match="given twice"):
        cells.Cell("wrong", ("h", "c"), (PHASE, PHASE))


def test_a_later_phase_gives_nothing_to_an_earlier_one():
    with pytest.raises(ValueError, match="source 'm' is not known yet"):
        replace(mgu.MGU, phases=mgu.MGU.phases[::-1])


def test_gates_are_those_of_all_phases_in_order():
    assert mgu.MGU.gates == ("forget_gate", "cell_input")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"one of \[.*'lstm'.*\], got 'lsmt'"):
        cells.get("lsmt")


def test_a_name_is_given_once():
    assert cells.register(cells.LSTM) is cells.get("lstm") is cells.LSTM
    with pytest.raises(ValueError, match="'lstm' is registered already"):
        cells.register(replace(cells.LSTM, phases=(replace(PHASE, forward=other_forward),)))


@pytest.mark.parametrize(
    "change",
    [
        {"forward": other_forward},
        {"backward": other_forward},
        {"gates": PHASE.gates[::-1]},
        {"uses": PHASE.uses[::-1]},
    ],
)
def test_the_digest_follows_the_equations(change):
    assert replace(cells.LSTM, phases=(replace(PHASE, **change),)).digest != cells.LSTM.digest


def test_the_digest_is_that_of_equal_cells():
    assert replace(cells.LSTM).digest == cells.LSTM.digest


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
def test_equations_have_no_numeric_literal(phase):
    assert literals(with_literal) == [2.0]
    assert literals(phase.forward) == literals(phase.backward) == []


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
def test_equations_agree_with_finite_differences(phase):
    rng, count = np.random.default_rng(1), len(phase.gives)
    arguments = rng.normal(size=len(phase.gates) + len(phase.reads))
    weights = rng.normal(size=count)

    def loss(arguments):
        return np.dot(weights, phase.forward(1.0, *arguments)[:count])

    results = phase.forward(1.0, *arguments)
    assert len(results) == count + len(phase.keeps)
    known = dict(zip(phase.reads, arguments[len(phase.gates) :], strict=True))
    known |= dict(zip((*phase.gives, *phase.keeps), results, strict=True))
    gradient = phase.backward(1.0, *weights, *(known[name] for name in phase.uses))
    changes = 1e-5 * np.eye(len(arguments))
    differences = [(loss(arguments + change) - loss(arguments - change)) / 2e-5 for change in changes]
    assert_close("equation", "gradient", gradient, differences)
