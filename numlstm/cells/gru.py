"""The gated recurrent unit of Cho et al. 2014."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cell import Cell, Parameter, Phase, Product
from .elementary import sigmoid, tanh

OPTIONS: dict[str, Any] = {"reset_after": True}


def gru(options: dict[str, Any], *, layer_norm: bool, candidate_dropout: bool) -> Cell:
    """The GRU, with the reset gate after the recurrent product, or before it."""
    phases = _reset_after(candidate_dropout) if options["reset_after"] else _reset_before(candidate_dropout)
    return Cell(
        name="gru",
        states=("h",),
        phases=phases,
        parameters=(
            Parameter("weight_ih", 3, columns="input"),
            Parameter("weight_hh", 3, columns="hidden"),
            Parameter("bias_ih", 3, optional=True),
            Parameter("bias_hh", 3, optional=True),
        ),
        traces=(("reset_gate", "r"), ("update_gate", "z"), ("candidate", "n")),
    )


def _reset_after(dropout: bool) -> tuple[Phase, ...]:
    """One phase: the candidate's product with x stays apart from that with h."""
    forward, backward = _after_equations(dropout)
    return (
        Phase(
            gates=("reset_gate", "update_gate", "candidate", "candidate_of_h"),
            products=(
                Product(("reset_gate", "update_gate", "candidate"), "x", "weight_ih", "bias_ih", (0, 1, 2)),
                Product(("reset_gate", "update_gate", "candidate_of_h"), "h_prev", "weight_hh", "bias_hh", (0, 1, 2)),
            ),
            reads=("h_prev",),
            gives=("h",),
            keeps=("r", "z", "n", "m"),
            uses=("r", "z", "n", "m", "h_prev"),
            forward=forward,
            backward=backward,
            masks=("candidate_dropout",) if dropout else (),
        ),
    )


def _after_equations(dropout: bool) -> tuple[Callable, Callable]:
    def forward(one, v):
        """``n = tanh(W x + r * (R h_prev))``, ``h = (1 - z) * n + z * h_prev``."""
        r, z = sigmoid(v.reset_gate), sigmoid(v.update_gate)
        n = tanh(v.candidate + r * v.candidate_of_h)
        added = n
        if dropout:
            added = n * v.candidate_dropout
        return added + z * (v.h_prev - added), r, z, n, v.candidate_of_h

    def backward(one, d, v):
        """Gradients of the pre-activations and of the state of the step before."""
        added, dn = v.n, d.h - d.h * v.z
        if dropout:
            added, dn = added * v.candidate_dropout, dn * v.candidate_dropout
        dn = dn * (one - v.n * v.n)
        dr = dn * v.m * (v.r - v.r * v.r)
        dz = d.h * (v.h_prev - added) * (v.z - v.z * v.z)
        return dr, dz, dn, dn * v.r, d.h * v.z

    return forward, backward


def _reset_before(dropout: bool) -> tuple[Phase, ...]:
    """Two phases: what the reset gate lets through is multiplied."""
    forward, backward = _before_equations(dropout)
    return (
        Phase(
            gates=("reset_gate", "update_gate"),
            products=(
                Product(("reset_gate", "update_gate"), "x", "weight_ih", "bias_ih", (0, 1)),
                Product(("reset_gate", "update_gate"), "h_prev", "weight_hh", "bias_hh", (0, 1)),
            ),
            reads=("h_prev",),
            gives=("m", "z"),
            keeps=("r",),
            uses=("r", "z", "h_prev"),
            forward=gates_forward,
            backward=gates_backward,
        ),
        Phase(
            gates=("candidate",),
            products=(
                Product(("candidate",), "x", "weight_ih", "bias_ih", (2,)),
                Product(("candidate",), "m", "weight_hh", "bias_hh", (2,)),
            ),
            reads=("z", "h_prev"),
            gives=("h",),
            keeps=("n",),
            uses=("n", "z", "h_prev"),
            forward=forward,
            backward=backward,
            masks=("candidate_dropout",) if dropout else (),
        ),
    )


def gates_forward(one, v):
    """The gates, and what the reset gate lets through."""
    r, z = sigmoid(v.reset_gate), sigmoid(v.update_gate)
    return r * v.h_prev, z, r


def gates_backward(one, d, v):
    """Gradients of their pre-activations and of the state of the step before."""
    return d.m * v.h_prev * (v.r - v.r * v.r), d.z * (v.z - v.z * v.z), d.m * v.r


def _before_equations(dropout: bool) -> tuple[Callable, Callable]:
    def forward(one, v):
        """``n = tanh(W x + R (r * h_prev))``, ``h = (1 - z) * n + z * h_prev``."""
        n = tanh(v.candidate)
        added = n
        if dropout:
            added = n * v.candidate_dropout
        return added + v.z * (v.h_prev - added), n

    def backward(one, d, v):
        """Gradients of the pre-activation, of the update gate, and of the state of the step before."""
        added, dn = v.n, d.h - d.h * v.z
        if dropout:
            added, dn = added * v.candidate_dropout, dn * v.candidate_dropout
        return dn * (one - v.n * v.n), d.h * (v.h_prev - added), d.h * v.z

    return forward, backward
