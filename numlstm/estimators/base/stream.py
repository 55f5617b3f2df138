"""Predictions while a sequence arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...concurrency import new_lock
from ...layers.stream import Steps, Stream
from ...training.network import HEAD, PARTS, POOL


class Mean:
    """The mean of what came so far, each with the weight that `weigh` gives it."""

    def __init__(self, weigh: Callable[[np.ndarray], Any]) -> None:
        self.weigh = weigh
        self.total: Any = 0.0
        self.weights: Any = 0.0

    def __call__(self, h: np.ndarray) -> np.ndarray:
        weight = self.weigh(h)
        self.total, self.weights = self.total + weight * h, self.weights + weight
        return self.total / self.weights


class Maximum:
    """The maximum of what came so far."""

    def __init__(self) -> None:
        self.highest: Any = -np.inf

    def __call__(self, h: np.ndarray) -> np.ndarray:
        self.highest = np.maximum(self.highest, h)
        return self.highest


class SideBySide:
    """Several poolings of what came so far."""

    def __init__(self, poolings: list[Callable[[np.ndarray], np.ndarray]]) -> None:
        self.poolings = poolings

    def __call__(self, h: np.ndarray) -> np.ndarray:
        return np.concatenate([pooling(h) for pooling in self.poolings], axis=1)


def pooled_so_far(pooling: str, parameters: dict[str, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A pooling that takes one step at a time."""
    if pooling == "mean":
        return Mean(lambda h: 1.0)
    if pooling == "max":
        return Maximum()
    if pooling == "attention":
        weight, bias = parameters["weight" + POOL], parameters["bias" + POOL]
        return Mean(lambda h: np.exp(np.tanh(h @ weight[:, None] + bias)))
    if len(PARTS[pooling]) > 1:
        return SideBySide([pooled_so_far(part, parameters) for part in PARTS[pooling]])
    return lambda h: h


class PredictionStream:
    """A snapshot of a trained model that takes one step of every stream at a call, and remembers.

    Made by the `stream` method of an estimator. Threads that use it at once wait for one another; each step is one of
    the same streams. Not to be pickled or copied.
    """

    def __init__(
        self, model: Any, stream: Stream, say: Callable[[np.ndarray], np.ndarray], static: np.ndarray | None
    ) -> None:
        self._stream, self._say, self._static = stream, say, static
        self._channels, self._dtype = model.channels, model.network.stack.dtype
        self._pooling, self._parameters = model.network.pooling, model.parameters
        self._weight, self._bias = model.parameters["weight" + HEAD].T, model.parameters["bias" + HEAD]
        self._pool = pooled_so_far(self._pooling, self._parameters)
        self._turn, self._steps = new_lock(), Steps("call reset()")

    def __getstate__(self) -> None:
        raise TypeError("a PredictionStream cannot be pickled or copied: make another one")

    def reset(self) -> None:
        """Begin new sequences."""
        with self._turn, self._steps.anew():
            self._stream.reset()
            self._pool = pooled_so_far(self._pooling, self._parameters)

    def step(self, x_t: Any) -> np.ndarray:
        """Take one step, and predict.

        Parameters
        ----------
        x_t : array, shape (batch_size, C), or (C,) with a batch size of 1

        Returns
        -------
        array, shape (batch_size, K), or (K,) if `x_t` was (C,)
            Of a classifier, the probability of each class (``model.classes_``); of a regressor, the targets, without
            their axis if y was one number for each sequence or step. As `predict_proba` and `predict` would give for
            the sequence so far.

        Raises
        ------
        ValueError, TypeError
            If `x_t` has another shape, or is not numeric or not finite; the stream is as before then.
        RuntimeError
            If an exception such as KeyboardInterrupt ended an earlier step before its end; `reset` begins anew.
        """
        x = self.checked(x_t)
        with self._turn, self._steps:
            h = self._stream.step(x)
            pooled = self._pool(np.atleast_2d(h))
        if self._static is not None:
            pooled = np.concatenate([pooled, self._static], axis=1)
        said = self._say(pooled @ self._weight + self._bias)
        return said if h.ndim == 2 else said[0]

    def checked(self, x_t: Any) -> np.ndarray:
        """One step's input, or an error that says what was expected."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self._channels is None:
                x = self._stream.checked(x_t)
            else:
                x = self._channels.scaled(self._stream.checked(x_t, "float64"), self._dtype)
        if not np.isfinite(x).all():
            raise ValueError(f"x_t must be finite, but contains NaN, infinity or a number too large for {x.dtype}")
        return x
