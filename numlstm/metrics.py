"""Metrics for targets at every step, for rows of labels and for texts, and scorers that use them in scikit-learn.

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

from .distances import edits
from .estimators.data.weights import step_weights
from .estimators.targets.numbers import r_squared
from .forecasting.scores import coverage, crps, mase, pinball_loss, smape
from .layers.sequences import as_numbers

__all__ = [
    "character_error_rate",
    "coverage",
    "crps",
    "edit_distance",
    "flat_accuracy",
    "flat_accuracy_scorer",
    "flat_f1",
    "flat_f1_scorer",
    "mase",
    "neg_character_error_rate_scorer",
    "neg_step_mean_absolute_error_scorer",
    "neg_step_mean_squared_error_scorer",
    "neg_word_error_rate_scorer",
    "pinball_loss",
    "sequence_accuracy",
    "sequence_accuracy_scorer",
    "smape",
    "step_mean_absolute_error",
    "step_mean_squared_error",
    "step_r2",
    "step_r2_scorer",
    "word_error_rate",
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


def edit_distance(a: Any, b: Any) -> int:
    """The fewest insertions, deletions and substitutions that change one row of labels into another.

    Parameters
    ----------
    a, b : str, or sequence of hashable labels

    Returns
    -------
    int, at least 0

    Raises
    ------
    TypeError
        If one of them is not a sequence.

    References
    ----------
    .. [1] V. Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals", 1966.

    Examples
    --------
    >>> from numlstm.metrics import edit_distance
    >>> edit_distance("kitten", "sitting")
    3
    """
    return edits(_labels(a, "a"), _labels(b, "b"))


def character_error_rate(y_true: Any, y_pred: Any) -> float:
    """The edits that change predicted texts into true texts, divided by the number of labels of the true texts.

    Parameters
    ----------
    y_true, y_pred : list of n str, or of n sequences of labels

    Returns
    -------
    float, at least 0
        It may be above 1 if predicted texts are too long.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or if all true texts are empty.

    See Also
    --------
    numlstm.LSTMTranscriber.score : 1 minus this rate, for the predictions of a transcriber.

    Examples
    --------
    >>> from numlstm.metrics import character_error_rate
    >>> character_error_rate(["four", "nine"], ["for", "nine"])
    0.125
    """
    return _error_rate(*_pairs(y_true, y_pred))


def word_error_rate(y_true: Any, y_pred: Any) -> float:
    """The character error rate with words instead of characters; spaces separate words.

    Parameters
    ----------
    y_true, y_pred : list of n str

    Returns
    -------
    float, at least 0

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or if the true texts hold no word.

    Examples
    --------
    >>> from numlstm.metrics import word_error_rate
    >>> word_error_rate(["one two", "three four"], ["one two", "tree four"])
    0.25
    """
    for name, texts in (("y_true", y_true), ("y_pred", y_pred)):
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{name} must be a list of texts, got {texts!r:.60}")
    return _error_rate(*_pairs([text.split() for text in y_true], [text.split() for text in y_pred]))


def flat_accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of labelled steps whose labels are correct.

    Parameters
    ----------
    y_true, y_pred : list of n sequences of T_i labels
        Steps where `y_true` is None or NaN do not count.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or if lengths differ.

    Examples
    --------
    >>> from numlstm.metrics import flat_accuracy
    >>> flat_accuracy([["a", "b", None], ["b"]], [["a", "a", "a"], ["b"]])
    0.6666666666666666
    """
    true, predicted = _flat(y_true, y_pred)
    return float(np.mean([a == b for a, b in zip(true, predicted, strict=True)]))


def flat_f1(y_true: Any, y_pred: Any, *, average: str = "macro", labels: Any = None) -> float:
    """The F1 score of the labels of all labelled steps.

    Parameters
    ----------
    y_true, y_pred : list of n sequences of T_i labels
        Steps where `y_true` is None or NaN do not count.
    average : {"macro", "micro", "weighted"}, default "macro"
        As in `sklearn.metrics.f1_score`.
    labels : list, optional
        The labels that count; by default all.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or if lengths differ.

    Examples
    --------
    >>> from numlstm.metrics import flat_f1
    >>> round(flat_f1([["a", "b", None], ["b"]], [["a", "a", "a"], ["b"]]), 3)
    0.667
    """
    from sklearn.metrics import f1_score

    if average not in ("macro", "micro", "weighted"):
        raise ValueError(f"average must be one of ['macro', 'micro', 'weighted'], got {average!r}")
    true, predicted = _flat(y_true, y_pred)
    return float(f1_score(true, predicted, average=average, labels=labels, zero_division=0.0))


def sequence_accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of sequences whose labels are all correct.

    Parameters
    ----------
    y_true, y_pred : list of n str, or of n sequences of labels
        Steps where `y_true` is None or NaN do not count.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from numlstm.metrics import sequence_accuracy
    >>> sequence_accuracy(["four", "nine"], ["for", "nine"])
    0.5
    """
    true, predicted = _pairs(y_true, y_pred)
    return float(np.mean([_agree(a, b) for a, b in zip(true, predicted, strict=True)]))


flat_accuracy_scorer = make_scorer(flat_accuracy)
flat_f1_scorer = make_scorer(flat_f1)
sequence_accuracy_scorer = make_scorer(sequence_accuracy)
neg_character_error_rate_scorer = make_scorer(character_error_rate, greater_is_better=False)
neg_word_error_rate_scorer = make_scorer(word_error_rate, greater_is_better=False)


def _labels(row: Any, name: str) -> list[Any]:
    """The labels of a row."""
    if not hasattr(row, "__len__"):
        raise TypeError(f"{name} must be a text or a sequence of labels, got {row!r:.60}")
    return row.tolist() if hasattr(row, "tolist") else list(row)


def _pairs(y_true: Any, y_pred: Any) -> tuple[list[list[Any]], list[list[Any]]]:
    """True and predicted rows of labels."""
    for name, rows in (("y_true", y_true), ("y_pred", y_pred)):
        if isinstance(rows, str) or not hasattr(rows, "__len__") or not len(rows):
            raise ValueError(f"{name} must be a list with a row of labels for each sequence, got {rows!r:.60}")
    if len(y_true) != len(y_pred):
        raise ValueError(f"y_pred must have {len(y_true)} entries, one for each sequence of y_true, got {len(y_pred)}")
    true, predicted = (
        [_labels(row, f"{name}[{i}]") for i, row in enumerate(rows)]
        for name, rows in (("y_true", y_true), ("y_pred", y_pred))
    )
    return true, predicted


def _error_rate(true: list[list[Any]], predicted: list[list[Any]]) -> float:
    total = sum(map(len, true))
    if not total:
        raise ValueError("y_true must hold at least one label, got empty texts")
    return sum(edits(b, a) for a, b in zip(true, predicted, strict=True)) / total


def _missing(label: Any) -> bool:
    """Whether there is no label: None or NaN."""
    return label is None or label != label


def _agree(true: list[Any], predicted: list[Any]) -> bool:
    return len(true) == len(predicted) and all(_missing(a) or a == b for a, b in zip(true, predicted, strict=True))


def _flat(y_true: Any, y_pred: Any) -> tuple[list[Any], list[Any]]:
    """True and predicted labels of all labelled steps."""
    true, predicted = _pairs(y_true, y_pred)
    for i, (row, predicted_row) in enumerate(zip(true, predicted, strict=True)):
        if len(row) != len(predicted_row):
            raise ValueError(f"y_pred[{i}] must have {len(row)} labels, as y_true[{i}], got {len(predicted_row)}")
    pairs = [
        pair for rows in zip(true, predicted, strict=True) for pair in zip(*rows, strict=True) if not _missing(pair[0])
    ]
    if not pairs:
        raise ValueError("y_true must hold a label for at least one step, got none at any step")
    return [a for a, _ in pairs], [b for _, b in pairs]


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
