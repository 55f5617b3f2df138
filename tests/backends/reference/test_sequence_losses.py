"""The reference's losses over sequences: against all paths, against finite differences, and against other libraries."""

from itertools import pairwise, product

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import log_softmax, logsumexp

from numlstm.backends.reference.crf import best_path, crf, expectations
from numlstm.backends.reference.ctc import ctc

RNG = np.random.default_rng(3)


def reading(path, blank):
    """A path without repetitions, then without blanks."""
    return [k for n, k in enumerate(path) if k != blank and (n == 0 or k != path[n - 1])]


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("labels", [[], [1], [1, 1], [1, 3], [3, 1, 3], [1, 1, 1]])
def test_ctc_is_the_sum_over_all_paths(labels, blank):
    s = 2.0 * RNG.normal(size=(5, 4))
    log_y = log_softmax(s, axis=1)
    paths = [path for path in product(range(4), repeat=5) if reading(path, blank) == labels]
    wanted = -logsumexp([sum(log_y[t, k] for t, k in enumerate(path)) for path in paths])
    assert ctc(s, np.array(labels, int), blank)[0] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("labels", [[], [1, 2], [2, 2], [1, 2, 1]])
def test_gradient_of_ctc(labels):
    s, labels = RNG.normal(size=(6, 3)), np.array(labels, int)
    slopes = approx_fprime(s.ravel(), lambda flat: ctc(flat.reshape(s.shape), labels, 0)[0], 1e-6)
    np.testing.assert_allclose(ctc(s, labels, 0)[1].ravel(), slopes, atol=1e-5)


def test_what_cannot_be_read():
    loss, gradient = ctc(np.zeros((2, 3)), np.array([1, 1]), 0)
    assert loss == np.inf
    assert not gradient.any()


def field(labels):
    return {"transitions": RNG.normal(size=(labels, labels)), "start": RNG.normal(size=labels),
            "end": RNG.normal(size=labels)}  # fmt: skip


def score(path, s, p):
    """Of one path."""
    steps = sum(s[t, k] for t, k in enumerate(path))
    return p["start"][path[0]] + steps + sum(p["transitions"][a, b] for a, b in pairwise(path)) + p["end"][path[-1]]


@pytest.mark.parametrize("labels", [[0, 2, 1, 1], [0, -1, 1, -1], [-1, -1, -1, -1]])
def test_crf_is_the_sum_over_all_paths(labels):
    s, p, labels = RNG.normal(size=(4, 3)), field(3), np.array(labels)
    paths = [*product(range(3), repeat=4)]
    total, some = log_sums(labels, s, p)[[0, -1]]
    loss, *_ = crf(s, labels, np.ones(4), p)
    assert loss == pytest.approx(total - some, abs=1e-12)
    shares = np.zeros_like(s)
    for path in paths:
        shares[np.arange(4), path] += np.exp(score(path, s, p) - total)
    np.testing.assert_allclose(expectations(s, p)[1], shares, atol=1e-13)
    assert tuple(best_path(s, p)) == max(paths, key=lambda path: score(path, s, p))


def log_sums(labels, s, p):
    """Over all paths that agree with the first labels: with none of them, with one, and so on to all."""
    paths = [*product(range(s.shape[1]), repeat=len(s))]
    agreeing = [
        [path for path in paths if all(want in (-1, k) for k, want in zip(path, labels[:count], strict=False))]
        for count in range(len(s) + 1)
    ]
    return np.array([logsumexp([score(path, s, p) for path in each]) for each in agreeing])


WEIGHTED = [
    ([0, 2, 1, 1], [1.0, 1.0, 1.0, 1.0]),
    ([0, 2, 1, 1], [0.5, 2.0, 0.0, 1.5]),
    ([0, 2, 1, 1], [0.0, 0.0, 1.0, 0.0]),
    ([2, -1, 1, -1], [1.0, 7.0, 3.0, 2.0]),
    ([-1, -1, 1, 0], [5.0, 0.0, 1.0, 2.0]),
    ([1], [3.0]),
]


@pytest.mark.parametrize(("labels", "weights"), WEIGHTED)
def test_weights_of_steps_of_a_crf(labels, weights):
    """Each step's label has a probability, given the labels before it; a step without a label has none."""
    s, p, labels, weights = RNG.normal(size=(len(labels), 3)), field(3), np.array(labels), np.array(weights)
    surprises = -np.diff(log_sums(labels, s, p))
    np.testing.assert_allclose(surprises[labels < 0], 0.0, atol=1e-14)
    assert crf(s, labels, weights, p)[0] == pytest.approx(weights @ surprises, abs=1e-12)


@pytest.mark.parametrize(("labels", "weights"), WEIGHTED)
def test_gradients_of_a_crf(labels, weights):
    labels, weights = np.array(labels), np.array(weights)
    s, p = RNG.normal(size=(len(labels), 3)), field(3)
    _, ds, dp = crf(s, labels, weights, p)
    numeric = approx_fprime(s.ravel(), lambda x: crf(x.reshape(s.shape), labels, weights, p)[0], 1e-6)
    np.testing.assert_allclose(ds.ravel(), numeric, atol=1e-5)
    for name, value in p.items():

        def loss(x, name=name, shape=value.shape):
            return crf(s, labels, weights, p | {name: x.reshape(shape)})[0]

        np.testing.assert_allclose(dp[name].ravel(), approx_fprime(value.ravel(), loss, 1e-6), atol=1e-5, err_msg=name)
