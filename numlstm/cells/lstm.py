"""Long Short-Term Memory: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000, and its variants."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from . import squashing
from .cell import NORM, Cell, Parameter, Phase, Product
from .squashing import clipped, unless_clipped

GATES = ("input_gate", "forget_gate", "cell_input", "output_gate")  # in the order of their rows
SIGMOIDAL = {"input_gate": "i", "forget_gate": "f", "output_gate": "o"}
OPTIONS: dict[str, Any] = {
    "peepholes": False,
    "coupled_gates": False,
    "input_gate": True,
    "forget_gate": True,
    "output_gate": True,
    "full_gate_recurrence": False,
    "proj_size": 0,
    "recurrent_activation": ("sigmoid",),
    "input_activation": ("tanh",),
    "output_activation": ("tanh",),
    "preactivation_clip": math.inf,
    "cell_clip": math.inf,
}
ROLES = ("recurrent", "input", "output")  # of activations


def lstm(options: dict[str, Any], *, layer_norm: bool, candidate_dropout: bool) -> Cell:
    """The LSTM with these options; all of them are given."""
    follower = {False: None, True: "input_gate", "input": "forget_gate"}[options["coupled_gates"]]
    gates = {gate: value for gate, value in SIGMOIDAL.items() if options[gate] and gate != follower}
    roles = {role: options[f"{role}_activation"] for role in ROLES}
    clips = tuple(name for name in ("preactivation_clip", "cell_clip") if options[name] < math.inf)
    slopes = "preactivation_clip" in clips or [name for name, *_ in roles.values()] != ["sigmoid", "tanh", "tanh"]
    scales = squashing.constants_of(roles, math.inf) if slopes else {}
    peepholes = tuple(
        (f"p_{value}", "peephole", "ifo".index(value)) for value in gates.values() if options["peepholes"]
    )
    carried = tuple(gates.values()) if options["full_gate_recurrence"] else ()
    projected = bool(options["proj_size"])
    name = "m" if projected else "h"
    present = tuple(gate for gate in GATES if gate in gates or gate == "cell_input")
    rows = tuple(GATES.index(gate) for gate in present)
    forward, backward, output, normed_output, normed_output_backward = _equations(
        [squashing.function_of(chosen) for chosen in roles.values()], gates, clips, follower=follower,
        peepholes=bool(peepholes), slopes=slopes, candidate_dropout=candidate_dropout, carried=bool(carried),
        split=layer_norm, projected=projected,
    )  # fmt: skip

    given = ("c", "o", *(value for value in carried if value != "o")) if layer_norm else (name, "c", *carried)
    kept = (*"ifgo", *(f"{value}_slope" for value in "ifgo" if slopes))
    phases = [
        Phase(
            gates=present,
            products=_products(present, rows, tuple(gates) if carried else ()),
            reads=("c_prev",),
            gives=given,
            keeps=tuple(value for value in kept if value not in given),
            uses=(*kept, "c", "c_prev"),
            forward=forward,
            backward=backward,
            parameters=peepholes,
            constants=(*scales, *clips),
            masks=("candidate_dropout",) if candidate_dropout else (),
            norm=rows if layer_norm else (),
            results=("c", *"ifgo", *(f"{value}_slope" for value in "ifgo")),
            gradients=(*GATES, "c_prev", "p_i", "p_f", "p_o"),
            finish=None if layer_norm else output,
            finish_reads=() if layer_norm else ("o", "c"),
            finish_gives=() if layer_norm else (name,),
        )
    ]
    if layer_norm:
        phases.append(
            Phase(
                gates=("cell_state",),
                products=(Product(("cell_state",), "c", None),),
                reads=("o",),
                gives=(name,),
                keeps=("t", "t_slope"),
                uses=("o", "t", "t_slope"),
                forward=normed_output,
                backward=normed_output_backward,
                constants=("output_alpha", "output_beta") if slopes else (),
                norm=(len(GATES),),
            )
        )
    if projected:
        phases.append(
            Phase(
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
        )
    return Cell(
        name="lstm",
        states=("h", "c", *carried),
        phases=tuple(phases),
        parameters=_parameters(options, layer_norm),
        traces=(("input_gate", "i"), ("forget_gate", "f"), ("cell_input", "g"), ("output_gate", "o")),
        constants=(*scales.items(), *((name, options[name]) for name in clips)),
    )


def _products(present: tuple[str, ...], rows: tuple[int, ...], carried: tuple[str, ...]) -> tuple[Product, ...]:
    """What the pre-activations are sums of; gates that are carried from step to step are multiplied too."""
    among = tuple([*SIGMOIDAL].index(gate) for gate in carried)
    return (
        Product(present, "x", "weight_ih", "bias_ih", rows),
        Product(present, "h_prev", "weight_hh", "bias_hh", rows),
        *(
            Product(carried, f"{SIGMOIDAL[gate]}_prev", "weight_gates", None, among, column)
            for gate, column in zip(carried, among, strict=True)
        ),
    )


def _parameters(options: dict[str, Any], layer_norm: bool) -> tuple[Parameter, ...]:
    """All parameters, with PyTorch's shapes where it has them."""
    projected = bool(options["proj_size"])
    parameters = [
        Parameter("weight_ih", 4, columns="input"),
        Parameter("weight_hh", 4, columns="projected" if projected else "hidden"),
        Parameter("bias_ih", 4, optional=True),
        Parameter("bias_hh", 4, optional=True),
    ]
    if projected:
        parameters.append(Parameter("weight_hr", 1, "projected", "hidden"))
    if options["peepholes"]:
        parameters.append(Parameter("peephole", 3))
    if options["full_gate_recurrence"]:
        parameters.append(Parameter("weight_gates", 3, columns="hidden", column_blocks=3))
    if layer_norm:
        parameters += [Parameter(name, len(GATES) + 1) for name in NORM]
    return tuple(parameters)


def project(one, v):
    """The projected output."""
    return (v.projection,)


def project_backward(one, d, v):
    """Its gradient."""
    return (d.h,)


def _equations(
    activations: list[Callable], gates: dict[str, str], clips: tuple[str, ...], *, follower: str | None,
    peepholes: bool, slopes: bool, candidate_dropout: bool, carried: bool, split: bool, projected: bool,
) -> tuple[Callable, ...]:  # fmt: skip
    """Forward, backward and output; and what makes the output of a normalised cell state, forward and backward."""
    recurrent, of_input, of_output = activations
    has_i, has_f, has_o = (gate in gates for gate in SIGMOIDAL)
    i_follows, f_follows = (follower == gate for gate in ("input_gate", "forget_gate"))
    clip_sums, clip_cell = "preactivation_clip" in clips, "cell_clip" in clips
    gate_of = squashing.recurrent(recurrent, slopes=slopes, clip=clip_sums)
    input_of = squashing.of_input(of_input, slopes=slopes, clip=clip_sums)
    output_of = squashing.of_output(of_output, slopes=slopes)

    def given_out(d):
        """The gradient of what the output gate gives."""
        if projected:
            return d.m
        return d.h

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
        if candidate_dropout:
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

    def output(one, v):
        """``h = o * tanh(c)``."""
        t, _ = output_of(one, v.c, v)
        return (v.o * t,)

    def backward(one, d, v):
        """Gradients of the pre-activations, of the cell state before, and of the peepholes."""
        dc = d.c
        if split:
            do = d.o
        else:
            t, t_slope = output_of(one, v.c, v)
            dh = given_out(d)
            do = dh * t
            dc = dc + dh * v.o * t_slope
            if carried and has_o:
                do = do + d.o
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
        if candidate_dropout:
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

    def normed_output(one, v):
        """``h = o * tanh(cell state)``."""
        t, t_slope = output_of(one, v.cell_state, v)
        return v.o * t, t, t_slope

    def normed_output_backward(one, d, v):
        """Gradients of the normalised cell state and of the output gate."""
        dh = given_out(d)
        return dh * v.o * v.t_slope, dh * v.t

    return forward, backward, output, normed_output, normed_output_backward
