"""The overhead of a training step: the fraction of its time that passes outside compiled kernels.

`NUMLSTM_NUM_THREADS=1 python asv_bench/overhead.py [--write]`: with one thread, the time inside kernels is the sum of
all calls. A step is everything that `fit` does for a batch: taking it from the data, forward, loss, backward,
clipping, Adam. The best of many epochs counts, once without a clock, and once with a clock around each kernel.
"""

from __future__ import annotations

import time

import numpy as np
import tables

from numlstm.backends.contract import LossSpec
from numlstm.backends.cpu.machine import threads
from numlstm.backends.cpu.machine.compiling import Kernel
from numlstm.backends.dispatch import backend_for
from numlstm.layers.options import stack_of
from numlstm.training.batches import Sequences
from numlstm.training.data import Data
from numlstm.training.loop import Trainer
from numlstm.training.model import Model
from numlstm.training.network import Network
from numlstm.training.optimizers import Adam
from numlstm.training.targets import Targets

BATCHES, WARM_UP = 8, 10  # of an epoch; epochs until all shapes of batches have come
SHAPES = {  # (T, N, I, H), whether lengths are unequal, and epochs
    "(8, 32, 8, 64)": ((8, 32, 8, 64), False, 200),
    "(50, 32, 8, 64), lengths 1..T": ((50, 32, 8, 64), True, 200),
    "(100, 64, 64, 128)": ((100, 64, 64, 128), False, 40),
}


class Clock:
    """Measures the time inside kernels."""

    def __init__(self):
        self.seconds, self.lookup = 0.0, Kernel.__getitem__

    def __enter__(self):
        def timed(kernel, choice):
            entry = self.lookup(kernel, choice)

            def call(*arguments):
                start = time.perf_counter()
                result = entry(*arguments)
                self.seconds += time.perf_counter() - start
                return result

            return call

        Kernel.__getitem__ = timed
        return self

    def __exit__(self, *error):
        Kernel.__getitem__ = self.lookup


def random_trainer(steps, rows, inputs, units, unequal=False):
    """A trainer on random data."""
    rng, backend, count = np.random.default_rng(0), backend_for("cpu"), rows * BATCHES
    network = Network(stack_of("lstm", inputs, "float32", {"hidden_size": units}), 10, "last", LossSpec("softmax"))
    flat = network.pack(backend, network.initialise("keras", rng))
    x = rng.normal(size=(count, steps, inputs)).astype("float32")
    lengths = rng.integers(1, steps + 1, count) if unequal else None
    data = Data(Sequences.from_padded(x, lengths), Targets(rng.integers(0, 10, count), np.ones(count)))
    model = Model(network, backend, flat, training=True)
    return Trainer(model, Adam(backend, flat, clip_norm=1.0), data, batch_size=rows, accumulation=1, rng=rng)


def seconds_per_step(trainer):
    """Seconds of a step, averaged over an epoch."""
    start = time.perf_counter()
    for batches in trainer.groups():
        trainer.step(batches, 1e-3)
    return (time.perf_counter() - start) / BATCHES


def measured():
    """The lines of the table."""
    yield "| (T, N, I, H) | microseconds a step | outside kernels |\n|---|---|---|"
    for name, (shape, unequal, epochs) in SHAPES.items():
        trainer = random_trainer(*shape, unequal)
        for _ in range(WARM_UP):
            seconds_per_step(trainer)
        total = min(seconds_per_step(trainer) for _ in range(epochs))
        inside = []
        for _ in range(epochs):
            with Clock() as clock:
                seconds_per_step(trainer)
            inside.append(clock.seconds / BATCHES)
        fraction = 1 - min(inside) / total
        yield f"| {name} | {1e6 * total:.0f} | {100 * fraction:.1f} % |"


if __name__ == "__main__":
    if threads.thread_count() != 1:
        raise SystemExit("set NUMLSTM_NUM_THREADS=1: on several threads, times inside kernels overlap")
    tables.report("overhead.md", measured())
