"""How far a compiled backend may be from the reference, and why: the only table of its kind."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tolerance:
    """Largest difference allowed, in units of the largest number of the array."""

    float32: float
    float64: float
    reason: str


TOLERANCES = {
    "state": Tolerance(
        2e-6, 1e-14, "sums of up to 84 products and one sigmoid or tanh per gate, each good to a few ulp, over 40 steps"
    ),
    "int8": Tolerance(
        5e-3,
        0.0,
        "as for states; but a number near the middle of two steps may be rounded to either: of one 127th of the "
        "largest number, times a weight",
    ),
    "bfloat16": Tolerance(
        5e-3,
        0.0,
        "as for states and gradients; but a number near the middle of two that have 8 digits may be rounded to either: "
        "a 256th of it, times a weight",
    ),
    "most in bfloat16": Tolerance(
        3e-5, 0.0, "of half of the numbers: few are rounded to the other, but these are part of many sums"
    ),
    "gradient": Tolerance(
        4e-6, 5e-14, "as for states, there and back; sums over up to 1040 pairs of a row and a step, in chunks"
    ),
    "embedding": Tolerance(1e-6, 1e-14, "a sum of up to 60 vectors of a token"),
    "affine": Tolerance(1e-6, 1e-14, "one sum of up to 67 products"),
    "pooling": Tolerance(
        1e-6, 3e-15, "a sum of up to 67 products, a tanh and an exp per step; sums over up to 40 steps"
    ),
    "gradient of a pooling": Tolerance(
        2e-6, 5e-15, "as for a pooling; differences from a mean, which cancel, summed over up to 800 pairs as above"
    ),
    "loss": Tolerance(1e-7, 1e-14, "computed in float64 from the same scores; a float32 gradient is rounded once"),
    "likelihood": Tolerance(1e-7, 1e-11, "as the loss; but differences of log Γ, and of its derivative, cancel"),
    "loss over a sequence": Tolerance(
        1e-7, 1e-11, "computed in float64; logarithms of up to 1e4 lose four digits; a float32 gradient is rounded once"
    ),
    "norm": Tolerance(1e-14, 1e-14, "summed in float64 whatever the dtype"),
    "parameter": Tolerance(1e-6, 1e-14, "a few steps of a few roundings each"),
    "moment": Tolerance(1e-6, 1e-14, "a few steps of a few roundings each"),
    "pieces": Tolerance(
        0.0, 1e-10, "the same sums in another order, in float64 only; three steps of Adam divide by small moments"
    ),
    "equation": Tolerance(
        0.0, 1e-8, "central differences, in float64 only: truncation and cancellation, each about 1e-10"
    ),
}


def assert_close(kind, name, got, wanted):
    """`got` has the shape, the dtype and the NaN of `wanted`, and its numbers but for `TOLERANCES[kind]`."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape, name
    assert got.dtype == wanted.dtype, name
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted), err_msg=f"NaN in {name}")
    worst = np.max(np.abs(got - wanted), initial=0.0, where=~np.isnan(wanted))
    scale = np.max(np.abs(wanted), initial=0.0, where=~np.isnan(wanted))
    allowed = getattr(TOLERANCES[kind], str(got.dtype))
    assert worst <= allowed * scale, f"{name}: {worst:.3g} of {scale:.3g}, allowed {allowed:.3g}"
