"""What scikit-learn's users pass as X, checked and made into sequences."""

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
from .forms import FORMS, array_or_list, ends_of, is_list_of_sequences
from .frames import NamedSequences, is_frame

FAR = 10  # standard deviations between two medians
ROUNDING = 1e-6  # deviations of a constant channel, as a share of it
MOST, STEPS = 1000, 100  # sequences that are looked at, and steps of each


def sequences_of(
    estimator: BaseEstimator,
    X: Any,
    lengths: Any,
    dtype: str,
    *,
    reset: bool,
    name: str = "X",
    nan_allowed: bool = False,
) -> Sequences:
    """X in any of its forms as sequences.

    With `reset`, the number of features is kept in the estimator, and so are their names, as scikit-learn does; else
    they are compared, and X may be empty. With `nan_allowed` it may hold NaN; with the `dtype` "object", anything.

    Raises
    ------
    TypeError, ValueError
        If X holds no finite real numbers in one of the forms, or other features than in `fit`; or if it is an array
        without lengths, and there were some in `fit`.
    """
    X = array_or_list(X, name)
    parameter = "lengths" + name.removeprefix("X")
    if is_list_of_sequences(X, name):
        if lengths is not None:
            raise ValueError(f"{parameter} must be None when {name} is a list: its sequences have lengths of their own")
        sequences, columns = Sequences.from_list(_finite_sequences(X, dtype, name, nan_allowed), dtype), None
    else:
        if lengths is None and getattr(estimator, "_lengths_given", False) and np.shape(X)[0]:
            raise ValueError(
                f"{parameter} must be given with {name}, as {type(estimator).__name__} was fitted with a padded array "
                f"and its lengths: pass {parameter}=, or {name} as a list of (T_i, C) arrays"
            )
        x = _padded(estimator, X, dtype, reset, name, "allow-nan" if nan_allowed else True)
        sequences = Sequences.from_padded(x, _lengths(lengths, x, name))
        columns = x.shape[1] if np.ndim(X) == 2 else None
    channels = sequences.channels
    if reset:
        estimator.n_channels_, estimator.n_features_in_ = channels, columns or channels
        estimator._columns = columns
    elif channels != estimator.n_channels_:
        fitted = type(estimator).__name__
        hint = f"; a sequence alone is passed as [{name.lower()}]" if columns else ""
        raise ValueError(
            f"{name} has {channels} features at each step, but {fitted} was fitted with {estimator.n_channels_}{hint}"
        )
    if estimator._columns is None and len(sequences):
        _check_names(estimator, getattr(X, "names", None) if isinstance(X, NamedSequences) else None, reset, name)
    return sequences


def _check_names(estimator: BaseEstimator, names: list[str] | None, reset: bool, name: str) -> None:
    """Keep the names of channels in an estimator, or compare them with those there, as scikit-learn does."""
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
        advice = ""
        if sorted(names) == sorted(known):
            advice = ": put them in that order, frame[list(fitted.feature_names_in_)]"
        raise ValueError(
            f"{name} must have the feature names that {fitted} was fitted with, in the same order: {known.tolist()}, "
            f"got {names}{advice}"
        )


def check_some(sequences: Sequences, name: str = "X") -> None:
    """There must be something to learn from, or to show.

    Raises
    ------
    ValueError
        If there is no sequence.
    """
    if not len(sequences):
        raise ValueError(f"{name} must hold at least one sequence, got none")


def warn_if_far(
    validation: Sequences, training: Sequences, restored: Callable[[np.ndarray], np.ndarray] | None = None
) -> None:
    """Tell of channels of X_val that lie far from those of X, as they do where a Pipeline has scaled X alone.

    What is trained on may be scaled already: `restored` gives its steps as they were.
    """
    theirs, ours = _some_steps(validation), _some_steps(training)
    ours = ours if restored is None else restored(ours)
    deviations = np.maximum(ours.std(axis=0), ROUNDING * np.abs(ours).max(axis=0))
    medians, expected = np.median(theirs, axis=0), np.median(ours, axis=0)
    far = np.flatnonzero(np.abs(medians - expected) > FAR * deviations)
    if len(far):
        k = far[0]
        more = f" (and of {len(far) - 1} more channels)" if len(far) > 1 else ""
        warnings.warn(
            f"X_val must be scaled as X is: the median of channel {k} is {medians[k]:.4g} in X_val and "
            f"{expected[k]:.4g} in X{more}, more than {FAR} standard deviations of X apart. A Pipeline transforms X "
            "alone, unless it is made with transform_input=['X_val'] while metadata routing is on; or pass X_val "
            "transformed",
            stacklevel=6,
        )


def _some_steps(sequences: Sequences) -> np.ndarray:
    """Steps from all over sequences, (m, C) in float64: enough to tell where they lie."""
    rows = np.arange(0, len(sequences), -(-len(sequences) // MOST))
    parts = [part[:: -(-len(part) // STEPS)] for part in sequences.subset(rows).apart()]
    return np.concatenate(parts, dtype=np.float64)


def _padded(
    estimator: BaseEstimator, X: Any, dtype: str, reset: bool, name: str, finite: bool | str = True
) -> np.ndarray:
    """A checked (n, T, C) array; C is 1 where X has two axes. Without `reset`, n may be 0."""
    if not reset and dtype != "object" and (x := _quickly_checked(estimator, X, dtype)) is not None:
        return x
    if not reset and isinstance(X, list | tuple) and not len(X):
        return np.empty((0, 1, estimator.n_channels_), dtype)
    if issparse(X):
        raise TypeError(f"{name} must be dense, got a sparse matrix: pass {name}.toarray()")
    options: dict[str, Any] = {"dtype": dtype, "ensure_min_samples": int(reset), "ensure_all_finite": finite}
    try:
        if np.ndim(X) == 2 and (reset or estimator._columns is not None):
            return validate_data(estimator, X, reset=reset, **options)[:, :, None]
        # Fitted with sequences of any length, or with several channels
        x = check_array(X, allow_nd=True, input_name=name, estimator=estimator, **options)
    except ValueError as error:
        raise ValueError(_explained(str(error), X, name)) from error
    x = x[:, :, None] if x.ndim == 2 else x
    if x.ndim != 3 or 0 in x.shape[1:]:
        raise ValueError(f"{name} must have shape {FORMS}, got {x.shape}")
    return x


def _explained(message: str, X: Any, name: str) -> str:
    """What scikit-learn says of X, in words that fit sequences."""
    if "contains NaN" in message:
        return _of_gaps(X, name)
    if is_frame(X) and "setting an array element with a sequence" in message:
        return f"{name} must hold a number in each cell, got sequences: pass numlstm.as_channels_last({name})"
    return re.sub(r"^X\b", name, message)


def _of_gaps(X: Any, name: str) -> str:
    """What to do about NaN in an array of two or three axes: it may be padding."""
    missing: Any = np.isnan(np.asarray(X, np.float64)).reshape(*np.shape(X)[:2], -1)
    inside = missing.any(axis=2) & (np.arange(missing.shape[1]) < ends_of(missing.all(axis=2))[:, None])
    if not inside.any():
        return (
            f"{name} must be finite, but contains NaN after the ends of sequences, as padded arrays do: pass "
            f"numlstm.split_padded({name})"
        )
    i, step = np.argwhere(inside)[0]
    return (
        f"{name} must be finite, but contains NaN in step {step} of sequence {i}: fill such gaps, for example with "
        "numlstm.SequenceImputer"
    )


def _quickly_checked(estimator: BaseEstimator, X: Any, dtype: str) -> np.ndarray | None:
    """X as (n, T, C), if it is an array as in `fit`: a prediction need not wait for scikit-learn's longer look."""
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


def _lengths(lengths: Any, x: np.ndarray, name: str) -> np.ndarray | None:
    try:
        return check_lengths(lengths, *x.shape[:2])
    except (TypeError, ValueError) as error:
        message = str(error).replace("steps of x", f"steps of {name}")
        raise type(error)(re.sub(r"^lengths\b", "lengths" + name.removeprefix("X"), message)) from None


def _finite_sequences(X: Any, dtype: str, name: str, nan_allowed: bool) -> list[np.ndarray]:
    """Finite (T_i, C) arrays in `dtype`, or "object"s of any kind; (T_i,) is one channel."""
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
            gaps = not nan_allowed and np.isnan(array).any()
            hint = ": fill gaps, for example with numlstm.SequenceImputer" if gaps else ""
            raise ValueError(
                f"{name}[{i}] must be {finite}, but contains {nan}infinity or a number too large for {dtype}{hint}"
            )
    return arrays
