"""Losses of single scores, in plain Python, next to the reference."""

import math

import numpy as np
import pytest

from numlstm.backends.equations import losses
from numlstm.backends.reference.losses import LOSSES

SCORES = [-30.0, -1.5, -0.25, 0.0, 0.25, 1.5, 30.0]
PARAMETERS = {"huber": (0.5, 2.0), "pinball": (0.1, 0.5)}
CASES = [(kind, parameter) for kind in losses.ELEMENTWISE for parameter in PARAMETERS.get(kind, (0.0,))]


@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
@pytest.mark.parametrize(("kind", "parameter"), CASES)
def test_elementwise(kind, parameter, target):
    for score in SCORES:
        expected, slope = LOSSES[kind](np.array([score]), np.array([target]), parameter)
        value = losses.elementwise(losses.ELEMENTWISE.index(kind), parameter, score, target)
        np.testing.assert_allclose(value, (expected, *slope), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("kind", "parameter"), CASES)
def test_no_number_stays_none(kind, parameter):
    number = losses.ELEMENTWISE.index(kind)
    for pair in [(math.nan, 0.0), (0.0, math.nan), (math.inf, math.inf)]:
        assert all(map(math.isnan, losses.elementwise(number, parameter, *pair)))


def test_softmax():
    scores = [700.0, 710.0, -900.0]
    highest = max(scores)
    terms = [losses.softmax_term(score, highest) for score in scores]
    expected, gradient = LOSSES["softmax"](np.array(scores), 0, 0.0)
    assert losses.softmax_loss(scores[0], highest, sum(terms)) == pytest.approx(expected, rel=1e-14)
    slopes = [losses.softmax_slope(term, sum(terms), k == 0) for k, term in enumerate(terms)]
    np.testing.assert_allclose(slopes, gradient, rtol=1e-14)
