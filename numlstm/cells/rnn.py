"""The plain recurrent network of Elman 1990: no gates, and no memory that lasts."""

from __future__ import annotations

from typing import Any

from .cell import Cell, Parameter, Phase, Product
from .elementary import tanh, where_negative

OPTIONS: dict[str, Any] = {"nonlinearity": "tanh"}


def rnn(options: dict[str, Any], *, layer_norm: bool, candidate_dropout: bool) -> Cell:
    """The plain recurrent network, with tanh or relu."""
    if candidate_dropout:
        raise ValueError("cell 'rnn' has no candidate for candidate_dropout")
    forward, backward = {"tanh": (tanh_forward, tanh_backward), "relu": (relu_forward, relu_backward)}[
        options["nonlinearity"]
    ]
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
                keeps=(),
                uses=("h",),
                forward=forward,
                backward=backward,
            ),
        ),
        parameters=(
            Parameter("weight_ih", 1, columns="input"),
            Parameter("weight_hh", 1, columns="hidden"),
            Parameter("bias_ih", 1, optional=True),
            Parameter("bias_hh", 1, optional=True),
        ),
    )


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
