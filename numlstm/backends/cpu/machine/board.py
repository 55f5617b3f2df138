"""Where a call lays out its shards, for workers that take them without the interpreter's lock.

One call at a time has the board. It writes down what is to be done, and makes it public with a new *ticket*: the number
of the call, and of its next shard. A worker reads the ticket, then the call, and claims a shard by an exchange of the
ticket, which fails if the ticket is another one by then: so nobody ever does a shard of one call with the arguments of
another. The caller takes shards, too, and waits for the last one. While nobody looks at the board, it does all of them.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .arrays import address_of, aligned
from .compiling import call, inner, kernel, let_call
from .memory import load_entry, load_integers, store_integers
from .team import LINE, exchange, increment, pause, read_shared, write_shared

BITS = 16  # of a ticket, for the number of the next shard
CLOSED = (1 << BITS) - 1  # no call has such a shard
PATIENCE = 10_000  # times that a caller reads how far the workers are before it lets other threads go first
TICKET, OWNER, LAYOUT, DONE, LOOKING, ERRANDS = range(0, 6 * LINE, LINE)  # places on the board, a line each


class SharedCall(NamedTuple):
    """A call, as it lies on the board."""

    code: int  # address of the machine code
    shards: int  # table of `ShardCall`
    count: int


class ShardCall(NamedTuple):
    """A shard: the arguments of a kernel that threads share."""

    at: int  # address of the arguments that several shards have in common
    first: int  # of rows or blocks
    last: int


let_call(ShardCall, 1)  # `real` comes before it


@intrinsic
def let_others_go(typing_context):
    """Let another thread run on this core, where the system knows how."""

    def generate(context, builder, signature, arguments):
        if hasattr(os, "sched_yield"):
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


@inner
def _do(shared, index):
    """Do a shard of a call."""
    call(shared.code, load_entry(ShardCall, shared.shards, index))


@inner
def _take_shards(board, number):
    """Do shards of the call with a number, until none is left."""
    while True:
        ticket = read_shared(board + TICKET)
        shared, index = load_integers(SharedCall, board + LAYOUT), ticket & CLOSED
        if ticket >> BITS != number or index >= shared.count:
            return
        if exchange(board + TICKET, ticket, ticket + 1):
            _do(shared, index)
            increment(board + DONE, 1)


@inner
def _share(board, shared):
    """Do all shards of a call, together with the workers that look at the board; alone, if another call has it."""
    if not exchange(board + OWNER, 0, 1):
        for index in range(shared.count):
            _do(shared, index)
        return
    store_integers(shared, board + LAYOUT)
    write_shared(board + DONE, 0)
    number = (read_shared(board + TICKET) >> BITS) + 1
    write_shared(board + TICKET, number << BITS)
    _take_shards(board, number)
    reads = 0
    while read_shared(board + DONE) < shared.count:
        reads += 1
        if reads > PATIENCE:
            let_others_go()
        pause()
    write_shared(board + TICKET, (number << BITS) | CLOSED)
    write_shared(board + OWNER, 0)


@kernel
def share(board, calls, count):
    """Make the calls of a table of `SharedCall`, one after the other. Workers help where one has several shards."""
    for index in range(count):
        shared = load_entry(SharedCall, calls, index)
        if shared.count == 1:
            _do(shared, 0)
        else:
            _share(board, shared)


@kernel
def look(board, seen, errands, reads):
    """Take shards of calls until none has come for so many reads, or the number of errands is another.

    Calls up to the number `seen` have been looked at. Returns the number of the last one.
    """
    increment(board + LOOKING, 1)
    left = reads
    while left > 0 and read_shared(board + ERRANDS) == errands:
        number = read_shared(board + TICKET) >> BITS
        if number == seen:
            pause()
            left -= 1
        else:
            _take_shards(board, number)
            seen, left = number, reads
    increment(board + LOOKING, -1)
    return seen


class Board:
    """The board of a pool of threads."""

    def __init__(self) -> None:
        self.memory = aligned(ERRANDS // 8 + 1, np.int64, zero=True)
        self.address = address_of(self.memory)

    @property
    def looking(self) -> int:
        """How many workers look at it."""
        return int(self.memory[LOOKING // 8])

    @property
    def errands(self) -> int:
        """How many errands there have been: work that no board is needed for."""
        return int(self.memory[ERRANDS // 8])

    def call_away(self) -> None:
        """Let workers stop to look, as there is an errand."""
        self.memory[ERRANDS // 8] += 1

    def share(self, calls: int, count: int) -> None:
        """Make calls of machine code; a table of `SharedCall` is at the address."""
        share[None](self.address, calls, count)

    def look(self, seen: int, errands: int, reads: int) -> int:
        """As a worker: take shards for a time. Returns the number of the last call seen."""
        return look[None](self.address, seen, errands, reads)
