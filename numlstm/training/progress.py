"""What is known after each epoch, and how it is shown."""

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

ALL_EPOCHS = "max_iter"  # what ends training if nothing does before


@dataclass(frozen=True)
class Progress:
    """Training so far, as callbacks see it after each epoch.

    Attributes
    ----------
    epoch, epochs : int
        Epochs done, and the most there will be.
    loss : float
        Mean training loss of the epoch.
    validation_loss, validation_score : float or None
        On the validation set, where there is one: the loss, and the accuracy or R².
    learning_rate : float
        Of the epoch's last step.
    seconds : float
        Since training began.
    sequences_per_second : float
        Trained on in that time.
    trainer : Trainer
        What trains.
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
    """What estimators keep of each epoch; the two lists of validation stay empty without a validation set.

    `stop_reason` says what ended training: "max_iter", "no_improvement", "callback" or "interrupted". `kept_loss` is
    the loss that was watched, of the weights that are kept.
    """

    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    stop_reason: str = ALL_EPOCHS
    kept_loss: float = math.inf

    @property
    def watched(self) -> list[float]:
        """The losses that tell whether training still helps."""
        return self.validation_losses or self.losses


# How it is shown ------------------------------------------------------------------------------------------

SECONDS = 5.0  # between lines in a log
FORMAT = "{desc} {percentage:3.0f}% {remaining} left |{bar}| {rate_noinv_fmt}"  # a narrow terminal cuts off the end


def display(verbose: int, epochs: int, sequences: int) -> Display:
    """What shows training over so many epochs of so many sequences.

    With `verbose` 1 a bar in terminals and in notebooks that have ipywidgets; elsewhere, in a pipe or a log, a line
    for the first and the last epoch, and in between at most one every 5 seconds. With 2 or more a line for each epoch.
    """
    if not verbose or sys.stderr is None:  # programs without a console have none
        return Display(epochs)
    bar = bar_class() if verbose == 1 else None
    return Lines(epochs, SECONDS if verbose == 1 else 0.0) if bar is None else Bar(epochs, bar, sequences)


def bar_class() -> Any:
    """The class of tqdm's bars for where standard error goes; None where there can be no bar."""
    if getattr(sys.stderr, "isatty", bool)():
        from tqdm.std import tqdm

        return tqdm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm warns where it finds a notebook without ipywidgets
        from tqdm import autonotebook, std

    return None if autonotebook.tqdm is std.tqdm else autonotebook.tqdm


class Display:
    """Shows nothing; those below show epochs, and at the end why there were no more of them.

    Parameters
    ----------
    epochs : int
        The most there will be.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs, self.reason = epochs, ""
        self.progress: Progress | None = None

    def update(self, sequences: int) -> None:
        """So many more have been trained on."""

    def show(self, progress: Progress) -> None:
        """An epoch has ended."""
        self.progress = progress

    def stop(self, reason: str) -> None:
        """Training ends here, because of this."""
        self.reason = reason

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        """Training has ended."""

    def text(self) -> str:
        """The last epoch's number, and its figures or why it was the last."""
        progress = self.progress
        epoch = f"epoch {progress.epoch if progress else 0}/{self.epochs}"
        return ": ".join(filter(None, [epoch, self.reason, figures(progress)]))


class Lines(Display):
    """Lines of plain text, for logs: the first and the last epoch, and others at least so many seconds apart."""

    def __init__(self, epochs: int, seconds: float) -> None:
        super().__init__(epochs)
        self.seconds, self.next = seconds, -math.inf

    def show(self, progress: Progress) -> None:
        super().show(progress)
        if time.monotonic() >= self.next or progress.epoch == self.epochs:
            write_line(f"{self.text()}, {progress.sequences_per_second:.4g} sequences/s")
            self.next = time.monotonic() + self.seconds

    def __exit__(self, *error: Any) -> None:
        if self.reason:
            write_line(self.text())


class Bar(Display):
    """A bar over all sequences of all epochs.

    Parameters
    ----------
    epochs : int
    bar : type
        One of tqdm's.
    sequences : int
        In an epoch.
    """

    def __init__(self, epochs: int, bar: Any, sequences: int) -> None:
        super().__init__(epochs)
        self.bar = bar(
            total=epochs * sequences, desc=self.text(), unit=" sequences", unit_scale=True, dynamic_ncols=True,
            bar_format=FORMAT,
        )  # fmt: skip

    def update(self, sequences: int) -> None:
        self.bar.update(sequences)

    def show(self, progress: Progress) -> None:
        super().show(progress)
        self.bar.set_description_str(self.text())

    def __exit__(self, *error: Any) -> None:
        if self.reason:  # a line takes the place of the bar, which would be cut off at the width of the terminal
            self.bar.total = self.bar.n  # or else a notebook keeps it, as one that failed
            self.bar.leave = False
        self.bar.close()
        if self.reason:
            write_line(self.text())


def write_line(text: str) -> None:
    """Write a line where progress is shown, at once."""
    sys.stderr.write(f"{text}\n")
    getattr(sys.stderr, "flush", bool)()


def figures(progress: Progress | None) -> str:
    """The losses of an epoch, and the score."""
    if progress is None:
        return ""
    shown = {"loss": progress.loss, "validation loss": progress.validation_loss, "score": progress.validation_score}
    return ", ".join(f"{name} {value:.4g}" for name, value in shown.items() if value is not None)


def _after_fork() -> None:
    """A thread that wrote a bar may have held tqdm's lock, and is not there to release it."""
    std = sys.modules.get("tqdm.std")
    if std is not None:
        std.tqdm.set_lock(threading.RLock())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
