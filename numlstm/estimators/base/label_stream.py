"""Labels while a sequence arrives."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...layers.sequences import as_numbers
from ...layers.stream import Stream
from ...training.outputs import HEAD
from ..targets.alphabet import BLANK, Alphabet
from .model import Fitted


class LabelStream:
    """A snapshot of a trained transcriber that takes one step of every stream at a call, and says what is new.

    Made by `LSTMTranscriber.stream`. What a stream says up to its `end` is what `predict` gives of the whole sequence,
    without a beam. Not for several threads at once, nor to be pickled or copied.
    """

    def __init__(self, stream: Stream, model: Fitted, static: np.ndarray | None) -> None:
        assert isinstance(model.codec, Alphabet)
        self._stream, self._alphabet, self._channels = stream, model.codec, model.channels
        weight, self._bias = model.parameters["weight" + HEAD].T, model.parameters["bias" + HEAD]
        self._weight, of_static = np.split(weight, [model.network.stack.output_size])
        if static is not None:
            self._bias = static @ of_static + self._bias
        stack, size = model.network.stack, model.codec.subsample
        self._frames = np.zeros((stream.batch_size, size, stack.input_size // size), stack.dtype)
        self.reset()

    def __getstate__(self) -> None:
        raise TypeError("a LabelStream cannot be pickled or copied: make another one")

    def reset(self) -> None:
        """Begin new sequences."""
        self._stream.reset()
        self._filled = 0
        self._last = np.full(len(self._frames), BLANK)

    def step(self, x_t: Any) -> Any:
        """Take one step.

        Parameters
        ----------
        x_t : array, shape (batch_size, C), or (C,) with a batch size of 1

        Returns
        -------
        str or list, or list of batch_size of them unless `x_t` was (C,)
            The labels that this step adds, as y was in `fit`: one or none; with `subsample`, none until the last of so
            many steps.

        Raises
        ------
        ValueError, TypeError
            If `x_t` has another shape, or is not numeric or not finite; the stream is as before then.
        """
        x = as_numbers(x_t, "x_t", "float64")
        shape = len(self._frames), self._frames.shape[2]
        if x.shape != shape and (1, *x.shape) != shape:
            raise ValueError(f"x_t must have shape {shape}, got {x.shape}")
        dtype = str(self._frames.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = x.astype(dtype) if self._channels is None else self._channels.scaled(x, dtype)
        if not np.isfinite(scaled).all():
            raise ValueError(f"x_t must be finite, but contains NaN, infinity or a number too large for {dtype}")
        self._frames[:, self._filled] = scaled
        self._filled += 1
        new = self._read() if self._filled == self._frames.shape[1] else [[] for _ in self._frames]
        said = [self._alphabet.decode(numbers) for numbers in new]
        return said if x.ndim == 2 else said[0]

    def end(self) -> list[Any]:
        """End all sequences, and begin new ones.

        Returns
        -------
        list of batch_size str or list
            What the last steps add that are fewer than `subsample`.
        """
        new: list[list[int]] = [[] for _ in self._frames]
        if self._filled:
            self._frames[:, self._filled :] = 0.0
            new = self._read()
        self.reset()
        return [self._alphabet.decode(numbers) for numbers in new]

    def _read(self) -> list[list[int]]:
        """Take one step of the network; the label of each stream, if it is a new one."""
        h = self._stream.step(self._frames.reshape(len(self._frames), -1))
        said = (np.atleast_2d(h) @ self._weight + self._bias).argmax(axis=1)
        new = [
            [k] if k not in (BLANK, last) else [] for k, last in zip(said.tolist(), self._last.tolist(), strict=True)
        ]
        self._filled, self._last = 0, said
        return new
