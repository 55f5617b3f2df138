"""The forms in which users pass X: arrays, lists and tables of many libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse

from ...backends.dispatch import gpu_array_in
from ...layers.sequences import unpacked
from .axes import has_named_axes, transposed_to
from .frames import arrays_from_frames, arrays_from_index, is_frame, is_indexed

FORMS = "(n, T, C), (n, T), or a list of n arrays of shape (T_i, C)"


def array_or_list(X: Any, name: str = "X") -> Any:
    """X as an array or a list of arrays, in the host's memory.

    Lists of tables, and tables with an index of two levels, become lists of arrays. A table whose rows are sequences
    stays a table. Sparse matrices stay as they are, too.

    Raises
    ------
    TypeError, ValueError
        If X cannot be converted.
    """
    if type(X) is np.ndarray and X.ndim > 1 and X.dtype.kind in "fiub":  # the usual case returns early, for speed
        return X
    X = unpacked(X)
    if gpu_array_in(X) is not None:
        X = on_host(X)
    if is_indexed(X):
        return arrays_from_index(X, name)
    if isinstance(X, list | tuple):
        if any(map(is_frame, X)):
            return arrays_from_frames(X, name)
        if any(map(has_named_axes, X)):
            return [_transposed(sequence, ("step", "channel"), f"{name}[{i}]") for i, sequence in enumerate(X)]
        return X
    if has_named_axes(X):
        return transposed_to(X, ("sequence", "step", "channel")[: len(X.dims)], name)
    if issparse(X) or is_frame(X):
        return X
    X = X if hasattr(X, "ndim") and hasattr(X, "dtype") else np.asarray(X)
    if X.ndim == 0 or getattr(X.dtype, "kind", "O") in "mM":
        got = f"dtype {X.dtype}" if X.ndim else type(X[()] if isinstance(X, np.ndarray) else X).__name__
        raise TypeError(f"{name} must hold numbers, in shape {FORMS}, got {got}")
    return list(X) if X.ndim == 1 and len(X) and any(np.ndim(item) for item in X) else X


def _transposed(X: Any, roles: tuple[str, ...], name: str) -> Any:
    return transposed_to(X, roles, name) if has_named_axes(X) else X


def on_host(X: Any) -> Any:
    """A copy, in the host's memory, of an array in a GPU's memory or of a list of such arrays."""
    if isinstance(X, list | tuple):
        return [on_host(array) for array in X]
    for name in ("get", "copy_to_host"):  # methods of CuPy's and Numba's arrays
        if hasattr(X, name):
            return getattr(X, name)()
    return X.detach().cpu().numpy() if hasattr(X, "detach") else np.asarray(X)  # PyTorch's tensors, numlstm's arrays


def is_list_of_sequences(X: Any, name: str) -> bool:
    """Whether X is a list of one array per sequence. Lists of equally many numbers are rows of one array instead."""
    if not isinstance(X, list | tuple) or not len(X):
        return False
    try:
        shapes = [np.shape(sequence) for sequence in X]
    except ValueError as error:
        raise ValueError(f"{name} must be a list of (T_i, C) arrays, but one of its sequences is ragged") from error
    for i, shape in enumerate(shapes):
        if len(shape) != len(shapes[0]):
            raise ValueError(
                f"{name}[{i}] must have as many axes as {name}[0], {len(shapes[0])}, got {len(shape)}: "
                "pass only (T_i, C) arrays, or only (T_i,) arrays"
            )
    if len(shapes[0]) == 1:
        return len(set(shapes)) > 1 or hasattr(X[0], "ndim")
    return len(shapes[0]) == 2


def lengths_before_padding(padding: np.ndarray) -> np.ndarray:
    """Length of each sequence, (n,): the steps up to the last one that is not marked as padding in (n, T)."""
    steps = padding.shape[1]
    return np.where(padding.all(axis=1), 0, steps - (~padding[:, ::-1]).argmax(axis=1))
