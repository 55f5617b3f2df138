"""What scikit-learn's users pass as X and y, checked and made into padded sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from ..layers.sequences import as_numbers, check_lengths, pad
from ..training.batches import Sequences


def sequences_of(estimator: BaseEstimator, X: Any, lengths: Any, dtype: str, *, reset: bool) -> Sequences:
    """X in any of its forms as padded sequences.

    With `reset`, the number of features is kept in the estimator, as scikit-learn does; else it is compared.

    Raises
    ------
    TypeError, ValueError
        If X holds no finite real numbers in one of the forms, or other features than in `fit`.
    """
    if _is_list_of_sequences(X):
        if lengths is not None:
            raise ValueError("lengths must be None when X is a list: its sequences have lengths of their own")
        x, lengths = pad([_finite_sequence(sequence, i) for i, sequence in enumerate(X)], dtype, "X")
    elif np.ndim(X) == 2:
        x = validate_data(estimator, X, reset=reset, dtype=dtype)[:, :, None]
    else:
        x = check_array(X, allow_nd=True, dtype=dtype, input_name="X", estimator=estimator)
        if x.ndim != 3 or 0 in x.shape:
            raise ValueError(f"X must have shape (n, T, C), (n, T), or be a list of (T_i, C) arrays, got {x.shape}")
    channels = x.shape[2]
    if not reset and channels != estimator.n_channels_:
        name = type(estimator).__name__
        raise ValueError(f"X has {channels} features at each step, but {name} was fitted with {estimator.n_channels_}")
    return Sequences(x, check_lengths(lengths, *x.shape[:2]))


def _is_list_of_sequences(X: Any) -> bool:
    """Whether X holds one array for each sequence; rows of equal length make one array of a single channel."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1 and len(X) > 0 and all(np.ndim(each) for each in X)
    if not isinstance(X, list | tuple) or not len(X):
        return False
    try:
        shapes = {np.shape(sequence) for sequence in X}
    except ValueError as error:
        raise ValueError("X must be a list of (T_i, C) arrays; one of its sequences is ragged itself") from error
    dimensions = {len(shape) for shape in shapes}
    return dimensions == {2} or (dimensions == {1} and len(shapes) > 1)


def _finite_sequence(sequence: Any, index: int) -> np.ndarray:
    """A (T_i, C) array; (T_i,) is one channel."""
    array = as_numbers(sequence, f"X[{index}]")
    if not np.isfinite(array).all():
        raise ValueError(f"X[{index}] must be finite, but contains NaN or infinity")
    return array[:, None] if array.ndim == 1 else array


def class_indices(y: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes among labels `y`, sorted, and the index of each label.

    Raises
    ------
    ValueError
        If `y` is not one label for each of `count` sequences, or holds fewer than two classes.
    """
    if y is None:
        raise ValueError("y must hold a label for each sequence of X, got None (requires y to be passed)")
    labels = column_or_1d(y, warn=True)
    if len(labels) != count:
        raise ValueError(f"y must have {count} labels, one for each sequence of X, got {len(labels)}")
    check_classification_targets(labels)
    classes, indices = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes, got one class: {classes.tolist()}")
    return classes, indices.astype(np.int64)
