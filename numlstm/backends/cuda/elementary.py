"""The functions of `numlstm.cells.elementary` on CUDA's scalars; the simulator runs the bodies that stand there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...cells import elementary
from .. import plain
from .device import SIMULATED
from .launching import device_function, overloads

FUNCTIONS = (elementary.exp, elementary.log1p, elementary.sigmoid, elementary.tanh, elementary.where_negative)


def device_equation(function: Any) -> Any:
    """A plain function, for kernels to call; the simulator runs it as it is."""
    if SIMULATED or function is None:
        return function
    return plain.compiled(function, device_function, FUNCTIONS)


def _constants(x: Any) -> tuple[Any, Any]:
    """0 and 1 in the type of a number: a literal would make everything double precision."""
    real = np.dtype(str(x)).type
    return real(0), real(1)


@overloads(elementary.exp)
def _exp(x):
    return lambda x: math.exp(x)


@overloads(elementary.log1p)
def _log1p(x):
    return lambda x: math.log1p(x)


@overloads(elementary.sigmoid)
def _sigmoid(x):
    zero, one = _constants(x)

    def sigmoid(x):
        t = math.exp(-abs(x))
        return (t if x < zero else one) / (one + t)

    return sigmoid


@overloads(elementary.tanh)
def _tanh(x):
    return lambda x: math.tanh(x)


@overloads(elementary.where_negative)
def _where_negative(x, a, b):
    zero, _ = _constants(x)
    return lambda x, a, b: a if x < zero else b
