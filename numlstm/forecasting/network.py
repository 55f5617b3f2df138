"""The network that reads windows: a regressor whose targets may be missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..estimators import LSTMRegressor
from ..estimators.targets.numbers import Wanted
from ..training.batches import Sequences


class WindowRegressor(LSTMRegressor):
    """Learns several targets of a window; NaN where one is missing, which the loss leaves out."""

    def _wanted(self, y: Any, X: Any, sequences: Sequences, name: str = "y") -> Wanted:
        return Wanted("several", np.asarray(y, np.float64))

    def _weights(self, sample_weight: Any, X: Any, sequences: Sequences, wanted: Wanted) -> np.ndarray:
        known = np.isfinite(wanted.values)
        return np.ones(len(known)) if known.all() else known.astype(np.float64)
