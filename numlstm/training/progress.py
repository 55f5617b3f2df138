"""The progress of training after each epoch, and its display."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

ALL_EPOCHS = "max_iter"  # the stop reason if nothing ends training before the last epoch


@dataclass(frozen=True)
class Progress:
    """The progress of training, which callbacks get after each epoch.

    Attributes
    ----------
    epoch, epochs : int
        Number of finished epochs, and the greatest number of epochs.
    loss : float
        Mean training loss of the epoch.
    validation_loss, validation_score : float or None
        Loss on the validation set, and the accuracy or R² on it; None without a validation set.
    learning_rate : float
        Learning rate of the last step in the epoch.
    seconds : float
        Time since training began.
    sequences_per_second : float
        Sequences trained on per second, since training began.
    trainer : Trainer
        The trainer, with the model and the optimizer.
    """

    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None
    validation_score: float | None
    learning_rate: float
    seconds: float
    sequences_per_second: float
    trainer: Any = field(default=None, repr=False, compare=False)

    def parameters(self) -> dict[str, np.ndarray]:
        """All parameters by name, as they are after the epoch: copies."""
        return self._unpacked(self.trainer.model.flat)

    def gradients(self) -> dict[str, np.ndarray]:
        """The gradient of the loss of the epoch's last batch, by the names of the parameters, before clipping."""
        return self._unpacked(self.trainer.model.gradient)

    def saturation(self) -> dict[str, float]:
        """Of each gate of each layer the share of values within 0.05 of 0 or 1: ``forget_gate_l0``, ...

        They are those of the first 32 training sequences.
        """
        from .diagnosis import activity

        return activity(self.trainer.model, self.trainer.data.sequences).saturation

    def _unpacked(self, flat: Any) -> dict[str, np.ndarray]:
        model = self.trainer.model
        return model.network.unpack(model.backend, flat)


@dataclass
class History:
    """The losses of all epochs; the two lists of validation stay empty without a validation set.

    `stop_reason` tells why training ended: "max_iter", "no_improvement", "callback" or "interrupted". `kept_loss` and
    `kept_epoch` are the monitored loss and the epoch of the weights that the model keeps.
    """

    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    stop_reason: str = ALL_EPOCHS
    kept_loss: float = math.inf
    kept_epoch: int = 0

    @property
    def monitored(self) -> list[float]:
        """The losses that early stopping monitors."""
        return self.validation_losses or self.losses


# Display --------------------------------------------------------------------------------------------------

SECONDS_BETWEEN_LINES = 5.0  # between lines in a log
BAR_FORMAT = "{desc} {percentage:3.0f}% {remaining} left |{bar}| {rate_noinv_fmt}"  # a narrow terminal cuts off the end


def display(verbose: int, epochs: int, sequences: int) -> Display:
    """The display of a training run over so many epochs of so many sequences.

    With `verbose=1` it is a bar in terminals, and in notebooks that have ipywidgets. Elsewhere, in a pipe or a log, it
    is a line for the first and the last epoch, and for others at most one line every 5 seconds. With `verbose=2` or
    more it is a line for each epoch.
    """
    if not verbose or sys.stderr is None:  # programs without a console have none
        return Display(epochs)
    bar = bar_class() if verbose == 1 else None
    if bar is None:
        return LineDisplay(epochs, SECONDS_BETWEEN_LINES if verbose == 1 else 0.0)
    return BarDisplay(epochs, bar, sequences)


def bar_class() -> Any:
    """The class of tqdm's progress bars that suits standard error; None if no bar can be shown there."""
    if getattr(sys.stderr, "isatty", bool)():
        from tqdm.std import tqdm

        return tqdm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm warns where it finds a notebook without ipywidgets
        from tqdm import autonotebook, std

    return None if autonotebook.tqdm is std.tqdm else autonotebook.tqdm


class Display:
    """Shows nothing. The subclasses show each epoch, and at the end the reason why training stopped early.

    Parameters
    ----------
    epochs : int
        The greatest number of epochs.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs, self.reason = epochs, ""
        self.progress: Progress | None = None

    def update(self, sequences: int) -> None:
        """Count sequences that the model has just been trained on."""

    def show(self, progress: Progress) -> None:
        """Show an epoch that has ended."""
        self.progress = progress

    def stop(self, reason: str) -> None:
        """Record the reason why training stops early."""
        self.reason = reason

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        """End the display."""

    def text(self) -> str:
        """The number of the last epoch, its losses, and the reason why training stopped."""
        progress = self.progress
        epoch = f"epoch {progress.epoch if progress else 0}/{self.epochs}"
        return ": ".join(filter(None, [epoch, self.reason, format_losses(progress)]))


class LineDisplay(Display):
    """Lines of plain text, for logs: the first epoch, the last one, and others at least `seconds` apart."""

    def __init__(self, epochs: int, seconds: float) -> None:
        super().__init__(epochs)
        self.seconds, self.next_time = seconds, -math.inf

    def show(self, progress: Progress) -> None:
        super().show(progress)
        if time.monotonic() >= self.next_time or progress.epoch == self.epochs:
            write_line(f"{self.text()}, {progress.sequences_per_second:.4g} sequences/s")
            self.next_time = time.monotonic() + self.seconds

    def __exit__(self, *error: Any) -> None:
        if self.reason:
            write_line(self.text())


class BarDisplay(Display):
    """A bar over all sequences of all epochs.

    Parameters
    ----------
    epochs : int
    bar : type
        A class of tqdm's progress bars.
    sequences : int
        Number of sequences in an epoch.
    """

    def __init__(self, epochs: int, bar: Any, sequences: int) -> None:
        super().__init__(epochs)
        self.bar = bar(
            total=epochs * sequences, desc=self.text(), unit=" sequences", unit_scale=True, dynamic_ncols=True,
            bar_format=BAR_FORMAT,
        )  # fmt: skip

    def update(self, sequences: int) -> None:
        self.bar.update(sequences)

    def show(self, progress: Progress) -> None:
        super().show(progress)
        self.bar.set_description_str(self.text())

    def __exit__(self, *error: Any) -> None:
        if self.reason:  # a line replaces the bar, because the bar is cut off at the width of the terminal
            self.bar.total = self.bar.n  # otherwise a notebook keeps the bar and marks it as failed
            self.bar.leave = False
        self.bar.close()
        if self.reason:
            write_line(self.text())


def write_line(text: str) -> None:
    """Write a line to standard error, without a delay."""
    sys.stderr.write(f"{text}\n")
    getattr(sys.stderr, "flush", bool)()


def format_losses(progress: Progress | None) -> str:
    """The losses and the score of an epoch, as text."""
    if progress is None:
        return ""
    values = {"loss": progress.loss, "validation loss": progress.validation_loss, "score": progress.validation_score}
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)


def _after_fork() -> None:
    """Give a forked child a new lock for tqdm: a thread of the parent may hold the old one for ever."""
    std = sys.modules.get("tqdm.std")
    if std is not None:
        std.tqdm.set_lock(threading.RLock())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
