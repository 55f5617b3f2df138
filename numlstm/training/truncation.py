"""Truncated back-propagation through time where the loss is one of whole sequences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backends.contract import Array
from .embedding import Tape
from .model import Model, States


def truncated_gradient(
    model: Model,
    x: np.ndarray,
    lengths: np.ndarray | None,
    targets: np.ndarray,
    weights: np.ndarray,
    rng: np.random.Generator,
    static: np.ndarray | None,
    steps: int,
) -> float | Any:
    """The loss of a batch as from `Model.loss_and_gradient`; gradients flow back at most `steps` steps through states.

    The sequences are cut into pieces of so many steps. The forward pass keeps the states between the pieces and the
    last layer's outputs. The backward pass computes each piece again, and ends at its first step.
    """
    if lengths is None:
        lengths = np.full(len(x), x.shape[1])
    order = np.argsort(-lengths, kind="stable")  # sequences that go on are the first rows
    truncated = TruncatedPass(model, x[order], lengths[order], rng, steps)
    y, final = truncated.forward()
    loss, dy, dfinal = model.loss_of_outputs(
        y, final, lengths[order], targets[order], weights[order], None if static is None else static[order],
        truncated.seed_of(0),
    )  # fmt: skip
    truncated.backward(dy, dfinal)
    return loss


class PiecePass(NamedTuple):
    """The forward pass over a piece: (N, T), outputs, final states, and what the backward pass takes."""

    shape: tuple[int, int]
    y: Array | None
    final: States
    tapes: list[Any]
    tape_of_tokens: Tape | None


class TruncatedPass:
    """The passes over all pieces of a batch.

    Parameters
    ----------
    model : Model
    x : array, shape (N, T, C)
    lengths : int64 array, shape (N,)
        Falling.
    rng : numpy.random.Generator
        Chooses the units that dropout zeroes.
    steps : int
        Steps of a piece.
    """

    def __init__(self, model: Model, x: np.ndarray, lengths: np.ndarray, rng: np.random.Generator, steps: int) -> None:
        self.model, self.x, self.lengths, self.steps = model, x, lengths, steps
        network = model.network
        self.seed = int(rng.integers(2**64, dtype=np.uint64)) if network.random else None
        self.layers: list[Any] = model.layers
        self.mask: Array | None = None
        if network.stack.weight_dropout:
            self.layers, self.mask = model.drop_weights(rng)
        self.starts = range(0, int(lengths[0]), steps)
        self.initial: list[States | None] = [None]  # the states before each piece

    def seed_of(self, piece: int) -> int | None:
        """The seed of the masks of a piece."""
        return None if self.seed is None else (self.seed + piece) % 2**64

    def forward(self) -> tuple[Array | None, States]:
        """Outputs of the last layer (N, T, F), if something reads them, and the final states."""
        backend, stack = self.model.backend, self.model.network.stack
        y, final = None, []
        for piece, start in enumerate(self.starts):
            run = self._run(piece)
            rows, steps = run.shape
            if not piece:
                final = self.model.copied(run.final)
            for states, new_states in zip(final, run.final, strict=True):
                for state, new in zip(states, new_states, strict=True):
                    state[:rows] = new
            if run.y is not None:
                if y is None:
                    y = backend.zeros((len(self.x), int(self.lengths[0]), stack.output_size), stack.dtype)
                y[:rows, start : start + steps] = run.y
            going_on = self._rows(piece + 1)
            self.initial.append(self.model.copied([tuple(state[:going_on] for state in states) for states in final]))
        return y, final

    def backward(self, dy: Array | None, dfinal: list[list[Array | None]]) -> None:
        """Let the model's gradient be the sum over all pieces."""
        model, backend = self.model, self.model.backend
        totals = [backend.zeros(part.shape, str(part.dtype)) for part in model.early_gradients]
        for piece, start in enumerate(self.starts):
            ending = slice(self._rows(piece + 1), self._rows(piece))
            if dy is None and ending.start == ending.stop:
                continue  # no gradient enters this piece
            run = self._run(piece)
            dpiece = None if dy is None else dy[: run.shape[0], start : start + run.shape[1]]
            dstates = [[self._in_rows(state, ending) for state in states] for states in dfinal]
            model.backward(self.layers, run.tapes, run.tape_of_tokens, run.shape, dpiece, dstates, self.seed_of(piece))
            for total, part in zip(totals, model.early_gradients, strict=True):
                backend.add(total, part)
        for part, total in zip(model.early_gradients, totals, strict=True):
            part[...] = total
        model.finish_gradient(self.mask)

    def _rows(self, piece: int) -> int:
        """Number of sequences that have a piece of that number."""
        return int(np.count_nonzero(self.lengths > piece * self.steps))

    def _run(self, piece: int) -> PiecePass:
        start, rows = piece * self.steps, self._rows(piece)
        lengths = np.minimum(self.lengths[:rows] - start, self.steps)
        x, tape = self.model.read(self.x[:rows, start : start + int(lengths[0])], self.seed_of(piece), training=True)
        y, final, tapes = self.model.run(
            x, lengths, self.layers, self.seed_of(piece), training=True, initial=self.initial[piece]
        )
        return PiecePass((rows, int(lengths[0])), y, final, tapes, tape)

    def _in_rows(self, state: Array | None, rows: slice) -> Array | None:
        """The gradient of final states in some rows, zeros in all rows before them."""
        if state is None:
            return None
        result = self.model.backend.zeros((rows.stop, state.shape[1]), str(state.dtype))
        result[rows] = state[rows]
        return result
