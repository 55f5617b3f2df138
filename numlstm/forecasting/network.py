"""The network that reads windows: a regressor with missing targets and with losses of distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.contract import LossSpec
from ..estimators import LSTMRegressor
from ..estimators.base.model import Codec
from ..estimators.targets.numbers import CheckedNumbers, Numbers
from ..training.batches import Sequences
from ..training.targets import StepTargets, Targets


class WindowRegressor(LSTMRegressor):
    """A regressor of several targets for each window; the loss leaves out targets that are NaN.

    Attributes
    ----------
    head_loss : LossSpec
        The loss to minimize; it replaces the parameter `loss`. If the loss has several scores for a target, `predict`
        returns the scores.
    """

    head_loss: LossSpec = LossSpec("squared")

    def _check_y(self, y: Any, X: Any, sequences: Sequences, name: str = "y") -> CheckedNumbers:
        return CheckedNumbers("several", np.asarray(y, np.float64))

    def _check_weights(self, sample_weight: Any, X: Any, sequences: Sequences, checked: CheckedNumbers) -> np.ndarray:
        known = np.isfinite(checked.values[:, :: self.head_loss.numbers])
        return np.ones(len(known)) if known.all() and self.head_loss.scores == 1 else known.astype(np.float64)

    def _make_codec(self, checked: CheckedNumbers, weights: np.ndarray) -> Numbers:
        if self.head_loss.scores == 1:
            return super()._make_codec(checked, weights)
        scores = checked.values.shape[1] // self.head_loss.numbers * self.head_loss.scores
        return Numbers("several", np.zeros(scores), np.ones(scores), self.head_loss, False)

    def _encode_targets(
        self, codec: Codec, checked: CheckedNumbers, weights: np.ndarray, name: str = "y"
    ) -> Targets | StepTargets:
        if self.head_loss.scores == 1:
            return super()._encode_targets(codec, checked, weights, name)
        return Targets(np.nan_to_num(checked.values).astype(self.dtype), weights)
