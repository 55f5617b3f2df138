"""Layer normalisation of pre-activations, row by row: Ba, Kiros & Hinton 2016, equation 4."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..machine.compiling import pointed
from ..machine.memory import (
    lanes_of,
    stored,
    vector_bytes,
)
from ..machine.simd import keep_first, load, splat, store, sum_lanes
from .arguments import SIDE_BYTES, SideEntry

EPSILON = 1e-5  # added to the variance


class NormForward(NamedTuple):
    """The arguments of `norm_forward`: addresses and bytes, unless said otherwise."""

    sums: int  # pre-activations (rows, groups, gates) vectors, overwritten
    sums_row: int
    rows: int  # number of rows
    gates: int  # vectors of a group
    groups: int  # vectors of units
    units: int  # number of units
    weight: int  # (groups, gates) vectors
    bias: int  # (groups, gates) vectors
    now: int  # records of this step, of the first row
    record_row: int
    slot: int
    first: int  # the first of the slots that get the normalised numbers, if these are kept
    factors: int  # place in a record that gets the factors that they were scaled with, a vector for each gate
    keep: int  # whether they are kept


class NormBackward(NamedTuple):
    """The arguments of `norm_backward`: addresses and bytes, unless said otherwise."""

    sums: int  # gradients of what equations took, (rows, groups, gates) vectors, overwritten
    sums_row: int
    rows: int  # as in `NormForward`, down to `factors`
    gates: int
    groups: int
    units: int
    weight: int
    now: int
    record_row: int
    slot: int
    first: int
    factors: int
    dweight: int  # (rows, groups, gates) vectors, written
    dbias: int  # (rows, groups, gates) vectors, written
    dnorm_row: int  # from row to row of both


class Spread(NamedTuple):
    """The arguments of `spread`: addresses and bytes, unless said otherwise."""

    sums: int  # gate gradients (N, groups, gates) vectors
    sums_row: int
    first: int  # rows first <= m < last
    last: int
    gates: int  # vectors of a group
    groups: int  # vectors of units
    sides: int  # entries of sides
    side_count: int
    pair: int  # number of the pair of row 0


@pointed(NormForward)
def norm_forward(real, n):
    """Normalise over the units, scale and shift, in place."""
    size, lanes = vector_bytes(real), lanes_of(real)
    for m in range(n.rows):
        for gate in range(n.gates):
            place = n.sums + m * n.sums_row + gate * size
            total = splat(real, real(0))
            for j in range(n.groups):
                total = total + load(real, place + j * n.gates * size)
            mean = splat(real, sum_lanes(total) / real(n.units))
            total = splat(real, real(0))
            for j in range(n.groups):
                far = keep_first(load(real, place + j * n.gates * size) - mean, n.units - j * lanes)
                total = total + far * far
            factor = splat(real, real(1) / real(math.sqrt(sum_lanes(total) / real(n.units) + real(EPSILON))))
            for j in range(n.groups):
                at = j * n.gates * size
                value = keep_first((load(real, place + at) - mean) * factor, n.units - j * lanes)
                if n.keep:
                    store(value, n.now + m * n.record_row + (n.first + gate) * n.slot + j * size)
                scale, shift = load(real, n.weight + at + gate * size), load(real, n.bias + at + gate * size)
                store(value * scale + shift, place + at)
            if n.keep:
                store(factor, n.now + m * n.record_row + n.factors + gate * size)


@pointed(NormBackward)
def norm_backward(real, n):
    """The gradients of pre-activations from those of the normalised ones, in place."""
    size, lanes = vector_bytes(real), lanes_of(real)
    for m in range(n.rows):
        for gate in range(n.gates):
            place = n.sums + m * n.sums_row + gate * size
            hats = n.now + m * n.record_row + (n.first + gate) * n.slot
            scales = n.weight + gate * size
            total, along = splat(real, real(0)), splat(real, real(0))
            for j in range(n.groups):
                at = j * n.gates * size
                d, hat = load(real, place + at), load(real, hats + j * size)
                store(d * hat, n.dweight + m * n.dnorm_row + gate * size + at)
                store(d, n.dbias + m * n.dnorm_row + gate * size + at)
                scaled = d * load(real, scales + at)
                total, along = total + scaled, along + scaled * hat
            mean = splat(real, sum_lanes(total) / real(n.units))
            slope = splat(real, sum_lanes(along) / real(n.units))
            factor = load(real, n.now + m * n.record_row + n.factors + gate * size)
            for j in range(n.groups):
                at = j * n.gates * size
                d = load(real, place + at) * load(real, scales + at)
                hat = load(real, hats + j * size)
                store(keep_first((d - mean - hat * slope) * factor, n.units - j * lanes), place + at)


@pointed(Spread)
def spread(real, n):
    """Copy the gate gradients of some rows to the place of each side."""
    size = vector_bytes(real)
    for k in range(n.side_count):
        side = stored(SideEntry, n.sides + SIDE_BYTES * k)
        for m in range(n.first, n.last):
            for j in range(n.groups):
                place = side.address + (n.pair + m) * side.row + j * side.gates * size
                for gate in range(side.gates):
                    value = load(real, n.sums + m * n.sums_row + (j * n.gates + side.first + gate) * size)
                    store(value, place + gate * size)
