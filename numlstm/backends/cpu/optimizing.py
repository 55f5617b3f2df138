"""Norms and optimizer steps on flat vectors.

A step gets `decay` without elements where there is none, the gradient's factor `scale`, and the hyper-parameters as a
named tuple of `equations.optimizers`, in float64.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .. import plain
from ..equations import optimizers as equations
from .machine.compiling import free_sums, kernel, once

BLOCK = 1024

penalised = plain.compiled(equations.penalised, once, ())
adam_decay = plain.compiled(equations.adam_decay, once, ())
adam = plain.compiled(equations.adam, once, ())
sgd = plain.compiled(equations.sgd, once, ())
rmsprop = plain.compiled(equations.rmsprop, once, ())


@intrinsic
def rounded(typing_context, real, numbers):
    """A named tuple of float64, its numbers rounded to another type."""
    result = types.NamedUniTuple(real.instance_type, len(numbers), numbers.instance_class)

    def generate(context, builder, signature, arguments):
        values = cgutils.unpack_tuple(builder, arguments[1])
        cast = [context.cast(builder, value, numbers.dtype, result.dtype) for value in values]
        return context.make_tuple(builder, result, cast)

    return result(real, numbers), generate


@free_sums
def _squares(vector):
    total = 0.0
    for i in range(vector.size):  # from another start, indices might be negative, and loads would be gathers
        value = np.float64(vector[i])  # float() of a float32 is a float32 to Numba
        total += value * value
    return total


@kernel
def global_norm(vector):
    """Euclidean norm in float64; blocks bound the rounding of a long sum."""
    norm = 0.0
    for start in range(0, vector.size, BLOCK):
        norm += _squares(vector[start : start + BLOCK])
    return math.sqrt(norm)


@kernel
def adam_step(flat, gradient, mean, square, decay, scale, numbers):
    """One step of Adam or AdamW."""
    real = flat.dtype.type
    factor, numbers = real(scale), rounded(real, numbers)
    for i in range(flat.size):
        theta, g = flat[i], gradient[i] * factor
        if decay.size:
            theta, g = adam_decay(theta, g, decay[i], numbers)
        flat[i], mean[i], square[i] = adam(theta, g, mean[i], square[i], numbers)


@kernel
def sgd_step(flat, gradient, velocity, decay, scale, numbers):
    """One step of gradient descent with momentum."""
    real = flat.dtype.type
    factor, numbers = real(scale), rounded(real, numbers)
    for i in range(flat.size):
        g = gradient[i] * factor
        if decay.size:
            g = penalised(flat[i], g, decay[i])
        flat[i], velocity[i] = sgd(flat[i], g, velocity[i], numbers)


@kernel
def rmsprop_step(flat, gradient, square, decay, scale, numbers):
    """One step of RMSprop."""
    real = flat.dtype.type
    factor, numbers = real(scale), rounded(real, numbers)
    for i in range(flat.size):
        g = gradient[i] * factor
        if decay.size:
            g = penalised(flat[i], g, decay[i])
        flat[i], square[i] = rmsprop(flat[i], g, square[i], numbers)
