"""The forms in which users pass X: an array, a list, a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse

from ...backends.dispatch import gpu_array_in
from ...layers.sequences import unpacked
from .axes import arranged, has_named_axes
from .frames import from_index, from_list, is_frame, is_indexed

FORMS = "(n, T, C), (n, T), or a list of n arrays of shape (T_i, C)"


def array_or_list(X: Any, name: str = "X") -> Any:
    """X as it is, or as an array or list where it only can be made one; copied to the host if it is on a GPU.

    Tables, in a list or with an index of sequences, become a list of arrays. One whose rows are sequences stays.

    Raises
    ------
    TypeError, ValueError
        If it is neither, nor can be.
    """
    if type(X) is np.ndarray and X.ndim > 1 and X.dtype.kind in "fiub":  # a prediction need not wait for the rest
        return X
    X = unpacked(X)
    if gpu_array_in(X) is not None:
        X = on_host(X)
    if is_indexed(X):
        return from_index(X, name)
    if isinstance(X, list | tuple):
        if any(map(is_frame, X)):
            return from_list(X, name)
        if any(map(has_named_axes, X)):
            return [_in_order(each, ("step", "channel"), f"{name}[{i}]") for i, each in enumerate(X)]
        return X
    if has_named_axes(X):
        return _in_order(X, ("sequence", "step", "channel")[: len(X.dims)], name)
    if issparse(X) or is_frame(X):
        return X
    X = X if hasattr(X, "ndim") and hasattr(X, "dtype") else np.asarray(X)
    if X.ndim == 0 or getattr(X.dtype, "kind", "O") in "mM":
        got = f"dtype {X.dtype}" if X.ndim else type(X[()] if isinstance(X, np.ndarray) else X).__name__
        raise TypeError(f"{name} must hold numbers, in shape {FORMS}, got {got}")
    return list(X) if X.ndim == 1 and len(X) and any(np.ndim(each) for each in X) else X


def _in_order(X: Any, roles: tuple[str, ...], name: str) -> Any:
    return arranged(X, roles, name) if has_named_axes(X) else X


def on_host(X: Any) -> Any:
    """A copy, in the host's memory, of an array in a GPU's or of a list of such: each library has a word for it."""
    if isinstance(X, list | tuple):
        return [on_host(each) for each in X]
    for name in ("get", "copy_to_host"):  # CuPy's and Numba's
        if hasattr(X, name):
            return getattr(X, name)()
    return X.detach().cpu().numpy() if hasattr(X, "detach") else np.asarray(X)  # PyTorch's, and our own


def is_list_of_sequences(X: Any, name: str) -> bool:
    """Whether X holds one array for each sequence; lists of numbers, of equal length, are rows of one array."""
    if not isinstance(X, list | tuple) or not len(X):
        return False
    try:
        shapes = [np.shape(sequence) for sequence in X]
    except ValueError as error:
        raise ValueError(f"{name} must be a list of (T_i, C) arrays; one of its sequences is ragged itself") from error
    for i, shape in enumerate(shapes):
        if len(shape) != len(shapes[0]):
            raise ValueError(
                f"{name}[{i}] must have as many axes as {name}[0], {len(shapes[0])}, got {len(shape)}: "
                "all (T_i, C), or all (T_i,)"
            )
    if len(shapes[0]) == 1:
        return len(set(shapes)) > 1 or hasattr(X[0], "ndim")
    return len(shapes[0]) == 2


def ends_of(padding: np.ndarray) -> np.ndarray:
    """Steps of each sequence, (n,), of which (n, T) says where padding may be: what follows its last other step."""
    steps = padding.shape[1]
    return np.where(padding.all(axis=1), 0, steps - (~padding[:, ::-1]).argmax(axis=1))
