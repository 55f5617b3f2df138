"""The loop over epochs: shuffled batches, steps of the optimizer, validation, early stopping."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from . import pieces
from .batches import Batch, rounded_up, shuffled_batches
from .data import Data
from .diagnosis import divergence
from .model import Model, States
from .optimizers import Optimizer
from .pieces import Piece
from .predicting import predict_scores
from .progress import ALL_EPOCHS, Display, History, Progress, display
from .repeating import Repeats
from .schedules import Schedule
from .targets import StepTargets
from .truncation import truncated_gradient

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Validation:
    """A validation set, and the function ``score(scores, targets, weights)`` that rates predictions on it."""

    data: Data
    score: Score

    def measure(self, model: Model) -> tuple[float, float]:
        """The mean loss and the score of a model."""
        sequences, targets = self.data.sequences, self.data.targets
        total, loss, parts = targets.count(np.arange(len(sequences))), 0.0, []
        for rows, scores in predict_scores(model.scores, sequences, self.data.static):
            values, weights = targets.take(rows, total)
            lengths = sequences.lengths[rows]
            loss += float(model.loss(scores, values, weights, lengths)[0])
            parts.append(targets.compared(model.readings(scores, lengths), values, weights))
        return loss, self.score(*map(np.concatenate, zip(*parts, strict=True)))


class Trainer:
    """Trains a model with an optimizer on batches of data.

    Parameters
    ----------
    model : Model
        Prepared for training.
    optimizer : Optimizer
        It updates the model's flat vector.
    data : Data
    batch_size : int
    accumulation : int
        Number of batches whose gradients are added for one step of the optimizer.
    rng : numpy.random.Generator
        Shuffles the data, and chooses the units that dropout zeroes.
    bptt_steps : int or None
        Steps that gradients flow back through; None for all steps of a sequence.
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
        bptt_steps: int | None = None,
    ) -> None:
        self.model, self.optimizer, self.data, self.rng = model, optimizer, data, rng
        self.batch_size, self.accumulation = min(batch_size, len(data)), accumulation
        self.bptt_steps = bptt_steps
        sequences = data.sequences
        self.longest = longest = int(sequences.lengths.max())
        steps = self.batch_size * (min(longest, bptt_steps) if self.cuts and bptt_steps else longest)
        # All batches use one buffer, because the first write to new memory is slow.
        self.buffer = np.empty(steps * sequences.channels, sequences.values.dtype)
        repeats = model.backend.records and optimizer.repeats and (bptt_steps is None or self.cuts)
        self.repeats = Repeats(model, optimizer) if repeats else None
        self.pads = bptt_steps is None and sequences.grid is None and model.backend.records

    @property
    def cuts(self) -> bool:
        """Whether there is a step of the optimizer for each piece of a batch."""
        return self.bptt_steps is not None and isinstance(self.data.targets, StepTargets)

    @property
    def steps(self) -> int:
        """Steps of the optimizer in an epoch; with pieces of unequal batches it is about so many."""
        sequences = self.batch_size * self.accumulation
        if self.cuts and self.bptt_steps:
            return pieces.count(self.data.sequences.lengths, sequences, self.bptt_steps)
        return -(-len(self.data) // sequences)

    def groups(self) -> Iterable[list[Piece]]:
        """The batches of an epoch, or their pieces, grouped by the steps of the optimizer."""
        batches = shuffled_batches(self.data.sequences, self.batch_size, self.rng)
        groups = [batches[i : i + self.accumulation] for i in range(0, len(batches), self.accumulation)]
        if self.cuts and self.bptt_steps:
            return chain.from_iterable(pieces.pieces(self.data, group, self.bptt_steps) for group in groups)
        return [pieces.whole(self.data, group) for group in groups]

    def step(self, group: list[Piece], learning_rate: float) -> tuple[StepLoss, int]:
        """Take one step of the optimizer. Returns the mean loss before the step, and the number of its terms.

        A device may still compute when this returns; ``float`` of the loss waits for it.
        """
        terms = sum([piece.data.targets.count(piece.rows) for piece in group])
        total = max(1, terms)  # a piece may have no target
        piece, padded = group[0], self._padded_steps(group[0])
        if self.repeats and terms and len(group) == 1 and self._repeatable(piece, padded):
            batch = self._take(piece, total, padded)
            loss, final = self.repeats.step(batch, piece.initial, learning_rate, self.rng)
            self._hand_on(piece, final)
            self.model.changed()
            return StepLoss([loss]), terms
        losses = [self._loss_and_gradient(piece, total)]
        gradient = self.model.gradient
        if len(group) > 1:
            backend = self.model.backend
            gradient = backend.zeros(gradient.shape, str(gradient.dtype))
            backend.add(gradient, self.model.gradient)
            for piece in group[1:]:
                losses.append(self._loss_and_gradient(piece, total))
                backend.add(gradient, self.model.gradient)
        if terms:
            self.optimizer.step(gradient, learning_rate)
            self.model.changed()
        return StepLoss(losses), terms

    def _repeatable(self, piece: Piece, padded: int | None) -> bool:
        """Whether a step on this batch is the same calls of the backend as on others of its shape.

        `padded` is what `_padded_steps` gives for it.
        """
        if self.cuts:
            lengths = piece.data.sequences.lengths[piece.rows]
            return bool((lengths == lengths[0]).all())
        return padded is not None or not self.pads

    def _padded_steps(self, piece: Piece) -> int | None:
        """What a batch of unequal lengths is padded to, so that few shapes come up; None where none is repeated."""
        if not self.pads:
            return None
        steps = min(rounded_up(int(piece.data.sequences.lengths[piece.rows].max())), self.longest)
        return steps if self.model.network.repeats(len(piece.rows), steps, True) else None

    def _take(self, piece: Piece, total: int, steps: int | None) -> Batch:
        """A batch, padded to `steps` if there are some, for a mean over `total` terms."""
        data, rows = piece.data, piece.rows
        x, lengths = data.sequences.take(rows, self.buffer, steps)
        targets, weights = data.targets.take(rows, total, steps)
        if data.static is None:
            return x, lengths, targets, weights, None
        static = data.static[rows].astype(self.model.network.stack.dtype, copy=False)
        return x, lengths, targets, weights, static

    def _loss_and_gradient(self, piece: Piece, total: int) -> float | Any:
        model = self.model
        x, lengths, targets, weights, static = self._take(piece, total, self._padded_steps(piece))
        if self.bptt_steps is not None and not self.cuts:
            return truncated_gradient(model, x, lengths, targets, weights, self.rng, static, self.bptt_steps)
        loss, final = model.loss_and_gradient(x, lengths, targets, weights, self.rng, static, piece.initial)
        self._hand_on(piece, final)
        return loss

    def _hand_on(self, piece: Piece, final: States) -> None:
        """Let the next piece begin with the states after this one."""
        if not piece.last:
            piece.final = self.model.copied(final)

    def epoch(self, schedule: Schedule, progress_display: Display) -> float:
        """One pass over the data. Returns the mean loss.

        Raises
        ------
        FloatingPointError
            If the loss of a step is not finite, or if a parameter is not finite at the end.
        """
        if self.optimizer.begin_epoch():
            self.model.changed()
        loss = terms = 0.0
        # The loss is read after the next step has begun, so that a device never waits for the host.
        for mean, count, sequences in delay_by_one(self._steps(schedule)):
            loss, terms = loss + float(mean) * count, terms + count
            progress_display.update(sequences)
        if self.optimizer.end_epoch():
            self.model.changed()
        check_finite(self.model.backend.global_norm(self.model.flat), "norm of the parameters")
        return loss / terms

    def _steps(self, schedule: Schedule) -> Iterator[tuple[StepLoss, int, int]]:
        """Take the steps of an epoch. Yields the loss of each step, the number of its terms and of its sequences."""
        for group in self.groups():
            sequences = sum(len(piece.rows) for piece in group if piece.initial is None)
            yield *self.step(group, schedule(self.optimizer.steps)), sequences


class StepLoss:
    """The mean loss of a step, summed when ``float`` is called.

    Parameters
    ----------
    parts : sequence of float
        The part of each batch: a float, or an object whose ``float`` waits for a device.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = parts

    def __float__(self) -> float:
        value = sum(map(float, self.parts))
        check_finite(value, "loss")
        return value


def delay_by_one(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, but each is given only after the next one has been computed."""
    previous: list[Item] = []
    for item in items:
        yield from previous
        previous = [item]
    yield from previous


REASONS = {  # how the display tells why training ended before its last epoch
    "no_improvement": "stopped, no improvement for {} epoch{}",
    "callback": "stopped by a callback",
    "interrupted": "interrupted",
}


class EarlyStopping:
    """Monitors a loss: stops training when the loss no longer improves, and keeps the best weights.

    Parameters
    ----------
    tol : float
        The loss improves if it falls by more than this.
    patience : int or None
        Number of epochs without improvement after which training stops; None never stops it.
    keeps_best : bool
        Whether to keep the weights with the least loss. Otherwise the last weights stay.
    """

    def __init__(self, tol: float, patience: int | None, *, keeps_best: bool) -> None:
        self.tol, self.patience, self.keeps_best = tol, patience, keeps_best
        self.best_loss = self.last_improvement = math.inf
        self.epochs_without_improvement = 0
        self.epochs = self.kept_epoch = 0
        self.best_weights: np.ndarray | None = None

    def update(self, loss: float, model: Model) -> bool:
        """Record the loss of an epoch. Returns whether it improved."""
        self.epochs += 1
        if loss < self.best_loss or self.best_weights is None:
            self.kept_epoch = self.epochs
        if loss < self.best_loss:
            self.best_loss = loss
            if self.keeps_best:
                self.best_weights = np.array(model.backend.to_numpy(model.flat))
        improved = loss < self.last_improvement - self.tol
        if improved:
            self.last_improvement = loss
        self.epochs_without_improvement = 0 if improved else self.epochs_without_improvement + 1
        return improved

    @property
    def should_stop(self) -> bool:
        """Whether the loss has not improved for `patience` epochs."""
        return self.patience is not None and self.epochs_without_improvement >= self.patience

    def restore_best(self, model: Model) -> None:
        """Set the weights to the best ones, if they were kept."""
        if self.best_weights is not None:
            model.flat[...] = model.backend.to_device(self.best_weights, str(model.flat.dtype))
            model.changed()


def train(
    trainer: Trainer,
    schedule: Schedule,
    early_stopping: EarlyStopping,
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
    trainer : Trainer
    schedule : Schedule
        The learning rate of each step.
    early_stopping : EarlyStopping
    epochs : int
        The greatest number of epochs.
    validation : Validation, optional
        Evaluated after each epoch. Early stopping then monitors its loss instead of the training loss.
    history : History, optional
        Is written to and returned; a new one by default.
    verbose : int
        As in `display`.
    before_epoch : sequence of callable
        Called without arguments before each epoch.
    callbacks : sequence of callable
        Called with a `Progress` after each epoch. If one returns a true value, training ends.

    Returns
    -------
    History
        Ctrl-C ends training with a warning; the history then has fewer epochs.

    Raises
    ------
    FloatingPointError
        If the loss or the parameters are no longer finite.
    """
    history, began = history or History(), time.perf_counter()
    with display(verbose, epochs, len(trainer.data)) as progress_display:
        try:
            for _ in range(epochs):
                for begin in before_epoch:
                    begin()
                history.losses.append(_epoch(trainer, schedule, progress_display, len(history.losses) + 1))
                if validation:
                    loss, score = validation.measure(trainer.model)
                    history.validation_losses.append(loss)
                    history.validation_scores.append(score)
                trainer.optimizer.record(history.monitored)
                schedule.end_epoch(early_stopping.update(history.monitored[-1], trainer.model))
                history.kept_loss = early_stopping.best_loss if early_stopping.keeps_best else history.monitored[-1]
                history.kept_epoch = early_stopping.kept_epoch
                progress = _progress(history, epochs, trainer, schedule, time.perf_counter() - began)
                progress_display.show(progress)
                stop_requests = [callback(progress) for callback in callbacks]
                if progress.epoch < epochs and (any(stop_requests) or early_stopping.should_stop):
                    history.stop_reason = "callback" if any(stop_requests) else "no_improvement"
                    break
        except KeyboardInterrupt:
            history.stop_reason = "interrupted"
            if trainer.optimizer.end_epoch():
                trainer.model.changed()
        if history.stop_reason != ALL_EPOCHS:
            patience = early_stopping.patience
            progress_display.stop(REASONS[history.stop_reason].format(patience, "s" * (patience != 1)))
    if history.stop_reason == "interrupted":
        warnings.warn("Training interrupted by user.", stacklevel=4)
    early_stopping.restore_best(trainer.model)
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


def check_finite(value: float, name: str) -> None:
    """Training must not diverge.

    Raises
    ------
    FloatingPointError
        If the value is not finite.
    """
    if not math.isfinite(value):
        advice = "lower learning_rate_init, or set scale_inputs=True"
        raise FloatingPointError(f"the {name} must stay finite in training, but became {value}: {advice}")
