"""Every option of the reference's layers: gradients against finite differences; activations by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
    NOISE,
    OF_ACTIVATION,
    assert_close,
    assert_gradients,
    differences,
    dot,
    expected_gradients,
    make_problem,
    make_sources,
)
from variants import ONE_BY_ONE, OTHERS, lstm_variants, name_of

from numlstm.backends.reference import activations


def make_kind(kind, k=0, **sizes):
    """A small problem; with noise, in reverse, without biases every so often."""
    sizes = {"n": 2, "t": 2, "d": 2, "h": 3} | sizes
    return make_problem(**sizes, **kind, noise=NOISE if k % 2 else None, reverse=k % 3 == 1, bias=k % 5 != 4)


def slope_along(function, arrays, directions, eps=1e-5):
    """Central difference of a number along a direction in several arrays at once."""
    values = []
    for sign in (1.0, -1.0):
        for array, direction in zip(arrays, directions, strict=True):
            array += sign * eps * direction
        values.append(function())
        for array, direction in zip(arrays, directions, strict=True):
            array -= sign * eps * direction
    return (values[0] - values[1]) / (2 * eps)


@pytest.mark.parametrize(
    ("k", "kind"), list(enumerate([*ONE_BY_ONE, *OTHERS])), ids=map(name_of, [*ONE_BY_ONE, *OTHERS])
)
def test_gradients_of_an_option(k, kind):
    """Every number, with all sources of gradients at once."""
    problem = make_kind(kind, k)
    sources = {"all": make_sources(problem)["all"]}
    expected = expected_gradients(problem, sources)
    actual = problem.backward(*sources["all"])
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert_close(value, expected[name][0])


@pytest.mark.parametrize(("k", "kind"), list(enumerate(lstm_variants())), ids=map(name_of, lstm_variants()))
def test_gradients_of_options_together(k, kind):
    """Each array along a few directions, and zeros for what is not used."""
    problem = make_kind(kind, k, t=3, d=3, lengths=np.array([3, 2]))
    problem.x[problem.past] = 0.0
    doutputs, dfinal = make_sources(problem)["all"]
    doutputs = [np.where(problem.past[..., np.newaxis], 0.0, d) for d in doutputs]
    gradients = problem.backward(doutputs, dfinal)
    arrays = {"flat": problem.flat, "x": problem.x} | {f"initial {k}": s for k, s in enumerate(problem.initial)}
    rng = np.random.default_rng(k)

    def loss():
        outputs, final, _ = problem.forward(training=False)
        return dot(doutputs, outputs) + dot(dfinal, final)

    for name, array in arrays.items():
        for part in problem.spec.shapes if name == "flat" else [None]:
            mask = np.ones_like(array)
            if part is not None:
                shapes = {each: np.full(shape, float(each == part)) for each, shape in problem.spec.shapes.items()}
                BACKEND.pack(problem.spec, shapes, mask)
            direction = mask * rng.normal(size=array.shape)
            expected = slope_along(loss, [array], [direction])
            size = np.sum(np.abs(gradients[name] * direction))
            assert abs(np.vdot(gradients[name], direction) - expected) <= 1e-7 * size + 1e-9, (name, part)
    for name, gradient in BACKEND.unpack(problem.spec, gradients["flat"]).items():
        assert not gradient[~problem.spec.used[name]].any(), name


@pytest.mark.parametrize("place", ["recurrent_activation", "output_activation"])
@pytest.mark.parametrize("name", activations.VALUES)
def test_gradients_of_activations(place, name):
    assert_gradients(make_kind({"cell": "lstm", "options": ((place, (name, *OF_ACTIVATION[name])),)}))


AT_TWO_AND_MINUS_ONE = {
    "identity": (2.0, -1.0),
    "affine": (1.6, -0.5),
    "sigmoid": (1 / (1 + math.exp(-2)), 1 / (1 + math.e)),
    "tanh": (math.tanh(2), math.tanh(-1)),
    "scaled_tanh": (1.7 * math.tanh(1.2), 1.7 * math.tanh(-0.6)),
    "relu": (2.0, 0.0),
    "leaky_relu": (2.0, -0.1),
    "thresholded_relu": (2.0, 0.0),
    "hard_sigmoid": (1.0, 0.1),
    "elu": (2.0, 0.8 * (math.exp(-1) - 1)),
    "softsign": (2 / 3, -1 / 2),
    "softplus": (math.log(1 + math.exp(2)), math.log(1 + math.exp(-1))),
}


@pytest.mark.parametrize("name", activations.VALUES)
def test_activations_by_hand(name):
    activation = (name, *OF_ACTIVATION[name])
    x = np.array([2.0, -1.0])
    np.testing.assert_allclose(activations.apply(activation, x), AT_TWO_AND_MINUS_ONE[name], rtol=1e-14)
    expected = np.diag(differences(lambda: activations.apply(activation, x), x))
    np.testing.assert_allclose(activations.slope(activation, x), expected, rtol=1e-9, atol=1e-10)
    with np.errstate(invalid="ignore"):
        assert np.isnan(activations.apply(activation, np.array([np.nan])))


@pytest.mark.parametrize(
    ("activation", "x", "slope"),
    [
        (("relu",), 0.0, 0.0),
        (("leaky_relu", 0.1), 0.0, 1.0),
        (("thresholded_relu", 0.5), 0.5, 1.0),
        (("hard_sigmoid", 0.5, 0.5), 1.0, 0.0),
        (("hard_sigmoid", 0.5, 0.5), -1.0, 0.0),
        (("elu", 0.3), 0.0, 1.0),
        (("softsign",), 0.0, 1.0),
    ],
)
def test_slopes_at_kinks(activation, x, slope):
    assert activations.slope(activation, np.array([x])) == slope
