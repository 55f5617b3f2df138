"""The LSTM of Gers et al. (2000) as Greff et al. (2017) write it, without peepholes.

Notation: x input, y block output (``"h"`` elsewhere), z block input (PyTorch's g), i, f, o the gates, c the
cell. W are the input weights, R the recurrent ones; a bar marks a pre-activation and ⊙ the product by
elements. The equations are in the order of Greff et al., section II, whose numbers here are ours::

    II-A, forward                                     II-B, backward
    (1) z̄ = W_z x + R_z y⁻ + b_z,   z = tanh(z̄)       ( 7) δy = Δ + R_z'δz⁺ + R_i'δi⁺ + R_f'δf⁺ + R_o'δo⁺
    (2) ī = W_i x + R_i y⁻ + b_i,   i = σ(ī)          ( 8) δo = δy ⊙ tanh(c) ⊙ σ'(ō)
    (3) f̄ = W_f x + R_f y⁻ + b_f,   f = σ(f̄)          ( 9) δc = δy ⊙ o ⊙ tanh'(c) + δc⁺ ⊙ f⁺
    (4) c = z ⊙ i + c⁻ ⊙ f                            (10) δf = δc ⊙ c⁻ ⊙ σ'(f̄)
    (5) ō = W_o x + R_o y⁻ + b_o,   o = σ(ō)          (11) δi = δc ⊙ z ⊙ σ'(ī)
    (6) y = tanh(c) ⊙ o                               (12) δz = δc ⊙ i ⊙ tanh'(z̄)
                                                      (13) δx = W_z'δz + W_i'δi + W_f'δf + W_o'δo
                                                      (14) δW = Σ δ xᵀ,  (15) δR = Σ δ y⁻ᵀ,  (16) δb = Σ δ

Each b is the sum of PyTorch's two biases, which have the same gradient. The marks ⁻ and ⁺ are the step
before and the step after, Δ the gradient from the layer above.

The forget gate in (4) is the change that Gers et al. made to the LSTM of 1997. They squash z and c by scaled
logistic functions and truncate the gradient; tanh and the whole gradient are Greff's.

References
----------
.. [1] F. A. Gers, J. Schmidhuber, F. Cummins, "Learning to forget: continual prediction with LSTM", Neural
   Computation 12(10), 2000.
.. [2] K. Greff, R. K. Srivastava, J. Koutník, B. R. Steunebrink, J. Schmidhuber, "LSTM: a search space
   odyssey", IEEE Transactions on Neural Networks and Learning Systems 28(10), 2017.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from .twin import States, Twin, Weights, register


class Saved(NamedTuple):
    """What one step leaves for its way back: its inputs, pre-activations and new cell."""

    x: np.ndarray
    y_prev: np.ndarray
    c_prev: np.ndarray
    z_bar: np.ndarray
    i_bar: np.ndarray
    f_bar: np.ndarray
    o_bar: np.ndarray
    c: np.ndarray


def step(weights: Weights, x: np.ndarray, states: States) -> tuple[States, Saved]:
    """One step forward: equations (1) to (6)."""
    y_prev, c_prev = states
    bar = x @ weights["weight_ih"].T + y_prev @ weights["weight_hh"].T + weights["bias_ih"] + weights["bias_hh"]
    i_bar, f_bar, z_bar, o_bar = np.split(bar, 4, axis=1)  # PyTorch's order of the row blocks
    c = np.tanh(z_bar) * expit(i_bar) + c_prev * expit(f_bar)
    y = np.tanh(c) * expit(o_bar)
    return (y, c), Saved(x, y_prev, c_prev, z_bar, i_bar, f_bar, o_bar, c)


def step_backward(weights: Weights, saved: Saved, dstates: States) -> tuple[np.ndarray, States, dict[str, np.ndarray]]:
    """One step back: equations (8) to (16).

    ``dstates`` holds δy of (7), and the last term of (9) plus any gradient that c has from outside. The
    terms of both that belong to the step before are what is returned for its states.
    """
    x, y_prev, c_prev, z_bar, i_bar, f_bar, o_bar, c = saved
    delta_y, delta_c_after = dstates
    delta_o = delta_y * np.tanh(c) * _sigmoid_slope(o_bar)
    delta_c = delta_y * expit(o_bar) * _tanh_slope(c) + delta_c_after
    delta_f = delta_c * c_prev * _sigmoid_slope(f_bar)
    delta_i = delta_c * np.tanh(z_bar) * _sigmoid_slope(i_bar)
    delta_z = delta_c * expit(i_bar) * _tanh_slope(z_bar)

    delta = np.hstack([delta_i, delta_f, delta_z, delta_o])
    bias = delta.sum(axis=0)
    dweights = {"weight_ih": delta.T @ x, "weight_hh": delta.T @ y_prev, "bias_ih": bias, "bias_hh": bias}
    return delta @ weights["weight_ih"], (delta @ weights["weight_hh"], delta_c * expit(f_bar)), dweights


def _sigmoid_slope(a: np.ndarray) -> np.ndarray:
    """σ'(a) = σ(a) σ(-a), which keeps its relative accuracy where 1 - σ(a) cancels."""
    return expit(a) * expit(-a)


def _tanh_slope(a: np.ndarray) -> np.ndarray:
    """tanh'(a) = 4 σ'(2a), since tanh(a) = 2 σ(2a) - 1."""
    return 4.0 * _sigmoid_slope(2.0 * a)


register("lstm", Twin(step, step_backward))
