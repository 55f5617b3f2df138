"""What is known after each epoch, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tqdm.auto import tqdm


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
    """

    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None
    validation_score: float | None
    learning_rate: float
    seconds: float
    sequences_per_second: float


@dataclass
class History:
    """What estimators keep of each epoch; the two lists of validation stay empty without a validation set."""

    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)

    @property
    def watched(self) -> list[float]:
        """The losses that tell whether training still helps."""
        return self.validation_losses or self.losses


def progress_bar(verbose: int, epochs: int, sequences: int) -> tqdm:
    """A bar over all sequences of all epochs.

    With `verbose` 1 it shows in terminals and notebooks, with 2 or more in files and pipes too.
    """
    disable = {0: True, 1: None}.get(verbose, False)  # None: tqdm looks whether it writes to a terminal
    return tqdm(total=epochs * sequences, unit="sequence", unit_scale=True, disable=disable, dynamic_ncols=True)


def show(bar: Any, progress: Progress) -> None:
    """Write an epoch's figures beside the bar."""
    bar.set_description(f"epoch {progress.epoch}/{progress.epochs}", refresh=False)
    figures = {"loss": f"{progress.loss:.4g}"}
    if progress.validation_loss is not None:
        figures |= {"validation loss": f"{progress.validation_loss:.4g}", "score": f"{progress.validation_score:.4g}"}
    bar.set_postfix(figures)
