"""Sequences of unequal length, and batches with little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..concurrency import cached_property

POOLED = 20  # batches whose sequences are sorted by length together; at most 1 / (POOLED + 1) of all steps is padding


# What a step of training reads, as `Model.loss_and_gradient` takes it: x, lengths, targets, weights, static features.
Batch = tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Sequences:
    """Sequences whose steps lie in one array.

    Attributes
    ----------
    values : array, shape (M, C)
        Steps of all sequences.
    starts, lengths : int64 array, shape (n,)
        The row where each sequence begins, and its number of steps.
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_padded(cls, x: np.ndarray, lengths: np.ndarray | None) -> Sequences:
        """The sequences in an (n, T, C) array. Without `lengths`, all have T steps."""
        rows, steps, channels = x.shape
        starts = steps * np.arange(rows)
        return cls(x.reshape(-1, channels), starts, np.full(rows, steps) if lengths is None else lengths)

    @classmethod
    def from_list(cls, arrays: Sequence[np.ndarray], dtype: str) -> Sequences:
        """The sequences in a list of (T_i, C) arrays."""
        lengths = np.array([len(array) for array in arrays], np.int64)
        return cls(np.concatenate(arrays, dtype=dtype, casting="unsafe"), np.cumsum(lengths) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def channels(self) -> int:
        """C, the number of channels."""
        return self.values.shape[1]

    @cached_property
    def equal(self) -> bool:
        """Whether all have as many steps."""
        return bool((self.lengths == self.lengths[0]).all())

    @cached_property
    def grid(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        """All steps as an (m, T, C) array, and the row of each sequence in it; None if lengths differ.

        The rows are None if sequence i is row i.
        """
        steps = self.lengths[0]
        if len(self) == 1 and steps == len(self.values):
            return self.values[None], None
        if not self.equal or (self.starts % steps).any() or len(self.values) % steps:
            return None
        grid_rows = self.starts // steps
        in_order = len(grid_rows) * steps == len(self.values) and (np.diff(grid_rows) == 1).all()
        return self.values.reshape(-1, steps, self.channels), None if in_order else grid_rows

    def take(
        self, rows: np.ndarray, buffer: np.ndarray | None = None, steps: int | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Some sequences as a batch (N, T, C), and their lengths.

        T is the length of the longest. The lengths are None if all are T. Past a sequence's length the batch holds
        arbitrary numbers. The batch lies in `buffer`, a vector, if there is one. With `steps`, T is that, and there
        are always lengths.
        """
        lengths: np.ndarray | None
        if steps is None and self.grid is not None:
            source, grid_rows = self.grid
            lengths, longest = None, source.shape[1]
            index = rows if grid_rows is None else grid_rows.take(rows)
        else:
            lengths, source = self.lengths[rows], self.values
            longest = steps or int(lengths.max())
            index = self.starts[rows, None] + np.arange(longest)
            lengths = None if steps is None and (lengths == longest).all() else lengths
        out = None
        if buffer is not None:
            out = buffer[: len(rows) * longest * self.channels].reshape(len(rows), longest, self.channels)
        return source.take(index, axis=0, out=out, mode="clip"), lengths

    def subset(self, rows: np.ndarray) -> Sequences:
        """Some of the sequences; the steps are not copied."""
        return Sequences(self.values, self.starts[rows], self.lengths[rows])

    def window(self, start: int, steps: int) -> Sequences:
        """At most so many steps of each sequence, from step `start` on, which all must have."""
        return Sequences(self.values, self.starts + start, np.minimum(self.lengths - start, steps))

    def framed(self, size: int) -> Sequences:
        """The same with `size` steps side by side in each; zeros fill up a sequence's last one."""
        if size == 1:
            return self
        lengths = -(-self.lengths // size)
        starts = np.cumsum(lengths) - lengths
        values = np.zeros((size * int(lengths.sum()), self.channels), self.values.dtype)
        for start, sequence in zip((size * starts).tolist(), self.split(), strict=True):
            values[start : start + len(sequence)] = sequence
        return Sequences(values.reshape(-1, size * self.channels), starts, lengths)

    def unframed(self, channels: int) -> Sequences:
        """What was framed, with what fills it up, as steps of so many channels."""
        size = self.channels // channels
        return Sequences(self.values.reshape(-1, channels), size * self.starts, size * self.lengths)

    def split(self) -> list[np.ndarray]:
        """A view of each sequence, (T_i, C)."""
        ends = self.starts + self.lengths
        return [self.values[start:end] for start, end in zip(self.starts.tolist(), ends.tolist(), strict=True)]


def rounded_up(steps: int) -> int:
    """The next power of two, or three quarters of it: at most half as much again."""
    power = 1 << (steps - 1).bit_length()
    return power * 3 // 4 if steps <= power * 3 // 4 else power


def shuffled_batches(sequences: Sequences, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Indices of all sequences in random order, `batch_size` at a time; a batch holds sequences of similar length."""
    order, lengths = rng.permutation(len(sequences)), sequences.lengths
    if sequences.equal:
        return list(_chunks(order, batch_size))
    pools = _chunks(order, POOLED * batch_size)
    ordered = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = list(_chunks(ordered, batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


def sorted_batches(lengths: np.ndarray, steps: int) -> Iterator[np.ndarray]:
    """Indices of all sequences, the longest first; a batch has about `steps` steps, padding included."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, steps // int(lengths[order[start]]))
        yield order[start : start + count]
        start += count


def _chunks(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
