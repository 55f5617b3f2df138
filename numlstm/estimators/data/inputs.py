"""X in all its forms, checked and converted to sequences."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from ...layers.sequences import as_numbers, check_lengths, check_shapes
from ...training.batches import Sequences
from .forms import FORMS, array_or_list, is_list_of_sequences, lengths_before_padding
from .frames import NamedSequences, is_frame

FAR = 10  # two medians are far apart if they differ by this many standard deviations
ROUNDING = 1e-6  # least standard deviation of a channel, relative to its greatest absolute value
SAMPLED_SEQUENCES, SAMPLED_STEPS = 1000, 100  # greatest number of sequences in a sample, and of steps of each


def check_sequences(
    estimator: BaseEstimator,
    X: Any,
    lengths: Any,
    dtype: str,
    *,
    reset: bool,
    name: str = "X",
    nan_allowed: bool = False,
) -> Sequences:
    """Check X in any of its forms, and convert it to sequences.

    With `reset`, the estimator stores the number of features and their names, as in scikit-learn. Otherwise they are
    compared with those in the estimator, and X may be empty. With `nan_allowed`, X may contain NaN. With the `dtype`
    "object", X may contain anything.

    Raises
    ------
    TypeError, ValueError
        If X does not hold finite real numbers in one of the forms, or has other features than in `fit`; or if it is an
        array without lengths, but `fit` had lengths.
    """
    X = array_or_list(X, name)
    parameter = "lengths" + name.removeprefix("X")
    if is_list_of_sequences(X, name):
        if lengths is not None:
            raise ValueError(f"{parameter} must be None if {name} is a list, because its arrays have the lengths")
        sequences, columns = Sequences.from_list(_check_sequences(X, dtype, name, nan_allowed), dtype), None
    else:
        if lengths is None and getattr(estimator, "_lengths_given", False) and np.shape(X)[0]:
            raise ValueError(
                f"{parameter} must be given with {name}, because {type(estimator).__name__} was fitted with a padded "
                f"array and its lengths: pass {parameter}=, or pass {name} as a list of (T_i, C) arrays"
            )
        x = _check_array(estimator, X, dtype, reset, name, "allow-nan" if nan_allowed else True)
        sequences = Sequences.from_padded(x, _check_lengths(lengths, x, name))
        columns = x.shape[1] if np.ndim(X) == 2 else None
    channels = sequences.channels
    if reset:
        estimator.n_channels_, estimator.n_features_in_ = channels, columns or channels
        estimator._columns = columns
    elif channels != estimator.n_channels_:
        fitted = type(estimator).__name__
        hint = f": pass a single sequence as [{name.lower()}]" if columns else ""
        raise ValueError(
            f"{name} has {channels} features at each step, but {fitted} was fitted with {estimator.n_channels_}{hint}"
        )
    if estimator._columns is None and len(sequences):
        _check_feature_names(estimator, X.names if isinstance(X, NamedSequences) else None, reset, name)
    return sequences


def _check_feature_names(estimator: BaseEstimator, names: list[str] | None, reset: bool, name: str) -> None:
    """Store the names of channels in an estimator, or compare them with those in it, as in scikit-learn."""
    if reset:
        if names is not None:
            estimator.feature_names_in_ = np.array(names, object)
        return
    known: Any = getattr(estimator, "feature_names_in_", None)
    fitted = type(estimator).__name__
    if names is None and known is not None:
        warnings.warn(
            f"{name} does not have valid feature names, but {fitted} was fitted with feature names", stacklevel=6
        )
    elif names is not None and known is None:
        warnings.warn(f"{name} has feature names, but {fitted} was fitted without feature names", stacklevel=6)
    elif names is not None and names != known.tolist():
        hint = ""
        if sorted(names) == sorted(known):
            hint = ": pass frame[list(fitted.feature_names_in_)], which has this order"
        raise ValueError(
            f"{name} must have the feature names that {fitted} was fitted with, in the same order: {known.tolist()}, "
            f"got {names}{hint}"
        )


def check_not_empty(sequences: Sequences, name: str = "X") -> None:
    """There must be at least one sequence.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not len(sequences):
        raise ValueError(f"{name} must hold at least one sequence, got none")


def warn_if_scaled_differently(
    validation: Sequences, training: Sequences, unscaled: Callable[[np.ndarray], np.ndarray] | None = None
) -> None:
    """Warn if channels of X_val are far from those of X, as they are after a Pipeline has scaled only X.

    If the training sequences are scaled already, `unscaled` gives their numbers before scaling.
    """
    validation_steps, training_steps = _sample_of_steps(validation), _sample_of_steps(training)
    training_steps = training_steps if unscaled is None else unscaled(training_steps)
    deviations = np.maximum(training_steps.std(axis=0), ROUNDING * np.abs(training_steps).max(axis=0))
    medians, expected = np.median(validation_steps, axis=0), np.median(training_steps, axis=0)
    far = np.flatnonzero(np.abs(medians - expected) > FAR * deviations)
    if len(far):
        k = far[0]
        others = f" (and {len(far) - 1} more channels differ)" if len(far) > 1 else ""
        warnings.warn(
            f"X_val must be scaled like X, but the median of channel {k} is {medians[k]:.4g} in X_val and "
            f"{expected[k]:.4g} in X{others}; they differ by more than {FAR} standard deviations of X. A Pipeline "
            "transforms only X: create it with transform_input=['X_val'] and turn on metadata routing, or pass a "
            "transformed X_val",
            stacklevel=6,
        )


def _sample_of_steps(sequences: Sequences) -> np.ndarray:
    """A sample of the steps of all sequences, (m, C) in float64."""
    rows = np.arange(0, len(sequences), -(-len(sequences) // SAMPLED_SEQUENCES))
    parts = [part[:: -(-len(part) // SAMPLED_STEPS)] for part in sequences.subset(rows).split()]
    return np.concatenate(parts, dtype=np.float64)


def _check_array(
    estimator: BaseEstimator, X: Any, dtype: str, reset: bool, name: str, finite: bool | str = True
) -> np.ndarray:
    """A checked (n, T, C) array; C is 1 if X has two axes. Without `reset`, n may be 0."""
    if not reset and dtype != "object" and (x := _check_fast(estimator, X, dtype)) is not None:
        return x
    if not reset and isinstance(X, list | tuple) and not len(X):
        return np.empty((0, 1, estimator.n_channels_), dtype)
    if issparse(X):
        raise TypeError(f"{name} must be dense, got a sparse matrix: pass {name}.toarray()")
    options: dict[str, Any] = {"dtype": dtype, "ensure_min_samples": int(reset), "ensure_all_finite": finite}
    try:
        if np.ndim(X) == 2 and (reset or estimator._columns is not None):
            return validate_data(estimator, X, reset=reset, **options)[:, :, None]
        # `fit` has seen sequences of any length, or several channels.
        x = check_array(X, allow_nd=True, input_name=name, estimator=estimator, **options)
    except ValueError as error:
        raise ValueError(_reworded(str(error), X, name)) from error
    x = x[:, :, None] if x.ndim == 2 else x
    if x.ndim != 3 or 0 in x.shape[1:]:
        raise ValueError(f"{name} must have shape {FORMS}, got {x.shape}")
    return x


def _reworded(message: str, X: Any, name: str) -> str:
    """Scikit-learn's message about X, changed to suit sequences."""
    if "contains NaN" in message:
        return _nan_message(X, name)
    if is_frame(X) and "setting an array element with a sequence" in message:
        return f"{name} must hold a number in each cell, got sequences: pass numlstm.as_channels_last({name})"
    return re.sub(r"^X\b", name, message)


def _nan_message(X: Any, name: str) -> str:
    """A message about NaN in an array of two or three axes; the NaN may be padding."""
    missing: Any = np.isnan(np.asarray(X, np.float64)).reshape(*np.shape(X)[:2], -1)
    inside = missing.any(axis=2) & (np.arange(missing.shape[1]) < lengths_before_padding(missing.all(axis=2))[:, None])
    if not inside.any():
        return (
            f"{name} must be finite, but contains NaN after the ends of sequences, like a padded array: pass "
            f"numlstm.split_padded({name})"
        )
    i, step = np.argwhere(inside)[0]
    return (
        f"{name} must be finite, but contains NaN in step {step} of sequence {i}: fill missing values, for example "
        "with numlstm.SequenceImputer"
    )


def _check_fast(estimator: BaseEstimator, X: Any, dtype: str) -> np.ndarray | None:
    """X as (n, T, C) if it is an array like that in `fit`, without scikit-learn's slower checks; otherwise None."""
    if type(X) is not np.ndarray or X.dtype.kind != "f" or X.ndim not in (2, 3) or not X.size:
        return None
    if X.ndim == 2 and (hasattr(estimator, "feature_names_in_") or estimator._columns not in (None, X.shape[1])):
        return None
    x = X
    if X.dtype != dtype:
        with np.errstate(over="ignore"):
            x = X.astype(dtype)
    if not np.isfinite(x).all():
        return None
    return x if x.ndim == 3 else x[:, :, None]


def _check_lengths(lengths: Any, x: np.ndarray, name: str) -> np.ndarray | None:
    try:
        return check_lengths(lengths, *x.shape[:2])
    except (TypeError, ValueError) as error:
        message = str(error).replace("steps of x", f"steps of {name}")
        raise type(error)(re.sub(r"^lengths\b", "lengths" + name.removeprefix("X"), message)) from None


def _check_sequences(X: Any, dtype: str, name: str, nan_allowed: bool) -> list[np.ndarray]:
    """Finite (T_i, C) arrays in `dtype`; (T_i,) is one channel. With the `dtype` "object", any objects are allowed."""
    if dtype == "object":
        arrays = [np.asarray(sequence, object) for sequence in X]
    else:
        arrays = [as_numbers(sequence, f"{name}[{i}]") for i, sequence in enumerate(X)]
    arrays = [array[:, None] if array.ndim == 1 else array for array in arrays]
    check_shapes(arrays, name)
    if dtype == "object":
        return arrays
    with np.errstate(over="ignore"):
        arrays = [array.astype(dtype, copy=False) for array in arrays]
    for i, array in enumerate(arrays):
        if not np.isfinite(array).all() and (not nan_allowed or np.isinf(array).any()):
            finite, nan = ("finite or NaN", "") if nan_allowed else ("finite", "NaN, ")
            has_nan = not nan_allowed and np.isnan(array).any()
            hint = ": fill missing values, for example with numlstm.SequenceImputer" if has_nan else ""
            raise ValueError(
                f"{name}[{i}] must be {finite}, but contains {nan}infinity or a number too large for {dtype}{hint}"
            )
    return arrays
