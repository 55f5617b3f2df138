"""The minimal gated unit (Zhou et al. 2016): the smallest cell with two phases, and its twin in NumPy.

``f = σ(W_f x + R_f h⁻ + b_f)``, ``g = tanh(W_g x + R_g (f ⊙ h⁻) + b_g)``, ``h = (1 - f) ⊙ h⁻ + f ⊙ g``.
"""

import contextlib

import numpy as np
from scipy.special import expit

from numlstm import cells
from numlstm.backends import reference
from numlstm.cells.elementary import sigmoid, tanh


def gate_forward(one, f, h_prev):
    """The forget gate, and what it lets through to the recurrent product of the next phase."""
    f = sigmoid(f)
    return f, f * h_prev


def gate_backward(one, df, dm, f, h_prev):
    """Gradients of the pre-activation and of the state of the step before."""
    df = df + dm * h_prev
    return df * (f - f * f), dm * f


def state_forward(one, g, f, h_prev):
    """The new state."""
    g = tanh(g)
    return (one - f) * h_prev + f * g, g


def state_backward(one, dh, g, f, h_prev):
    """Gradients of the pre-activation, of the gate, and of the state of the step before."""
    return dh * f * (one - g * g), dh * (g - h_prev), dh * (one - f)


MGU = cells.Cell(
    name="mgu",
    states=("h",),
    phases=(
        cells.Phase(
            gates=("forget_gate",),
            source="h_prev",
            reads=("h_prev",),
            gives=("f", "m"),
            keeps=(),
            uses=("f", "h_prev"),
            forward=gate_forward,
            backward=gate_backward,
        ),
        cells.Phase(
            gates=("cell_input",),
            source="m",
            reads=("f", "h_prev"),
            gives=("h",),
            keeps=("g",),
            uses=("g", "f", "h_prev"),
            forward=state_forward,
            backward=state_backward,
        ),
    ),
)


def step(weights, x, states):
    """One step forward."""
    (h,) = states
    w_f, w_g = np.split(weights["weight_ih"], 2)
    r_f, r_g = np.split(weights["weight_hh"], 2)
    b_f, b_g = np.split(weights["bias_ih"] + weights["bias_hh"], 2)
    f = expit(x @ w_f.T + h @ r_f.T + b_f)
    g = np.tanh(x @ w_g.T + (f * h) @ r_g.T + b_g)
    return (h + f * (g - h),), (x, h, f, g)


def step_backward(weights, saved, dstates):
    """One step back."""
    x, h, f, g = saved
    (dh,) = dstates
    r_f, r_g = np.split(weights["weight_hh"], 2)
    delta_g = dh * f * (1.0 - g**2)
    d_gated = delta_g @ r_g
    delta_f = (dh * (g - h) + d_gated * h) * f * (1.0 - f)
    delta = np.hstack([delta_f, delta_g])
    bias = delta.sum(axis=0)
    recurrent = np.vstack([delta_f.T @ h, delta_g.T @ (f * h)])
    dweights = {"weight_ih": delta.T @ x, "weight_hh": recurrent, "bias_ih": bias, "bias_hh": bias}
    return delta @ weights["weight_ih"], (dh * (1.0 - f) + d_gated * f + delta_f @ r_f,), dweights


TWIN = reference.Twin(step, step_backward)

with contextlib.suppress(ValueError):  # pytest, collecting doctests, imports this file under a second name
    cells.register(MGU)
    reference.register("mgu", TWIN)
