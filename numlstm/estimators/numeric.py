"""Real targets, made into what losses take; and scores made into targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from ..backends.contract import LossSpec
from ..layers.sequences import as_numbers
from ..training.batches import Sequences
from ..training.targets import StepTargets, Targets
from .frames import from_index, is_frame, is_indexed
from .inputs import array_or_list
from .targets import check_count, not_none


@dataclass(frozen=True)
class Numbers:
    """Real targets: one or several for each sequence, or for each of its steps.

    Attributes
    ----------
    form : {"one", "several", "list of one", "list", "steps"}
        y was (n,), (n, K), a list of (T_i,) or of (T_i, K) arrays, or (n, T, K).
    mean, scale : array, shape (K,)
        What is taken from targets, and what they are then divided by.
    loss : LossSpec
    scaled : bool
        Whether `mean` and `scale` come from targets.
    """

    form: str
    mean: np.ndarray
    scale: np.ndarray
    loss: LossSpec
    scaled: bool

    @property
    def by_step(self) -> bool:
        """Whether each step has a target."""
        return self.form not in ("one", "several")

    @property
    def outputs(self) -> int:
        """Scores of a sequence, or of a step."""
        return len(self.mean)

    def encode(self, values: np.ndarray, dtype: str, name: str) -> np.ndarray:
        """Targets (m, K) as the network is to say them.

        Raises
        ------
        ValueError
            If they are too large for `dtype`.
        """
        with np.errstate(over="ignore"):
            encoded = ((values - self.mean) / self.scale).astype(dtype)
        if not np.isfinite(encoded).all():
            raise ValueError(
                f"{name} must be in the range of {dtype} when scaled, got numbers of up to {np.abs(values).max()}"
            )
        return encoded

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """Scores (m, K) as users said targets; in float64, as a small deviation from a large mean needs."""
        return scores * self.scale + self.mean

    def score(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """The coefficient of determination, R², the mean over targets."""
        return r_squared(targets, scores, weights)


@dataclass(frozen=True)
class Wanted:
    """Checked targets.

    Attributes
    ----------
    form : str
        As of `Numbers`.
    values : float64 array, shape (n, K), or (M, K) for all steps
    starts, lengths : int64 array, shape (n,), or None
        Where each sequence's steps are among `values`.
    """

    form: str
    values: np.ndarray
    starts: np.ndarray | None = None
    lengths: np.ndarray | None = None

    def encoded(self, numbers: Numbers, weights: np.ndarray, dtype: str, name: str) -> Targets | StepTargets:
        """As training takes them."""
        values = numbers.encode(self.values, dtype, name)
        if self.starts is None or self.lengths is None:
            return Targets(values, weights)
        return StepTargets(Sequences(values, self.starts, self.lengths), weights)

    def own_steps(self) -> np.ndarray:
        """`values` without what lies past a sequence's end."""
        if self.starts is None or self.lengths is None:
            return self.values
        return np.concatenate(Sequences(self.values, self.starts, self.lengths).apart())

    def own_weights(self, weights: np.ndarray) -> np.ndarray:
        """Weights of sequences, for each row of `own_steps`."""
        return weights if self.lengths is None else np.repeat(weights, self.lengths)


def checked_numbers(y: Any, X: Any, sequences: Sequences, name: str = "y") -> Wanted:
    """Targets in any of their forms.

    Raises
    ------
    TypeError, ValueError
        If they are no finite real numbers in one of the forms, or not one for each sequence or step.
    """
    y = not_none(y, name)
    if is_indexed(y):
        if is_indexed(X) and not X.index.equals(y.index):
            raise ValueError(f"{name} must have the index of {name.replace('y', 'X')}, as both have rows for steps")
        y = from_index(y, name)
    if getattr(y, "ndim", 0) == 1 and getattr(getattr(y, "dtype", None), "kind", "") == "O":
        y = list(y)
    if _is_by_step(y, sequences, name):
        return _numbers_in_list(y, X, sequences, name)
    y = y if hasattr(y, "ndim") else np.asarray(y)
    if getattr(y.dtype, "kind", "f") in "mM":
        raise TypeError(f"{name} must hold real numbers, got dtype {y.dtype}")
    if y.ndim < 3:
        values = check_array(y, dtype=np.float64, ensure_2d=False, input_name=name)
    else:
        values = as_numbers(y, name, "float64")
    check_count(values, X, len(sequences), name)
    if values.ndim == 1:
        return Wanted("one", values[:, None])
    if values.ndim == 2:
        return Wanted("several", values)
    X = array_or_list(X)
    steps = int(sequences.lengths.max()) if isinstance(X, list | tuple) else np.shape(X)[1]
    if values.ndim != 3 or values.shape[1] != steps or not values.shape[2]:
        raise ValueError(
            f"{name} must have shape (n,), (n, targets) or (n, T, targets) with T = {steps} steps as X, "
            f"got {values.shape}"
        )
    past = np.arange(values.shape[1]) >= sequences.lengths[:, None]
    values = np.where(past[:, :, None], 0.0, values)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite at all steps, but contains NaN or infinity")
    starts = values.shape[1] * np.arange(len(values))
    return Wanted("steps", values.reshape(-1, values.shape[2]), starts, sequences.lengths)


def _is_by_step(y: Any, sequences: Sequences, name: str) -> bool:
    """Whether y is a list with an array for each sequence that holds a target for each step."""
    if not isinstance(y, list | tuple) or not len(y):
        return False
    if any(is_frame(each) for each in y):
        raise TypeError(f"{name} must hold arrays, got a list with a DataFrame: pass its to_numpy()")
    try:
        dimensions = {np.ndim(each) for each in y}
    except ValueError as error:
        raise ValueError(f"{name} must be a list of (T_i,) or (T_i, K) arrays; one of them is ragged itself") from error
    if dimensions == {1, 2}:
        raise ValueError(f"{name} must be a list of arrays that are all (T_i,) or all (T_i, K), got some of both")
    if dimensions != {1}:
        return dimensions == {2}
    counts = [len(each) for each in y]
    return len(set(counts)) > 1 or (hasattr(y[0], "ndim") and counts == sequences.lengths.tolist())


def _numbers_in_list(y: Any, X: Any, sequences: Sequences, name: str) -> Wanted:
    check_count(y, X, len(sequences), name)
    arrays = [as_numbers(each, f"{name}[{i}]", "float64") for i, each in enumerate(y)]
    form = "list" if arrays[0].ndim == 2 else "list of one"
    for i, (array, length) in enumerate(zip(arrays, sequences.lengths.tolist(), strict=True)):
        expected = (length, *arrays[0].shape[1:])
        if array.shape != expected:
            raise ValueError(f"{name}[{i}] must have shape {expected}, a target for each step, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}[{i}] must be finite, but contains NaN or infinity")
    joined = Sequences.from_list([array.reshape(len(array), -1) for array in arrays], "float64")
    return Wanted(form, joined.values, joined.starts, joined.lengths)


def scaling(wanted: Wanted, weights: np.ndarray, scale: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each target; 0 and 1 without `scale`, 1 for a constant target."""
    outputs = wanted.values.shape[1]
    if not scale:
        return np.zeros(outputs), np.ones(outputs)
    from sklearn.preprocessing import StandardScaler

    with np.errstate(over="ignore"):
        found = StandardScaler().fit(wanted.own_steps(), sample_weight=wanted.own_weights(weights))
    if not np.isfinite([found.mean_, found.scale_]).all():
        raise ValueError(f"y must have a finite standard deviation, got numbers of up to {np.abs(wanted.values).max()}")
    return found.mean_, found.scale_


def r_squared(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
    """Scikit-learn's R², the mean over targets; NaN, in silence, where there is only one row."""
    from sklearn.metrics import r2_score

    if len(truth) < 2:
        return float("nan")
    return float(r2_score(truth, predicted, sample_weight=weights))
