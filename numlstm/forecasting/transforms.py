"""What series are transformed with before anything is learnt of them: nothing, or the logarithm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

BLOCKS = 4  # at least, that levels and swings are compared over
STEPS = 10  # of a block, where there is no season
GAIN = 0.8  # share of the variation of swings that may be left by the logarithm
MOST = 200  # series that are looked at

FORWARD: dict[str, Callable[[np.ndarray], np.ndarray]] = {"none": lambda values: values, "log": np.log}
BACK: dict[str, Callable[[np.ndarray], np.ndarray]] = {"none": lambda values: values, "log": np.exp}


def transform_of(series: Sequence[np.ndarray], season: int) -> str:
    """ "log" where all values are positive and swings grow with the level, else "none".

    A block is a season. Its swing is the root mean square of the differences inside, its level the mean. By Guerrero's
    criterion a power is the better, the less ``swing / level ** (1 - power)`` varies from block to block. The logarithm
    has power 0, no transform has 1; the logarithm is taken if it leaves less than 0.8 of the variation, in the median
    over series.

    References
    ----------
    .. [1] V. Guerrero, "Time-series analysis supported by power transformations", 1993.
    """
    if any((values <= 0).any() for values in series):
        return "none"
    gains = [gain for values in series[:MOST] if (gain := _gain(values, season if season > 1 else STEPS)) is not None]
    return "log" if gains and np.median(gains) < GAIN else "none"


def _gain(values: np.ndarray, steps: int) -> float | None:
    """The variation of swings that the logarithm leaves, as a share of what there is; None of short series."""
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
