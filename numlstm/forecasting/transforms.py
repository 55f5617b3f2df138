"""The transform of series before learning: none, or the logarithm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

BLOCKS = 4  # least number of blocks to compare
STEPS = 10  # of a block, if there is no season
GAIN = 0.8  # the logarithm must leave less than this share of the variation of swings
MOST = 200  # series that are compared

FORWARD: dict[str, Callable[[np.ndarray], np.ndarray]] = {"none": lambda values: values, "log": np.log}
BACK: dict[str, Callable[[np.ndarray], np.ndarray]] = {"none": lambda values: values, "log": np.exp}


def transform_of(series: Sequence[np.ndarray], season: int) -> str:
    """ "log" if all values are positive and swings grow with the level, else "none".

    A block is a season. Its swing is the root mean square of the differences in it; its level is its mean. Guerrero's
    criterion prefers the power for which ``swing / level ** (1 - power)`` varies least from block to block. The
    logarithm has power 0, no transform has power 1. The result is "log" if the logarithm leaves less than 0.8 of the
    variation, in the median over series.

    References
    ----------
    .. [1] V. Guerrero, "Time-series analysis supported by power transformations", 1993.
    """
    if any((values <= 0).any() for values in series):
        return "none"
    gains = [gain for values in series[:MOST] if (gain := _gain(values, season if season > 1 else STEPS)) is not None]
    return "log" if gains and np.median(gains) < GAIN else "none"


def _gain(values: np.ndarray, steps: int) -> float | None:
    """The share of the variation of swings that the logarithm leaves; None if the series is too short."""
    count = len(values) // steps
    if count < BLOCKS or steps < 3:
        return None
    blocks = values[len(values) - count * steps :].reshape(count, steps)
    blocks = blocks[~np.isnan(blocks).any(axis=1)]
    if len(blocks) < BLOCKS:
        return None
    swings, levels = np.sqrt(np.mean(np.diff(blocks, axis=1) ** 2, axis=1)), blocks.mean(axis=1)
    if not swings.all():
        return None
    relative = swings / levels
    return float((relative.std() / relative.mean()) / (swings.std() / swings.mean() + 1e-12))
