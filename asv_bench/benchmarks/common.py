"""What benchmarks share: layers with batches for them, compared with the float64 reference before they are timed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import numlstm

CELLS = ("LSTM", "GRU", "RNN")
REPEAT = (3, 200, 1.5)  # samples: at least, at most, and seconds for more; asv makes one call a sample
ROWS, STEPS = 3, 5  # the corner of a batch that is compared


class WrongResultError(Exception):
    """What would be timed is not what the reference gives."""


def check_close(name, got, wanted, tolerance=1e-5):
    """Refuse to time what is wrong: errors are relative to the largest number, and NaN is one."""
    if got.shape != wanted.shape:
        raise WrongResultError(f"{name} has shape {got.shape}, the reference's {wanted.shape}")
    error, size = np.abs(got - wanted).max(), np.abs(wanted).max()
    if not error <= tolerance * size:
        raise WrongResultError(f"{name} is off by {error:.1e}, where the largest number is {size:.1e}")


def training_step(layer, x, dy, lengths):
    """Outputs and all gradients by name, with dropout and its kin at work."""
    y, _, pullback = layer.vjp(x, lengths=lengths, training=True, rng=0)
    dx, _, gradients = pullback(dy)
    return {"y": y, "dx": dx} | gradients


@dataclass(frozen=True)
class Problem:
    """A layer, its twin on the reference backend, and a batch for them."""

    layer: Any
    reference: Any
    x: np.ndarray
    dy: np.ndarray
    lengths: np.ndarray | None

    def forward(self):
        """Outputs of the layer."""
        return self.layer(self.x, lengths=self.lengths)[0]

    def training_step(self):
        """Outputs and gradients of the layer."""
        return training_step(self.layer, self.x, self.dy, self.lengths)

    def validate(self):
        """Compare what the corner of the batch gives, of the whole problem and of the reference on the corner alone."""
        steps = self.x.shape[1] if self.layer.bidirectional else STEPS
        corner = np.s_[:ROWS, :steps]
        x, dy = self.x[corner], np.zeros_like(self.dy)
        dy[corner] = self.dy[corner]
        lengths = None if self.lengths is None else np.minimum(self.lengths[:ROWS], steps)
        got = training_step(self.layer, self.x, dy, self.lengths)
        got |= {"y": got["y"][corner], "dx": got["dx"][corner]}
        for name, wanted in training_step(self.reference, x, dy[corner], lengths).items():
            check_close(name, got[name], wanted)
        check_close("inference", self.forward()[corner], self.reference(x, lengths=lengths)[0])


def problem(cell, shape, ragged=False, **options):
    """A problem of (T, N, I, H), the same in every process."""
    T, N, inputs, units = shape
    rng, kind = np.random.default_rng(0), getattr(numlstm, cell)
    layer = kind(inputs, units, backend="cpu", random_state=1, **options)
    reference = kind(inputs, units, **options | {"backend": "reference", "dtype": "float64"})
    moved = {name: value + rng.uniform(-1, 1, value.shape) / units**0.5 for name, value in layer.parameters.items()}
    layer.set_parameters(moved)  # none of them is left at zero
    reference.set_parameters(layer.parameters)
    x = rng.standard_normal((N, T, inputs)).astype(layer.dtype)
    dy = rng.standard_normal((N, T, layer.output_size)).astype(layer.dtype)
    return Problem(layer, reference, x, dy, rng.integers(1, T + 1, N) if ragged else None)


@cache
def validated(cell, shape, **options):
    """A problem whose kernels are compiled and right; made once a process, for asv sets up before every call."""
    made = problem(cell, shape, **options)
    made.validate()
    return made
