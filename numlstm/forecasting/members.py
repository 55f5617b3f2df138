"""Members of a forecast: a damped trend, a linear map of the window, and networks that read it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .distributions import Head
from .network import WindowRegressor
from .ridge import ridge_with_gaps
from .windows import Lengths, Prepared, Windows, prepared

DAMPING = 0.9  # the slope of a trend at a step, as a share of that at the step before


@dataclass(frozen=True)
class Simple(ABC):
    """A member without a network; its quantiles follow from its errors.

    Attributes
    ----------
    kind : {"none", "first", "seasonal"}
    steps : array, shape (H,)
        Root mean square of the errors at each step ahead, in windows that were held out if there are any.
    errors : array, shape (M,)
        These errors, divided by `steps`, sorted.
    """

    kind: str
    steps: np.ndarray
    errors: np.ndarray

    @abstractmethod
    def predict(self, windows: Windows, inputs: Prepared, lengths: Lengths) -> np.ndarray:
        """Scaled forecasts, (n, H)."""

    def tested(self, windows: Windows, lengths: Lengths) -> tuple[np.ndarray, np.ndarray]:
        """The attributes `steps` and `errors`, measured in some windows."""
        inputs = prepared(windows, self.kind, lengths)
        errors = inputs.scaled(windows.ahead) - self.predict(windows, inputs, lengths)
        known = np.isfinite(errors)
        squares = np.where(known, errors, 0.0) ** 2
        steps = np.sqrt(squares.sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        return steps, np.sort((errors / np.where(steps > 0, steps, 1.0))[known])

    def quantiles(self, windows: Windows, inputs: Prepared, lengths: Lengths, levels: np.ndarray) -> np.ndarray:
        """Scaled quantiles, (n, H, levels): forecasts plus quantiles of the measured errors."""
        errors = np.quantile(self.errors, levels) if len(self.errors) else np.zeros(len(levels))
        return self.predict(windows, inputs, lengths)[:, :, None] + self.steps[:, None] * errors


@dataclass(frozen=True)
class Linear(Simple):
    """Ridge regression of the scaled targets on all numbers of a window.

    Attributes
    ----------
    coef : array, shape (features, H)
    intercept : array, shape (H,)
    """

    coef: np.ndarray
    intercept: np.ndarray

    @classmethod
    def fit(cls, kind: str, windows: Windows, lengths: Lengths) -> Linear:
        """Fit it, with the penalty that has the least leave-one-out error."""
        inputs = prepared(windows, kind, lengths)
        coef, intercept = ridge_with_gaps(_features(windows, inputs), inputs.scaled(windows.ahead))
        return cls(kind, np.zeros(len(intercept)), np.zeros(1), coef, intercept)

    def predict(self, windows: Windows, inputs: Prepared, lengths: Lengths) -> np.ndarray:
        """Scaled forecasts, (n, H)."""
        return _features(windows, inputs) @ self.coef + self.intercept


@dataclass(frozen=True)
class Trend(Simple):
    """The last value, continued by the mean slope over a season, damped by a tenth at each step [1]_.

    The kind is "first". Without a season, the slope is that of the last two steps. It is 0 if a value that it needs is
    missing.

    References
    ----------
    .. [1] E. Gardner, E. McKenzie, "Forecasting Trends in Time Series", 1985.
    """

    @classmethod
    def of(cls, lengths: Lengths) -> Trend:
        """A member whose errors are not measured yet."""
        return cls("first", np.zeros(lengths.horizon), np.zeros(1))

    def predict(self, windows: Windows, inputs: Prepared, lengths: Lengths) -> np.ndarray:
        """Scaled forecasts, (n, H)."""
        span = min(max(lengths.season, 2), lengths.context - 1)
        slope = -inputs.channels[:, -1 - span] / max(span, 1)  # (n, 1): the last value of a window is 0
        return slope * np.cumsum(DAMPING ** np.arange(1, lengths.horizon + 1))


def _features(windows: Windows, inputs: Prepared) -> np.ndarray:
    """A row for each window: values, past covariates, future covariates from the last known step on, static numbers."""
    count, context = inputs.missing.shape[0], windows.past.shape[1]
    parts = (inputs.channels, windows.past, windows.future[:, context - 1 :], windows.static)
    return np.concatenate([part.reshape(count, -1) for part in parts], axis=1)


@dataclass(frozen=True)
class Network:
    """The mean of networks with different seeds.

    Attributes
    ----------
    kind : {"none", "first", "seasonal", "counts"}
    head : Head
    gaps : bool
        Whether a channel tells which values are missing.
    models : list of WindowRegressor
        Empty if all series are constant.
    """

    kind: str
    head: Head
    gaps: bool
    models: list[WindowRegressor]

    @classmethod
    def fit(
        cls, kind: str, windows: Windows, lengths: Lengths, head: Head, seeds: Sequence[int], options: dict[str, Any]
    ) -> Network:
        """Train a network for each seed."""
        inputs = prepared(windows, kind, lengths)
        targets = head.targets(inputs.scaled(windows.ahead), inputs.scale)
        rows = np.isfinite(targets[:, :: head.loss.numbers]).any(axis=1)
        gaps = bool(inputs.missing.any())
        channels = channels_of(windows, inputs, gaps, lengths)
        static = windows.static if windows.static.shape[1] else None
        models = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a network that has learnt little gets a small weight
            for seed in seeds if rows.any() else ():
                model = WindowRegressor(random_state=seed, **options)
                model.head_loss = head.loss
                models.append(model.fit(channels[rows], targets[rows], static=None if static is None else static[rows]))
        return cls(kind, head, gaps, models)

    def predict(self, windows: Windows, inputs: Prepared, lengths: Lengths) -> np.ndarray:
        """Scaled forecasts, (n, H)."""
        forecasts = [self.head.point(scores) for scores in self.scores(windows, inputs, lengths)]
        return np.mean(forecasts, axis=0) if forecasts else np.zeros((len(windows), lengths.horizon))

    def quantiles(self, windows: Windows, inputs: Prepared, lengths: Lengths, levels: np.ndarray) -> np.ndarray:
        """Scaled quantiles, (n, H, levels): the mean of the networks' quantiles, so they stay in order."""
        scores = self.scores(windows, inputs, lengths)
        quantiles = [self.head.quantiles(network_scores, levels, inputs.scale) for network_scores in scores]
        return np.mean(quantiles, axis=0) if quantiles else np.zeros((len(windows), lengths.horizon, len(levels)))

    def scores(self, windows: Windows, inputs: Prepared, lengths: Lengths) -> list[np.ndarray]:
        """The outputs of each network."""
        channels = channels_of(windows, inputs, self.gaps, lengths)
        static = windows.static if windows.static.shape[1] else None
        return [model.predict(channels, static=static).reshape(len(windows), -1) for model in self.models]


def channels_of(windows: Windows, inputs: Prepared, gaps: bool, lengths: Lengths) -> np.ndarray:
    """What the network reads at each step: future covariates twice, of the step and of the step a horizon later."""
    missing = inputs.missing[:, inputs.missing.shape[1] - lengths.context :]
    parts = [inputs.channels, windows.past]
    parts += [missing[:, :, None].astype(np.float64)] if gaps else []
    now, later = windows.future[:, : lengths.context], windows.future[:, lengths.horizon :]
    return np.concatenate([*parts, now, later[:, : lengths.context]], axis=2)
