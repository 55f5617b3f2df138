"""Checks of the parameters of a forecaster."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..checks import SMALLEST, check_flag, check_integer, check_option, check_real
from .frequency import FEATURES
from .windows import KINDS

DISTRIBUTIONS = ("gaussian", "student_t", "negative_binomial")


def check_parameters(forecaster: Any) -> None:
    """Refuse parameters that `fit` cannot use.

    The network checks the parameters that only the network uses.

    Raises
    ------
    TypeError, ValueError
        The message says which parameter, what was expected, and what came.
    """
    for name, least in (("horizon", 1), ("context_length", 1), ("season_length", 1)):
        if getattr(forecaster, name) != "auto":
            check_integer(getattr(forecaster, name), name, least)
    check_option(forecaster.differencing, "differencing", ("auto", *KINDS))
    check_option(forecaster.transform, "transform", ("auto", "none", "log"))
    _check_calendar(forecaster.calendar)
    for name in ("past_covariates", "future_covariates"):
        value = getattr(forecaster, name)
        if value is not None and not isinstance(value, list | tuple):
            raise TypeError(f"{name} must be a list of columns of X, or None, got {value!r}")
    both = set(forecaster.past_covariates or ()) & set(forecaster.future_covariates or ())
    if both:
        raise ValueError(
            f"past_covariates and future_covariates must name a column once, got {sorted(both)[0]!r} twice"
        )
    if forecaster.quantiles is not None:
        checked_levels(forecaster.quantiles, "quantiles")
    if forecaster.distribution is not None:
        check_option(forecaster.distribution, "distribution", DISTRIBUTIONS)
        if forecaster.quantiles is not None:
            raise ValueError("quantiles must be None with a distribution: pass levels to predict_quantiles")
    check_integer(forecaster.n_members, "n_members", 1)
    check_flag(forecaster.linear_skip, "linear_skip")
    check_flag(forecaster.conformal, "conformal")


def _check_calendar(calendar: Any) -> None:
    if isinstance(calendar, str):
        if calendar != "auto":
            raise ValueError(f"calendar must be 'auto' or a tuple of {list(FEATURES)}, got {calendar!r}")
        return
    if not isinstance(calendar, list | tuple):
        raise TypeError(f"calendar must be 'auto' or a tuple of {list(FEATURES)}, got {calendar!r}")
    for feature in calendar:
        check_option(feature, "calendar", FEATURES)


def checked_levels(levels: Any, name: str) -> np.ndarray:
    """Check levels of quantiles: between 0 and 1, in rising order.

    Raises
    ------
    TypeError, ValueError
        If they are not.
    """
    levels = [levels] if np.ndim(levels) == 0 else list(levels)
    numbers = np.array([check_real(level, name, SMALLEST, 1.0) for level in levels])
    if not len(numbers) or (np.diff(numbers) <= 0).any():
        raise ValueError(f"{name} must be at least one level in (0, 1), in rising order, got {levels}")
    return numbers


def check_coverage(coverage: Any) -> float:
    """Check a coverage: a number between 0 and 1."""
    return check_real(coverage, "coverage", math.nextafter(0.0, 1.0), 1.0)
