"""The fit loop: epochs over shuffled batches."""

from __future__ import annotations

import math
import warnings

import numpy as np
from tqdm.auto import tqdm

from ..backends.contract import Array, Backend
from .batches import Sequences, shuffled
from .network import Network
from .optimizers import Adam


def train(
    network: Network,
    backend: Backend,
    flat: Array,
    sequences: Sequences,
    targets: np.ndarray,
    optimizer: Adam,
    *,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    verbose: bool,
) -> list[float]:
    """Train a network in place.

    Parameters
    ----------
    network, backend
        What to train, and what computes.
    flat : array
        The network's parameters, changed in place by `optimizer`.
    sequences, targets
        Training data; a class index for each sequence.
    optimizer : Adam
    epochs, batch_size : int
    rng : numpy.random.Generator
        Shuffles, and chooses what is dropped out.
    verbose : bool
        Whether to show a progress bar.

    Returns
    -------
    list of float
        Mean loss of each epoch; shorter than `epochs` after Ctrl-C, which ends training with a warning.

    Raises
    ------
    FloatingPointError
        If the loss or the parameters are no longer finite.
    """
    gradient = backend.zeros(flat.shape, str(flat.dtype))
    weights = network.prepare(backend, flat, training=True)
    curve: list[float] = []
    with tqdm(range(epochs), desc="fit", unit="epoch", disable=not verbose) as bar:
        try:
            for _ in bar:
                total = 0.0
                for rows in shuffled(len(sequences), batch_size, rng):
                    batch = sequences.take(rows)
                    x = backend.to_device(batch.x, network.stack.dtype)
                    loss = network.loss_and_gradient(backend, weights, gradient, x, batch.lengths, targets[rows], rng)
                    _check_finite(loss, "loss", len(curve))
                    optimizer.step(gradient)
                    weights = network.refresh(backend, weights)
                    total += loss * len(rows)
                _check_finite(backend.global_norm(flat), "norm of the parameters", len(curve))
                curve.append(total / len(sequences))
                bar.set_postfix_str(f"loss {curve[-1]:.4f}, {_rate(bar, len(sequences))}")
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=3)
    return curve


def _check_finite(value: float, name: str, epoch: int) -> None:
    if not math.isfinite(value):
        advice = "scale X, or lower learning_rate_init"
        raise FloatingPointError(f"the {name} became {value} in epoch {epoch + 1}; {advice}")


def _rate(bar: tqdm, count: int) -> str:
    """Sequences per second so far."""
    elapsed = bar.format_dict["elapsed"]
    return f"{count * (bar.n + 1) / elapsed:.0f} sequences/s" if elapsed else ""
