"""Warnings where training has learnt nothing, or ended while it was still learning."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ...backends.contract import LIKELIHOODS
from ...training.baseline import constant_loss
from ...training.diagnosis import stagnation
from ...training.loop import Data
from ...training.network import Model
from ...training.progress import ALL_EPOCHS, History

BETTER = 0.99  # of the loss of a constant: from there on something has been learnt
FALL = 0.1  # of the loss, over the last tenth of the epochs: it still falls
LEARNT = 0.1  # of the loss of a constant: below that, a fall does not matter


def warn_of_training(history: History, model: Model, data: Data, codec: Any) -> None:
    """Tell of a fit that ended by itself, but not well.

    Parameters
    ----------
    history : History
        Of that fit.
    model : Model
    data : Data
        What it was trained on.
    codec : Classes or Numbers
        Says what scores predict.

    Warns
    -----
    ConvergenceWarning
        If training is no better than the best prediction that is the same for all, or its loss still fell at the end.
    """
    if history.stop_reason not in (ALL_EPOCHS, "no_improvement") or model.network.loss.kind in LIKELIHOODS:
        return  # of a distribution, the best constant is not known
    losses, (constant, scores) = history.losses, constant_loss(model, data)
    tenth = max(1, len(losses) // 10)
    last, before = np.mean(losses[-tenth:]), np.mean(losses[-2 * tenth : -tenth] or losses[:1])
    if min(losses) > BETTER * constant > 0:
        warnings.warn(
            f"training ended with a loss of {min(losses):.4g}, no better than always predicting "
            f"{codec.shown(scores)}, whose loss is {constant:.4g}. Try another learning_rate_init, more "
            f"epochs (max_iter), or scale_inputs=True if it is not{stagnation(model, data.sequences)}",
            ConvergenceWarning,
            stacklevel=5,
        )
    elif history.stop_reason == ALL_EPOCHS and last < (1 - FALL) * before and last > LEARNT * constant:
        epochs = f"max_iter={len(losses)} epoch{'s' * (len(losses) > 1)}"
        warnings.warn(
            f"training ended after {epochs} while its loss still fell, from {before:.4g} to {last:.4g} over the last "
            f"{tenth}: more epochs (max_iter) may help",
            ConvergenceWarning,
            stacklevel=5,
        )
