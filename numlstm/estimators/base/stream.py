"""Predictions while a sequence arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...concurrency import new_lock
from ...layers.stream import Steps, Stream
from ...training.network import PARTS, POOL
from ...training.outputs import HEAD


class RunningMean:
    """The mean of all states so far, weighted by the function `weight_of`."""

    def __init__(self, weight_of: Callable[[np.ndarray], Any]) -> None:
        self.weight_of = weight_of
        self.total: Any = 0.0
        self.weights: Any = 0.0

    def __call__(self, h: np.ndarray) -> np.ndarray:
        weight = self.weight_of(h)
        self.total, self.weights = self.total + weight * h, self.weights + weight
        return self.total / self.weights


class RunningMaximum:
    """The maximum of all states so far."""

    def __init__(self) -> None:
        self.highest: Any = -np.inf

    def __call__(self, h: np.ndarray) -> np.ndarray:
        self.highest = np.maximum(self.highest, h)
        return self.highest


class Concatenation:
    """Several poolings side by side."""

    def __init__(self, poolings: list[Callable[[np.ndarray], np.ndarray]]) -> None:
        self.poolings = poolings

    def __call__(self, h: np.ndarray) -> np.ndarray:
        return np.concatenate([pooling(h) for pooling in self.poolings], axis=1)


def running_pooling(pooling: str, parameters: dict[str, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A pooling that takes one state at a time, and returns the pooled value so far."""
    if pooling == "mean":
        return RunningMean(lambda h: 1.0)
    if pooling == "max":
        return RunningMaximum()
    if pooling == "attention":
        weight, bias = parameters["weight" + POOL], parameters["bias" + POOL]
        return RunningMean(lambda h: np.exp(np.tanh(h @ weight[:, None] + bias)))
    if len(PARTS[pooling]) > 1:
        return Concatenation([running_pooling(part, parameters) for part in PARTS[pooling]])
    return lambda h: h


class PredictionStream:
    """A copy of a trained model that takes one step of its sequences at each call, and keeps the state.

    The `stream` method of an estimator makes it. Several threads may use it: they wait for one another, and each call
    is the next step of the same sequences. It cannot be pickled or copied.
    """

    def __init__(
        self, model: Any, stream: Stream, decode: Callable[[np.ndarray], np.ndarray], static: np.ndarray | None
    ) -> None:
        self._stream, self._decode, self._static = stream, decode, static
        self._channels, self._dtype = model.channels, model.network.stack.dtype
        self._reading, self._tokens = model.reading, model.network.tokens
        self._pooling, self._parameters = model.network.pooling, model.parameters
        self._weight, self._bias = model.parameters["weight" + HEAD].T, model.parameters["bias" + HEAD]
        self._pool = running_pooling(self._pooling, self._parameters)
        self._lock, self._steps = new_lock(), Steps("call reset()")

    def __getstate__(self) -> None:
        raise TypeError("a PredictionStream cannot be pickled or copied: make another one")

    def reset(self) -> None:
        """Begin new sequences."""
        with self._lock, self._steps.anew():
            self._stream.reset()
            self._pool = running_pooling(self._pooling, self._parameters)

    def step(self, x_t: Any) -> np.ndarray:
        """Take the next step of each sequence, and predict.

        Parameters
        ----------
        x_t : array, shape (batch_size, C), or (C,) with a batch size of 1
            For a model of texts a token, or a list of batch_size tokens.

        Returns
        -------
        array, shape (batch_size, K), or (K,) if `x_t` was (C,)
            The prediction for the sequence so far. A classifier gives the probability of each class
            (``model.classes_``), like `predict_proba`; a regressor gives the targets, like `predict`, without the axis
            of targets if y was one number for each sequence or step.

        Raises
        ------
        ValueError, TypeError
            If `x_t` has another shape, or is not numeric or not finite. The stream does not change then.
        RuntimeError
            If an exception such as KeyboardInterrupt interrupted an earlier step. Call `reset` to begin new sequences.
        """
        x = self.checked(x_t)
        with self._lock, self._steps:
            h = self._stream.step(x)
            pooled = self._pool(np.atleast_2d(h))
        if self._static is not None:
            pooled = np.concatenate([pooled, self._static], axis=1)
        prediction = self._decode(pooled @ self._weight + self._bias)
        return prediction if h.ndim == 2 else prediction[0]

    def checked(self, x_t: Any) -> np.ndarray:
        """The input of one step, checked and scaled, with the vectors of tokens."""
        if self._reading is not None:
            return self._with_vectors(x_t)
        with np.errstate(over="ignore", invalid="ignore"):
            if self._channels is None:
                x = self._stream.checked(x_t)
            else:
                x = self._channels.scaled(self._stream.checked(x_t, "float64"), self._dtype)
        if not np.isfinite(x).all():
            raise ValueError(f"x_t must be finite, but contains NaN, infinity or a number too large for {x.dtype}")
        return x

    def _with_vectors(self, x_t: Any) -> np.ndarray:
        values = self._reading.step(x_t, self._stream.batch_size)
        if self._channels is not None:
            values = self._channels.scaled(values, "float64")
        x = self._tokens.vectors(self._parameters, values)
        return x[0] if self._reading.is_one_step(x_t) else x
