"""What users pass as y, made into what losses take; and scores made into what users are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from ..backends.contract import LossSpec
from ..layers.sequences import as_numbers
from ..training.batches import Sequences
from ..training.targets import StepTargets, Targets
from .inputs import is_frame

# Classes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Classes:
    """Labels of sequences: one of several classes, or any number of them.

    Attributes
    ----------
    classes : array, shape (K,)
        Sorted; of several labels 0..K-1.
    multilabel : bool
    """

    classes: np.ndarray
    multilabel: bool

    @classmethod
    def among(cls, y: Any, X: Any, count: int) -> Classes:
        """The classes among labels y.

        Raises
        ------
        ValueError
            If `y` is not one label, or one row of 0 and 1, for each of `count` sequences, or holds fewer than two
            classes.
        """
        labels, multilabel = checked_labels(y, X, count)
        if multilabel:
            return cls(np.arange(labels.shape[1]), True)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(f"y must hold at least two classes, got one class: {classes.tolist()}")
        return cls(classes, False)

    @property
    def loss(self) -> LossSpec:
        """What is lost."""
        return LossSpec("binary" if self.multilabel else "softmax")

    @property
    def outputs(self) -> int:
        """Scores of a sequence."""
        return len(self.classes)

    def encode(self, y: Any, X: Any, count: int, name: str = "y") -> np.ndarray:
        """Labels as the loss takes them: class indices (n,), or (n, K) of 0 and 1.

        Raises
        ------
        ValueError
            If they are of another kind, or not among the classes.
        """
        labels, multilabel = checked_labels(y, X, count, name)
        if multilabel != self.multilabel or (multilabel and labels.shape[1] != len(self.classes)):
            kinds = {True: f"{len(self.classes)} labels of 0 and 1", False: "one label"}
            raise ValueError(f"{name} must hold {kinds[self.multilabel]} for each sequence, got shape {labels.shape}")
        if multilabel:
            return labels
        known = np.isin(labels, self.classes)
        if not known.all():
            unknown = np.unique(labels[~known]).tolist()
            raise ValueError(f"{name} must hold labels among classes {self.classes.tolist()}, got {unknown}")
        return np.searchsorted(self.classes, labels).astype(np.int64)

    def weigh(self, class_weight: Any, y: Any) -> np.ndarray:
        """The weight that `class_weight` gives to each of some checked labels.

        Raises
        ------
        ValueError
            If it is of the wrong kind, names a class that there is not, or holds what is no weight.
        """
        balanced = isinstance(class_weight, str) and class_weight == "balanced"
        if self.multilabel:
            if not balanced and not isinstance(class_weight, list):
                raise ValueError(
                    f"class_weight must be 'balanced' or a list with a dict for each label, got {class_weight!r}"
                )
            weights = compute_sample_weight(class_weight, y)
        elif balanced:
            weights = compute_sample_weight(class_weight, y)
        elif isinstance(class_weight, dict):
            unknown = [label for label in class_weight if label not in self.classes.tolist()]
            if unknown:
                raise ValueError(f"class_weight must name classes among {self.classes.tolist()}, got {unknown}")
            each = as_numbers(
                [class_weight.get(label, 1.0) for label in self.classes.tolist()], "class_weight", "float64"
            )
            weights = each[self.encode(y, None, len(y))]
        else:
            raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {class_weight!r}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"class_weight must hold finite weights of at least 0, got {class_weight!r}")
        return weights

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """Labels that belong to scores."""
        return (scores > 0).astype(np.int64) if self.multilabel else self.classes[scores.argmax(axis=1)]

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Probability of each class, or label."""
        if self.multilabel:
            return expit(scores)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))  # a third of the time of SciPy's, for one row
        return odds / odds.sum(axis=1, keepdims=True)

    def log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Their logarithms, without loss where they are small."""
        return log_expit(scores) if self.multilabel else log_softmax(scores, axis=1)

    def score(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """Accuracy; of several labels, the share of sequences that have them all right."""
        right = ((scores > 0) == targets).all(axis=1) if self.multilabel else scores.argmax(axis=1) == targets
        return float(np.average(right, weights=weights))


def checked_labels(y: Any, X: Any, count: int, name: str = "y") -> tuple[np.ndarray, bool]:
    """Labels (n,), or (n, K) of 0 and 1 and then True.

    Raises
    ------
    ValueError
        If they are neither.
    """
    y = not_none(y, name)
    if type_of_target(y, input_name=name) == "multilabel-indicator":
        labels = check_array(y, dtype=np.float64, input_name=name)
        _check_count(labels, X, count, name)
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"{name} must hold 0 and 1 where it has a column for each label, got {np.unique(labels)}")
        return labels, True
    labels = column_or_1d(y, warn=True)
    _check_count(labels, X, count, name)
    check_classification_targets(labels)
    return labels, False


def not_none(y: Any, name: str) -> Any:
    """y, if it is there."""
    if y is None:
        raise ValueError(f"{name} must be given: fit requires y to be passed, but the target {name} is None")
    return y


def _check_count(y: Any, X: Any, count: int, name: str) -> None:
    """One target for each sequence."""
    if len(y) != count:
        hint = ""
        if is_frame(X):
            hint = (
                "; each row of a DataFrame is a sequence of one channel: where the rows are steps, pass "
                "[part.to_numpy() for _, part in frame.groupby('sequence')], a list of (steps, channels) arrays"
            )
        of = name.replace("y", "X")
        raise ValueError(f"{name} must have {count} entries, one for each sequence of {of}, got {len(y)}{hint}")


# Numbers --------------------------------------------------------------------------------------------------


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
    if getattr(y, "ndim", 0) == 1 and getattr(getattr(y, "dtype", None), "kind", "") == "O":
        y = list(y)
    if _is_by_step(y, sequences):
        return _numbers_in_list(y, X, sequences, name)
    y = y if hasattr(y, "ndim") else np.asarray(y)
    if getattr(y.dtype, "kind", "f") in "mM":
        raise TypeError(f"{name} must hold real numbers, got dtype {y.dtype}")
    if y.ndim < 3:
        values = check_array(y, dtype=np.float64, ensure_2d=False, input_name=name)
    else:
        values = as_numbers(y, name, "float64")
    _check_count(values, X, len(sequences), name)
    if values.ndim == 1:
        return Wanted("one", values[:, None])
    if values.ndim == 2:
        return Wanted("several", values)
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


def _is_by_step(y: Any, sequences: Sequences) -> bool:
    """Whether y is a list with an array for each sequence that holds a target for each step."""
    if not isinstance(y, list | tuple) or not len(y):
        return False
    if any(is_frame(each) for each in y):
        raise TypeError("y must hold arrays, got a list with a DataFrame: pass its to_numpy()")
    try:
        dimensions = {np.ndim(each) for each in y}
    except ValueError as error:
        raise ValueError("y must be a list of (T_i,) or (T_i, K) arrays; one of them is ragged itself") from error
    if dimensions == {1, 2}:
        raise ValueError("y must be a list of arrays that are all (T_i,) or all (T_i, K), got some of both")
    if dimensions != {1}:
        return dimensions == {2}
    counts = [len(each) for each in y]
    return len(set(counts)) > 1 or (hasattr(y[0], "ndim") and counts == sequences.lengths.tolist())


def _numbers_in_list(y: Any, X: Any, sequences: Sequences, name: str) -> Wanted:
    _check_count(y, X, len(sequences), name)
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
