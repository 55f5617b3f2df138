"""The loss of a constant prediction, which a trained network must beat."""

from __future__ import annotations

import numpy as np

from ..backends.contract import LossSpec, SequenceLossSpec
from .batches import sorted_batches
from .data import Data
from .labels import LabelRows
from .model import Model
from .outputs import log_softmax
from .predicting import PREDICTED_STEPS

RAREST = 1e-12  # the probability that a class gets which never occurs


def constant_loss(model: Model, data: Data) -> tuple[float, np.ndarray]:
    """The mean loss of the best scores (K,) that do not depend on X, and these scores."""
    targets, loss = data.targets, model.network.loss
    if isinstance(targets, LabelRows) and isinstance(loss, SequenceLossSpec):
        return _of_rows(model, data, targets, loss)
    assert isinstance(loss, LossSpec)
    total = targets.count(np.arange(len(data)))
    parts = [targets.take(rows, total) for rows in sorted_batches(data.sequences.lengths, PREDICTED_STEPS)]
    values, weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    counted = weights.reshape(len(weights), -1).any(axis=1)
    scores = _best_scores(loss, model.network.outputs, values[counted], weights[counted])
    if loss.kind == "softmax":  # without a row of scores for each target
        return -float(weights[counted] @ log_softmax(scores[None])[0][values[counted].ravel()]), scores
    return sum(_loss(model, scores, *part) for part in parts), scores


def _of_rows(model: Model, data: Data, targets: LabelRows, loss: SequenceLossSpec) -> tuple[float, np.ndarray]:
    """The same for rows of labels: each label is as frequent at every step as in all of them together."""
    frequencies = targets.frequencies(loss.outputs)
    if loss.kind == "crf":
        shares = frequencies / frequencies.sum()
        scores = np.log(shares.clip(RAREST))
        return -float(shares @ scores), scores
    frequencies[loss.blank] = max((data.sequences.lengths * targets.weights).sum() - frequencies.sum(), 1.0)
    scores = np.log((frequencies / frequencies.sum()).clip(RAREST))
    total, constant = targets.count(np.arange(len(data))), 0.0
    for rows in sorted_batches(data.sequences.lengths, PREDICTED_STEPS):
        wanted, weights = targets.take(rows, total)
        lengths = data.sequences.lengths[rows]
        same = np.tile(scores.astype(model.network.stack.dtype), (len(rows) * lengths.max(), 1))
        constant += float(model.loss(model.backend.to_device(same, str(same.dtype)), wanted, weights, lengths)[0])
    return constant, scores


def _loss(model: Model, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    """The part of the loss that comes from some targets, if all have the same scores."""
    dtype = model.network.stack.dtype
    repeated = np.tile(scores.astype(dtype), (len(targets), 1))
    return float(model.loss(model.backend.to_device(repeated, dtype), targets, weights)[0])


def _best_scores(loss: LossSpec, outputs: int, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The constant scores with the least loss; for Huber's loss an approximation, the mean."""
    if loss.kind == "softmax":
        return np.log(np.bincount(targets, weights / weights.sum(), outputs).clip(RAREST))
    target_weights = np.broadcast_to(weights[:, None] if weights.ndim == 1 else weights, targets.shape)
    if loss.kind in ("absolute", "pinball"):
        quantile = loss.parameter if loss.kind == "pinball" else 0.5
        columns = zip(targets.T, target_weights.T, strict=True)
        return np.array([_quantile(column[weight > 0], weight[weight > 0], quantile) for column, weight in columns])
    mean = (target_weights / target_weights.sum(axis=0).clip(RAREST) * targets).sum(axis=0)
    if loss.kind == "binary":
        positive = mean.clip(RAREST, 1 - RAREST)
        return np.log(positive / (1 - positive))
    return mean


def _quantile(values: np.ndarray, weights: np.ndarray, quantile: float) -> float:
    return float(np.quantile(values, quantile, weights=weights, method="inverted_cdf")) if len(values) else 0.0
