"""Split conformal prediction: the widths of intervals follow from errors on windows that were held out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from scipy.special import ndtr, ndtri

from .windows import Windows, spread_within

FEWEST = 30  # a calibration keeps the errors of at least so many windows
LEAST_DEVIATION = 0.1  # of a window, as a share of the deviation of its series
NORMAL = np.linspace(-4, 4, 161)  # where distributions are evaluated, in deviations of a normal distribution
GRID = ndtr(NORMAL)


def deviation(windows: Windows) -> np.ndarray:
    """The standard deviation of each window, (n, 1), but at least a tenth of its series'; 0 for a constant window."""
    spread = spread_within(windows.history)
    return np.where(spread > 0, np.maximum(spread, LEAST_DEVIATION * windows.spread), 0.0)


def rank(scores: np.ndarray, share: float) -> float:
    """The conformal quantile of n sorted scores: the one of rank ceil(share (n + 1)); 0 if there are no scores."""
    if not len(scores):
        return 0.0
    return float(scores[min(max(int(np.ceil(share * (len(scores) + 1))), 1), len(scores)) - 1])


@dataclass(frozen=True)
class Calibration(ABC):
    """Errors of forecasts, in windows that were held out and in windows that were observed later.

    Attributes
    ----------
    held_out : bool
        Whether the members have not learnt from these windows.
    errors : array, shape (n, H) or (n, H, levels)
        In the order of time; NaN where an error is not known.
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
        """The calibration with the errors of new windows, which replace the oldest ones [1]_.

        References
        ----------
        .. [1] C. Xu, Y. Xie, "Conformal prediction interval for dynamic time-series", 2021, algorithm 1.
        """
        new_errors = self.measured(combination, windows[np.argsort(windows.origin, kind="stable")])
        return replace(self, errors=np.concatenate([self.errors, new_errors])[-max(len(self.errors), FEWEST) :])


@dataclass(frozen=True)
class Widths(Calibration):
    """Intervals around a point forecast; errors, in deviations of a window, give the widths."""

    def measured(self, combination: Any, windows: Windows) -> np.ndarray:
        """Errors, (n, H)."""
        scale = deviation(windows)
        return (windows.ahead - combination.predict(windows)) / np.where(scale > 0, scale, np.nan)

    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """The point forecast plus widths. The errors of all steps share one ranking, after scaling by step."""
        known = np.isfinite(self.errors)
        steps = np.sqrt((np.where(known, self.errors, 0) ** 2).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        scores = np.sort(np.abs(self.errors / np.where(steps > 0, steps, 1.0))[known])
        widths = np.sign(levels - 0.5) * np.array([rank(scores, abs(2 * level - 1)) for level in levels])
        sizes = (steps * deviation(windows))[:, :, None]
        return combination.predict(windows)[:, :, None] + widths * sizes


@dataclass(frozen=True)
class Shifts(Calibration):
    """Quantiles at some levels, each shifted by its error, in deviations of a window.

    Attributes
    ----------
    levels : array, shape (levels,)
    """

    levels: np.ndarray

    def measured(self, combination: Any, windows: Windows) -> np.ndarray:
        """The distance of the truth above each quantile, (n, H, levels)."""
        scale = deviation(windows)
        above = windows.ahead[:, :, None] - combination.quantiles(windows, self.levels)
        return above / np.where(scale > 0, scale, np.nan)[:, :, None]

    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Shifted quantiles at some of `self.levels`, in rising order."""
        known = np.isfinite(self.errors[:, :, 0])
        shifts = [_shift(self.errors[:, :, k][known], level) for k, level in enumerate(self.levels)]
        places = [int(np.abs(self.levels - level).argmin()) for level in levels]
        shifted = combination.quantiles(windows, levels) + np.array(shifts)[places] * deviation(windows)[:, :, None]
        return np.sort(shifted, axis=2)


def _shift(scores: np.ndarray, level: float) -> float:
    """What to add to a quantile; ranks are rounded away from the median, so that intervals are not too narrow."""
    if level == 0.5:
        return float(np.median(scores)) if len(scores) else 0.0
    return rank(np.sort(scores), level) if level > 0.5 else -rank(np.sort(-scores), 1 - level)


@dataclass(frozen=True)
class Stretch(Calibration):
    """A distribution, stretched to fit where the truth was; places are deviations of a normal distribution."""

    def measured(self, combination: Any, windows: Windows) -> np.ndarray:
        """The places of the truth in the distribution, (n, H)."""
        return normal_places(combination.quantiles(windows, GRID), windows.ahead)

    @property
    def correlation(self) -> float:
        """The correlation of errors at one step ahead and at the next."""
        before, after = self.errors[:, :-1].ravel(), self.errors[:, 1:].ravel()
        both = np.isfinite(before) & np.isfinite(after)
        if both.sum() < 3 or before[both].std() == 0 or after[both].std() == 0:
            return 0.0
        return min(max(float(np.corrcoef(before[both], after[both])[0, 1]), 0.0), 0.99)

    def stretched(self, normal: np.ndarray) -> np.ndarray:
        """Places in the distribution, from calibrated places."""
        scores = np.sort(np.abs(self.errors[np.isfinite(self.errors)]))
        if not len(scores):
            return normal
        shares = np.arange(1, len(scores) + 1) / (len(scores) + 1)
        size = np.interp(2 * ndtr(np.abs(normal)) - 1, [0, *shares], [0, *scores])
        beyond = np.abs(normal) / ndtri((1 + shares[-1]) / 2)  # above 1 beyond the level of the largest score
        return np.sign(normal) * np.where(beyond > 1, size * beyond, size)

    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Quantiles at calibrated levels."""
        return combination.quantiles(windows, ndtr(self.stretched(ndtri(levels))))


def normal_places(quantiles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Places of values (n, H) among quantiles (n, H, levels) at `GRID`, in deviations of a normal distribution."""
    below = (quantiles < values[:, :, None]).sum(axis=2)
    up_to = (quantiles <= values[:, :, None]).sum(axis=2)
    right = np.clip(below, 1, len(NORMAL) - 1)
    low, high = (np.take_along_axis(quantiles, k[:, :, None], axis=2)[:, :, 0] for k in (right - 1, right))
    share = np.where(high > low, (values - low) / np.where(high > low, high - low, 1.0), 0.5)
    interpolated = NORMAL[right - 1] + np.clip(share, 0, 1) * (NORMAL[1] - NORMAL[0])
    middle = (NORMAL[np.clip(below, 0, len(NORMAL) - 1)] + NORMAL[np.clip(up_to - 1, 0, len(NORMAL) - 1)]) / 2
    several_equal = up_to > below + 1  # quantiles of counts: the value is at several levels
    return np.where(np.isnan(values), np.nan, np.where(several_equal, middle, interpolated))


def at_normal_places(quantiles: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values at places (m, n, H) among quantiles at `GRID`; places are deviations of a normal distribution."""
    step = NORMAL[1] - NORMAL[0]
    position = np.clip((places - NORMAL[0]) / step, 0, len(NORMAL) - 1 - 1e-9)
    left = position.astype(np.int64)
    low, high = (
        np.take_along_axis(quantiles, np.moveaxis(k, 0, 2), axis=2).transpose(2, 0, 1) for k in (left, left + 1)
    )
    return low + (position - left) * (high - low)
