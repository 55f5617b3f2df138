"""The network that reads windows: a regressor whose targets may be missing, or be those of a distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.contract import LossSpec
from ..estimators import LSTMRegressor
from ..estimators.base.model import Codec
from ..estimators.targets.numbers import Numbers, Wanted
from ..training.batches import Sequences
from ..training.targets import StepTargets, Targets


class WindowRegressor(LSTMRegressor):
    """Learns several targets of a window; NaN where one is missing, which the loss leaves out.

    Attributes
    ----------
    head_loss : LossSpec
        What it makes small, in place of the loss that its parameters name; with several scores for a target `predict`
        gives these.
    """

    head_loss: LossSpec = LossSpec("squared")

    def _wanted(self, y: Any, X: Any, sequences: Sequences, name: str = "y") -> Wanted:
        return Wanted("several", np.asarray(y, np.float64))

    def _weights(self, sample_weight: Any, X: Any, sequences: Sequences, wanted: Wanted) -> np.ndarray:
        known = np.isfinite(wanted.values[:, :: self.head_loss.numbers])
        return np.ones(len(known)) if known.all() and self.head_loss.scores == 1 else known.astype(np.float64)

    def _codec(self, wanted: Wanted, weights: np.ndarray) -> Numbers:
        if self.head_loss.scores == 1:
            return super()._codec(wanted, weights)
        scores = wanted.values.shape[1] // self.head_loss.numbers * self.head_loss.scores
        return Numbers("several", np.zeros(scores), np.ones(scores), self.head_loss, False)

    def _targets(self, codec: Codec, wanted: Wanted, weights: np.ndarray, name: str = "y") -> Targets | StepTargets:
        if self.head_loss.scores == 1:
            return super()._targets(codec, wanted, weights, name)
        return Targets(np.nan_to_num(wanted.values).astype(self.dtype), weights)
