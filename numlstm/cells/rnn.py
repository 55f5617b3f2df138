"""The plain recurrent network of Elman 1990, without gates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from . import squashing
from .cell import Cell, Parameter, Phase, Product
from .elementary import tanh, where_negative

OPTIONS: dict[str, Any] = {"nonlinearity": ("tanh",), "preactivation_clip": math.inf}


def rnn(options: dict[str, Any], *, layer_norm: bool, candidate_dropout: bool) -> Cell:
    """The plain recurrent network, with any activation."""
    if candidate_dropout:
        raise ValueError("cell 'rnn' has no candidate for candidate_dropout: set it to 0")
    chosen, clip = options["nonlinearity"], options["preactivation_clip"]
    slopes = clip < math.inf or chosen not in EQUATIONS
    constants = squashing.constants_of({"input": chosen}, clip) if slopes else {}
    squash = squashing.of_input(squashing.function_of(chosen), slopes=True, clip=clip < math.inf)
    forward, backward = _equations(squash) if slopes else EQUATIONS[chosen]
    kept = ("slope",) if slopes else ()
    return Cell(
        name="rnn",
        states=("h",),
        phases=(
            Phase(
                gates=("hidden_state",),
                products=(
                    Product(("hidden_state",), "x", "weight_ih", "bias_ih", (0,)),
                    Product(("hidden_state",), "h_prev", "weight_hh", "bias_hh", (0,)),
                ),
                reads=(),
                gives=("h",),
                keeps=kept,
                uses=kept or ("h",),
                forward=forward,
                backward=backward,
                constants=(*constants,),
            ),
        ),
        parameters=(
            Parameter("weight_ih", 1, columns="input"),
            Parameter("weight_hh", 1, columns="hidden"),
            Parameter("bias_ih", 1, optional=True),
            Parameter("bias_hh", 1, optional=True),
        ),
        constants=(*constants.items(),),
    )


def _equations(squash: Callable) -> tuple[Callable, Callable]:
    """The equations of an activation whose slope does not follow from its value."""

    def forward(one, v):
        """``h = φ(W x + R h_prev + b)``."""
        return squash(one, v.hidden_state, v)

    def backward(one, d, v):
        """Gradient of the pre-activation."""
        return (d.h * v.slope,)

    return forward, backward


def tanh_forward(one, v):
    """``h = tanh(W x + R h_prev + b)``."""
    return (tanh(v.hidden_state),)


def tanh_backward(one, d, v):
    """Gradient of the pre-activation."""
    return (d.h * (one - v.h * v.h),)


def relu_forward(one, v):
    """``h = max(W x + R h_prev + b, 0)``."""
    return (where_negative(v.hidden_state, one - one, v.hidden_state),)


def relu_backward(one, d, v):
    """Gradient of the pre-activation; 0 where it is not positive."""
    zero = one - one
    return (where_negative(zero - v.h, d.h, zero),)


EQUATIONS = {("tanh",): (tanh_forward, tanh_backward), ("relu",): (relu_forward, relu_backward)}
