"""The scale of channels: networks read them with mean 0 and standard deviation 1, as they were in training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...training.batches import Sequences
from .scaling import moments

ROWS = 1 << 14  # steps that are scaled at once, in float64


@dataclass(frozen=True, eq=False)
class ChannelScale:
    """What an estimator was trained with.

    Attributes
    ----------
    mean, scale : float64 array, shape (C,)
        What is taken from each channel, and what it is then divided by.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, sequences: Sequences) -> ChannelScale:
        """Mean and standard deviation over all steps of all sequences; the scale of a constant is 1.

        Raises
        ------
        ValueError
            If a deviation is not finite.
        """
        padded = sequences.lengths.sum() < len(sequences.values)
        return cls(*moments(np.concatenate(sequences.apart()) if padded else sequences.values, "X"))

    def scaled(self, values: np.ndarray, dtype: str) -> np.ndarray:
        """Numbers (..., C) as the network reads them; infinite where they are too large, which NumPy warns of."""
        return ((values - self.mean) / self.scale).astype(dtype)

    def scaled_sequences(self, sequences: Sequences, dtype: str, name: str = "X") -> Sequences:
        """Sequences as the network reads them.

        Raises
        ------
        ValueError
            If they are too large for `dtype` then.
        """
        values = np.empty(sequences.values.shape, dtype)
        with np.errstate(over="ignore"):
            for first in range(0, len(values), ROWS):
                values[first : first + ROWS] = self.scaled(sequences.values[first : first + ROWS], dtype)
        finite = np.isfinite(values)
        if not finite.all():
            for i, each in enumerate(replace(sequences, values=values).apart()):
                if not np.isfinite(each).all():
                    raise ValueError(f"{name}[{i}] must be in the range of {dtype} when scaled, but is too large")
            values[~finite] = 0.0  # in the padding
        return replace(sequences, values=values)

    def restored(self, values: np.ndarray) -> np.ndarray:
        """Scaled numbers (..., C) as they were."""
        return values * self.scale + self.mean


def dtype_to_read(X: Any, dtype: str, scale: bool) -> str:
    """The type in which X is read: if it is scaled then, one that holds small deviations from large means."""
    if not scale or dtype == "float64":
        return dtype
    arrays = X if isinstance(X, list | tuple) and len(X) else [X]
    return dtype if all(getattr(each, "dtype", None) == np.float32 for each in arrays) else "float64"
