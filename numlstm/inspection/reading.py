"""The arguments of inspection functions: a fitted estimator, a layer or a trace, and sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check_integer
from ..estimators.base.model import SequenceModel
from ..estimators.data.forms import array_or_list
from ..layers.layer import Layer
from ..layers.trace import Trace

KEEPS = ("forget_gate", "update_gate")  # gates that control how much of a state is kept


@dataclass(frozen=True)
class Row:
    """One sequence, and its trace in one layer and direction.

    Attributes
    ----------
    x : array, shape (T, C), or None
        The sequence.
    values : dict of str to array, shape (T, H)
        Gates and states by their names in the trace.
    """

    x: np.ndarray | None
    values: dict[str, np.ndarray]

    @property
    def kept(self) -> np.ndarray | None:
        """The share of its state that each unit keeps at each step; None without a forget or update gate."""
        return next((self.values[name] for name in KEEPS if name in self.values), None)

    @property
    def time_constants(self) -> np.ndarray | None:
        """Steps until 1/e of each unit's state is left; None without a forget or update gate."""
        return None if self.kept is None else time_constants(self.kept)


def time_constants(kept: np.ndarray) -> np.ndarray:
    """``-1 / log f`` (H,), where f is the mean over the steps of the shares (T, H) that units keep."""
    mean = kept.mean(axis=0, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.where(mean > 0, -1.0 / np.log(np.clip(mean, None, 1.0 - 1e-12)), 0.0)


def row_of(source: Any, X: Any, row: Any, layer: Any, lengths: Any = None) -> Row:
    """A sequence of X, and its trace in a layer of the source.

    Raises
    ------
    TypeError, ValueError
        If the source is neither a fitted estimator, a layer nor a trace, if it does not take X, or if the row or layer
        does not exist.
    """
    trace, sequences = traced(source, X, lengths)
    names = list(trace)
    layers, rows = len(trace[names[0]]), len(trace.lengths)
    check_index(row, "row", rows, "sequences")
    check_index(layer, "layer", layers, "layers (times directions)")
    length = int(trace.lengths[row])
    values = {name: np.asarray(trace[name][layer]) for name in names}
    values = {name: array[row, :length] if array.ndim == 3 else array[:length] for name, array in values.items()}
    x = None if sequences is None else sequences[row]
    if x is not None and len(x) != length:
        raise ValueError(f"X must be what was traced: sequence {row} has {len(x)} steps, and {length} in the trace")
    return Row(x, values)


def traced(source: Any, X: Any, lengths: Any = None) -> tuple[Trace, list[np.ndarray] | None]:
    """The trace of all sequences; and the sequences, (T_i, C) each, or None if they are not known."""
    if isinstance(source, Trace):
        single = any(np.ndim(layers[0]) == 2 for layers in source.values())
        return source, None if X is None else sequences_of(X, lengths, single=single)
    if not isinstance(source, SequenceModel | Layer):
        raise TypeError(f"model must be a fitted estimator, a layer or a Trace of numlstm, got {type(source).__name__}")
    if X is None:
        raise TypeError(f"X must be given with a {type(source).__name__}: only a Trace goes without, got None")
    trace = source.trace(X, lengths=lengths)
    if isinstance(source, SequenceModel) and source._model.network.tokens is not None:
        return trace, None  # texts and categories cannot be drawn as numbers
    return trace, sequences_of(X, lengths, single=isinstance(source, Layer))


def sequences_of(X: Any, lengths: Any = None, *, single: bool = False) -> list[np.ndarray]:
    """Sequences in any of their forms, as arrays (T_i, C); with `single`, a 2-d array is one sequence."""
    X = array_or_list(X)
    if single and getattr(X, "ndim", 0) == 2:
        X = [X]
    arrays = [np.asarray(x, np.float64) for x in X]
    arrays = [x[:, None] if x.ndim == 1 else x for x in arrays]
    return [x[: len(x) if lengths is None else int(lengths[k])] for k, x in enumerate(arrays)]


def check_index(value: Any, name: str, count: int, what: str) -> int:
    """`value` as an index from 0.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or not below `count`.
    """
    if check_integer(value, name, 0) >= count:
        raise ValueError(f"{name} must be below {count}, the number of {what}, got {value}")
    return int(value)
