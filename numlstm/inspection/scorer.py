"""The score that is explained: one number for each sequence, and its gradient."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..backends.dispatch import backend_for
from ..checks import check_tuple
from ..estimators.data.static import scaled_static
from ..estimators.targets.alphabet import Alphabet
from ..estimators.targets.classes import Classes
from ..estimators.targets.numbers import Numbers
from ..training.batches import Sequences
from ..training.network import Network
from .lessons import fitted_model, models_of

STEPS = 1 << 15  # padded steps in one pass through the network


class Case(NamedTuple):
    """One input to explain.

    Attributes
    ----------
    x, baseline : array, shape (T, D)
        What a scorer reads.
    fixed : object
        What does not change, as the scorer takes it.
    """

    x: np.ndarray
    baseline: np.ndarray
    fixed: Any


class Explained(Protocol):
    """A number that is computed from an input (T, D), and its gradient.

    Attributes
    ----------
    columns : list of slice
        The columns of each channel.
    """

    columns: list[slice]

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Shares (T, D), summed over the columns of each channel: (T, C)."""

    def scores(self, x: np.ndarray, fixed: Any) -> np.ndarray:
        """The number (N,) for each of some versions (N, T, D) of one input."""

    def gradients(self, x: np.ndarray, fixed: Any) -> np.ndarray:
        """Its gradient for each version, (N, T, D)."""


@dataclass(frozen=True)
class Target:
    """A number that is computed from the scores of a network.

    Attributes
    ----------
    weights : float64 array, shape (K,)
        The number is the sum of the scores times these weights, plus `shift`.
    shift : float
    step : int or None
        The step, from the start or, if negative, from the end; None for scores of whole sequences.
    """

    weights: np.ndarray
    shift: float
    step: int | None


def target_of(model: Any, target: Any) -> Target:
    """The target that a user names: a class, the number of an output, or (step, output) for outputs at each step.

    Raises
    ------
    TypeError, ValueError
        If the class, output or step does not exist, if it is None and there are several, or if models of that kind
        cannot be explained.
    """
    fitted = fitted_model(model)
    codec, outputs = fitted.codec, fitted.network.outputs
    if isinstance(codec, Classes):
        return Target(_class_weights(codec, target, outputs), 0.0, None)
    if codec.by_step and len(labels := _step_labels(codec)) == outputs:
        label_step, label = _at_step(check_tuple(target, "target", ("step", "label")))
        weights = np.zeros(outputs)
        weights[_place(label, labels, "labels")] = 1.0
        return Target(weights, 0.0, label_step)
    if not isinstance(codec, Numbers) or len(codec.scale) != outputs:
        raise TypeError(
            "model must be a classifier, a tagger, a transcriber, or a regressor with one output for each target, "
            f"got {type(model).__name__}"
        )
    step = None
    if codec.by_step:
        expected = ("step", "output")
        if isinstance(target, numbers.Integral) and outputs == 1:
            target = target, 0
        step, target = _at_step(check_tuple(target, "target", expected))
    k = _place(target, [*range(outputs)], "outputs")
    weights = np.zeros(outputs)
    weights[k] = codec.scale[k]
    return Target(weights, float(codec.mean[k]), step)


def _step_labels(codec: Any) -> list[Any]:
    """The label of each score of a step, None for the blank of CTC; an empty list if targets are numbers."""
    labels = np.asarray(getattr(codec, "classes", ())).tolist()
    return [None, *labels] if isinstance(codec, Alphabet) else labels


def _at_step(target: Any) -> tuple[int, Any]:
    """A checked step, and the output or label at it."""
    step, choice = target
    if isinstance(step, bool) or not isinstance(step, numbers.Integral):
        raise TypeError(f"target must have an integer for its step, got {step!r}")
    return int(step), choice


def _class_weights(codec: Classes, target: Any, outputs: int) -> np.ndarray:
    """Weights that give the score of a class in `decision_function`: with two classes, their difference."""
    weights, classes = np.zeros(outputs), codec.classes.tolist()
    if len(classes) == 2 and not codec.multilabel:
        k = 1 if target is None else _place(target, classes, "classes")
        weights[[1 - k, k]] = -1.0, 1.0
        return weights
    weights[_place(target, classes, "classes")] = 1.0
    return weights


def _place(target: Any, choices: list[Any], what: str) -> int:
    """The index of a target among all choices."""
    if target is None and len(choices) == 1:
        return 0
    if isinstance(target, np.ndarray | list) or target not in choices:
        raise ValueError(f"target must be one of the {what} {choices}, got {target!r}")
    return choices.index(target)


class Scorer:
    """Computes the explained number of sequences, as the network reads them.

    Parameters
    ----------
    model : fitted estimator
    target
        As `target_of` takes it.
    """

    def __init__(self, model: Any, target: Any) -> None:
        self.target, fitted = target_of(model, target), fitted_model(model)
        network, self.channels, self.statics = fitted.network, fitted.channels, fitted.static
        backend = backend_for(model.backend, work=network.stack.operations(1, STEPS))
        self.model, self.tokens = models_of(fitted, backend)
        self.dtype, self.subsample = network.stack.dtype, getattr(fitted.codec, "subsample", 1)
        self.columns = _columns(network, self.subsample)

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Numbers (..., C) in the units of X, as the network reads them, in float64."""
        return x if self.channels is None else self.channels.scaled(x, "float64")

    def split(self, sequences: Sequences) -> list[np.ndarray]:
        """Each sequence (T, C), from sequences as the network reads them; with `subsample`, zeros fill up T."""
        return sequences.unframed(sequences.channels // self.subsample).split()

    def read(self, x: np.ndarray) -> np.ndarray:
        """A sequence (T, C) as the recurrent layers read it, (T, D): with vectors for tokens."""
        return x if self.tokens is None else self.tokens.backend.to_numpy(self.tokens.read(x[None])[0])[0]

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Values (T, D) of the recurrent layers' input, summed over the columns of each channel: (T, C)."""
        return np.stack([values[:, columns].sum(axis=1) for columns in self.columns], axis=1)

    def static(self, static: Any, count: int) -> list[np.ndarray | None]:
        """Checked static features of each sequence, (1, F)."""
        values = scaled_static(self.statics, static, count, self.dtype)
        return [None] * count if values is None else [*values[:, None]]

    def scores(self, x: np.ndarray, static: np.ndarray | None) -> np.ndarray:
        """The number (N,) for each of some versions (N, T, C) of one sequence."""
        results = []
        for part in _chunks(self._framed(x)):
            resident = self.model.backend.to_device(part, self.dtype)
            scores = self.model.scores(resident, None, _repeated(static, len(part)))
            scores = self.model.backend.to_numpy(scores).reshape(len(part), -1, len(self.target.weights))
            results.append(scores[:, self._step(part)].astype(np.float64) @ self.target.weights)
        return np.concatenate(results) + self.target.shift

    def gradients(self, x: np.ndarray, static: np.ndarray | None) -> np.ndarray:
        """The gradient of the number for each version, (N, T, C)."""
        gradients = []
        for part in _chunks(self._framed(x)):
            backend = self.model.backend
            resident = backend.to_device(part, self.dtype)
            scores, pullback = self.model.scores_vjp(resident, None, _repeated(static, len(part)))
            dscores = np.zeros((len(part), scores.shape[0] // len(part), scores.shape[1]), self.dtype)
            dscores[:, self._step(part)] = self.target.weights
            dx, _, _ = pullback(backend.to_device(dscores.reshape(scores.shape), self.dtype))
            gradients.append(backend.to_numpy(dx).astype(np.float64))
        return np.concatenate(gradients).reshape(len(x), -1, x.shape[2])[:, : x.shape[1]]

    def _framed(self, x: np.ndarray) -> np.ndarray:
        """Versions (N, T, C) with `subsample` steps side by side, as the network reads them."""
        padded = np.pad(x, ((0, 0), (0, -x.shape[1] % self.subsample), (0, 0)))
        return padded.reshape(len(x), -1, self.subsample * x.shape[2])

    def _step(self, x: np.ndarray) -> int:
        """The index of the target's step."""
        step, steps = self.target.step, x.shape[1]
        if step is None:
            return 0
        if not -steps <= step < steps:
            raise ValueError(f"target must be at one of the {steps} steps of each sequence, got step {step}")
        return step


def _columns(network: Network, subsample: int) -> list[slice]:
    """The columns of each channel in the input of the recurrent layers."""
    tokens = network.tokens
    if tokens is None:
        return [slice(k, k + 1) for k in range(network.stack.input_size // subsample)]
    numbers = {channel: slice(k, k + 1) for k, channel in enumerate(tokens.numeric)}
    first = len(tokens.numeric)
    vectors = {
        channel: slice(first + column, first + column + size)
        for channel, (_, column, size) in zip(tokens.channels, tokens.spec.places, strict=True)
    }
    by_channel = numbers | vectors
    return [by_channel[channel] for channel in sorted(by_channel)]


def _chunks(x: np.ndarray) -> Iterator[np.ndarray]:
    count = max(1, STEPS // x.shape[1])
    for first in range(0, len(x), count):
        yield x[first : first + count]


def _repeated(static: np.ndarray | None, count: int) -> np.ndarray | None:
    return None if static is None else np.repeat(static, count, axis=0)
