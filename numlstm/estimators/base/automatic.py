"""The values that "auto" stands for; they depend on the data or on other parameters. See ``docs/accuracy.md``."""

from __future__ import annotations

from ...training.schedules import ends

BATCH_SIZES = {256: 32, 128: 16, 0: 8}  # least number of sequences: batch size
STEPS = 1000  # of the optimizer
EPOCHS = 20, 50  # least and greatest number of epochs, however many steps they have
PATIENCE = 10  # epochs without improvement


def batch_size(parameter: int | str, count: int) -> int:
    """Number of sequences in a batch; small data sets get small batches, so that an epoch has several steps."""
    if parameter != "auto":
        return min(int(parameter), count)
    return min(next(size for least, size in BATCH_SIZES.items() if count >= least), count)


def epochs(parameter: int | str, steps: int) -> int:
    """Greatest number of epochs, if an epoch has so many steps."""
    if parameter != "auto":
        return int(parameter)
    least, most = EPOCHS
    return min(max(-(-STEPS // steps), least), most)


def patience(parameter: int | str | None, learning_rate: str) -> int | None:
    """Number of epochs without improvement after which training ends; None for never."""
    if parameter != "auto":
        return None if parameter is None else int(parameter)
    return None if ends(learning_rate) else PATIENCE
