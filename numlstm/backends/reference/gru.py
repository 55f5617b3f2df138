"""The gated recurrent unit of Cho et al. (2014), with the gates' order and signs of PyTorch.

Notation: x input, r reset gate, z update gate, n candidate, h state; W input weights, R recurrent ones; ⁻ marks the
step before, ⊙ the product by elements::

    r = σ(W_r x + R_r h⁻ + b_r)            Cho et al., eq. 5
    z = σ(W_z x + R_z h⁻ + b_z)            eq. 6
    h = (1 - z) ⊙ n + z ⊙ h⁻               eq. 7
    n = tanh(W_n x + R_n (r ⊙ h⁻) + b_n)   eq. 8: ``reset_after=False``
    n = tanh(u + r ⊙ v),  u = W_n x + b_in,  v = R_n h⁻ + b_hn:  ``reset_after=True``

cuDNN and PyTorch compute the last form, which is from version 1 of the paper. Layer normalisation applies to the sums
of r, of z, and of n; with ``reset_after=True`` to u and v separately. As in ONNX, options replace σ and tanh by other
functions, and bound their arguments; a bar marks these arguments.

References
----------
.. [1] K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
   EMNLP 2014.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..contract import LayerSpec
from . import activations, affine, norm
from .activations import Activation
from .masks import Masks
from .twin import Gates, States, Twin, Weights, register

R, Z, N = 0, 1, 2  # blocks of rows
NORM_U, NORM_V = 2, 3


class Squash(NamedTuple):
    """An activation with bounds on its argument."""

    activation: Activation
    bound: float

    def value(self, bar: np.ndarray) -> np.ndarray:
        """The value at a pre-activation."""
        return activations.apply(self.activation, activations.clip(bar, self.bound))

    def slope(self, bar: np.ndarray) -> np.ndarray:
        """The slope at a pre-activation; 0 at the bounds and beyond them."""
        clipped = activations.clip(bar, self.bound)
        return activations.slope(self.activation, clipped) * activations.clip_slope(clipped, self.bound)


class Saved(NamedTuple):
    """The values that a step keeps for the backward step: inputs, and sums before normalisation."""

    x: np.ndarray
    h_prev: np.ndarray
    a_r: np.ndarray
    a_z: np.ndarray
    candidate: Candidate


class Candidate(NamedTuple):
    """For n: the vector that R_n multiplied, the sum of x or of both, the separate sum of h⁻, the pre-activation."""

    h_in: np.ndarray
    a_u: np.ndarray
    a_v: np.ndarray | None
    n_bar: np.ndarray


def step(
    spec: LayerSpec, weights: Weights, x: np.ndarray, states: States, masks: Masks
) -> tuple[States, Saved, Gates]:  # fmt: skip
    """One step forward."""
    (h_prev,) = states
    h_in = masks.recurrent * h_prev
    a_r, a_z = (affine.forward(weights, "ih", k, x) + affine.forward(weights, "hh", k, h_in) for k in (R, Z))
    of_gates, of_candidate = _squash(spec)
    r, z = (of_gates.value(norm.forward(weights, k, a)) for k, a in ((R, a_r), (Z, a_z)))
    candidate = (_candidate_after if _reset_after(spec) else _candidate_before)(weights, x, h_prev, r, masks)
    n = of_candidate.value(candidate.n_bar)
    h = (1.0 - z) * (masks.candidate * n) + z * h_prev
    gates = {"reset_gate": r, "update_gate": z, "candidate": n}
    return (h,), Saved(x, h_prev, a_r, a_z, candidate), gates


def step_backward(
    spec: LayerSpec, weights: Weights, saved: Saved, dstates: States, masks: Masks, gradient: Weights
) -> tuple[np.ndarray, States]:
    """One step back."""
    (dh,) = dstates
    r_bar, z_bar = norm.forward(weights, R, saved.a_r), norm.forward(weights, Z, saved.a_z)
    of_gates, of_candidate = _squash(spec)
    r, z, n = of_gates.value(r_bar), of_gates.value(z_bar), of_candidate.value(saved.candidate.n_bar)
    delta_z = dh * (saved.h_prev - masks.candidate * n) * of_gates.slope(z_bar)
    delta_n = dh * (1.0 - z) * masks.candidate * of_candidate.slope(saved.candidate.n_bar)
    candidate_backward = _candidate_after_backward if _reset_after(spec) else _candidate_before_backward
    dx, dh_prev, dr = candidate_backward(weights, saved, r, delta_n, masks, gradient)
    dh_prev = dh_prev + dh * z
    h_in = masks.recurrent * saved.h_prev
    for k, a, delta in ((R, saved.a_r, dr * of_gates.slope(r_bar)), (Z, saved.a_z, delta_z)):
        delta_a = norm.backward(weights, k, a, delta, gradient)
        dx = dx + affine.backward(weights, "ih", k, saved.x, delta_a, gradient)
        dh_prev = dh_prev + masks.recurrent * affine.backward(weights, "hh", k, h_in, delta_a, gradient)
    return dx, (dh_prev,)


def _squash(spec: LayerSpec) -> tuple[Squash, Squash]:
    """The activations of the gates and of the candidate, with their bounds."""
    options = dict(spec.options)
    bound = options.get("preactivation_clip", np.inf)
    return (
        Squash(options.get("recurrent_activation", ("sigmoid",)), bound),
        Squash(options.get("input_activation", ("tanh",)), bound),
    )


def _reset_after(spec: LayerSpec) -> bool:
    return bool(dict(spec.options).get("reset_after", True))


def _candidate_before(weights: Weights, x: np.ndarray, h_prev: np.ndarray, r: np.ndarray, masks: Masks) -> Candidate:
    """n̄ with the reset gate before the product."""
    h_in = masks.recurrent * (r * h_prev)
    a = affine.forward(weights, "ih", N, x) + affine.forward(weights, "hh", N, h_in)
    return Candidate(h_in, a, None, norm.forward(weights, N, a))


def _candidate_before_backward(
    weights: Weights, saved: Saved, r: np.ndarray, delta_n: np.ndarray, masks: Masks, gradient: Weights
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The parts of the gradients of x, h⁻ and r that come from n̄."""
    h_in, a, _, _ = saved.candidate
    delta = norm.backward(weights, N, a, delta_n, gradient)
    d_reset = masks.recurrent * affine.backward(weights, "hh", N, h_in, delta, gradient)
    return affine.backward(weights, "ih", N, saved.x, delta, gradient), d_reset * r, d_reset * saved.h_prev


def _candidate_after(weights: Weights, x: np.ndarray, h_prev: np.ndarray, r: np.ndarray, masks: Masks) -> Candidate:
    """n̄ with the reset gate after the product."""
    h_in = masks.recurrent * h_prev
    a_u, a_v = affine.forward(weights, "ih", N, x), affine.forward(weights, "hh", N, h_in)
    n_bar = norm.forward(weights, NORM_U, a_u) + r * norm.forward(weights, NORM_V, a_v)
    return Candidate(h_in, a_u, a_v, n_bar)


def _candidate_after_backward(
    weights: Weights, saved: Saved, r: np.ndarray, delta_n: np.ndarray, masks: Masks, gradient: Weights
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The parts of the gradients of x, h⁻ and r that come from n̄."""
    h_in, a_u, a_v, _ = saved.candidate
    assert a_v is not None
    delta_u = norm.backward(weights, NORM_U, a_u, delta_n, gradient)
    delta_v = norm.backward(weights, NORM_V, a_v, delta_n * r, gradient)
    dh_prev = masks.recurrent * affine.backward(weights, "hh", N, h_in, delta_v, gradient)
    dx = affine.backward(weights, "ih", N, saved.x, delta_u, gradient)
    return dx, dh_prev, delta_n * norm.forward(weights, NORM_V, a_v)


register("gru", Twin(step, step_backward))
