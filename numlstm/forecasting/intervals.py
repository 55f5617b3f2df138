"""Intervals whose width is what was needed on windows that were held out: split conformal prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .windows import Windows

LEAST_DEVIATION = 0.1  # of a window, as a share of that of its series


@dataclass(frozen=True)
class Conformal:
    """How far off forecasts were.

    Attributes
    ----------
    steps : array, shape (H,)
        The root mean square of errors in deviations of a window, for each step ahead.
    scores : array, shape (M,)
        Sorted: errors of all steps, divided by these, without their sign.
    held_out : bool
        Whether they are of windows that nothing was learnt from.
    """

    steps: np.ndarray
    scores: np.ndarray
    held_out: bool

    @classmethod
    def of(cls, errors: np.ndarray, windows: Windows, held_out: bool) -> Conformal:
        """Those of errors (n, H), NaN where there is none, in windows."""
        relative = errors / np.where((scale := deviation(windows)) > 0, scale, np.nan)
        steps = np.sqrt(_mean_of_known(relative**2))
        with np.errstate(invalid="ignore", divide="ignore"):
            scores = np.abs(relative / steps)
        return cls(steps, np.sort(scores[np.isfinite(scores)]), held_out)

    def half_width(self, coverage: float, windows: Windows) -> np.ndarray:
        """What to take from forecasts and to add to them, (n, H), for intervals that cover this share."""
        return quantile(self.scores, coverage) * self.steps * deviation(windows)


def deviation(windows: Windows) -> np.ndarray:
    """The standard deviation of each window, (n, 1), but no less than a tenth of its series'; 0 of a constant."""
    own = _own_deviation(windows)
    return np.where(own > 0, np.maximum(own, LEAST_DEVIATION * windows.spread), 0.0)


def _own_deviation(windows: Windows) -> np.ndarray:
    """The standard deviation of the values of each window, (n, 1)."""
    known = np.isfinite(windows.history)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, windows.history, 0).sum(axis=1, keepdims=True) / count
    squares = np.where(known, windows.history - mean, 0) ** 2
    own = np.sqrt(squares.sum(axis=1, keepdims=True) / count)
    return np.where(own > 1e-9 * np.abs(mean), own, 0.0)


def quantile(scores: np.ndarray, share: float) -> float:
    """The least of some sorted scores that this share of them, and of one more to come, does not exceed."""
    if not len(scores):
        return 0.0
    return float(scores[min(int(np.ceil(share * (len(scores) + 1))), len(scores)) - 1])


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
