"""What "auto" stands for: settings that depend on the data, or on other settings; ``docs/accuracy.md`` says why."""

from __future__ import annotations

from ...training.schedules import ends

SIZES = {256: 32, 128: 16, 0: 8}  # of batches, for so many sequences or more
STEPS = 1000  # of the optimizer
EPOCHS = 20, 50  # the fewest and the most, whatever steps they make
PATIENCE = 10  # epochs without improvement


def batch_size(chosen: int | str, count: int) -> int:
    """Sequences of a batch, of `count` in all: fewer of few, that a small set makes more than a step an epoch."""
    if chosen != "auto":
        return min(int(chosen), count)
    return min(next(size for least, size in SIZES.items() if count >= least), count)


def epochs(chosen: int | str, steps: int) -> int:
    """The most epochs, of so many steps each."""
    if chosen != "auto":
        return int(chosen)
    least, most = EPOCHS
    return min(max(-(-STEPS // steps), least), most)


def patience(chosen: int | str | None, learning_rate: str) -> int | None:
    """Epochs without improvement after which training ends; None for never."""
    if chosen != "auto":
        return None if chosen is None else int(chosen)
    return None if ends(learning_rate) else PATIENCE
