"""Threads that share the units of each step, and wait for one another between steps.

A call is a sequence of stages, and each stage consists of parts. Every thread of the team runs through all stages. In
each stage it claims its own part first, then any part that nobody has claimed, until the stage is done. So no thread
waits for another one that the pool has not sent, or has sent late: a team works on a pool that others use, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiling import inner
from .simd import I64
from .target import target

LINE = 128  # bytes that two cores may not share
PATIENCE = 64  # times that a thread reads how far a stage is before it claims the part of another thread
NO_PART = -1


class Team(NamedTuple):
    """A team, as kernels take it."""

    parts: int  # 1 where there is no team
    rows: int
    address: int  # of LINE bytes that count the parts done, and LINE bytes for the next stage of each part; zeros


def synchronisation(parts: int) -> np.ndarray:
    """Memory for a team, to be zeroed before each call."""
    return np.zeros(LINE // 8 * (parts + 1), np.int64)


@intrinsic
def exchange(typing_context, place, old, new):
    """Write `new` if `old` is there, and return whether it was."""

    def generate(context, builder, signature, arguments):
        place, old, new = arguments
        pointer = builder.inttoptr(place, I64.as_pointer())
        result = builder.cmpxchg(pointer, old, new, "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return types.boolean(types.intp, types.intp, types.intp), generate


@intrinsic
def increment(typing_context, place, number):
    """Add a number, after all that was written before."""

    def generate(context, builder, signature, arguments):
        place, number = arguments
        builder.atomic_rmw("add", builder.inttoptr(place, I64.as_pointer()), number, "acq_rel")
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def read_shared(typing_context, place):
    """Read an integer that another thread may have written, and see all that it wrote before."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(builder.inttoptr(arguments[0], I64.as_pointer()), "acquire", 8)

    return types.intp(types.intp), generate


@intrinsic
def write_shared(typing_context, place, number):
    """Write an integer that another thread may read; it sees all that was written before, too."""

    def generate(context, builder, signature, arguments):
        place, number = arguments
        builder.store_atomic(number, builder.inttoptr(place, I64.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def pause(typing_context):
    """Let the other thread of a core go first, where the processor knows how."""

    def generate(context, builder, signature, arguments):
        if target().pause:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, target().pause), [])
        return context.get_dummy_value()

    return types.void(), generate


@inner
def claim(team, part, stage):
    """Whether the caller is the one who does a part of a stage."""
    return team.parts == 1 or exchange(team.address + LINE * (part + 1), stage, stage + 1)


@inner
def complete(team):
    """Tell the team that a part is done."""
    if team.parts > 1:
        increment(team.address, 1)


@inner
def next_unclaimed(team, stage):
    """A part of the stage that nobody has claimed; or, when all parts are done, NO_PART."""
    if team.parts == 1:
        return NO_PART
    reads = 0
    while read_shared(team.address) < (stage + 1) * team.parts:
        reads += 1
        if reads > PATIENCE:
            for part in range(team.parts):
                if read_shared(team.address + LINE * (part + 1)) == stage:
                    return part
        pause()
    return NO_PART
