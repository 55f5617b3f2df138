"""Members of a forecast: a linear map of the window, and networks that read it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .distributions import Head
from .network import WindowRegressor
from .ridge import ridge_with_gaps
from .windows import Lengths, Prepared, Windows, prepared


@dataclass(frozen=True)
class Linear:
    """Ridge regression of the scaled targets on all that a window holds.

    Attributes
    ----------
    kind : {"none", "first", "seasonal"}
    coef : array, shape (features, H)
    intercept : array, shape (H,)
    steps : array, shape (H,)
        The root mean square of its errors in windows that it has not seen, for each step ahead.
    errors : array, shape (M,)
        These errors, divided by that, sorted.
    """

    kind: str
    coef: np.ndarray
    intercept: np.ndarray
    steps: np.ndarray
    errors: np.ndarray

    @classmethod
    def fit(cls, kind: str, windows: Windows, lengths: Lengths) -> Linear:
        """Its strength of penalty has the least error, leaving one window out."""
        own = prepared(windows, kind, lengths)
        coef, intercept = ridge_with_gaps(_features(windows, own), own.scaled(windows.ahead))
        return cls(kind, coef, intercept, np.zeros(len(intercept)), np.zeros(1))

    def tested(self, windows: Windows, lengths: Lengths) -> tuple[np.ndarray, np.ndarray]:
        """The attributes `steps` and `errors`, in some windows."""
        own = prepared(windows, self.kind, lengths)
        errors = own.scaled(windows.ahead) - self.predict(windows, own, lengths)
        known = np.isfinite(errors)
        squares = np.where(known, errors, 0.0) ** 2
        steps = np.sqrt(squares.sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        return steps, np.sort((errors / np.where(steps > 0, steps, 1.0))[known])

    def predict(self, windows: Windows, own: Prepared, lengths: Lengths) -> np.ndarray:
        """Scaled forecasts, (n, H)."""
        return _features(windows, own) @ self.coef + self.intercept

    def quantiles(self, windows: Windows, own: Prepared, lengths: Lengths, levels: np.ndarray) -> np.ndarray:
        """Scaled quantiles, (n, H, levels): forecasts with the errors there were."""
        errors = np.quantile(self.errors, levels) if len(self.errors) else np.zeros(len(levels))
        return self.predict(windows, own, lengths)[:, :, None] + self.steps[:, None] * errors


def _features(windows: Windows, own: Prepared) -> np.ndarray:
    """The values and past covariates of the window, those of the horizon, and the static ones, in a row."""
    count, context = own.missing.shape[0], windows.past.shape[1]
    parts = (own.channels, windows.past, windows.future[:, context - 1 :], windows.static)
    return np.concatenate([part.reshape(count, -1) for part in parts], axis=1)


@dataclass(frozen=True)
class Network:
    """Networks of different seeds, whose mean forecast it is.

    Attributes
    ----------
    kind : {"none", "first", "seasonal", "counts"}
    head : Head
    gaps : bool
        Whether a channel tells which values are missing.
    models : list of WindowRegressor
        None of them where all series are constant.
    """

    kind: str
    head: Head
    gaps: bool
    models: list[WindowRegressor]

    @classmethod
    def fit(
        cls, kind: str, windows: Windows, lengths: Lengths, head: Head, seeds: Sequence[int], options: dict[str, Any]
    ) -> Network:
        """Train one for each seed."""
        own = prepared(windows, kind, lengths)
        targets = head.targets(own.scaled(windows.ahead), own.scale)
        rows = np.isfinite(targets[:, :: head.loss.numbers]).any(axis=1)
        gaps = bool(own.missing.any())
        channels, static = _channels(windows, own, gaps, lengths), windows.static if windows.static.shape[1] else None
        models = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what has learnt little weighs little
            for seed in seeds if rows.any() else ():
                model = WindowRegressor(random_state=seed, **options)
                model.head_loss = head.loss
                models.append(model.fit(channels[rows], targets[rows], static=None if static is None else static[rows]))
        return cls(kind, head, gaps, models)

    def predict(self, windows: Windows, own: Prepared, lengths: Lengths) -> np.ndarray:
        """Scaled forecasts, (n, H)."""
        said = [self.head.point(scores) for scores in self._scores(windows, own, lengths)]
        return np.mean(said, axis=0) if said else np.zeros((len(windows), lengths.horizon))

    def quantiles(self, windows: Windows, own: Prepared, lengths: Lengths, levels: np.ndarray) -> np.ndarray:
        """Scaled quantiles, (n, H, levels): the mean of those of each network, so they stay in order."""
        said = [self.head.quantiles(scores, levels, own.scale) for scores in self._scores(windows, own, lengths)]
        return np.mean(said, axis=0) if said else np.zeros((len(windows), lengths.horizon, len(levels)))

    def _scores(self, windows: Windows, own: Prepared, lengths: Lengths) -> list[np.ndarray]:
        channels = _channels(windows, own, self.gaps, lengths)
        static = windows.static if windows.static.shape[1] else None
        return [model.predict(channels, static=static).reshape(len(windows), -1) for model in self.models]


def _channels(windows: Windows, own: Prepared, gaps: bool, lengths: Lengths) -> np.ndarray:
    """What the network reads at each step; covariates of the future stand a horizon before their time, too."""
    missing = own.missing[:, own.missing.shape[1] - lengths.context :]
    parts = [own.channels, windows.past]
    parts += [missing[:, :, None].astype(np.float64)] if gaps else []
    now, later = windows.future[:, : lengths.context], windows.future[:, lengths.horizon :]
    return np.concatenate([*parts, now, later[:, : lengths.context]], axis=2)
