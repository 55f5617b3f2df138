"""The loss of a prediction that is the same for all: what training must beat."""

from __future__ import annotations

import numpy as np

from ..backends.contract import LossSpec
from .batches import sorted_batches
from .loop import PREDICTED_STEPS, Data
from .network import Model

RAREST = 1e-12  # probability of what never occurs


def constant_loss(model: Model, data: Data) -> tuple[float, np.ndarray]:
    """The mean loss of the best scores (K,) that do not depend on X, and these scores."""
    targets = data.targets
    total = targets.count(np.arange(len(data)))
    parts = [targets.take(rows, total) for rows in sorted_batches(data.sequences.lengths, PREDICTED_STEPS)]
    wanted, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
    counted = weights.reshape(len(weights), -1).any(axis=1)
    scores = _best_scores(model.network.loss, model.network.outputs, wanted[counted], weights[counted])
    return sum(_loss(model, scores, *part) for part in parts), scores


def _loss(model: Model, scores: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> float:
    """What one score for all adds to the loss."""
    dtype = model.network.stack.dtype
    same = np.tile(scores.astype(dtype), (len(wanted), 1))
    return float(model.loss(model.backend.to_device(same, dtype), wanted, weights)[0])


def _best_scores(loss: LossSpec, outputs: int, wanted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The constant scores that lose least; of Huber's loss, close to them."""
    if loss.kind == "softmax":
        return np.log(np.bincount(wanted, weights / weights.sum(), outputs).clip(RAREST))
    of_targets = np.broadcast_to(weights[:, None] if weights.ndim == 1 else weights, wanted.shape)
    shares = of_targets / of_targets.sum(axis=0).clip(RAREST)
    if loss.kind in ("absolute", "pinball"):
        quantile = loss.parameter if loss.kind == "pinball" else 0.5
        columns = zip(wanted.T, of_targets.T, strict=True)
        return np.array([_quantile(column[share > 0], share[share > 0], quantile) for column, share in columns])
    mean = (shares * wanted).sum(axis=0)
    if loss.kind == "binary":
        positive = mean.clip(RAREST, 1 - RAREST)
        return np.log(positive / (1 - positive))
    return mean


def _quantile(values: np.ndarray, weights: np.ndarray, quantile: float) -> float:
    return float(np.quantile(values, quantile, weights=weights, method="inverted_cdf")) if len(values) else 0.0
