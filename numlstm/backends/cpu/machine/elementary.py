"""exp, log1p, sigmoid and tanh on SIMD vectors, within 4 ulp over the whole range; NaN propagates.

All but log1p reduce to ``exp(x) = 2**k exp(r)`` with ``|r| <= log(2) / 2`` and
``exp(r) = 1 + r + r**2 q(r)``, where q interpolates ``(exp(r) - 1 - r) / r**2`` at Chebyshev's nodes:
relative error of exp 1.0e-8 for float32, 1.7e-17 for float64.
"""

from __future__ import annotations

from dataclasses import dataclass

from numba.extending import lower_builtin, type_callable

from ....cells import elementary
from .simd import Vector, VectorLayout

LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class _Format:
    """Constants that depend on the width of a number."""

    mantissa_bits: int
    exponent_bias: int
    log2_high: float  # few bits, so that k * log2_high is exact
    log2_low: float
    lowest: float  # exp of it is 0
    highest: float  # exp of it is infinite
    saturated: float  # tanh of it is 1
    coefficients: tuple[float, ...]  # of q, constant first


_FORMATS = {
    32: _Format(
        23, 127, 0.693359375, -2.12194440054690583e-4, -104.0, 89.0, 10.0,
        (0.5, 0.16666576266288757, 0.041666556149721146, 0.008363203145563602, 0.0013926213141530752),
    ),
    64: _Format(
        52, 1023, 0.6931471803691238, 1.9082149292705877e-10, -746.0, 710.0, 20.0,
        (0.5, 0.16666666666666669, 0.04166666666662399, 0.008333333333330051, 0.0013888888917281794,
         0.00019841269863105968, 2.480152119021773e-05, 2.7557268378684192e-06, 2.7620138719733994e-07,
         2.5100424157005067e-08),
    ),
}  # fmt: skip


def _at_least(layout, builder, x, bound):
    """max(x, bound); NaN stays NaN."""
    bound = layout.constant(bound)
    return builder.select(builder.fcmp_ordered(">", bound, x), bound, x)


def _at_most(layout, builder, x, bound):
    """min(x, bound); NaN stays NaN."""
    bound = layout.constant(bound)
    return builder.select(builder.fcmp_ordered("<", bound, x), bound, x)


def _reduce(layout, builder, x):
    """Integer k and exp(r) - 1, where x = k log(2) + r.

    Adding 1.5 * 2**mantissa_bits rounds to an integer, and leaves it in the low bits. A conversion to integers would be
    undefined for NaN.
    """
    form = _FORMATS[layout.bits]
    shift = 1.5 * 2.0**form.mantissa_bits
    shifted = layout.fma(builder, x, layout.constant(LOG2_E), layout.constant(shift))
    k_float = builder.fsub(shifted, layout.constant(shift))
    k = builder.bitcast(shifted, layout.integer)
    r = layout.fma(builder, k_float, layout.constant(-form.log2_high), x)
    r = layout.fma(builder, k_float, layout.constant(-form.log2_low), r)
    q = layout.constant(form.coefficients[-1])
    for coefficient in form.coefficients[-2::-1]:
        q = layout.fma(builder, q, r, layout.constant(coefficient))
    return k, layout.fma(builder, builder.fmul(r, r), q, r)


def _power_of_two(layout, builder, k, offset=0):
    """2**(k + offset) from the integer in the low bits of `k`, for a normal result."""
    form = _FORMATS[layout.bits]
    shift = layout.integers(form.mantissa_bits)
    one = layout.integers((form.exponent_bias + offset) << form.mantissa_bits)
    return builder.bitcast(builder.add(builder.shl(k, shift), one), layout.vector)


def emit_exp(layout, builder, x):
    """exp(x); 2**k is a product of two halves, so that neither overflows or underflows before the result does."""
    form = _FORMATS[layout.bits]
    x = _at_most(layout, builder, _at_least(layout, builder, x, form.lowest), form.highest)
    k, m = _reduce(layout, builder, x)
    zero = builder.bitcast(layout.constant(1.5 * 2.0**form.mantissa_bits), layout.integer)
    k = builder.sub(k, zero)
    half = builder.ashr(k, layout.integers(1))
    scale = _power_of_two(layout, builder, half)
    value = layout.fma(builder, m, scale, scale)
    return builder.fmul(value, _power_of_two(layout, builder, builder.sub(k, half)))


def _exp_of_negative(layout, builder, x):
    """exp(x) for x <= 0; a constant factor keeps the scale a normal number, and is divided out at the end."""
    form = _FORMATS[layout.bits]
    lift = form.exponent_bias // 2
    k, m = _reduce(layout, builder, _at_least(layout, builder, x, form.lowest))
    scale = _power_of_two(layout, builder, k, lift)
    value = layout.fma(builder, m, scale, scale)
    return builder.fmul(value, layout.constant(2.0**-lift))


def emit_exp_within(layout, builder, x):
    """exp(x) where it is a normal number: of float64 from -700 to 700."""
    k, m = _reduce(layout, builder, x)
    scale = _power_of_two(layout, builder, k)
    return layout.fma(builder, m, scale, scale)


def emit_sigmoid(layout, builder, x):
    """1 / (1 + t) or t / (1 + t), with t = exp(-|x|): no digits cancel, and t keeps its last bits."""
    t = _exp_of_negative(layout, builder, builder.fneg(layout.call(builder, "fabs", x)))
    negative = builder.fcmp_ordered("<", x, layout.constant(0))
    numerator = builder.select(negative, t, layout.constant(1))
    return builder.fdiv(numerator, builder.fadd(t, layout.constant(1)))


def emit_tanh(layout, builder, x):
    """-m / (m + 2) with m = expm1(-2 |x|), and the sign of x."""
    form = _FORMATS[layout.bits]
    a = _at_most(layout, builder, layout.call(builder, "fabs", x), form.saturated)
    k, m = _reduce(layout, builder, builder.fmul(a, layout.constant(-2)))
    scale = _power_of_two(layout, builder, k)
    m = layout.fma(builder, m, scale, builder.fsub(scale, layout.constant(1)))
    value = builder.fdiv(builder.fneg(m), builder.fadd(m, layout.constant(2)))
    return layout.call(builder, "copysign", value, x)


def emit_log1p(layout, builder, x):
    """2 artanh(s) with s = x / (2 + x) <= 1/3, by its series; for 0 <= x <= 1."""
    s = builder.fdiv(x, builder.fadd(x, layout.constant(2)))
    square = builder.fmul(s, s)
    terms = 8 if layout.bits == 32 else 17  # 9**-terms / (2 terms + 1) is below an ulp
    total = layout.constant(2 / (2 * terms - 1))
    for k in range(terms - 2, 0, -1):
        total = layout.fma(builder, total, square, layout.constant(2 / (2 * k + 1)))
    total = builder.fmul(builder.fmul(total, square), s)
    return builder.fadd(total, builder.fadd(s, s))


def emit_where_negative(layout, builder, x, a, b):
    """`a` in the lanes where x < 0, `b` in the others."""
    return builder.select(builder.fcmp_ordered("<", x, layout.constant(0)), a, b)


def _lower(function, emit, count=1):
    @type_callable(function)
    def typing(context):
        if count == 1:
            return lambda x: x if isinstance(x, Vector) else None
        return lambda x, a, b: x if isinstance(x, Vector) and x == a == b else None

    @lower_builtin(function, *[Vector] * count)
    def lower(context, builder, signature, arguments):
        return emit(VectorLayout.of(signature.return_type), builder, *arguments)


_lower(elementary.exp, emit_exp)
_lower(elementary.log1p, emit_log1p)
_lower(elementary.sigmoid, emit_sigmoid)
_lower(elementary.tanh, emit_tanh)
_lower(elementary.where_negative, emit_where_negative, 3)
FUNCTIONS = (
    elementary.exp, elementary.log1p, elementary.sigmoid, elementary.tanh, elementary.where_negative
)  # fmt: skip
