"""The reference's losses of distributions: against SciPy, PyTorch's rules by hand, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from likelihood_problems import LIKELIHOOD_SPECS, every_likelihood, make_likelihood
from reference_problems import BACKEND, assert_close, differences
from scipy import stats
from scipy.special import expit, logit

from numlstm.backends.contract import LIKELIHOODS, LossSpec


def raw(value):
    """The score whose softplus is a value."""
    return np.log(np.expm1(value))


def loss_of(spec, scores, targets):
    return BACKEND.loss(spec, np.array([scores]), np.array([targets]), np.ones(1))[0]


def test_every_likelihood_is_tested():
    assert {spec.kind for spec in LIKELIHOOD_SPECS} == set(LIKELIHOODS)


def test_gaussian_of_scipy():
    loss = loss_of(LossSpec("gaussian"), [0.3, raw(0.7 - 1e-3)], [1.1])
    assert loss == pytest.approx(-stats.norm.logpdf(1.1, 0.3, 0.7), rel=1e-12)


def test_student_t_of_scipy():
    loss = loss_of(LossSpec("student_t"), [0.3, raw(0.7 - 1e-3), raw(1.5)], [1.1])
    assert loss == pytest.approx(-stats.t.logpdf(1.1, 3.5, 0.3, 0.7), rel=1e-12)


@pytest.mark.parametrize("exposure", [1.0, 4.0])
def test_negative_binomial_of_scipy(exposure):
    loss = loss_of(LossSpec("negative_binomial"), [raw(3.0 - 1e-4), raw(0.25 - 1e-4)], [5.0, exposure])
    mean, r = 3.0 * exposure, 4.0
    assert loss == pytest.approx(-stats.nbinom.logpmf(5, r, r / (r + mean)), rel=1e-12)


def test_quantiles_by_hand():
    """Scores whose softplus is 1, 2 and 3 around 0.5: quantiles at -0.5, 0.5, 2.5 and 5.5."""
    spec = LossSpec("quantiles", levels=(0.1, 0.5, 0.9))
    assert loss_of(spec, [raw(1.0), 0.5, raw(2.0)], [1.5]) == pytest.approx(0.1 * 2.0 + 0.5 * 1.0 + 0.1 * 1.0)
    spec = LossSpec("quantiles", levels=(0.1, 0.3, 0.6, 0.9))
    loss = loss_of(spec, [raw(3.0), raw(1.0), 0.5, raw(2.0)], [0.0])
    assert loss == pytest.approx(0.1 * 3.5 + 0.3 * 0.5 + 0.4 * 0.5 + 0.1 * 2.5)


@every_likelihood
def test_gradient_of_a_likelihood(spec):
    scores, targets, weights = make_likelihood(spec)
    _, gradient = BACKEND.loss(spec, scores, targets, weights)
    assert_close(gradient, differences(lambda: BACKEND.loss(spec, scores, targets, weights)[0], scores))
    assert not gradient[1].any()


@pytest.mark.parametrize("kind", ["gaussian", "student_t", "negative_binomial"])
def test_the_least_loss_is_at_the_truth(kind):
    """Descent on many draws from a known distribution finds its parameters."""
    rng, spec = np.random.default_rng(0), LossSpec(kind)
    if kind == "negative_binomial":
        sample = np.stack([rng.negative_binomial(4.0, 4.0 / 7.0, 4000), np.ones(4000)], axis=1).astype(float)
        truth = np.array([raw(3.0), raw(0.25)])
    else:
        noise = rng.normal(size=4000) if kind == "gaussian" else rng.standard_t(4.0, 4000)
        sample = (2.0 + 0.5 * noise)[:, None]
        truth = np.array([2.0, raw(0.5), raw(2.0)])[: spec.scores]
    weights = np.full(len(sample), 1 / len(sample))

    def mean_loss(scores):
        return BACKEND.loss(spec, np.tile(scores, (len(sample), 1)), sample, weights)[0]

    at_truth = mean_loss(truth)
    for shift in np.concatenate([np.eye(spec.scores), -np.eye(spec.scores)]):
        assert mean_loss(truth + 0.7 * shift) > at_truth


def test_quantiles_are_those_of_the_sample():
    levels = (0.1, 0.5, 0.9)
    sample = logit(np.linspace(0.001, 0.999, 999))[:, None]
    wanted = np.array([raw(logit(0.5) - logit(0.1)), 0.0, raw(logit(0.9) - logit(0.5))])
    spec = LossSpec("quantiles", levels=levels)
    _, gradient = BACKEND.loss(spec, np.tile(wanted, (999, 1)), sample, np.full(999, 1 / 999))
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=2e-3 * expit(3.0))
