"""Long Short-Term Memory: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000, and its variants."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..concurrency import cached_property
from . import squashing
from .cell import NORM, Cell, Parameter, Phase, Product
from .squashing import clipped, unless_clipped

GATES = ("input_gate", "forget_gate", "cell_input", "output_gate")  # in the order of their rows
SIGMOIDAL = {"input_gate": "i", "forget_gate": "f", "output_gate": "o"}
OPTIONS: dict[str, Any] = {
    "proj_size": 0,
    "peepholes": False,
    "coupled_gates": False,
    "input_gate": True,
    "forget_gate": True,
    "output_gate": True,
    "full_gate_recurrence": False,
    "recurrent_activation": ("sigmoid",),
    "input_activation": ("tanh",),
    "output_activation": ("tanh",),
    "preactivation_clip": math.inf,
    "cell_clip": math.inf,
}
ROLES = ("recurrent", "input", "output")  # of activations
FOLLOWERS = {False: None, True: "input_gate", "input": "forget_gate"}  # by the option coupled_gates


@dataclass(frozen=True)
class LSTMVariant:
    """An LSTM with its options, as the equations need them.

    Attributes
    ----------
    options : dict
        `OPTIONS` with their values.
    layer_norm : bool
        Whether pre-activations and the cell state are normalised. The output then has a phase of its own.
    dropout : bool
        Whether a mask multiplies what is added to the cell state.
    """

    options: dict[str, Any]
    layer_norm: bool
    dropout: bool

    @property
    def follower(self) -> str | None:
        """The gate that is 1 minus the other one, of two coupled gates."""
        return FOLLOWERS[self.options["coupled_gates"]]

    @cached_property
    def gates(self) -> dict[str, str]:
        """The gates that have pre-activations, with the names of their values."""
        return {gate: value for gate, value in SIGMOIDAL.items() if self.options[gate] and gate != self.follower}

    @property
    def preactivations(self) -> tuple[str, ...]:
        """The gates and the cell input, in the order of their rows."""
        return tuple(gate for gate in GATES if gate in self.gates or gate == "cell_input")

    @property
    def rows(self) -> tuple[int, ...]:
        """The block of rows of each pre-activation."""
        return tuple(GATES.index(gate) for gate in self.preactivations)

    @property
    def carried(self) -> tuple[str, ...]:
        """Values of gates that are states too, for full gate recurrence."""
        return tuple(self.gates.values()) if self.options["full_gate_recurrence"] else ()

    @property
    def peepholes(self) -> tuple[tuple[str, str, int], ...]:
        """The peepholes, as `Phase.parameters` has them."""
        values = self.gates.values() if self.options["peepholes"] else ()
        return tuple((f"p_{value}", "peephole", "ifo".index(value)) for value in values)

    @property
    def projected(self) -> bool:
        """Whether the output is a projection."""
        return bool(self.options["proj_size"])

    @property
    def output(self) -> str:
        """The name of the output before a projection."""
        return "m" if self.projected else "h"

    @property
    def roles(self) -> dict[str, tuple[Any, ...]]:
        """The activation of each role."""
        return {role: self.options[f"{role}_activation"] for role in ROLES}

    @property
    def clips(self) -> tuple[str, ...]:
        """The names of the bounds that are finite."""
        return tuple(name for name in ("preactivation_clip", "cell_clip") if self.options[name] < math.inf)

    @property
    def slopes(self) -> bool:
        """Whether slopes are kept, as they do not follow from the values."""
        plain = [name for name, *_ in self.roles.values()] == ["sigmoid", "tanh", "tanh"]
        return "preactivation_clip" in self.clips or not plain

    @property
    def scales(self) -> dict[str, float]:
        """The constants of the activations."""
        return squashing.constants_of(self.roles, math.inf) if self.slopes else {}

    def squash(self, role: str) -> Callable:
        """The activation of a role, for equations."""
        function = squashing.function_of(self.roles[role])
        if role == "output":
            return squashing.of_output(function, slopes=self.slopes)
        make = squashing.recurrent if role == "recurrent" else squashing.of_input
        return make(function, slopes=self.slopes, clip="preactivation_clip" in self.clips)


def lstm(options: dict[str, Any], *, layer_norm: bool, candidate_dropout: bool) -> Cell:
    """The LSTM with these options; all of them are given."""
    variant = LSTMVariant(options, layer_norm, candidate_dropout)
    phases = [_state_phase(variant)]
    if layer_norm:
        phases.append(_normed_output_phase(variant))
    if variant.projected:
        phases.append(_projection_phase())
    return Cell(
        name="lstm",
        states=("h", "c", *variant.carried),
        phases=tuple(phases),
        parameters=_parameters(variant),
        traces=(("input_gate", "i"), ("forget_gate", "f"), ("cell_input", "g"), ("output_gate", "o")),
        constants=(*variant.scales.items(), *((name, options[name]) for name in variant.clips)),
    )


def _parameters(variant: LSTMVariant) -> tuple[Parameter, ...]:
    """All parameters, with PyTorch's shapes where it has them."""
    parameters = [
        Parameter("weight_ih", 4, columns="input"),
        Parameter("weight_hh", 4, columns="projected" if variant.projected else "hidden"),
        Parameter("bias_ih", 4, optional=True),
        Parameter("bias_hh", 4, optional=True),
    ]
    if variant.projected:
        parameters.append(Parameter("weight_hr", 1, "projected", "hidden"))
    if variant.options["peepholes"]:
        parameters.append(Parameter("peephole", 3))
    if variant.options["full_gate_recurrence"]:
        parameters.append(Parameter("weight_gates", 3, columns="hidden", column_blocks=3))
    if variant.layer_norm:
        parameters += [Parameter(name, len(GATES) + 1) for name in NORM]
    return tuple(parameters)


# Phases -----------------------------------------------------------------------------------------------------


def _state_phase(variant: LSTMVariant) -> Phase:
    """The gates and the cell state; and the output, unless the cell state is normalised first."""
    carried, split = variant.carried, variant.layer_norm
    gives = ("c", "o", *(value for value in carried if value != "o")) if split else (variant.output, "c", *carried)
    kept = (*"ifgo", *(f"{value}_slope" for value in "ifgo" if variant.slopes))
    return Phase(
        gates=variant.preactivations,
        products=_products(variant),
        reads=("c_prev",),
        gives=gives,
        keeps=tuple(value for value in kept if value not in gives),
        uses=(*kept, "c", "c_prev"),
        forward=_forward_equations(variant),
        backward=_backward_equations(variant),
        parameters=variant.peepholes,
        constants=(*variant.scales, *variant.clips),
        masks=("candidate_dropout",) if variant.dropout else (),
        norm=variant.rows if split else (),
        results=("c", *"ifgo", *(f"{value}_slope" for value in "ifgo")),
        gradients=(*GATES, "c_prev", "p_i", "p_f", "p_o"),
        finish=None if split else _output_equation(variant),
        finish_reads=() if split else ("o", "c"),
        finish_gives=() if split else (variant.output,),
    )


def _products(variant: LSTMVariant) -> tuple[Product, ...]:
    """The products of the pre-activations; weights multiply gates, too, that are carried from step to step."""
    sums, rows = variant.preactivations, variant.rows
    gates = tuple(variant.gates) if variant.carried else ()
    numbers = tuple([*SIGMOIDAL].index(gate) for gate in gates)
    return (
        Product(sums, "x", "weight_ih", "bias_ih", rows),
        Product(sums, "h_prev", "weight_hh", "bias_hh", rows),
        *(
            Product(gates, f"{SIGMOIDAL[gate]}_prev", "weight_gates", None, numbers, column)
            for gate, column in zip(gates, numbers, strict=True)
        ),
    )


def _normed_output_phase(variant: LSTMVariant) -> Phase:
    """The output from the normalised cell state."""
    forward, backward = _normed_output_equations(variant)
    return Phase(
        gates=("cell_state",),
        products=(Product(("cell_state",), "c", None),),
        reads=("o",),
        gives=(variant.output,),
        keeps=("t", "t_slope"),
        uses=("o", "t", "t_slope"),
        forward=forward,
        backward=backward,
        constants=("output_alpha", "output_beta") if variant.slopes else (),
        norm=(len(GATES),),
    )


def _projection_phase() -> Phase:
    """The projection of the output."""
    return Phase(
        gates=("projection",),
        products=(Product(("projection",), "m", "weight_hr", None, (0,)),),
        reads=(),
        gives=("h",),
        keeps=(),
        uses=(),
        forward=project,
        backward=project_backward,
        size="projected",
    )


# Equations: factories bind the options, on which compilers then branch ----------------------------------------


def _forward_equations(variant: LSTMVariant) -> Callable:
    gate_of, input_of = variant.squash("recurrent"), variant.squash("input")
    has_i, has_f, has_o = (gate in variant.gates for gate in SIGMOIDAL)
    i_follows, f_follows = (variant.follower == gate for gate in ("input_gate", "forget_gate"))
    peepholes, dropout, clip_cell = bool(variant.peepholes), variant.dropout, "cell_clip" in variant.clips

    def forward(one, v):
        """``c = f * c_prev + i * g``."""
        i, f, o = one, one, one
        i_slope, f_slope, o_slope = one, one, one
        if has_f:
            z = v.forget_gate
            if peepholes:
                z = z + v.p_f * v.c_prev
            f, f_slope = gate_of(one, z, v)
        if has_i:
            z = v.input_gate
            if peepholes:
                z = z + v.p_i * v.c_prev
            i, i_slope = gate_of(one, z, v)
        if i_follows:
            i = one - f
        if f_follows:
            f = one - i
        g, g_slope = input_of(one, v.cell_input, v)
        added = i * g
        if dropout:
            added = added * v.candidate_dropout
        c = f * v.c_prev + added
        if clip_cell:
            c = clipped(c, v.cell_clip)
        if has_o:
            z = v.output_gate
            if peepholes:
                z = z + v.p_o * c
            o, o_slope = gate_of(one, z, v)
        return c, i, f, g, o, i_slope, f_slope, g_slope, o_slope

    return forward


def _output_equation(variant: LSTMVariant) -> Callable:
    output_of = variant.squash("output")

    def output(one, v):
        """``h = o * tanh(c)``."""
        t, _ = output_of(one, v.c, v)
        return (v.o * t,)

    return output


def _backward_equations(variant: LSTMVariant) -> Callable:
    gradients_of, slopes = _gradients_of_output(variant), variant.slopes
    has_i, has_f, has_o = (gate in variant.gates for gate in SIGMOIDAL)
    i_follows, f_follows = (variant.follower == gate for gate in ("input_gate", "forget_gate"))
    peepholes, dropout, clip_cell = bool(variant.peepholes), variant.dropout, "cell_clip" in variant.clips
    carried = bool(variant.carried)

    def backward(one, d, v):
        """Gradients of the pre-activations, of the cell state before, and of the peepholes."""
        do, dc = gradients_of(one, d, v)
        if slopes:
            i_slope, f_slope, g_slope, o_slope = v.i_slope, v.f_slope, v.g_slope, v.o_slope
        else:
            i_slope, f_slope, g_slope, o_slope = v.i - v.i * v.i, v.f - v.f * v.f, one - v.g * v.g, v.o - v.o * v.o
        p_i, p_f, p_o = one, one, one
        di, df = one, one
        if has_o:
            do = do * o_slope
            if peepholes:
                p_o = do * v.c
                dc = dc + do * v.p_o
        if clip_cell:
            dc = unless_clipped(v.c, v.cell_clip, dc)
        dadded = dc
        if dropout:
            dadded = dc * v.candidate_dropout
        dg = dadded * v.i * g_slope
        before = dc * v.f
        if has_i:
            di = dadded * v.g
            if f_follows:
                di = di - dc * v.c_prev
            if carried:
                di = di + d.i
            di = di * i_slope
            if peepholes:
                p_i = di * v.c_prev
                before = before + di * v.p_i
        if has_f:
            df = dc * v.c_prev
            if i_follows:
                df = df - dadded * v.g
            if carried:
                df = df + d.f
            df = df * f_slope
            if peepholes:
                p_f = df * v.c_prev
                before = before + df * v.p_f
        return di, df, dg, do, before, p_i, p_f, p_o

    return backward


def _gradients_of_output(variant: LSTMVariant) -> Callable:
    if variant.layer_norm:
        return given_gradients
    output_of, dh_of, adds_o = variant.squash("output"), _gradient_of_h(variant), "o" in variant.carried

    def gradients(one, d, v):
        """Gradients of the output gate's value and of the cell state, as far as they come from the output."""
        t, t_slope = output_of(one, v.c, v)
        dh = dh_of(d)
        do = dh * t
        if adds_o:
            do = do + d.o
        return do, d.c + dh * v.o * t_slope

    return gradients


def given_gradients(one, d, v):
    """The same gradients, where the output has a phase of its own."""
    return d.o, d.c


def _gradient_of_h(variant: LSTMVariant) -> Callable:
    return of_m if variant.projected else of_h


def of_m(d):
    """The gradient of the output before its projection."""
    return d.m


def of_h(d):
    """The gradient of the output."""
    return d.h


def _normed_output_equations(variant: LSTMVariant) -> tuple[Callable, Callable]:
    output_of, dh_of = variant.squash("output"), _gradient_of_h(variant)

    def forward(one, v):
        """``h = o * tanh(cell state)``."""
        t, t_slope = output_of(one, v.cell_state, v)
        return v.o * t, t, t_slope

    def backward(one, d, v):
        """Gradients of the normalised cell state and of the output gate."""
        dh = dh_of(d)
        return dh * v.o * v.t_slope, dh * v.t

    return forward, backward


def project(one, v):
    """The projected output."""
    return (v.projection,)


def project_backward(one, d, v):
    """Its gradient."""
    return (d.h,)
