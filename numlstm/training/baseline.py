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
    targets, lengths = data.targets, data.sequences.lengths
    total = targets.count(np.arange(len(data)))
    parts = [targets.take(rows, total) for rows in sorted_batches(lengths, PREDICTED_STEPS)]
    wanted, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
    wanted, weights = wanted[weights > 0], weights[weights > 0]
    backend, network = model.backend, model.network
    scores = _best_scores(network.loss, network.outputs, wanted, weights)
    same = np.tile(scores, (len(wanted), 1)).astype(network.stack.dtype)
    loss, _ = backend.loss(network.loss, backend.to_device(same, network.stack.dtype), wanted, weights)
    return float(loss), scores


def _best_scores(loss: LossSpec, outputs: int, wanted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The constant scores that lose least; of Huber's loss, close to them."""
    shares = weights / weights.sum()
    if loss.kind == "softmax":
        return np.log(np.bincount(wanted, shares, outputs).clip(RAREST))
    if loss.kind == "binary":
        positive = (shares @ wanted).clip(RAREST, 1 - RAREST)
        return np.log(positive / (1 - positive))
    if loss.kind in ("absolute", "pinball"):
        quantile = loss.parameter if loss.kind == "pinball" else 0.5
        return np.quantile(wanted, quantile, axis=0, weights=shares, method="inverted_cdf")
    return shares @ wanted
