"""Activation functions with their parameters, and with bounds of their arguments.

The functions made here take ``(one, z, v)`` and return the value and the slope at z. With `slopes` they have
parameters, which are constants of the cell, named after the role of the function. Without, they have none, and the
compiler drops the slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .activations import ACTIVATIONS
from .elementary import where_negative

PARAMETERS = ("alpha", "beta")
PREACTIVATION_CLIP = "preactivation_clip"


def function_of(activation: tuple[Any, ...]) -> Callable:
    """The function of an activation with its parameters."""
    return ACTIVATIONS[activation[0]][0]


def constants_of(roles: Mapping[str, tuple[Any, ...]], clip: float) -> dict[str, float]:
    """The constants of activations, by role, and the bound, if there is one."""
    constants = {f"{role}_{name}": 0.0 for role in roles for name in PARAMETERS}
    for role, (_, *parameters) in roles.items():
        constants |= {f"{role}_{name}": value for name, value in zip(PARAMETERS, parameters, strict=False)}
    return constants | ({PREACTIVATION_CLIP: clip} if clip < math.inf else {})


def clipped(x, limit):
    """``min(max(x, -limit), limit)``."""
    low = limit - limit - limit
    x = where_negative(x + limit, low, x)
    return where_negative(limit - x, limit, x)


def unless_clipped(x, limit, slope):
    """`slope` where ``|x| < limit``, else 0."""
    zero = limit - limit
    return where_negative(x - limit, where_negative(zero - limit - x, slope, zero), zero)


def recurrent(function: Callable, *, slopes: bool, clip: bool) -> Callable:
    """The activation of gates."""

    def squash(one, z, v):
        if clip:
            y, slope = function(one, clipped(z, v.preactivation_clip), v.recurrent_alpha, v.recurrent_beta)
            return y, unless_clipped(z, v.preactivation_clip, slope)
        if slopes:
            return function(one, z, v.recurrent_alpha, v.recurrent_beta)
        return function(one, z, one, one)

    return squash


def of_input(function: Callable, *, slopes: bool, clip: bool) -> Callable:
    """The activation of the cell input, or of a candidate."""

    def squash(one, z, v):
        if clip:
            y, slope = function(one, clipped(z, v.preactivation_clip), v.input_alpha, v.input_beta)
            return y, unless_clipped(z, v.preactivation_clip, slope)
        if slopes:
            return function(one, z, v.input_alpha, v.input_beta)
        return function(one, z, one, one)

    return squash


def of_output(function: Callable, *, slopes: bool) -> Callable:
    """The activation of the cell state, which has no bound here."""

    def squash(one, c, v):
        if slopes:
            return function(one, c, v.output_alpha, v.output_beta)
        return function(one, c, one, one)

    return squash
