"""Members of a forecast: a linear map of the window, and networks that read it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

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
    """

    kind: str
    coef: np.ndarray
    intercept: np.ndarray

    @classmethod
    def fit(cls, kind: str, windows: Windows, lengths: Lengths) -> Linear:
        """Its strength of penalty has the least error by leaving one window out."""
        own = prepared(windows, kind, lengths)
        features, targets = _features(windows, own), own.scaled(windows.ahead)
        return cls(kind, *ridge_with_gaps(features, targets))

    def predict(self, windows: Windows, own: Prepared) -> np.ndarray:
        """Scaled forecasts, (n, H)."""
        return _features(windows, own) @ self.coef + self.intercept


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
    kind : {"none", "first", "seasonal"}
    gaps : bool
        Whether a channel tells which values are missing.
    models : list of WindowRegressor
    """

    kind: str
    gaps: bool
    models: list[WindowRegressor]

    @classmethod
    def fit(cls, kind: str, windows: Windows, lengths: Lengths, seeds: Sequence[int], **options: Any) -> Network:
        """Train one for each seed."""
        own = prepared(windows, kind, lengths)
        targets = own.scaled(windows.ahead)
        rows = np.isfinite(targets).any(axis=1)
        gaps = bool(own.missing.any())
        channels, static = _channels(windows, own, gaps, lengths), windows.static if windows.static.shape[1] else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what has learnt little weighs little
            models = [
                WindowRegressor(random_state=seed, **options).fit(
                    channels[rows], targets[rows], static=None if static is None else static[rows]
                )
                for seed in (seeds if rows.any() else ())  # constants go on without
            ]
        return cls(kind, gaps, models)

    def predict(self, windows: Windows, own: Prepared, lengths: Lengths) -> np.ndarray:
        """Scaled forecasts, (n, H)."""
        channels = _channels(windows, own, self.gaps, lengths)
        static = windows.static if windows.static.shape[1] else None
        of_models = [model.predict(channels, static=static) for model in self.models]
        return np.mean(of_models, axis=0).reshape(len(windows), -1)


def _channels(windows: Windows, own: Prepared, gaps: bool, lengths: Lengths) -> np.ndarray:
    """What the network reads at each step; covariates of the future stand a horizon before their time, too."""
    missing = own.missing[:, own.missing.shape[1] - lengths.context :]
    parts = [own.channels, windows.past]
    parts += [missing[:, :, None].astype(np.float64)] if gaps else []
    now, later = windows.future[:, : lengths.context], windows.future[:, lengths.horizon :]
    return np.concatenate([*parts, now, later[:, : lengths.context]], axis=2)
