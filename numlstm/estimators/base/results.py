"""The results of `fit` in an estimator. They change all at once, so that other threads never see a mixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sklearn.base import BaseEstimator

Estimator = TypeVar("Estimator", bound=BaseEstimator)
PRIVATE = "_columns", "_lengths_given", "_model", "_session"


def is_result(name: str) -> bool:
    """Whether `fit` sets the attribute with this name."""
    return (name.endswith("_") and not name.startswith("_")) or name in PRIVATE


def results_of(estimator: BaseEstimator) -> dict[str, Any]:
    """All attributes that `fit` has set in an estimator."""
    return {name: value for name, value in dict(vars(estimator)).items() if is_result(name)}


def adopt(estimator: BaseEstimator, results: Mapping[str, Any]) -> None:
    """Replace all results of an estimator at once."""
    others = {name: value for name, value in dict(vars(estimator)).items() if not is_result(name)}
    estimator.__dict__ = others | dict(results)


def snapshot(estimator: Estimator) -> Estimator:
    """A copy of the estimator that keeps the present results while another thread may fit the estimator again."""
    copy = object.__new__(type(estimator))
    copy.__dict__ = estimator.__dict__  # `adopt` replaces this dictionary, and does not change it
    return copy
