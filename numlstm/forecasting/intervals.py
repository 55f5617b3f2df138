"""Intervals whose width is what was needed on windows that were held out: split conformal prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from scipy.special import ndtr, ndtri

from .windows import Windows, spread_within

FEWEST = 30  # windows that are kept, if there have been so many
LEAST_DEVIATION = 0.1  # of a window, as a share of that of its series
NORMAL = np.linspace(-4, 4, 161)  # where distributions are looked at, in deviations of a normal one
GRID = ndtr(NORMAL)


def deviation(windows: Windows) -> np.ndarray:
    """The standard deviation of each window, (n, 1), but no less than a tenth of its series'; 0 of a constant."""
    own = spread_within(windows.history)
    return np.where(own > 0, np.maximum(own, LEAST_DEVIATION * windows.spread), 0.0)


def rank(scores: np.ndarray, share: float) -> float:
    """The least of some sorted scores that this share of them, and of one more to come, does not exceed."""
    if not len(scores):
        return 0.0
    return float(scores[min(max(int(np.ceil(share * (len(scores) + 1))), 1), len(scores)) - 1])


@dataclass(frozen=True)
class Calibration(ABC):
    """How far off forecasts were, in windows that were held out and in those that came later.

    Attributes
    ----------
    held_out : bool
        Whether nothing was learnt from these windows.
    errors : array, shape (n, H) or (n, H, levels)
        In the order of time; NaN where there is none.
    """

    held_out: bool
    errors: np.ndarray

    @abstractmethod
    def measured(self, combination: Any, windows: Windows) -> np.ndarray:
        """The errors of a combination in windows."""

    @abstractmethod
    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Calibrated quantiles of a combination, (n, H, levels)."""

    def observed(self, combination: Any, windows: Windows) -> Self:
        """The calibration by the latest windows: new ones are put in place of the first [1]_.

        References
        ----------
        .. [1] C. Xu, Y. Xie, "Conformal prediction interval for dynamic time-series", 2021, algorithm 1.
        """
        new = self.measured(combination, windows[np.argsort(windows.origin, kind="stable")])
        return replace(self, errors=np.concatenate([self.errors, new])[-max(len(self.errors), FEWEST) :])


@dataclass(frozen=True)
class Widths(Calibration):
    """Intervals around a point as wide as errors were, which are in deviations of a window."""

    def measured(self, combination: Any, windows: Windows) -> np.ndarray:
        """Errors, (n, H)."""
        scale = deviation(windows)
        return (windows.ahead - combination.predict(windows)) / np.where(scale > 0, scale, np.nan)

    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """The point and what its errors were, each step's by its root mean square, of all steps together."""
        known = np.isfinite(self.errors)
        steps = np.sqrt((np.where(known, self.errors, 0) ** 2).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        scores = np.sort(np.abs(self.errors / np.where(steps > 0, steps, 1.0))[known])
        widths = np.sign(levels - 0.5) * np.array([rank(scores, abs(2 * level - 1)) for level in levels])
        sizes = (steps * deviation(windows))[:, :, None]
        return combination.predict(windows)[:, :, None] + widths * sizes


@dataclass(frozen=True)
class Shifts(Calibration):
    """Quantiles at some levels, moved by what they missed, in deviations of a window.

    Attributes
    ----------
    levels : array, shape (levels,)
    """

    levels: np.ndarray

    def measured(self, combination: Any, windows: Windows) -> np.ndarray:
        """How far the truth was above each quantile, (n, H, levels)."""
        scale = deviation(windows)
        above = windows.ahead[:, :, None] - combination.quantiles(windows, self.levels)
        return above / np.where(scale > 0, scale, np.nan)[:, :, None]

    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Quantiles among `levels`, in order."""
        known = np.isfinite(self.errors[:, :, 0])
        shifts = [_shift(self.errors[:, :, k][known], level) for k, level in enumerate(self.levels)]
        places = [int(np.abs(self.levels - level).argmin()) for level in levels]
        moved = combination.quantiles(windows, levels) + np.array(shifts)[places] * deviation(windows)[:, :, None]
        return np.sort(moved, axis=2)


def _shift(scores: np.ndarray, level: float) -> float:
    """What to add to a quantile: away from the middle rather too much than too little."""
    if level == 0.5:
        return float(np.median(scores)) if len(scores) else 0.0
    return rank(np.sort(scores), level) if level > 0.5 else -rank(np.sort(-scores), 1 - level)


@dataclass(frozen=True)
class Stretch(Calibration):
    """A distribution stretched to where the truth was, in deviations of a normal distribution of the same level."""

    def measured(self, combination: Any, windows: Windows) -> np.ndarray:
        """Where the truth was, (n, H)."""
        return normal_places(combination.quantiles(windows, GRID), windows.ahead)

    @property
    def correlation(self) -> float:
        """Of these deviations from one step ahead to the next."""
        before, after = self.errors[:, :-1].ravel(), self.errors[:, 1:].ravel()
        both = np.isfinite(before) & np.isfinite(after)
        if both.sum() < 3 or before[both].std() == 0 or after[both].std() == 0:
            return 0.0
        return min(max(float(np.corrcoef(before[both], after[both])[0, 1]), 0.0), 0.99)

    def stretched(self, normal: np.ndarray) -> np.ndarray:
        """Deviations in the distribution, of calibrated ones."""
        scores = np.sort(np.abs(self.errors[np.isfinite(self.errors)]))
        if not len(scores):
            return normal
        shares = np.arange(1, len(scores) + 1) / (len(scores) + 1)
        size = np.interp(2 * ndtr(np.abs(normal)) - 1, [0, *shares], [0, *scores])
        beyond = np.abs(normal) / ndtri((1 + shares[-1]) / 2)  # the last score is that far out
        return np.sign(normal) * np.where(beyond > 1, size * beyond, size)

    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Quantiles at levels that the truth kept to."""
        return combination.quantiles(windows, ndtr(self.stretched(ndtri(levels))))


def normal_places(quantiles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where values (n, H) are among quantiles (n, H, levels) at `GRID`, as deviations of a normal distribution."""
    below = (quantiles < values[:, :, None]).sum(axis=2)
    upto = (quantiles <= values[:, :, None]).sum(axis=2)
    right = np.clip(below, 1, len(NORMAL) - 1)
    low, high = (np.take_along_axis(quantiles, k[:, :, None], axis=2)[:, :, 0] for k in (right - 1, right))
    share = np.where(high > low, (values - low) / np.where(high > low, high - low, 1.0), 0.5)
    exact = NORMAL[right - 1] + np.clip(share, 0, 1) * (NORMAL[1] - NORMAL[0])
    of_steps = (NORMAL[np.clip(below, 0, len(NORMAL) - 1)] + NORMAL[np.clip(upto - 1, 0, len(NORMAL) - 1)]) / 2
    return np.where(np.isnan(values), np.nan, np.where(upto > below + 1, of_steps, exact))


def at_normal_places(quantiles: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What lies at some places (m, n, H), deviations of a normal distribution, among quantiles at `GRID`."""
    step = NORMAL[1] - NORMAL[0]
    position = np.clip((places - NORMAL[0]) / step, 0, len(NORMAL) - 1 - 1e-9)
    left = position.astype(np.int64)
    low, high = (
        np.take_along_axis(quantiles, np.moveaxis(k, 0, 2), axis=2).transpose(2, 0, 1) for k in (left, left + 1)
    )
    return low + (position - left) * (high - low)
