"""The minimal gated unit (Zhou et al. 2016): the smallest cell with two phases, and its twin in NumPy.

``f = σ(W_f x + R_f h⁻ + b_f)``, ``g = tanh(W_g x + R_g (f ⊙ h⁻) + b_g)``, ``h = (1 - f) ⊙ h⁻ + f ⊙ g``.
"""

import contextlib

import numpy as np
from scipy.special import expit

from numlstm import cells
from numlstm.backends import reference
from numlstm.backends.reference import affine, norm
from numlstm.cells.elementary import sigmoid, tanh


def gate_forward(one, v):
    """The forget gate, and what it lets through to the recurrent product of the next phase."""
    f = sigmoid(v.forget_gate)
    return f, f * v.h_prev


def gate_backward(one, d, v):
    """Gradients of the pre-activation and of the state of the step before."""
    df = d.f + d.m * v.h_prev
    return df * (v.f - v.f * v.f), d.m * v.f


def state_forward(one, v):
    """The new state."""
    g = tanh(v.cell_input)
    return (one - v.f) * v.h_prev + v.f * g, g


def state_backward(one, d, v):
    """Gradients of the pre-activation, of the gate, and of the state of the step before."""
    return d.h * v.f * (one - v.g * v.g), d.h * (v.g - v.h_prev), d.h * (one - v.f)


MGU = cells.Cell(
    name="mgu",
    states=("h",),
    phases=(
        cells.Phase(
            gates=("forget_gate",),
            products=(
                cells.Product(("forget_gate",), "x", "weight_ih", "bias_ih", (0,)),
                cells.Product(("forget_gate",), "h_prev", "weight_hh", "bias_hh", (0,)),
            ),
            reads=("h_prev",),
            gives=("f", "m"),
            keeps=(),
            uses=("f", "h_prev"),
            forward=gate_forward,
            backward=gate_backward,
        ),
        cells.Phase(
            gates=("cell_input",),
            products=(
                cells.Product(("cell_input",), "x", "weight_ih", "bias_ih", (1,)),
                cells.Product(("cell_input",), "m", "weight_hh", "bias_hh", (1,)),
            ),
            reads=("f", "h_prev"),
            gives=("h",),
            keeps=("g",),
            uses=("g", "f", "h_prev"),
            forward=state_forward,
            backward=state_backward,
        ),
    ),
    parameters=(
        cells.Parameter("weight_ih", 2, columns="input"),
        cells.Parameter("weight_hh", 2, columns="hidden"),
        cells.Parameter("bias_ih", 2, optional=True),
        cells.Parameter("bias_hh", 2, optional=True),
    ),
    traces=(("forget_gate", "f"), ("cell_input", "g")),
)


def step(spec, weights, x, states, masks):
    """One step forward."""
    (h,) = states
    h_in = masks.recurrent * h
    a_f = affine.forward(weights, "ih", 0, x) + affine.forward(weights, "hh", 0, h_in)
    f = expit(norm.forward(weights, 0, a_f))
    m_in = masks.recurrent * (f * h)
    a_g = affine.forward(weights, "ih", 1, x) + affine.forward(weights, "hh", 1, m_in)
    g = np.tanh(norm.forward(weights, 1, a_g))
    return (h + f * (g - h),), (x, h, h_in, m_in, a_f, a_g, f, g), {"forget_gate": f, "cell_input": g}


def step_backward(spec, weights, saved, dstates, masks, gradient):
    """One step back."""
    x, h, h_in, m_in, a_f, a_g, f, g = saved
    (dh,) = dstates
    delta_g = norm.backward(weights, 1, a_g, dh * f * (1.0 - g**2), gradient)
    d_gated = masks.recurrent * affine.backward(weights, "hh", 1, m_in, delta_g, gradient)
    df = dh * (g - h) + d_gated * h
    delta_f = norm.backward(weights, 0, a_f, df * f * (1.0 - f), gradient)
    d_in = masks.recurrent * affine.backward(weights, "hh", 0, h_in, delta_f, gradient)
    dx_f, dx_g = (affine.backward(weights, "ih", k, x, delta, gradient) for k, delta in enumerate((delta_f, delta_g)))
    return dx_f + dx_g, (dh * (1.0 - f) + d_gated * f + d_in,)


TWIN = reference.Twin(step, step_backward)

with contextlib.suppress(ValueError):  # pytest, collecting doctests, imports this file under a second name
    cells.register("mgu", MGU)
    reference.register("mgu", TWIN)
