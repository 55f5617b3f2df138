"""What `fit` leaves in an estimator: another thread sees all that was there before, or all that is new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sklearn.base import BaseEstimator

Estimator = TypeVar("Estimator", bound=BaseEstimator)
PRIVATE = "_columns", "_lengths_given", "_model", "_session"


def is_result(name: str) -> bool:
    """Whether an attribute of this name comes from `fit`."""
    return (name.endswith("_") and not name.startswith("_")) or name in PRIVATE


def results_of(estimator: BaseEstimator) -> dict[str, Any]:
    """All that `fit` has left in an estimator."""
    return {name: value for name, value in dict(vars(estimator)).items() if is_result(name)}


def adopt(estimator: BaseEstimator, results: Mapping[str, Any]) -> None:
    """Replace all results of an estimator, at once."""
    others = {name: value for name, value in dict(vars(estimator)).items() if not is_result(name)}
    estimator.__dict__ = others | dict(results)


def snapshot(estimator: Estimator) -> Estimator:
    """The estimator with the results of now: they stay together, whatever another thread fits meanwhile."""
    other = object.__new__(type(estimator))
    other.__dict__ = estimator.__dict__  # which `adopt` replaces, and does not change
    return other
