"""Warnings after training: the model has learnt nothing, or the loss was still falling."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ...backends.contract import LIKELIHOODS
from ...training.baseline import constant_loss
from ...training.data import Data
from ...training.diagnosis import stagnation
from ...training.model import Model
from ...training.progress import ALL_EPOCHS, History

BETTER = 0.99  # the model has learnt something if its loss is below this multiple of the loss of a constant
FALL = 0.1  # the loss was still falling if it lost this fraction over the last tenth of the epochs
LEARNT = 0.1  # below this multiple of the loss of a constant, a falling loss does not matter


def warn_of_training(history: History, model: Model, data: Data, codec: Any) -> None:
    """Warn if training ended by itself, but with a poor result.

    Parameters
    ----------
    history : History
    model : Model
        The trained model.
    data : Data
        The training data.
    codec : Classes or Numbers
        Describes predictions in the warning.

    Warns
    -----
    ConvergenceWarning
        If the model is not better than the best constant prediction, or if its loss was still falling.
    """
    if history.stop_reason not in (ALL_EPOCHS, "no_improvement") or model.network.loss.kind in LIKELIHOODS:
        return  # the best constant distribution is not known
    losses, (constant, scores) = history.losses, constant_loss(model, data)
    tenth = max(1, len(losses) // 10)
    last, before = np.mean(losses[-tenth:]), np.mean(losses[-2 * tenth : -tenth] or losses[:1])
    if min(losses) > BETTER * constant > 0:
        tokens = model.network.tokens
        scaling = ", or scale_inputs=True" if tokens is None or tokens.numeric else ""
        warnings.warn(
            f"training ended with a loss of {min(losses):.4g}, no better than always predicting "
            f"{codec.describe(scores)}, which has the loss {constant:.4g}. Try another learning_rate_init, more "
            f"epochs (max_iter){scaling}{stagnation(model, data.sequences, history.kept_epoch)}",
            ConvergenceWarning,
            stacklevel=5,
        )
    elif history.stop_reason == ALL_EPOCHS and last < (1 - FALL) * before and last > LEARNT * constant:
        epochs = f"max_iter={len(losses)} epoch{'s' * (len(losses) > 1)}"
        warnings.warn(
            f"training ended after {epochs} while its loss was still falling, from {before:.4g} to {last:.4g} over the "
            f"last {tenth}: more epochs (max_iter) may help",
            ConvergenceWarning,
            stacklevel=5,
        )
