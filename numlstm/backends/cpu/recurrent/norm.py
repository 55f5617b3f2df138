"""Layer normalisation of pre-activations, row by row: Ba, Kiros & Hinton 2016, equation 4."""

from __future__ import annotations

import math

from ..machine.compiling import pointed
from ..machine.memory import lanes_of, load_address, vector_bytes
from ..machine.simd import keep_first, load, splat, store, sum_lanes

EPSILON = 1e-5  # added to the variance


@pointed
def norm_forward(real, sums, sums_row, rows, gates, groups, units, weight, bias, now, row, slot, first, factors, keep):
    """Normalise over the units, scale and shift, in place.

    Parameters (addresses and bytes unless said otherwise)
    ------------------------------------------------------
    sums, sums_row : pre-activations (rows, groups, gates) vectors
    gates, groups, units : int, vectors of units, and units
    weight, bias : (groups, gates) vectors
    now, row, slot : records, whose slots `first`, ... get the normalised numbers, and places `factors`, ... what they
        were scaled with, if these are to be kept
    """
    size, lanes = vector_bytes(real), lanes_of(real)
    for m in range(rows):
        for gate in range(gates):
            place = sums + m * sums_row + gate * size
            total = splat(real, real(0))
            for j in range(groups):
                total = total + load(real, place + j * gates * size)
            mean = splat(real, sum_lanes(total) / real(units))
            total = splat(real, real(0))
            for j in range(groups):
                far = keep_first(load(real, place + j * gates * size) - mean, units - j * lanes)
                total = total + far * far
            factor = splat(real, real(1) / real(math.sqrt(sum_lanes(total) / real(units) + real(EPSILON))))
            for j in range(groups):
                at = j * gates * size
                value = keep_first((load(real, place + at) - mean) * factor, units - j * lanes)
                if keep:
                    store(value, now + m * row + (first + gate) * slot + j * size)
                store(value * load(real, weight + at + gate * size) + load(real, bias + at + gate * size), place + at)
            if keep:
                store(factor, now + m * row + factors + gate * size)


@pointed
def norm_backward(
    real, gradients, gradients_row, rows, gates, groups, units, weight, now, row, slot, first, factors,
    dweight, dbias, dnorm_row,
):  # fmt: skip
    """From gradients of what equations took to gradients of pre-activations, in place.

    Parameters are those of `norm_forward`; `dweight` and `dbias`, (rows, groups, gates) vectors with `dnorm_row` bytes
    between rows, are written.
    """
    size, lanes = vector_bytes(real), lanes_of(real)
    for m in range(rows):
        for gate in range(gates):
            place = gradients + m * gradients_row + gate * size
            hats = now + m * row + (first + gate) * slot
            scales = weight + gate * size
            total, along = splat(real, real(0)), splat(real, real(0))
            for j in range(groups):
                at = j * gates * size
                d, hat = load(real, place + at), load(real, hats + j * size)
                store(d * hat, dweight + m * dnorm_row + gate * size + at)
                store(d, dbias + m * dnorm_row + gate * size + at)
                scaled = d * load(real, scales + at)
                total, along = total + scaled, along + scaled * hat
            mean = splat(real, sum_lanes(total) / real(units))
            slope = splat(real, sum_lanes(along) / real(units))
            factor = load(real, now + m * row + factors + gate * size)
            for j in range(groups):
                at = j * gates * size
                d = load(real, place + at) * load(real, scales + at)
                hat = load(real, hats + j * size)
                store(keep_first((d - mean - hat * slope) * factor, units - j * lanes), place + at)


@pointed
def spread(real, gradients, gradients_row, first, last, gates, groups, sides, number, pair, panel_groups):
    """Copy gate gradients (N, groups, gates) vectors of some rows to the two places of each of `number` sides."""
    size = vector_bytes(real)
    for k in range(number):
        side = sides + 64 * k
        place, stride, copy = load_address(side), load_address(side + 8), load_address(side + 16)
        panel_bytes, row_bytes = load_address(side + 24), load_address(side + 32)
        gate_first, count = load_address(side + 40), load_address(side + 48)
        for m in range(first, last):
            for j in range(groups):
                panel, group = j // panel_groups, j % panel_groups
                to = place + m * stride + j * count * size
                second = copy + panel * panel_bytes + (pair + m) * row_bytes + group * count * size
                for gate in range(count):
                    value = load(real, gradients + m * gradients_row + (j * gates + gate_first + gate) * size)
                    store(value, to + gate * size)
                    store(value, second + gate * size)
