"""Sums of probabilities as logarithms, on vectors of float64, and the way of vectors to and from arrays."""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiling import inner
from .elementary import emit_exp_within
from .simd import Vector, VectorLayout, vector_of

NEVER = -1e300  # the logarithm of 0: finite, so that differences are numbers
LEAST = -700.0  # of what goes into exp: processors are slow with numbers that are too small for all their digits
TERMS = 12  # 25**-12 / 25 is below an ulp


def _address(context, builder, kind, array, index):
    """Of a number in an array with one axis."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.ptrtoint(builder.gep(data, [index]), ir.IntType(64))


@intrinsic
def at(typing_context, array, index):
    """The vector that begins at a place of an array (M,)."""
    if not isinstance(array, types.Array) or array.ndim != 1 or array.layout != "C":
        return None
    vector = Vector(array.dtype)

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments)
        return VectorLayout.of(vector).load(builder, address)

    return vector(array, types.intp), generate


@intrinsic
def put(typing_context, array, index, value):
    """Write a vector to a place of an array (M,)."""
    if not isinstance(array, types.Array) or array.ndim != 1 or array.layout != "C":
        return None

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:2])
        VectorLayout.of(value).store(builder, arguments[2], address)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@intrinsic
def every(typing_context, number):
    """A float64 in all lanes."""
    vector = vector_of(types.NumberClass(types.float64))

    def generate(context, builder, signature, arguments):
        return VectorLayout.of(vector).splat(builder, arguments[0])

    return vector(types.float64), generate


@intrinsic
def larger(typing_context, a, b):
    """The larger of two vectors, lane by lane."""

    def generate(context, builder, signature, arguments):
        return _larger(builder, *arguments)

    return a(a, a), generate


@intrinsic
def exp_down(typing_context, x):
    """exp(x), of numbers up to 700; at least exp(`LEAST`)."""

    def generate(context, builder, signature, arguments):
        return _exp_down(VectorLayout.of(x), builder, arguments[0])

    return x(x), generate


@intrinsic
def log_sum(typing_context, a, b, c):
    """``log(exp(a) + exp(b) + exp(c))``, lane by lane; of three `NEVER` about as little."""

    def generate(context, builder, signature, arguments):
        layout = VectorLayout.of(a)
        low, high = _ordered(builder, *arguments[:2])
        low, rest = _ordered(builder, low, arguments[2])
        middle, high = _ordered(builder, rest, high)
        others = [_exp_down(layout, builder, builder.fsub(each, high)) for each in (low, middle)]
        total = builder.fadd(layout.constant(1), builder.fadd(*others))
        return builder.fadd(high, _log_to_three(layout, builder, total))

    return a(a, a, a), generate


def _larger(builder, a, b):
    return builder.select(builder.fcmp_ordered("<", a, b), b, a)


def _ordered(builder, a, b):
    """The smaller and the larger."""
    below = builder.fcmp_ordered("<", a, b)
    return builder.select(below, a, b), builder.select(below, b, a)


def _exp_down(layout, builder, x):
    return emit_exp_within(layout, builder, _larger(builder, x, layout.constant(LEAST)))


def _log_to_three(layout, builder, x):
    """log(x) for 1 <= x <= 3: of x, or half of it, by 2 artanh(z) with z = (x - 1) / (x + 1) <= 1/5."""
    one = layout.constant(1)
    large = builder.fcmp_ordered(">", x, layout.constant(1.5))
    x = builder.select(large, builder.fmul(x, layout.constant(0.5)), x)
    z = builder.fdiv(builder.fsub(x, one), builder.fadd(x, one))
    square = builder.fmul(z, z)
    series = layout.constant(2 / (2 * TERMS - 1))
    for k in range(TERMS - 2, -1, -1):
        series = layout.fma(builder, series, square, layout.constant(2 / (2 * k + 1)))
    doublings = builder.select(large, layout.constant(math.log(2)), layout.constant(0))
    return layout.fma(builder, series, z, doublings)


@inner
def exponentials(values, less, out, count):
    """``exp(values[k] - less)`` of `count` numbers, in whole vectors; at least exp(`LEAST`)."""
    shift = every(np.float64(less))
    for k in range(0, count, len_of_vector()):
        put(out, k, exp_down(at(values, k) - shift))


@intrinsic
def len_of_vector(typing_context):
    """Lanes of a vector of float64."""
    lanes = vector_of(types.NumberClass(types.float64)).lanes

    def generate(context, builder, signature, arguments):
        return context.get_constant(types.intp, lanes)

    return types.intp(), generate
