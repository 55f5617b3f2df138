"""Real targets: from y to the arguments of losses, and from scores to numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from ...backends.contract import LossSpec
from ...layers.sequences import as_numbers
from ...training.batches import Sequences
from ...training.targets import StepTargets, Targets
from ..data.frames import arrays_from_index, is_frame, is_indexed
from ..data.scaling import mean_and_scale, standardize
from ..data.weights import sample_weights, step_weights
from .checks import check_count, check_not_none, padded_steps


@dataclass(frozen=True)
class Numbers:
    """The form, the scale and the loss of a regressor's targets.

    Attributes
    ----------
    form : {"one", "several", "list of one", "list", "steps"}
        The form of y: (n,), (n, K), a list of (T_i,) arrays, a list of (T_i, K) arrays, or (n, T, K).
    mean, scale : array, shape (K,)
        The network learns ``(y - mean) / scale``.
    loss : LossSpec
    scaled : bool
        Whether `mean` and `scale` come from targets; otherwise they are 0 and 1.
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
        """Number of scores for each sequence, or for each step."""
        return len(self.mean)

    def encode(self, values: np.ndarray, dtype: str, name: str) -> np.ndarray:
        """Scaled targets (m, K), as the network learns them.

        Raises
        ------
        ValueError
            If a scaled target is too large for `dtype`.
        """
        return standardize(values, self.mean, self.scale, dtype, name)

    def describe(self, scores: np.ndarray) -> str:
        """The prediction that belongs to scores (K,), as text for a message."""
        return np.array2string(self.decode(scores), precision=4, threshold=6)

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """Predicted targets for scores (m, K), in float64: float32 loses small differences from a large mean."""
        return scores * self.scale + self.mean

    def score(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """The coefficient of determination, R², averaged over targets."""
        return r_squared(targets, scores, weights)


@dataclass(frozen=True)
class CheckedNumbers:
    """The targets in y, after all checks.

    Attributes
    ----------
    form : str
        As in `Numbers`.
    values : float64 array, shape (n, K), or (M, K) for all steps
        NaN at steps without a label, and past the end of a sequence.
    starts, lengths : int64 array, shape (n,), or None
        The row of `values` where each sequence begins, and its number of steps; None without targets for steps.
    """

    form: str
    values: np.ndarray
    starts: np.ndarray | None = None
    lengths: np.ndarray | None = None

    @property
    def by_step(self) -> bool:
        """Whether each step has a target."""
        return self.starts is not None

    def encode(self, numbers: Numbers, weights: np.ndarray, dtype: str, name: str) -> Targets | StepTargets:
        """The targets as training takes them, with weights from `weigh`."""
        values = numbers.encode(np.where(np.isnan(self.values), numbers.mean, self.values), dtype, name)
        if self.starts is None or self.lengths is None:
            return Targets(values, weights)
        return StepTargets(Sequences(values, self.starts, self.lengths), weights)

    def weigh(self, sample_weight: Any, X: Any, sequences: Sequences) -> np.ndarray:
        """Checked weights: (n,) for sequences, (M, 1) for steps, or (M, K) if a step has labels for some targets only.

        Raises
        ------
        TypeError, ValueError
            If `sample_weight` is not in a form that `sample_weights` accepts or, for targets of steps, `step_weights`.
        """
        if not self.by_step:
            return sample_weights(sample_weight, len(sequences))
        labelled = ~np.isnan(self.values)
        if (labelled == labelled[:, :1]).all():
            labelled = labelled[:, :1]
        weights = labelled.astype(np.float64)
        weights[self._step_rows] *= step_weights(sample_weight, sequences.lengths, padded_steps(X, sequences))[:, None]
        return weights

    def without_padding(self, array: np.ndarray) -> np.ndarray:
        """The rows of `values`, or of their weights, that are steps of a sequence."""
        return array[self._step_rows] if self.by_step else array

    @property
    def _step_rows(self) -> np.ndarray:
        """The rows of `values` that are steps of a sequence."""
        assert self.starts is not None
        assert self.lengths is not None
        shifts = self.starts - (np.cumsum(self.lengths) - self.lengths)
        return np.arange(self.lengths.sum()) + np.repeat(shifts, self.lengths)


def check_numbers(y: Any, X: Any, sequences: Sequences, name: str = "y") -> CheckedNumbers:
    """Check targets in any of their forms.

    Raises
    ------
    TypeError, ValueError
        If targets are not finite real numbers in one of the forms, or if there is not one for each sequence or step.
        NaN is allowed at steps without a label.
    """
    check_not_none(y, name)
    if is_indexed(y):
        if is_indexed(X) and not X.index.equals(y.index):
            x_name = name.replace("y", "X")
            raise ValueError(f"{name} must have the index of {x_name}, because both have rows for steps")
        y = arrays_from_index(y, name)
    if getattr(y, "ndim", 0) == 1 and getattr(getattr(y, "dtype", None), "kind", "") == "O":
        y = list(y)
    if _is_by_step(y, sequences, name):
        return _check_labelled(_check_list(y, X, sequences, name), name)
    y = y if hasattr(y, "ndim") else np.asarray(y)
    if getattr(y.dtype, "kind", "f") in "mM":
        raise TypeError(f"{name} must hold real numbers, got dtype {y.dtype}")
    if y.ndim < 3:
        values = check_array(y, dtype=np.float64, ensure_2d=False, input_name=name)
    else:
        values = as_numbers(y, name, "float64")
    check_count(values, X, len(sequences), name)
    if values.ndim == 1:
        return CheckedNumbers("one", values[:, None])
    if values.ndim == 2:
        return CheckedNumbers("several", values)
    steps = padded_steps(X, sequences)
    if values.ndim != 3 or values.shape[1] != steps or not values.shape[2]:
        raise ValueError(
            f"{name} must have shape (n,), (n, targets) or (n, T, targets) with T = {steps} steps as X, "
            f"got {values.shape}"
        )
    in_padding = np.arange(steps) >= sequences.lengths[:, None]
    values = np.where(in_padding[:, :, None], np.nan, values)
    if np.isinf(values).any():
        raise ValueError(f"{name} must be finite, or NaN at steps without a label, but contains infinity")
    starts = steps * np.arange(len(values))
    targets = CheckedNumbers("steps", values.reshape(-1, values.shape[2]), starts, sequences.lengths)
    return _check_labelled(targets, name)


def _check_labelled(targets: CheckedNumbers, name: str) -> CheckedNumbers:
    """Check that at least one step has a target."""
    if np.isnan(targets.values).all():
        raise ValueError(f"{name} must hold a target for at least one step, got NaN (no label) at every step")
    return targets


def _is_by_step(y: Any, sequences: Sequences, name: str) -> bool:
    """Whether y is a list with one array per sequence, which holds a target for each step."""
    if not isinstance(y, list | tuple) or not len(y):
        return False
    if any(is_frame(item) for item in y):
        raise TypeError(f"{name} must hold arrays, got a list with a DataFrame: pass its to_numpy()")
    try:
        dimensions = {np.ndim(item) for item in y}
    except ValueError as error:
        raise ValueError(f"{name} must be a list of (T_i,) or (T_i, K) arrays, but one of them is ragged") from error
    if dimensions == {1, 2}:
        raise ValueError(f"{name} must be a list of arrays that are all (T_i,) or all (T_i, K), got some of both")
    if dimensions != {1}:
        return dimensions == {2}
    counts = [len(item) for item in y]
    return len(set(counts)) > 1 or (hasattr(y[0], "ndim") and counts == sequences.lengths.tolist())


def _check_list(y: Any, X: Any, sequences: Sequences, name: str) -> CheckedNumbers:
    check_count(y, X, len(sequences), name)
    arrays = [as_numbers(item, f"{name}[{i}]", "float64") for i, item in enumerate(y)]
    form = "list" if arrays[0].ndim == 2 else "list of one"
    for i, (array, length) in enumerate(zip(arrays, sequences.lengths.tolist(), strict=True)):
        expected = (length, *arrays[0].shape[1:])
        if array.shape != expected:
            raise ValueError(f"{name}[{i}] must have shape {expected}, with a target for each step, got {array.shape}")
        if np.isinf(array).any():
            raise ValueError(f"{name}[{i}] must be finite, or NaN at steps without a label, but contains infinity")
    joined = Sequences.from_list([array.reshape(len(array), -1) for array in arrays], "float64")
    return CheckedNumbers(form, joined.values, joined.starts, joined.lengths)


def target_scaling(targets: CheckedNumbers, weights: np.ndarray, scale: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each target; 0 and 1 without `scale`, 1 for a constant target.

    Raises
    ------
    ValueError
        If a target has no label, or no finite standard deviation.
    """
    unlabelled = np.flatnonzero(np.isnan(targets.values).all(axis=0))
    if len(unlabelled):
        raise ValueError(f"y must hold each target at some step, got NaN at every step for target {unlabelled[0]}")
    outputs = targets.values.shape[1]
    if not scale:
        return np.zeros(outputs), np.ones(outputs)
    row_weights = targets.without_padding(weights).reshape(-1, weights.size // len(weights)).max(axis=1)
    return mean_and_scale(targets.without_padding(targets.values), "y", row_weights)


class StepPredictions(list[np.ndarray]):
    """Predictions for a list of sequences: a list of (T_i,) or (T_i, K) arrays.

    NumPy converts it to an array of n objects. So scikit-learn's `cross_val_predict` can join the predictions of
    several folds, also if all sequences have equal lengths.
    """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if dtype is not None and np.dtype(dtype) != object:
            return np.array(list(self), dtype)
        array = np.empty(len(self), object)
        for i, prediction in enumerate(self):
            array[i] = prediction
        return array


def r_squared(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
    """Scikit-learn's R², averaged over targets. It is NaN, without a warning, if a target has fewer than two rows.

    Weights are (m,) or (m, 1), one for each row, or (m, K), one for each number. Numbers with weight 0 may be NaN.
    """
    weights = np.ones((len(truth), 1)) if weights is None else weights.reshape(len(truth), -1)
    columns = zip(truth.T, predicted.T, np.broadcast_to(weights, truth.shape).T, strict=True)
    return float(np.mean([_r_squared_of_target(*column) for column in columns]))


def _r_squared_of_target(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> float:
    from sklearn.metrics import r2_score

    rows = weights > 0
    return float(r2_score(truth[rows], predicted[rows], sample_weight=weights[rows])) if rows.sum() > 1 else np.nan
