"""Losses of one target under a distribution whose parameters are a row of scores.

Each function takes the scores s (P,), the numbers of the target, and the levels of quantiles. It returns the loss, and
its gradient with respect to the scores, as the functions in `losses` do.
"""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, expit, gammaln
from scipy.stats import norm
from scipy.stats import t as student

from .losses import Loss, pinball

LEAST_SCALE, LEAST_FREEDOM, LEAST_DISPERSION = 1e-3, 2.0, 1e-4


def softplus(s: np.ndarray) -> np.ndarray:
    """``log(1 + exp(s))``."""
    return np.logaddexp(0.0, s)


def ordered(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles that cannot cross, and their Jacobian: row k is the gradient of quantile k.

    The middle quantile is its score. Each other quantile is its inner neighbour plus or minus softplus of its score.
    """
    count, middle = len(s), len(s) // 2
    k, j = np.indices((count, count))
    passed = np.where(k >= middle, (middle < j) & (j <= k), (k <= j) & (j < middle))
    sign = np.where(k >= middle, 1.0, -1.0)
    quantiles = s[middle] + np.where(passed, sign * softplus(s), 0.0).sum(axis=1)
    return quantiles, np.where(passed, sign * expit(s), 0.0) + (j == middle)


def quantiles(s: np.ndarray, t: np.ndarray, levels: tuple[float, ...]) -> tuple[float, np.ndarray]:
    """The sum of the pinball losses of ordered quantiles."""
    values, jacobian = ordered(s)
    losses, slopes = zip(*(pinball(q[None], t, level) for q, level in zip(values, levels, strict=True)), strict=True)
    return np.sum(losses), np.concatenate(slopes) @ jacobian


def gaussian(s: np.ndarray, t: np.ndarray, _: object) -> tuple[float, np.ndarray]:
    """``-log N(t; mean, scale)``, with the scores (mean, raw scale)."""
    mean, scale = s[0], softplus(s[1]) + LEAST_SCALE
    z = (t[0] - mean) / scale
    return -norm.logpdf(t[0], mean, scale), np.array([-z / scale, (1.0 - z**2) / scale * expit(s[1])])


def student_t(s: np.ndarray, t: np.ndarray, _: object) -> tuple[float, np.ndarray]:
    """Student's t distribution with the scores (location, raw scale, raw degrees of freedom)."""
    location, scale, nu = s[0], softplus(s[1]) + LEAST_SCALE, softplus(s[2]) + LEAST_FREEDOM
    z = (t[0] - location) / scale
    slope = (nu + 1.0) * z / (nu + z**2)  # of the loss by z
    of_nu = (digamma(nu / 2.0) - digamma((nu + 1.0) / 2.0) + 1.0 / nu + np.log1p(z**2 / nu) - z * slope / nu) / 2.0
    gradient = np.array([-slope / scale, (1.0 - z * slope) / scale * expit(s[1]), of_nu * expit(s[2])])
    return -student.logpdf(t[0], nu, location, scale), gradient


def negative_binomial(s: np.ndarray, t: np.ndarray, _: object) -> tuple[float, np.ndarray]:
    """A count t[0] of mean m = t[1] · softplus(s[0]) and variance m + softplus(s[1]) m²."""
    count, exposure = t
    mean = exposure * (softplus(s[0]) + LEAST_DISPERSION)
    r = 1.0 / (softplus(s[1]) + LEAST_DISPERSION)
    p = r / (r + mean)
    loss = -(gammaln(count + r) - gammaln(count + 1.0) - gammaln(r) + r * np.log(p) + count * np.log1p(-p))
    of_mean = (mean - count) / (mean * (1.0 + mean / r))
    of_r = digamma(r) - digamma(count + r) - np.log(p) + (count - mean) / (r + mean)
    return loss, np.array([of_mean * exposure * expit(s[0]), -of_r * r**2 * expit(s[1])])


LIKELIHOODS: dict[str, Loss] = {
    "quantiles": quantiles,
    "gaussian": gaussian,
    "student_t": student_t,
    "negative_binomial": negative_binomial,
}
