"""Shared code of benchmarks: layers and batches, compared with the float64 reference before they are timed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import numlstm

CELLS = ("LSTM", "GRU", "RNN")
REPEAT = (3, 200, 1.5)  # least and greatest number of samples, and seconds for them; a sample is one call
ROWS, STEPS = 3, 5  # size of the corner of a batch that is compared with the reference


class WrongResultError(Exception):
    """A result that would be timed differs from the reference."""


def check_close(name, got, expected, tolerance=1e-5):
    """Refuse wrong results. Errors are relative to the largest number; NaN is an error."""
    if got.shape != expected.shape:
        raise WrongResultError(f"{name} must have the shape of the reference, {expected.shape}, got {got.shape}")
    error, size = np.abs(got - expected).max(), np.abs(expected).max()
    if not error <= tolerance * size:
        raise WrongResultError(f"{name} is off by {error:.1e}; the largest number is {size:.1e}")


def training_step(layer, x, dy, lengths):
    """Outputs and all gradients by name; dropout and similar options act."""
    y, _, pullback = layer.vjp(x, lengths=lengths, training=True, rng=0)
    dx, _, gradients = pullback(dy)
    return {"y": y, "dx": dx} | gradients


@dataclass(frozen=True)
class Problem:
    """A layer, the same layer on the reference backend, and a batch for them."""

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
        """Compare the results for a corner of the batch with the reference, which computes only this corner."""
        steps = self.x.shape[1] if self.layer.bidirectional else STEPS
        corner = np.s_[:ROWS, :steps]
        x, dy = self.x[corner], np.zeros_like(self.dy)
        dy[corner] = self.dy[corner]
        lengths = None if self.lengths is None else np.minimum(self.lengths[:ROWS], steps)
        got = training_step(self.layer, self.x, dy, self.lengths)
        got |= {"y": got["y"][corner], "dx": got["dx"][corner]}
        for name, expected in training_step(self.reference, x, dy[corner], lengths).items():
            check_close(name, got[name], expected)
        check_close("inference", self.forward()[corner], self.reference(x, lengths=lengths)[0])


def problem(cell, shape, ragged=False, **options):
    """A problem of (T, N, I, H), the same in every process."""
    T, N, inputs, units = shape
    rng, kind = np.random.default_rng(0), getattr(numlstm, cell)
    layer = kind(inputs, units, backend="cpu", random_state=1, **options)
    reference = kind(inputs, units, **options | {"backend": "reference", "dtype": "float64"})
    noise = {name: rng.uniform(-1, 1, value.shape) / units**0.5 for name, value in layer.parameters.items()}
    layer.set_parameters({name: value + noise[name] for name, value in layer.parameters.items()})  # none stays zero
    reference.set_parameters(layer.parameters)
    x = rng.standard_normal((N, T, inputs)).astype(layer.dtype)
    dy = rng.standard_normal((N, T, layer.output_size)).astype(layer.dtype)
    return Problem(layer, reference, x, dy, rng.integers(1, T + 1, N) if ragged else None)


@cache
def validated(cell, shape, **options):
    """A problem with compiled kernels and correct results; cached, because asv calls `setup` before every call."""
    valid = problem(cell, shape, **options)
    valid.validate()
    return valid
