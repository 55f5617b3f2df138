"""Metrics of targets at every step, and scorers of them for scikit-learn.

Scikit-learn's own metrics take a target, or a row of targets, for each sequence. These take what `LSTMRegressor` takes
and gives where each step has a target: a list of n arrays of shape (T_i,) or (T_i, K), or an array (n, T, K), or
(n, T) for one target.

What is NaN in `y_true` is left out. Padded arrays need NaN in `y_true` past each length, where `predict` gives zeros:
nothing else says where sequences end. Beside a list, an array may hold anything past the list's lengths.

Scorers for ``scoring=`` are `step_r2_scorer`, `neg_step_mean_squared_error_scorer` and
`neg_step_mean_absolute_error_scorer`. Scikit-learn has no way to give `lengths` to the predictions that a scorer looks
at: pass X as a list, or leave `scoring` out, for the `score` of `LSTMRegressor` is the R² of steps and takes lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import make_scorer

from .estimators.data.weights import step_weights
from .estimators.targets.numbers import r_squared
from .forecasting.scores import coverage, crps, mase, pinball_loss, smape
from .layers.sequences import as_numbers

__all__ = [
    "coverage",
    "crps",
    "mase",
    "neg_step_mean_absolute_error_scorer",
    "neg_step_mean_squared_error_scorer",
    "pinball_loss",
    "smape",
    "step_mean_absolute_error",
    "step_mean_squared_error",
    "step_r2",
    "step_r2_scorer",
]


def step_mean_squared_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The mean squared error over labelled steps, the mean over targets.

    Parameters
    ----------
    y_true : list of n arrays of shape (T_i,) or (T_i, K); or array, shape (n, T, K) or (n, T)
        True targets; NaN where there is no label.
    y_pred : in one of the same forms
        Predicted targets, finite.
    sample_weight : array, shape (n,) or (n, T), or list of n arrays of shape (T_i,); optional
        Weights of sequences, or of steps, not negative; all the same by default.

    Returns
    -------
    float, at least 0

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, lengths differ, or a target has no labelled step.

    See Also
    --------
    sklearn.metrics.mean_squared_error : The same for one target, or a row of targets, of each sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm.metrics import step_mean_squared_error
    >>> step_mean_squared_error([[1.0, np.nan, 3.0], [0.0, 2.0]], [[1.0, 9.0, 5.0], [0.0, 0.0]])
    2.0
    """
    return _mean_error(np.square, y_true, y_pred, sample_weight)


def step_mean_absolute_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The mean absolute error over labelled steps, the mean over targets.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As of `step_mean_squared_error`.

    Returns
    -------
    float, at least 0

    Raises
    ------
    TypeError, ValueError
        As `step_mean_squared_error` does.

    See Also
    --------
    sklearn.metrics.mean_absolute_error : The same for one target, or a row of targets, of each sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm.metrics import step_mean_absolute_error
    >>> step_mean_absolute_error([[1.0, np.nan, 3.0], [0.0, 2.0]], [[1.0, 9.0, 5.0], [0.0, 0.0]])
    1.0
    """
    return _mean_error(np.abs, y_true, y_pred, sample_weight)


def step_r2(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The coefficient of determination, R², over labelled steps, the mean over targets.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As of `step_mean_squared_error`.

    Returns
    -------
    float, at most 1
        NaN if a target has a label at one step alone.

    Raises
    ------
    TypeError, ValueError
        As `step_mean_squared_error` does.

    See Also
    --------
    numlstm.LSTMRegressor.score : The same of a regressor's own predictions.
    sklearn.metrics.r2_score : The same for one target, or a row of targets, of each sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm.metrics import step_r2
    >>> step_r2([[1.0, np.nan, 3.0], [0.0, 2.0]], [[1.0, 9.0, 3.0], [1.0, 2.0]])
    0.8
    """
    return r_squared(*_counted(y_true, y_pred, sample_weight))


step_r2_scorer = make_scorer(step_r2)
neg_step_mean_squared_error_scorer = make_scorer(step_mean_squared_error, greater_is_better=False)
neg_step_mean_absolute_error_scorer = make_scorer(step_mean_absolute_error, greater_is_better=False)


def _mean_error(error: Callable[[np.ndarray], np.ndarray], y_true: Any, y_pred: Any, sample_weight: Any) -> float:
    true, predicted, weights = _counted(y_true, y_pred, sample_weight)
    errors = error(np.where(weights > 0, true - predicted, 0.0))
    return float(np.average(errors, axis=0, weights=weights).mean())


def _counted(y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All steps' true and predicted targets, and their weights, which are 0 where there is no label: all (M, K)."""
    true, predicted = _rows(y_true, "y_true"), _rows(y_pred, "y_pred")
    if len(true) != len(predicted):
        raise ValueError(f"y_pred must have {len(true)} entries, one for each sequence of y_true, got {len(predicted)}")
    steps = max(map(len, true + predicted))
    if _is_list(y_pred) and not _is_list(y_true):
        true = [own[: len(said)] for own, said in zip(true, predicted, strict=True)]
    elif _is_list(y_true) and not _is_list(y_pred):
        predicted = [said[: len(own)] for own, said in zip(true, predicted, strict=True)]
    for i, (own, said) in enumerate(zip(true, predicted, strict=True)):
        if own.shape != said.shape:
            raise ValueError(f"y_pred[{i}] must have the shape of y_true[{i}], {own.shape}, got {said.shape}")
    weights = step_weights(sample_weight, np.array([len(each) for each in true]), steps)
    joined, said = np.concatenate(true), np.concatenate(predicted)
    if np.isinf(joined).any():
        raise ValueError("y_true must be finite, or NaN at steps without a label, but contains infinity")
    if not np.isfinite(said).all():
        raise ValueError("y_pred must be finite, but contains NaN or infinity")
    weights = np.where(np.isnan(joined), 0.0, weights[:, None])
    if not weights.any(axis=0).all():
        raise ValueError("y_true must hold each target at some step with a weight above 0, got NaN at all of them")
    return joined, said, weights


def _is_list(y: Any) -> bool:
    return isinstance(y, list | tuple) or getattr(y, "dtype", None) == np.dtype(object)


def _rows(y: Any, name: str) -> list[np.ndarray]:
    """The targets of each sequence, (T_i, K)."""
    y = y.to_numpy() if hasattr(y, "to_numpy") else y
    if not hasattr(y, "__len__") or not len(y):
        raise ValueError(f"{name} must hold the targets of at least one sequence, got {y!r:.80}")
    arrays = [as_numbers(each, f"{name}[{i}]", "float64") for i, each in enumerate(y)]
    for i, array in enumerate(arrays):
        if array.ndim not in (1, 2) or not array.size or array.ndim != arrays[0].ndim:
            raise ValueError(
                f"{name} must be a list of (T_i,) or (T_i, K) arrays, or an array (n, T, K) or (n, T), but {name}[{i}] "
                f"has shape {array.shape}"
            )
    return [array[:, None] if array.ndim == 1 else array for array in arrays]
