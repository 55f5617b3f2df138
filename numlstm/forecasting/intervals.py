"""Intervals whose width is what was needed on windows that were held out: split conformal prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from .windows import Windows, spread_within

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
class Widths:
    """Intervals around a point: as wide as errors were.

    Attributes
    ----------
    held_out : bool
        Whether errors are of windows that nothing was learnt from.
    steps : array, shape (H,)
        The root mean square of errors in deviations of a window, for each step ahead.
    scores : array, shape (M,)
        Sorted: errors of all steps, divided by these, without their sign.
    """

    held_out: bool
    steps: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, combination: Any, windows: Windows, held_out: bool) -> Widths:
        """What a combination needs in some windows."""
        scale = deviation(windows)
        relative = (windows.ahead - combination.predict(windows)) / np.where(scale > 0, scale, np.nan)
        known = np.isfinite(relative)
        steps = np.sqrt((np.where(known, relative, 0) ** 2).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        scores = np.abs(relative / np.where(steps > 0, steps, 1.0))
        return cls(held_out, steps, np.sort(scores[known]))

    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Calibrated quantiles of a combination, (n, H, levels)."""
        widths = np.sign(levels - 0.5) * np.array([rank(self.scores, abs(2 * level - 1)) for level in levels])
        sizes = (self.steps * deviation(windows))[:, :, None]
        return combination.predict(windows)[:, :, None] + widths * sizes


@dataclass(frozen=True)
class Shifts:
    """Quantiles at some levels, moved by what they missed.

    Attributes
    ----------
    held_out : bool
    levels : array, shape (levels,)
    shifts : array, shape (levels,)
        In deviations of a window.
    """

    held_out: bool
    levels: np.ndarray
    shifts: np.ndarray

    @classmethod
    def of(cls, combination: Any, windows: Windows, held_out: bool, levels: np.ndarray) -> Shifts:
        """What a combination needs in some windows."""
        scale = deviation(windows)
        above = windows.ahead[:, :, None] - combination.quantiles(windows, levels)
        relative = above / np.where(scale > 0, scale, np.nan)[:, :, None]
        known = np.isfinite(relative[:, :, 0])
        shifts = [_shift(np.sort(relative[:, :, k][known]), level) for k, level in enumerate(levels)]
        return cls(held_out, levels, np.array(shifts))

    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Calibrated quantiles of a combination, (n, H, levels)."""
        places = [int(np.abs(self.levels - level).argmin()) for level in levels]
        moved = combination.quantiles(windows, levels) + self.shifts[places] * deviation(windows)[:, :, None]
        return np.sort(moved, axis=2)


def _shift(scores: np.ndarray, level: float) -> float:
    """What to add to a quantile: away from the middle rather too much than too little."""
    if level == 0.5:
        return float(np.median(scores)) if len(scores) else 0.0
    return rank(scores, level) if level > 0.5 else -rank(np.sort(-scores), 1 - level)


@dataclass(frozen=True)
class Stretch:
    """A distribution whose deviations are stretched to where the truth was.

    Attributes
    ----------
    held_out : bool
    scores : array, shape (M,)
        Sorted: where the truth was, in deviations of a normal distribution of the same level, without their sign.
    correlation : float
        Of these deviations from one step ahead to the next.
    """

    held_out: bool
    scores: np.ndarray
    correlation: float

    @classmethod
    def of(cls, combination: Any, windows: Windows, held_out: bool) -> Stretch:
        """What a combination needs in some windows."""
        places = normal_places(combination.quantiles(windows, GRID), windows.ahead)
        before, after = places[:, :-1].ravel(), places[:, 1:].ravel()
        both = np.isfinite(before) & np.isfinite(after)
        spread = both.sum() > 2 and before[both].std() > 0 and after[both].std() > 0
        correlation = float(np.corrcoef(before[both], after[both])[0, 1]) if spread else 0.0
        return cls(held_out, np.sort(np.abs(places[np.isfinite(places)])), min(max(correlation, 0.0), 0.99))

    def stretched(self, normal: np.ndarray) -> np.ndarray:
        """Deviations in the distribution, of calibrated ones."""
        if not len(self.scores):
            return normal
        shares = np.arange(1, len(self.scores) + 1) / (len(self.scores) + 1)
        size = np.interp(2 * ndtr(np.abs(normal)) - 1, [0, *shares], [0, *self.scores])
        beyond = np.abs(normal) / ndtri((1 + shares[-1]) / 2)  # the last score is that far out
        return np.sign(normal) * np.where(beyond > 1, size * beyond, size)

    def quantiles(self, combination: Any, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Calibrated quantiles of a combination, (n, H, levels)."""
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


Calibration = Widths | Shifts | Stretch
