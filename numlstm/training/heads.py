"""Quantiles and parameters of distributions, from the scores of a network."""

from __future__ import annotations

import numpy as np

from ..backends.contract import SCORES
from ..backends.equations.distributions import LEAST_DISPERSION, LEAST_FREEDOM, LEAST_SCALE, middle_of


def softplus(scores: np.ndarray) -> np.ndarray:
    """``log(1 + exp(scores))``, in float64."""
    return np.logaddexp(0.0, np.asarray(scores, np.float64))


def ordered_quantiles(scores: np.ndarray, levels: int) -> np.ndarray:
    """Quantiles (M, H, levels), increasing along the last axis, from scores (M, H · levels).

    Examples
    --------
    >>> import numpy as np
    >>> ordered_quantiles(np.array([[-20.0, 1.0, 20.0]]), 3).round(3)
    array([[[ 1.,  1., 21.]]])
    """
    raw = np.asarray(scores, np.float64).reshape(len(scores), -1, levels)
    middle = middle_of(levels)
    below, centre, above = np.split(raw, [middle, middle + 1], axis=2)
    lower = centre - np.cumsum(softplus(below)[:, :, ::-1], axis=2)[:, :, ::-1]
    return np.concatenate([lower, centre, centre + np.cumsum(softplus(above), axis=2)], axis=2)


def distribution_parameters(kind: str, scores: np.ndarray) -> tuple[np.ndarray, ...]:
    """Parameters of distributions, each (M, H), from scores (M, H · P).

    Parameters
    ----------
    kind : {"gaussian", "student_t", "negative_binomial"}
    scores : array, shape (M, H · P)

    Returns
    -------
    tuple of float64 array
        Mean and standard deviation; or location, scale and degrees of freedom; or mean for an exposure of 1 and
        dispersion.

    Examples
    --------
    >>> import numpy as np
    >>> mean, deviation = distribution_parameters("gaussian", np.array([[2.0, 20.0]]))
    >>> mean, deviation.round(3)
    (array([[2.]]), array([[20.001]]))
    """
    first, *raw = np.moveaxis(np.asarray(scores, np.float64).reshape(len(scores), -1, SCORES[kind]), 2, 0)
    if kind == "negative_binomial":
        return softplus(first) + LEAST_DISPERSION, softplus(raw[0]) + LEAST_DISPERSION
    return first, *(softplus(score) + least for score, least in zip(raw, (LEAST_SCALE, LEAST_FREEDOM), strict=False))
