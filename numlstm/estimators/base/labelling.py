"""What estimators have in common that give rows of labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ...backends.contract import Array
from ...documenting import sharing
from ...layers.parameters import read_only
from ...training.model import Model
from ...training.predicting import predict_scores
from ..data.static import scaled_static
from . import parameters
from .estimator import SequenceEstimator
from .parameters import NAMES

POOLING = re.compile(r"\n    pooling : .*?(?=\n    learning_rate_init)", re.DOTALL)  # there is none
documented = sharing(
    {name: getattr(parameters, name) for name in NAMES}
    | {
        "FIRST": POOLING.sub("", parameters.FIRST).replace("True of the classifier, False of the regressor", "True"),
        "ATTRIBUTES": parameters.ATTRIBUTES.replace(
            ' With "concat" there are 3 · hidden_size · directions features.', ""
        ),
    }
)

ByRow = Callable[[Model, Array, np.ndarray], np.ndarray]


class SequenceLabeller(SequenceEstimator):
    """Base of the estimators whose targets are rows of labels."""

    @property
    def classes_(self) -> np.ndarray:
        """The labels, sorted."""
        codec: Any = self._fitted("classes_").codec
        return read_only(codec.classes)

    def _by_row(self, X: Any, lengths: Any, static: Any, function: ByRow) -> tuple[list[np.ndarray], Any]:
        """``function(model, scores, lengths)`` of scores (N, T, K), each row up to its length; and the codec."""
        fitted, model, sequences = self._ready(X, lengths)
        static_values = scaled_static(fitted.static, static, len(sequences), model.network.stack.dtype)
        rows_of_all: list[Any] = [None] * len(sequences)
        for rows, scores in predict_scores(fitted.scores_of(model), sequences, static_values):
            ends = sequences.lengths[rows]
            said = function(model, scores.reshape(len(rows), -1, model.network.outputs), ends)
            for row, each, end in zip(rows.tolist(), said, ends.tolist(), strict=True):
                rows_of_all[row] = each[:end].copy()
        return rows_of_all, fitted.codec


def shares(model: Model, scores: Array, lengths: np.ndarray) -> np.ndarray:
    """The softmax of each step's scores."""
    values = model.backend.to_numpy(scores)
    odds = np.exp(values - values.max(axis=2, keepdims=True))
    return odds / odds.sum(axis=2, keepdims=True)
