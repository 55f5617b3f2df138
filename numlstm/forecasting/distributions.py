"""What networks predict for each step ahead: a number, quantiles, or the parameters of a distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from ..backends.contract import LossSpec
from ..training.heads import distribution_parameters, ordered_quantiles


@dataclass(frozen=True)
class Head:
    """The meaning of the scores of a network.

    Attributes
    ----------
    kind : {"point", "quantiles", "gaussian", "student_t", "negative_binomial"}
    levels : tuple of float
        Levels of quantiles; empty for other kinds.
    """

    kind: str = "point"
    levels: tuple[float, ...] = ()

    @property
    def loss(self) -> LossSpec:
        """The loss that networks minimize."""
        return LossSpec("squared" if self.kind == "point" else self.kind, levels=self.levels)

    @property
    def is_distribution(self) -> bool:
        """Whether it is a distribution, which has quantiles at all levels."""
        return self.kind not in ("point", "quantiles")

    def targets(self, scaled: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Targets as the loss takes them, (n, H · numbers), from scaled targets (n, H); counts come with exposures."""
        if self.kind != "negative_binomial":
            return scaled
        exposure = np.broadcast_to(np.maximum(scale, 1e-6), scaled.shape)
        return np.stack([np.round(scaled * exposure), exposure], axis=2).reshape(len(scaled), -1)

    def point(self, scores: np.ndarray) -> np.ndarray:
        """Scaled forecasts (n, H): the mean, the location, or the median."""
        if self.kind == "point":
            return scores
        if self.kind != "quantiles":
            return distribution_parameters(self.kind, scores)[0]
        quantiles = ordered_quantiles(scores, len(self.levels))
        above = int(np.clip(np.searchsorted(self.levels, 0.5), 1, max(len(self.levels) - 1, 1)))
        if len(self.levels) == 1:
            return quantiles[:, :, 0]
        low, high = self.levels[above - 1 : above + 1]
        share = np.clip((0.5 - low) / (high - low), 0, 1)
        return (1 - share) * quantiles[:, :, above - 1] + share * quantiles[:, :, above]

    def quantiles(self, scores: np.ndarray, levels: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Scaled quantiles (n, H, levels); `scale` (n, 1) is what counts were divided by."""
        if self.kind == "quantiles":
            quantiles = ordered_quantiles(scores, len(self.levels))
            return quantiles[:, :, [int(np.abs(np.array(self.levels) - level).argmin()) for level in levels]]
        parameters = [array[:, :, None] for array in distribution_parameters(self.kind, scores)]
        if self.kind == "gaussian":
            return parameters[0] + parameters[1] * special.ndtri(levels)
        if self.kind == "student_t":
            return parameters[0] + parameters[1] * special.stdtrit(parameters[2], levels)
        exposure = np.maximum(scale, 1e-6)[:, :, None]
        mean, size = parameters[0] * exposure, 1 / parameters[1]
        return stats.nbinom.ppf(levels, size, size / (size + mean)) / exposure
