"""The fit loop: epochs over shuffled batches of like length."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from .batches import Sequences, shuffled_batches, sorted_batches
from .diagnosis import divergence
from .network import Model
from .optimizers import Optimizer
from .progress import ALL_EPOCHS, Display, History, Progress, display
from .schedules import Schedule
from .targets import StepTargets, Targets

PREDICTED_STEPS = 16384  # padded steps that go through a network at once where no gradient is wanted

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Data:
    """Sequences, what is wanted of them, and what else is known of each, (n, F)."""

    sequences: Sequences
    targets: Targets | StepTargets
    static: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def subset(self, rows: np.ndarray) -> Data:
        """Some of them."""
        return Data(self.sequences.subset(rows), self.targets.subset(rows), rows_of(self.static, rows))


@dataclass(frozen=True)
class Validation:
    """Data that training does not see, and the score ``score(scores, targets, weights)`` that is shown of them."""

    data: Data
    score: Score


class Trainer:
    """Takes steps of an optimizer on batches of data.

    Parameters
    ----------
    model : Model
        Prepared for training.
    optimizer : Optimizer
        Of the model's flat vector.
    data : Data
    batch_size : int
    accumulation : int
        Batches whose gradients make one step.
    rng : numpy.random.Generator
        Shuffles, and chooses what is dropped out.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        data: Data,
        *,
        batch_size: int,
        accumulation: int,
        rng: np.random.Generator,
    ) -> None:
        self.model, self.optimizer, self.data, self.rng = model, optimizer, data, rng
        self.batch_size, self.accumulation = min(batch_size, len(data)), accumulation
        sequences = data.sequences
        longest = self.batch_size * int(sequences.lengths.max())
        self.room = np.empty(longest * sequences.channels, sequences.values.dtype)  # new memory is slow at first touch

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.data) // (self.batch_size * self.accumulation))

    def groups(self) -> list[list[np.ndarray]]:
        """The rows of an epoch's batches, those of a step together."""
        batches = shuffled_batches(self.data.sequences.lengths, self.batch_size, self.rng)
        return [batches[i : i + self.accumulation] for i in range(0, len(batches), self.accumulation)]

    def step(self, batches: list[np.ndarray], learning_rate: float) -> tuple[StepLoss, int]:
        """Take one step; the mean loss before it, and how many terms it is the mean of.

        The step need not be over: ``float`` of the loss waits for it.
        """
        total = sum(map(self.data.targets.count, batches))
        losses = [self._loss_and_gradient(batches[0], total)]
        gradient = self.model.gradient
        if len(batches) > 1:
            backend = self.model.backend
            gradient = backend.zeros(gradient.shape, str(gradient.dtype))
            backend.add(gradient, self.model.gradient)
            for rows in batches[1:]:
                losses.append(self._loss_and_gradient(rows, total))
                backend.add(gradient, self.model.gradient)
        self.optimizer.step(gradient, learning_rate)
        self.model.refresh()
        return StepLoss(losses), total

    def _loss_and_gradient(self, rows: np.ndarray, total: int) -> float | Any:
        model = self.model
        x, lengths = self.data.sequences.take(rows, self.room)
        targets, weights = self.data.targets.take(rows, total)
        x = model.backend.upload(x, model.network.stack.dtype)
        return model.loss_and_gradient(x, lengths, targets, weights, self.rng, rows_of(self.data.static, rows))

    def epoch(self, schedule: Schedule, shown: Display) -> float:
        """One pass over the data; its mean loss.

        Raises
        ------
        FloatingPointError
            If the loss of a step or, at the end, a parameter is not finite.
        """
        loss = terms = 0.0
        # A loss is looked at when the next step has begun, so that a device never waits for the host.
        for mean, count, rows in one_late(self._steps(schedule)):
            loss, terms = loss + float(mean) * count, terms + count
            shown.update(rows)
        check_finite(self.model.backend.global_norm(self.model.flat), "norm of the parameters")
        return loss / terms

    def _steps(self, schedule: Schedule) -> Iterator[tuple[StepLoss, int, int]]:
        """Take the steps of an epoch: the loss of each, its terms, and its sequences."""
        for batches in self.groups():
            yield *self.step(batches, schedule(self.optimizer.steps)), sum(map(len, batches))


class StepLoss:
    """The mean loss of a step; it becomes a float when it is asked for.

    Parameters
    ----------
    parts : sequence of float
        What its batches add to it; or what becomes floats once a device has computed them.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = parts

    def __float__(self) -> float:
        value = sum(map(float, self.parts))
        check_finite(value, "loss")
        return value


def one_late(items: Iterable[Item]) -> Iterator[Item]:
    """Each item when the next one has been made, and the last at the end."""
    waiting: list[Item] = []
    for item in items:
        yield from waiting
        waiting = [item]
    yield from waiting


REASONS = {  # for users, of what ends training before its last epoch
    "no_improvement": "stopped, no improvement for {} epoch{}",
    "callback": "stopped by a callback",
    "interrupted": "interrupted",
}


class Stopper:
    """Watches a loss: says when it has not fallen for long, and keeps the weights that it was least with.

    Parameters
    ----------
    tol : float
        By how much it must fall to count as fallen.
    patience : int or None
        Epochs to wait for that; None never stops.
    keeps_best : bool
        Whether weights are kept; else the last ones stay.
    """

    def __init__(self, tol: float, patience: int | None, *, keeps_best: bool) -> None:
        self.tol, self.patience, self.keeps_best = tol, patience, keeps_best
        self.least = self.mark = math.inf
        self.waited = 0
        self.weights: np.ndarray | None = None

    def watch(self, loss: float, model: Model) -> bool:
        """Take note of an epoch's loss; whether it fell."""
        if loss < self.least:
            self.least = loss
            if self.keeps_best:
                self.weights = np.array(model.backend.to_numpy(model.flat))
        improved = loss < self.mark - self.tol
        if improved:
            self.mark = loss
        self.waited = 0 if improved else self.waited + 1
        return improved

    @property
    def stops(self) -> bool:
        """Whether it waited long enough."""
        return self.patience is not None and self.waited >= self.patience

    def restore(self, model: Model) -> None:
        """Put the best weights back."""
        if self.weights is not None:
            model.flat[...] = model.backend.to_device(self.weights, str(model.flat.dtype))
            model.refresh()


def train(
    trainer: Trainer,
    schedule: Schedule,
    stopper: Stopper,
    *,
    epochs: int,
    validation: Validation | None = None,
    history: History | None = None,
    verbose: int = 0,
    before_epoch: Sequence[Callable[[], Any]] = (),
    callbacks: Sequence[Callable[[Progress], Any]] = (),
) -> History:
    """Train a model in place.

    Parameters
    ----------
    trainer, schedule, stopper
        What takes the steps, how long they are, and when to end.
    epochs : int
        The most epochs.
    validation : Validation, optional
        Looked at after each epoch; its loss is watched instead of the training loss.
    history : History, optional
        What to write to and return; a new one by default.
    verbose : int
        As in `display`.
    before_epoch : sequence of callable
        Called without arguments before each epoch.
    callbacks : sequence of callable
        Called with `Progress` after each epoch; what is true ends the training.

    Returns
    -------
    History
        Shorter than `epochs` after Ctrl-C, which ends training with a warning.

    Raises
    ------
    FloatingPointError
        If the loss or the parameters are no longer finite.
    """
    history, began = history or History(), time.perf_counter()
    with display(verbose, epochs, len(trainer.data)) as shown:
        try:
            for _ in range(epochs):
                for begin in before_epoch:
                    begin()
                history.losses.append(_epoch(trainer, schedule, shown, len(history.losses) + 1))
                if validation:
                    loss, score = evaluate(trainer.model, validation)
                    history.validation_losses.append(loss)
                    history.validation_scores.append(score)
                schedule.end_epoch(stopper.watch(history.watched[-1], trainer.model))
                history.kept_loss = stopper.least if stopper.keeps_best else history.watched[-1]
                progress = _progress(history, epochs, trainer, schedule, time.perf_counter() - began)
                shown.show(progress)
                asked = [callback(progress) for callback in callbacks]
                if progress.epoch < epochs and (any(asked) or stopper.stops):
                    history.stop_reason = "callback" if any(asked) else "no_improvement"
                    break
        except KeyboardInterrupt:
            history.stop_reason = "interrupted"
        if history.stop_reason != ALL_EPOCHS:
            shown.stop(REASONS[history.stop_reason].format(stopper.patience, "s" * (stopper.patience != 1)))
    if history.stop_reason == "interrupted":
        warnings.warn("Training interrupted by user.", stacklevel=4)
    stopper.restore(trainer.model)
    return history


def _epoch(trainer: Trainer, schedule: Schedule, shown: Display, epoch: int) -> float:
    """The mean loss of an epoch; the error says why there is none."""
    try:
        return trainer.epoch(schedule, shown)
    except FloatingPointError as error:
        cause = divergence(trainer.model, epoch, trainer.optimizer.clip_norm)
        raise FloatingPointError(f"{error}. {cause}") from None


def _progress(history: History, epochs: int, trainer: Trainer, schedule: Schedule, seconds: float) -> Progress:
    done = len(history.losses)
    return Progress(
        epoch=done,
        epochs=epochs,
        loss=history.losses[-1],
        validation_loss=history.validation_losses[-1] if history.validation_losses else None,
        validation_score=history.validation_scores[-1] if history.validation_scores else None,
        learning_rate=schedule(trainer.optimizer.steps - 1),
        seconds=seconds,
        sequences_per_second=done * len(trainer.data) / seconds,
        trainer=trainer,
    )


def evaluate(model: Model, validation: Validation) -> tuple[float, float]:
    """Mean loss and score of data."""
    sequences, targets = validation.data.sequences, validation.data.targets
    total, loss, parts = targets.count(np.arange(len(sequences))), 0.0, []
    for rows, scores in predicted(model, sequences, validation.data.static):
        wanted, weights = targets.take(rows, total)
        loss += float(model.loss(scores, wanted, weights)[0])
        counted = weights.reshape(len(weights), -1).any(axis=1)
        parts.append((model.backend.to_numpy(scores)[counted], wanted[counted], weights[counted]))
    return loss, validation.score(*map(np.concatenate, zip(*parts, strict=True)))


def predicted(model: Model, sequences: Sequences, static: np.ndarray | None) -> Any:
    """Rows of sequences, and the model's scores of them, some at a time."""
    for rows in sorted_batches(sequences.lengths, PREDICTED_STEPS):
        x, lengths = sequences.take(rows)
        x = model.backend.to_device(x, model.network.stack.dtype)
        yield rows, model.scores(x, lengths, rows_of(static, rows))


def rows_of(static: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Some rows of what may not be there."""
    return None if static is None else static[rows]


def check_finite(value: float, name: str) -> None:
    """Raise if training has gone astray.

    Raises
    ------
    FloatingPointError
    """
    if not math.isfinite(value):
        advice = "lower learning_rate_init, or pass scale_inputs=True if it is not"
        raise FloatingPointError(f"the {name} became {value} in training; {advice}")
