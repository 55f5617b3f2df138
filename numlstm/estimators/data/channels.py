"""Scaled channels: in training, networks read channels with mean 0 and standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...training.batches import Sequences
from .categories import TokenReading
from .scaling import mean_and_scale

ROWS = 1 << 14  # number of steps that are scaled at once, to save memory


@dataclass(frozen=True, eq=False)
class ChannelScale:
    """The mean and the scale of each channel in training.

    Attributes
    ----------
    mean, scale : float64 array, shape (C,)
        A network reads ``(X - mean) / scale``.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, sequences: Sequences) -> ChannelScale:
        """Mean and standard deviation over all steps of all sequences; a constant channel has the scale 1.

        Raises
        ------
        ValueError
            If a standard deviation is not finite.
        """
        padded = sequences.lengths.sum() < len(sequences.values)
        return cls(*mean_and_scale(np.concatenate(sequences.split()) if padded else sequences.values, "X"))

    @classmethod
    def of_numbers(cls, sequences: Sequences, reading: TokenReading | None) -> ChannelScale | None:
        """The same for the channels that hold numbers; those with tokens stay. None if all hold tokens."""
        if reading is None:
            return cls.of(sequences)
        if len(reading.channels) == sequences.channels:
            return None
        scale = cls.of(sequences)
        scale.mean[list(reading.channels)], scale.scale[list(reading.channels)] = 0.0, 1.0
        return scale

    def scaled(self, values: np.ndarray, dtype: str) -> np.ndarray:
        """Scaled numbers (..., C). A number that is too large for `dtype` becomes infinite, and NumPy warns."""
        return ((values - self.mean) / self.scale).astype(dtype)

    def scaled_sequences(self, sequences: Sequences, dtype: str, name: str = "X") -> Sequences:
        """Scaled sequences.

        Raises
        ------
        ValueError
            If a scaled number is too large for `dtype`.
        """
        values = np.empty(sequences.values.shape, dtype)
        with np.errstate(over="ignore"):
            for first in range(0, len(values), ROWS):
                values[first : first + ROWS] = self.scaled(sequences.values[first : first + ROWS], dtype)
        finite = np.isfinite(values)
        if not finite.all():
            for i, sequence in enumerate(replace(sequences, values=values).split()):
                if not np.isfinite(sequence).all():
                    raise ValueError(f"{name}[{i}] must be in the range of {dtype} when scaled, but is too large")
            values[~finite] = 0.0  # these are in the padding
        return replace(sequences, values=values)

    def unscaled(self, values: np.ndarray) -> np.ndarray:
        """Numbers (..., C) before they were scaled."""
        return values * self.scale + self.mean


def input_dtype(X: Any, dtype: str, scale: bool) -> str:
    """The dtype in which X is checked. Before scaling it is float64, unless X is float32: means may be large."""
    if not scale or dtype == "float64":
        return dtype
    arrays = X if isinstance(X, list | tuple) and len(X) else [X]
    return dtype if all(getattr(array, "dtype", None) == np.float32 for array in arrays) else "float64"
