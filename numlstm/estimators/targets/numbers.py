"""Real targets, made into what losses take; and scores made into targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from ...backends.contract import LossSpec
from ...layers.sequences import as_numbers
from ...training.batches import Sequences
from ...training.targets import StepTargets, Targets
from ..data.frames import from_index, is_frame, is_indexed
from ..data.scaling import moments, scaled
from ..data.weights import sample_weights, step_weights
from .checks import check_count, not_none, padded_steps


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
        return scaled(values, self.mean, self.scale, dtype, name)

    def shown(self, scores: np.ndarray) -> str:
        """What scores (K,) predict, for a message."""
        return np.array2string(self.decode(scores), precision=4, threshold=6)

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
        NaN where there is no label, and past a sequence's end.
    starts, lengths : int64 array, shape (n,), or None
        Where each sequence's steps are among `values`.
    """

    form: str
    values: np.ndarray
    starts: np.ndarray | None = None
    lengths: np.ndarray | None = None

    @property
    def by_step(self) -> bool:
        """Whether each step has a target."""
        return self.starts is not None

    def encoded(self, numbers: Numbers, weights: np.ndarray, dtype: str, name: str) -> Targets | StepTargets:
        """As training takes them, with weights as of `weigh`."""
        values = numbers.encode(np.where(np.isnan(self.values), numbers.mean, self.values), dtype, name)
        if self.starts is None or self.lengths is None:
            return Targets(values, weights)
        return StepTargets(Sequences(values, self.starts, self.lengths), weights)

    def weigh(self, sample_weight: Any, X: Any, sequences: Sequences) -> np.ndarray:
        """Checked weights: (n,) of sequences; (M, 1) of steps; (M, K) where some targets of a step have no label.

        Raises
        ------
        TypeError, ValueError
            If `sample_weight` is not as `sample_weights` or, where each step has a target, `step_weights` wants it.
        """
        if not self.by_step:
            return sample_weights(sample_weight, len(sequences))
        labelled = ~np.isnan(self.values)
        if (labelled == labelled[:, :1]).all():
            labelled = labelled[:, :1]
        weights = labelled.astype(np.float64)
        weights[self._steps] *= step_weights(sample_weight, sequences.lengths, padded_steps(X, sequences))[:, None]
        return weights

    def own_steps(self, array: np.ndarray) -> np.ndarray:
        """Rows of `values`, or of weights of these, without what lies past a sequence's end."""
        return array[self._steps] if self.by_step else array

    @property
    def _steps(self) -> np.ndarray:
        """Where the steps of all sequences are among `values`."""
        assert self.starts is not None
        assert self.lengths is not None
        shifts = self.starts - (np.cumsum(self.lengths) - self.lengths)
        return np.arange(self.lengths.sum()) + np.repeat(shifts, self.lengths)


def checked_numbers(y: Any, X: Any, sequences: Sequences, name: str = "y") -> Wanted:
    """Targets in any of their forms.

    Raises
    ------
    TypeError, ValueError
        If they are no finite real numbers in one of the forms, or not one for each sequence or step. NaN is for steps
        without a label.
    """
    y = not_none(y, name)
    if is_indexed(y):
        if is_indexed(X) and not X.index.equals(y.index):
            raise ValueError(f"{name} must have the index of {name.replace('y', 'X')}, as both have rows for steps")
        y = from_index(y, name)
    if getattr(y, "ndim", 0) == 1 and getattr(getattr(y, "dtype", None), "kind", "") == "O":
        y = list(y)
    if _is_by_step(y, sequences, name):
        return _with_labels(_numbers_in_list(y, X, sequences, name), name)
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
    steps = padded_steps(X, sequences)
    if values.ndim != 3 or values.shape[1] != steps or not values.shape[2]:
        raise ValueError(
            f"{name} must have shape (n,), (n, targets) or (n, T, targets) with T = {steps} steps as X, "
            f"got {values.shape}"
        )
    past = np.arange(steps) >= sequences.lengths[:, None]
    values = np.where(past[:, :, None], np.nan, values)
    if np.isinf(values).any():
        raise ValueError(f"{name} must be finite, or NaN at steps without a label, but contains infinity")
    starts = steps * np.arange(len(values))
    return _with_labels(Wanted("steps", values.reshape(-1, values.shape[2]), starts, sequences.lengths), name)


def _with_labels(wanted: Wanted, name: str) -> Wanted:
    """Targets of steps, if any step has one."""
    if np.isnan(wanted.values).all():
        raise ValueError(f"{name} must hold a target for at least one step, got NaN, which is for none, at every step")
    return wanted


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
        if np.isinf(array).any():
            raise ValueError(f"{name}[{i}] must be finite, or NaN at steps without a label, but contains infinity")
    joined = Sequences.from_list([array.reshape(len(array), -1) for array in arrays], "float64")
    return Wanted(form, joined.values, joined.starts, joined.lengths)


def scaling(wanted: Wanted, weights: np.ndarray, scale: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each target; 0 and 1 without `scale`, 1 for a constant target.

    Raises
    ------
    ValueError
        If a target has no label, or no finite deviation.
    """
    missing = np.flatnonzero(np.isnan(wanted.values).all(axis=0))
    if len(missing):
        raise ValueError(f"y must hold each target at some step, got NaN at every step for target {missing[0]}")
    outputs = wanted.values.shape[1]
    if not scale:
        return np.zeros(outputs), np.ones(outputs)
    of_rows = wanted.own_steps(weights).reshape(-1, weights.size // len(weights)).max(axis=1)
    return moments(wanted.own_steps(wanted.values), "y", of_rows)


class StepPredictions(list[np.ndarray]):
    """Predictions of lists of sequences, (T_i,) or (T_i, K): a list that NumPy takes for an array of n objects.

    So scikit-learn's `cross_val_predict` joins those of several folds, whatever their lengths.
    """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if dtype is not None and np.dtype(dtype) != object:
            return np.array(list(self), dtype)
        array = np.empty(len(self), object)
        for i, each in enumerate(self):
            array[i] = each
        return array


def r_squared(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
    """Scikit-learn's R², the mean over targets; NaN, in silence, where one has fewer than two rows.

    Weights are of rows (m,) or (m, 1), or of single numbers (m, K); what has none may be NaN.
    """
    from sklearn.metrics import r2_score

    weights = np.ones((len(truth), 1)) if weights is None else weights.reshape(len(truth), -1)
    of_targets = []
    for own, said, weight in zip(truth.T, predicted.T, np.broadcast_to(weights, truth.shape).T, strict=True):
        counted = weight > 0
        enough = counted.sum() > 1
        score = r2_score(own[counted], said[counted], sample_weight=weight[counted]) if enough else np.nan
        of_targets.append(float(score))
    return float(np.mean(of_targets))
