"""The scale of channels: training sees scaled ones, and the trained network reads them as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..training.batches import Sequences
from .numeric import moments

READERS = ("_l0", "_l0_reverse")  # what names of parameters end in, of layers that read channels


@dataclass(frozen=True, eq=False)
class ChannelScale:
    """What an estimator was trained with.

    Scaling is an affine map, and so is what a layer does first: `into_weights` makes both into one. Whatever takes a
    trained network, as streams, files and other runtimes do, need not know of a scale.

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
        mean, scale = moments(np.concatenate(sequences.apart()) if padded else sequences.values, "X")
        numbers = np.finfo(sequences.values.dtype)
        return cls(mean, np.where(scale < numbers.tiny / numbers.eps, 1.0, scale))  # whose inverse could be infinite

    def scaled(self, sequences: Sequences, name: str = "X") -> Sequences:
        """Sequences as training sees them.

        Raises
        ------
        ValueError
            If they are too large then.
        """
        dtype = sequences.values.dtype
        with np.errstate(over="ignore"):
            values = sequences.values - self.mean.astype(dtype)
            values /= self.scale.astype(dtype)
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be in the range of {dtype} when scaled: pass smaller numbers, or float64")
        return replace(sequences, values=values)

    def restored(self, values: np.ndarray) -> np.ndarray:
        """Scaled numbers (..., C) as they were."""
        return values * self.scale + self.mean

    def into_weights(self, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Parameters for channels as they come, of those for scaled ones."""
        return _mapped(parameters, self.mean / self.scale, 1.0 / self.scale)

    def out_of_weights(self, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Parameters for scaled channels, of those for channels as they come."""
        return _mapped(parameters, -self.mean, self.scale)


def _mapped(parameters: Mapping[str, np.ndarray], moved: np.ndarray, factors: np.ndarray) -> dict[str, np.ndarray]:
    """Input weights (·, C) times factors (C,), and biases less what the old weights make of a shift of the channels."""
    changed = dict(parameters)
    for suffix in READERS:
        weight, bias = (parameters.get(name + suffix) for name in ("weight_ih", "bias_ih"))
        if weight is not None and bias is not None:
            changed["weight_ih" + suffix] = (weight * factors).astype(weight.dtype)
            changed["bias_ih" + suffix] = (bias - weight.astype(np.float64) @ moved).astype(bias.dtype)
    return changed
