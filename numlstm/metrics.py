"""Metrics for targets at every step, and scorers that use them in scikit-learn.

Scikit-learn's own metrics take one target, or one row of targets, for each sequence. These metrics take targets for
each step, in the forms that `LSTMRegressor` uses: a list of n arrays of shape (T_i,) or (T_i, K), an array (n, T, K),
or an array (n, T) for one target.

Steps where `y_true` is NaN do not count. In padded arrays, `y_true` must be NaN past each length, where `predict` gives
zeros: the metric does not know where sequences end. If the other argument is a list, an array may hold any numbers past
the lengths of the list.

The scorers for ``scoring=`` are `step_r2_scorer`, `neg_step_mean_squared_error_scorer` and
`neg_step_mean_absolute_error_scorer`. Scikit-learn cannot pass `lengths` to the predictions of a scorer. Pass X as a
list, or do not pass `scoring`: the `score` method of `LSTMRegressor` is the R² over all steps, and takes `lengths`.
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
    """The mean squared error over labelled steps, averaged over targets.

    Parameters
    ----------
    y_true : list of n arrays of shape (T_i,) or (T_i, K); or array, shape (n, T, K) or (n, T)
        True targets; NaN at steps without a label.
    y_pred : in one of the same forms
        Predicted targets, finite.
    sample_weight : array, shape (n,) or (n, T), or list of n arrays of shape (T_i,); optional
        Weights of sequences, or of steps, not negative. By default all weights are equal.

    Returns
    -------
    float, at least 0

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, lengths differ, or a target has no labelled step.

    See Also
    --------
    sklearn.metrics.mean_squared_error : The same for one target, or one row of targets, per sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm.metrics import step_mean_squared_error
    >>> step_mean_squared_error([[1.0, np.nan, 3.0], [0.0, 2.0]], [[1.0, 9.0, 5.0], [0.0, 0.0]])
    2.0
    """
    return _mean_error(np.square, y_true, y_pred, sample_weight)


def step_mean_absolute_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The mean absolute error over labelled steps, averaged over targets.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As in `step_mean_squared_error`.

    Returns
    -------
    float, at least 0

    Raises
    ------
    TypeError, ValueError
        As in `step_mean_squared_error`.

    See Also
    --------
    sklearn.metrics.mean_absolute_error : The same for one target, or one row of targets, per sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm.metrics import step_mean_absolute_error
    >>> step_mean_absolute_error([[1.0, np.nan, 3.0], [0.0, 2.0]], [[1.0, 9.0, 5.0], [0.0, 0.0]])
    1.0
    """
    return _mean_error(np.abs, y_true, y_pred, sample_weight)


def step_r2(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The coefficient of determination, R², over labelled steps, averaged over targets.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As in `step_mean_squared_error`.

    Returns
    -------
    float, at most 1
        NaN if a target has only one labelled step.

    Raises
    ------
    TypeError, ValueError
        As in `step_mean_squared_error`.

    See Also
    --------
    numlstm.LSTMRegressor.score : The same for the predictions of a regressor.
    sklearn.metrics.r2_score : The same for one target, or one row of targets, per sequence.

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
    """True targets, predicted targets and weights of all steps, each (M, K); the weight is 0 if there is no label."""
    true, predicted = _rows(y_true, "y_true"), _rows(y_pred, "y_pred")
    if len(true) != len(predicted):
        raise ValueError(f"y_pred must have {len(true)} entries, one for each sequence of y_true, got {len(predicted)}")
    steps = max(map(len, true + predicted))
    if _is_list(y_pred) and not _is_list(y_true):
        true = [array[: len(other)] for array, other in zip(true, predicted, strict=True)]
    elif _is_list(y_true) and not _is_list(y_pred):
        predicted = [array[: len(other)] for other, array in zip(true, predicted, strict=True)]
    for i, (true_array, predicted_array) in enumerate(zip(true, predicted, strict=True)):
        if true_array.shape != predicted_array.shape:
            expected, got = true_array.shape, predicted_array.shape
            raise ValueError(f"y_pred[{i}] must have the shape of y_true[{i}], {expected}, got {got}")
    weights = step_weights(sample_weight, np.array([len(array) for array in true]), steps)
    all_true, all_predicted = np.concatenate(true), np.concatenate(predicted)
    if np.isinf(all_true).any():
        raise ValueError("y_true must be finite, or NaN at steps without a label, but contains infinity")
    if not np.isfinite(all_predicted).all():
        raise ValueError("y_pred must be finite, but contains NaN or infinity")
    weights = np.where(np.isnan(all_true), 0.0, weights[:, None])
    if not weights.any(axis=0).all():
        raise ValueError("y_true must have a label with a positive weight for each target, got NaN at all such steps")
    return all_true, all_predicted, weights


def _is_list(y: Any) -> bool:
    return isinstance(y, list | tuple) or getattr(y, "dtype", None) == np.dtype(object)


def _rows(y: Any, name: str) -> list[np.ndarray]:
    """The targets of each sequence, (T_i, K)."""
    y = y.to_numpy() if hasattr(y, "to_numpy") else y
    if not hasattr(y, "__len__") or not len(y):
        raise ValueError(f"{name} must hold the targets of at least one sequence, got {y!r:.80}")
    arrays = [as_numbers(targets, f"{name}[{i}]", "float64") for i, targets in enumerate(y)]
    for i, array in enumerate(arrays):
        if array.ndim not in (1, 2) or not array.size or array.ndim != arrays[0].ndim:
            raise ValueError(
                f"{name} must be a list of (T_i,) or (T_i, K) arrays, or an array (n, T, K) or (n, T), but {name}[{i}] "
                f"has shape {array.shape}"
            )
    return [array[:, None] if array.ndim == 1 else array for array in arrays]
