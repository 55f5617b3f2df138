"""The time of an LSTM at the limit: products at the FMA peak, and equations as fast as they run alone.

Both are measured in the first cache, with as many threads as the layer has, and the best of many runs counts, because
other programs on the machine can only slow a run down. A processor does products and equations one after the other: so
the time at the limit is the sum.
"""

from __future__ import annotations

import time
from functools import partial

import numba
import numpy as np

from numlstm.backends.contract import LayerSpec
from numlstm.backends.cpu.linear import peak
from numlstm.backends.cpu.machine import threads
from numlstm.backends.cpu.machine.arrays import address_of, aligned
from numlstm.backends.cpu.machine.compiling import call, kernel
from numlstm.backends.cpu.machine.target import target
from numlstm.backends.cpu.machine.thread_count import limit_threads
from numlstm.backends.cpu.recurrent.arguments import SIDE, SideEntry
from numlstm.backends.cpu.recurrent.equations import PhaseBackward, PhaseForward, phase_backward, phase_forward
from numlstm.backends.cpu.recurrent.tags import phase_types

ROWS, SLOTS, GATES = 24, 6, 4  # a block of the forward kernel; what a record of an LSTM has
RUNS, REPEATS = 40, 2000  # a run takes about a millisecond


@kernel
def run_forward(code, sums, sums_row, records, record_row, slot, rows, keep, repeats):
    """The forward equations of `rows` rows and a vector of units, again and again."""
    for _ in range(repeats):
        call(
            code,
            PhaseForward(
                sums=sums, sums_row=sums_row, before=records, now=records + rows * record_row, record_row=record_row,
                slot=slot, first=0, vectors=1, rows=rows, keep=keep, parameters=0, constants=0, masks=0, number=0,
            ),
        )  # fmt: skip


@kernel
def run_backward(code, sides, records, record_row, slot, gradients, gradient_row, rows, units, repeats):
    """The backward equations of the same."""
    for _ in range(repeats):
        call(
            code,
            PhaseBackward(
                sums=0, sums_row=0, sides=sides, pair=0, before=records, now=records + rows * record_row,
                record_row=record_row, slot=slot, dbefore=gradients, dnow=gradients + 2 * slot, dvalues=gradients,
                gradient_row=gradient_row, gradient_slot=slot, first=0, last=1, units=units, rows=rows, parameters=0,
                dparameters=0, dparameters_row=0, constants=0, masks=0, number=0,
            ),
        )  # fmt: skip


class Equations:
    """The equations of an LSTM on memory that the first cache holds: gates, records and gradients of some rows."""

    def __init__(self):
        real, (tag,) = numba.typeof(np.float32), phase_types(LayerSpec("lstm", 1, 1).description)
        lanes = target().lanes(32)
        rng = np.random.default_rng(0)

        def memory(*shape):
            array = aligned(shape, np.float32)
            array[...] = 0.5 * rng.standard_normal(shape)
            return array

        sums, records = memory(ROWS, GATES * lanes), memory(2 * ROWS, SLOTS, lanes)
        gradients, gates = memory(ROWS, 4, lanes), memory(ROWS, GATES * lanes)
        side = SideEntry(address=address_of(gates), row=gates.strides[0], first=0, gates=GATES)
        sides = np.array([side], SIDE)
        self.kept = sums, records, gradients, gates, sides  # kernels know their addresses alone
        record = address_of(records), *records.strides[:2]
        self.forward = phase_forward.address(real, tag), address_of(sums), sums.strides[0], *record, ROWS
        self.backward = (phase_backward.address(real, tag), address_of(sides), *record,
                         address_of(gradients), gradients.strides[0], ROWS, lanes)  # fmt: skip

    def run(self, keep, repeats):
        """Forward equations; with `keep` they keep what the way back needs."""
        run_forward[None](*self.forward, keep, repeats)

    def run_back(self, repeats):
        """Backward equations."""
        run_backward[None](*self.backward, repeats)


def seconds_of(calls):
    """The least seconds of a run of `calls`, one for each thread, at the same time."""
    shards = [(k, k + 1) for k in range(len(calls))]
    best = np.inf
    with limit_threads(len(calls)):
        for _ in range(RUNS):
            began = time.perf_counter()
            threads.pool.run(lambda first, last: calls[first](), shards)
            best = min(best, time.perf_counter() - began)
    return best


class Limit:
    """What the processor can do with so many threads: the best of all runs so far.

    Attributes
    ----------
    peak : float
        Floating-point operations a second, of products.
    seconds : list of float
        Seconds of the equations of a vector of units: forward alone, and with the way back.
    """

    def __init__(self, count):
        self.equations = [Equations() for _ in range(count)]
        self.peak, self.seconds = 0.0, [np.inf, np.inf]

    def measure(self):
        """Run again. Returns the peak, both seconds, and the units of a vector."""
        count = len(self.equations)
        self.peak = max(self.peak, *(peak.flops(count) for _ in range(RUNS)))
        vectors = count * ROWS * REPEATS
        forward = seconds_of([partial(each.run, 0, REPEATS) for each in self.equations]) / vectors
        keeping = seconds_of([partial(each.run, 1, REPEATS) for each in self.equations]) / vectors
        back = seconds_of([partial(each.run_back, REPEATS) for each in self.equations]) / vectors
        self.seconds = [min(self.seconds[0], forward), min(self.seconds[1], keeping + back)]
        return np.array([self.peak, *self.seconds, target().lanes(32)])
