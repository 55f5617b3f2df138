"""The gated recurrent unit of Cho et al. 2014."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from . import squashing
from .cell import Cell, Parameter, Phase, Product

OPTIONS: dict[str, Any] = {
    "reset_after": True,
    "recurrent_activation": ("sigmoid",),
    "input_activation": ("tanh",),
    "preactivation_clip": math.inf,
}
ROLES = ("recurrent", "input")  # of activations


def gru(options: dict[str, Any], *, layer_norm: bool, candidate_dropout: bool) -> Cell:
    """The GRU, with the reset gate after the recurrent product, or before it."""
    roles = {role: options[f"{role}_activation"] for role in ROLES}
    clip = options["preactivation_clip"]
    slopes = clip < math.inf or [name for name, *_ in roles.values()] != ["sigmoid", "tanh"]
    constants = squashing.constants_of(roles, clip) if slopes else {}
    gate_of, input_of = (
        make(squashing.function_of(chosen), slopes=slopes, clip=clip < math.inf)
        for make, chosen in zip((squashing.recurrent, squashing.of_input), roles.values(), strict=True)
    )
    make_phases = _reset_after if options["reset_after"] else _reset_before
    return Cell(
        name="gru",
        states=("h",),
        phases=make_phases(gate_of, input_of, (*constants,), slopes=slopes, dropout=candidate_dropout),
        parameters=(
            Parameter("weight_ih", 3, columns="input"),
            Parameter("weight_hh", 3, columns="hidden"),
            Parameter("bias_ih", 3, optional=True),
            Parameter("bias_hh", 3, optional=True),
        ),
        traces=(("reset_gate", "r"), ("update_gate", "z"), ("candidate", "n")),
        constants=(*constants.items(),),
    )


def _kept(values: str, slopes: bool) -> tuple[str, ...]:
    """Results with their slopes, where those do not follow from them."""
    return (*values, *(f"{value}_slope" for value in values if slopes))


def _reset_after(
    gate_of: Callable, input_of: Callable, constants: tuple[str, ...], *, slopes: bool, dropout: bool
) -> tuple[Phase, ...]:
    """One phase: the candidate's product with x stays apart from that with h."""
    forward, backward = _after_equations(gate_of, input_of, slopes, dropout)
    kept = ("m", *_kept("rzn", slopes))
    return (
        Phase(
            gates=("reset_gate", "update_gate", "candidate", "candidate_of_h"),
            products=(
                Product(("reset_gate", "update_gate", "candidate"), "x", "weight_ih", "bias_ih", (0, 1, 2)),
                Product(("reset_gate", "update_gate", "candidate_of_h"), "h_prev", "weight_hh", "bias_hh", (0, 1, 2)),
            ),
            reads=("h_prev",),
            gives=("h",),
            keeps=kept,
            uses=(*kept, "h_prev"),
            forward=forward,
            backward=backward,
            constants=constants,
            masks=("candidate_dropout",) if dropout else (),
            results=("h", "m", *_kept("rzn", True)),
        ),
    )


def _after_equations(
    gate_of: Callable, input_of: Callable, slopes: bool, dropout: bool
) -> tuple[Callable, Callable]:  # fmt: skip
    def forward(one, v):
        """``n = tanh(W x + r * (R h_prev))``, ``h = (1 - z) * n + z * h_prev``."""
        r, r_slope = gate_of(one, v.reset_gate, v)
        z, z_slope = gate_of(one, v.update_gate, v)
        n, n_slope = input_of(one, v.candidate + r * v.candidate_of_h, v)
        added = n
        if dropout:
            added = n * v.candidate_dropout
        return added + z * (v.h_prev - added), v.candidate_of_h, r, z, n, r_slope, z_slope, n_slope

    def backward(one, d, v):
        """Gradients of the pre-activations and of the state of the step before."""
        if slopes:
            r_slope, z_slope, n_slope = v.r_slope, v.z_slope, v.n_slope
        else:
            r_slope, z_slope, n_slope = v.r - v.r * v.r, v.z - v.z * v.z, one - v.n * v.n
        added, dn = v.n, d.h - d.h * v.z
        if dropout:
            added, dn = added * v.candidate_dropout, dn * v.candidate_dropout
        dn = dn * n_slope
        dr = dn * v.m * r_slope
        dz = d.h * (v.h_prev - added) * z_slope
        return dr, dz, dn, dn * v.r, d.h * v.z

    return forward, backward


def _reset_before(
    gate_of: Callable, input_of: Callable, constants: tuple[str, ...], *, slopes: bool, dropout: bool
) -> tuple[Phase, ...]:
    """Two phases: what the reset gate lets through is multiplied."""
    gates_forward, gates_backward = _gates_equations(gate_of, slopes)
    forward, backward = _before_equations(input_of, slopes, dropout)
    of_gates, of_candidate = ("r", "r_slope", "z_slope") if slopes else ("r",), _kept("n", slopes)
    return (
        Phase(
            gates=("reset_gate", "update_gate"),
            products=(
                Product(("reset_gate", "update_gate"), "x", "weight_ih", "bias_ih", (0, 1)),
                Product(("reset_gate", "update_gate"), "h_prev", "weight_hh", "bias_hh", (0, 1)),
            ),
            reads=("h_prev",),
            gives=("m", "z"),
            keeps=of_gates,
            uses=(*of_gates, "z", "h_prev"),
            forward=gates_forward,
            backward=gates_backward,
            constants=tuple(name for name in constants if not name.startswith("input")),
            results=("m", "z", "r", "r_slope", "z_slope"),
        ),
        Phase(
            gates=("candidate",),
            products=(
                Product(("candidate",), "x", "weight_ih", "bias_ih", (2,)),
                Product(("candidate",), "m", "weight_hh", "bias_hh", (2,)),
            ),
            reads=("z", "h_prev"),
            gives=("h",),
            keeps=of_candidate,
            uses=(*of_candidate, "z", "h_prev"),
            forward=forward,
            backward=backward,
            constants=tuple(name for name in constants if not name.startswith("recurrent")),
            masks=("candidate_dropout",) if dropout else (),
            results=("h", "n", "n_slope"),
        ),
    )


def _gates_equations(gate_of: Callable, slopes: bool) -> tuple[Callable, Callable]:
    def forward(one, v):
        """The gates, and what the reset gate lets through."""
        r, r_slope = gate_of(one, v.reset_gate, v)
        z, z_slope = gate_of(one, v.update_gate, v)
        return r * v.h_prev, z, r, r_slope, z_slope

    def backward(one, d, v):
        """Gradients of their pre-activations and of the state of the step before."""
        if slopes:
            r_slope, z_slope = v.r_slope, v.z_slope
        else:
            r_slope, z_slope = v.r - v.r * v.r, v.z - v.z * v.z
        return d.m * v.h_prev * r_slope, d.z * z_slope, d.m * v.r

    return forward, backward


def _before_equations(input_of: Callable, slopes: bool, dropout: bool) -> tuple[Callable, Callable]:
    def forward(one, v):
        """``n = tanh(W x + R (r * h_prev))``, ``h = (1 - z) * n + z * h_prev``."""
        n, n_slope = input_of(one, v.candidate, v)
        added = n
        if dropout:
            added = n * v.candidate_dropout
        return added + v.z * (v.h_prev - added), n, n_slope

    def backward(one, d, v):
        """Gradients of the pre-activation, of the update gate, and of the state of the step before."""
        n_slope = one - v.n * v.n
        if slopes:
            n_slope = v.n_slope
        added, dn = v.n, d.h - d.h * v.z
        if dropout:
            added, dn = added * v.candidate_dropout, dn * v.candidate_dropout
        return dn * n_slope, d.h * (v.h_prev - added), d.h * v.z

    return forward, backward
