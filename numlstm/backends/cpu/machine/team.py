"""Threads that share the units of each step, and wait for one another between steps.

A call is a sequence of stages, and each stage consists of parts. Every thread of the team runs through all stages; it
takes the part that is its own, and then any that nobody has begun, until the stage is done. So nobody waits for a
thread that the pool has not sent, or has sent late: a team works on a shared pool, whatever else that does.
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
PATIENCE = 64  # looks at the clock of a stage before another's part is taken
NOBODY = -1


class Team(NamedTuple):
    """What a kernel knows of its team."""

    parts: int  # 1 where a thread works on rows of its own
    rows: int
    address: int  # of LINE bytes for the parts that are done, and as many for the stage of each part; zeros


def synchronisation(parts: int) -> np.ndarray:
    """Memory for a team, to be zeroed before each call."""
    return np.zeros(LINE // 8 * (parts + 1), np.int64)


@intrinsic
def _exchange(typing_context, place, old, new):
    """Write `new` if `old` is there, and say whether it was."""

    def generate(context, builder, signature, arguments):
        place, old, new = arguments
        pointer = builder.inttoptr(place, I64.as_pointer())
        result = builder.cmpxchg(pointer, old, new, "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return types.boolean(types.intp, types.intp, types.intp), generate


@intrinsic
def _increment(typing_context, place):
    """Add 1, after all that was written before."""

    def generate(context, builder, signature, arguments):
        builder.atomic_rmw("add", builder.inttoptr(arguments[0], I64.as_pointer()), I64(1), "acq_rel")
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def look(typing_context, place):
    """Read what another thread may have written, and see all that it wrote before."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(builder.inttoptr(arguments[0], I64.as_pointer()), "acquire", 8)

    return types.intp(types.intp), generate


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
def begin(team, part, stage):
    """Whether a part of a stage is to be done by whoever asks."""
    return team.parts == 1 or _exchange(team.address + LINE * (part + 1), stage, stage + 1)


@inner
def end(team):
    """Tell that a part is done."""
    if team.parts > 1:
        _increment(team.address)


@inner
def following(team, stage):
    """A part of the stage that nobody has begun, or NOBODY when all are done."""
    if team.parts == 1:
        return NOBODY
    looks = 0
    while look(team.address) < (stage + 1) * team.parts:
        looks += 1
        if looks > PATIENCE:
            for part in range(team.parts):
                if look(team.address + LINE * (part + 1)) == stage:
                    return part
        pause()
    return NOBODY
