"""The forecast that is explained: one step of it for each series, and its gradient by the numbers of a window."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..checks import check_tuple
from ..forecasting import LSTMForecaster
from ..forecasting.combination import Member
from ..forecasting.learning import Learnt
from ..forecasting.members import Network, channels_of
from ..forecasting.parameters import checked_levels
from ..forecasting.transforms import BACK, FORWARD
from ..forecasting.windows import Lengths, Prepared, Windows
from .scorer import STEPS, Case, Scorer

SHIFT = 1e-4  # of central differences, in deviations of a window
SWING = (
    1e-3  # the share of a window's swings that its baseline keeps: the width of intervals jumps where there are none
)


@dataclass(frozen=True)
class Plane:
    """The tangent plane of a network at n windows.

    Attributes
    ----------
    scorer : Scorer
        Scales what the network reads.
    channels : array, shape (n, L, D)
        What the network reads in these windows, scaled.
    scores : array, shape (n, K)
        Its outputs.
    columns : array, shape (k,)
        The outputs that have slopes. The others stay as they are.
    slopes : array, shape (k, n, L, D)
    """

    scorer: Scorer
    channels: np.ndarray
    scores: np.ndarray
    columns: np.ndarray
    slopes: np.ndarray

    @classmethod
    def of(cls, model: Any, raw: np.ndarray, static: np.ndarray | None, columns: np.ndarray) -> Plane:
        """The plane of a network that reads channels (n, L, D), with the same static numbers (1, F) in all windows."""
        scorers = [Scorer(model, int(column)) for column in columns]
        channels, row = scorers[0].scaled(raw), scorers[0].static(static, 1)[0]
        slopes = np.array([scorer.gradients(channels, row) for scorer in scorers])
        repeated = None if static is None else np.repeat(static, len(raw), axis=0)
        scores = model.predict(raw, static=repeated).reshape(len(raw), -1).astype(np.float64)
        return cls(scorers[0], channels, scores, columns, slopes)

    def at(self, raw: np.ndarray) -> np.ndarray:
        """The height of the plane for changed channels (m n, L, D), m versions of the n windows: (m n, K)."""
        moved = self.scorer.scaled(raw).reshape(-1, *self.channels.shape) - self.channels
        scores = np.tile(self.scores, (len(moved), 1, 1))
        scores[:, :, self.columns] += np.einsum("mnld,knld->mnk", moved, self.slopes)
        return scores.reshape(len(raw), -1)


@dataclass(frozen=True)
class Tangent(Network):
    """Networks, replaced by their tangent planes at some windows.

    Attributes
    ----------
    planes : list of Plane
    """

    planes: list[Plane]

    @classmethod
    def of(cls, network: Network, windows: Windows, inputs: Prepared, lengths: Lengths, step: int) -> Tangent:
        """The tangent planes of the outputs for one step ahead; the windows are of one series."""
        size = network.head.loss.scores
        columns = step * size + np.arange(size)
        static = windows.static[:1] if windows.static.shape[1] else None
        raw = channels_of(windows, inputs, network.gaps, lengths)
        planes = [Plane.of(model, raw, static, columns) for model in network.models]
        return cls(network.kind, network.head, network.gaps, network.models, planes)

    def scores(self, windows: Windows, inputs: Prepared, lengths: Lengths) -> list[np.ndarray]:
        """The outputs of each plane; the windows are versions of those of `of`, in their order."""
        raw = channels_of(windows, inputs, self.gaps, lengths)
        return [plane.at(raw) for plane in self.planes]


def tangent(learnt: Learnt, windows: Windows, step: int) -> Learnt:
    """What has been learnt, with networks replaced by their tangent planes at some windows of one series."""
    combination = learnt.combination
    scaled, inputs = combination.inputs(windows)
    members: list[Member] = [
        Tangent.of(member, scaled, inputs[member.kind], combination.lengths, step)
        if isinstance(member, Network)
        else member
        for member in combination.members
    ]
    return replace(learnt, combination=replace(combination, members=members))


class ForecastScorer:
    """Computes one step of the forecast of windows, and its gradient.

    Rows of a window are steps; its columns are the series, past covariates and future covariates. What is missing, or
    is not read, is NaN.

    Parameters
    ----------
    learnt : Learnt
    step : int
        The step ahead, from 0.
    level : float or None
        The level of a quantile; None for the point forecast.
    channels : int
    """

    def __init__(self, learnt: Learnt, step: int, level: float | None, channels: int) -> None:
        self.learnt, self.step, self.level = learnt, step, level
        self.columns = [slice(k, k + 1) for k in range(channels)]

    @property
    def first_step(self) -> int:
        """The number of the first step of a window; step 0 is the first one that is forecast."""
        return -self.learnt.settings.reach

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Shares, 0 where a number is missing."""
        return np.nan_to_num(values)

    def scores(self, x: np.ndarray, window: Windows) -> np.ndarray:
        """The forecast (N,) for each of some versions (N, T, C) of one window."""
        return self._forecasts(self.learnt, self._windows(x, window))

    def gradients(self, x: np.ndarray, window: Windows) -> np.ndarray:
        """The gradient of the forecast for each version, (N, T, C).

        It is exact for networks, by backpropagation. All else is in float64 and cheap: differences, scales, ridge
        regressions, calibration. So central differences are taken of it, with networks replaced by tangent planes.
        """
        learnt = tangent(self.learnt, self._windows(x, window), self.step)
        gradients, shifts = np.zeros(x.shape), self._shifts(x)
        places = np.argwhere(np.isfinite(x[0]))
        group = max(1, STEPS // x.size)
        for first in range(0, len(places), group):
            steps, channels = places[first : first + group].T
            count = np.arange(len(steps))
            versions = np.tile(x, (len(steps), 2, 1, 1, 1))
            versions[count, 0, :, steps, channels] += shifts[:, steps, channels].T
            versions[count, 1, :, steps, channels] -= shifts[:, steps, channels].T
            moved = self._forecasts(learnt, self._windows(versions.reshape(-1, *x.shape[1:]), window))
            high, low = np.moveaxis(moved.reshape(len(steps), 2, -1), 1, 0)
            gradients[:, steps, channels] = (high - low).T / (2 * shifts[:, steps, channels])
        return gradients

    def _forecasts(self, learnt: Learnt, windows: Windows) -> np.ndarray:
        if self.level is None:
            return learnt.point(windows)[:, self.step]
        return learnt.quantiles(windows, [self.level])[:, self.step, 0]

    def _windows(self, x: np.ndarray, window: Windows) -> Windows:
        """The windows whose numbers are in x (N, T, C); calendar features and static numbers stay."""
        reach, context = window.history.shape[1], window.past.shape[1]
        past_end = 1 + window.past.shape[2]
        windows = window[np.zeros(len(x), np.int64)]
        if x.shape[2] > past_end:
            windows.future[:, :, : x.shape[2] - past_end] = x[:, reach - context :, past_end:]
        history = FORWARD[self.learnt.settings.transform](x[:, :reach, 0])
        return replace(windows, history=history, past=x[:, reach - context : reach, 1:past_end])

    def _shifts(self, x: np.ndarray) -> np.ndarray:
        """How far central differences move each number of some versions (N, T, C)."""
        known, sizes = np.isfinite(x), np.abs(np.nan_to_num(x)).max(axis=1, keepdims=True)
        counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
        means = np.nan_to_num(x).sum(axis=1, keepdims=True) / counts
        deviations = np.sqrt((np.where(known, x - means, 0.0) ** 2).sum(axis=1, keepdims=True) / counts)
        shifts = SHIFT * np.where(deviations > 0, deviations, np.where(sizes > 0, sizes, 1.0))
        shifts = np.broadcast_to(shifts, x.shape).copy()
        if self.learnt.settings.transform == "log":
            shifts[:, :, 0] = np.minimum(shifts[:, :, 0], SHIFT * x[:, :, 0])
        return shifts


def forecast_cases(
    forecaster: LSTMForecaster, X: Any, target: Any, covariates: Any, static: Any, baselines: Any, method: str
) -> tuple[ForecastScorer, list[Case]]:
    """What computes the forecast that a user names, and the last window of each series with its baseline.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        As in `attribute`.
    """
    check_is_fitted(forecaster)
    learnt = forecaster._learnt
    step, level = _step_and_level(learnt, target)
    if method != "occlusion" and level is not None and learnt.head.kind == "negative_binomial":
        raise ValueError(f"method must be 'occlusion' for a quantile of counts, which has no gradient, got {method!r}")
    _, windows, _ = forecaster._ahead(step + 1, covariates, X, static)
    scale, features = learnt.combination.scale, 2 * len(learnt.settings.calendar)
    means = np.concatenate([scale.past[0], scale.future[0][: scale.future.shape[1] - features]])
    base = _checked_baselines(baselines, means, learnt.settings.transform)
    cases = []
    for k in range(len(windows)):
        x = _numbers(windows[[k]], learnt.settings.transform, len(means))
        own = np.append(_mean_or_zero(x[:, 0]), means) if base is None else base
        baseline = np.where(np.isnan(x), np.nan, own)
        baseline[:, 0] += SWING * (x[:, 0] - own[0])
        cases.append(Case(x, baseline, windows[[k]]))
    return ForecastScorer(learnt, step, level, len(means) + 1), cases


def _step_and_level(learnt: Learnt, target: Any) -> tuple[int, float | None]:
    """The step ahead, from 0, and the level of the quantile; None for the point forecast."""
    horizon, level = learnt.settings.lengths.horizon, None
    if target is None and horizon == 1:
        target = 0
    if not isinstance(target, numbers.Integral):
        target, level = check_tuple(target, "target", ("step", "level"))
    if isinstance(target, bool) or not isinstance(target, numbers.Integral):
        raise TypeError(f"target must have an integer for its step, got {target!r}")
    step = int(target)
    if not -horizon <= step < horizon:
        raise ValueError(f"target must be one of the {horizon} steps of the horizon, got step {step}")
    if level is not None:
        level = float(checked_levels(level, "target")[0])
        learnt.check_levels(np.array([level]), "target")
    return step % horizon, level


def _checked_baselines(baselines: Any, means: np.ndarray, transform: str) -> np.ndarray | None:
    """The number of each channel that stands for no information, (C,); None for the mean of each window.

    Raises
    ------
    ValueError
        If baselines are neither a number nor an array (C,), or the logarithm of the first number does not exist.
    """
    if baselines is None:
        return None
    expected = f"baselines must be a number for the series, or {1 + len(means)} numbers, one for each channel"
    try:
        base = np.atleast_1d(np.asarray(baselines, np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected}, got {type(baselines).__name__}") from error
    base = np.append(base, means) if np.ndim(baselines) == 0 else base
    if base.shape != (1 + len(means),):
        raise ValueError(f"{expected}, got shape {base.shape}")
    if not np.isfinite(base).all():
        raise ValueError("baselines must be finite")
    if transform == "log" and base[0] <= 0:
        raise ValueError(f"baselines must be positive for a series that is learnt by its logarithm, got {base[0]}")
    return base


def _numbers(window: Windows, transform: str, covariates: int) -> np.ndarray:
    """The numbers (T, C) that the forecast of one window reads; NaN where it reads none.

    There are rows for the steps ahead if there are future covariates.
    """
    reach, context, past_end = window.history.shape[1], window.past.shape[1], 1 + window.past.shape[2]
    future = window.future[0, :, : 1 + covariates - past_end]
    x = np.full((reach + (len(future) - context if future.shape[1] else 0), 1 + covariates), np.nan)
    x[:reach, 0] = BACK[transform](window.history[0])
    x[reach - context : reach, 1:past_end] = window.past[0]
    x[reach - context :, past_end:] = future[: len(x) - reach + context]
    return x


def _mean_or_zero(values: np.ndarray) -> float:
    """The mean of the numbers that are not NaN; 0 if there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
