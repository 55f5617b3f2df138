"""The overhead of a training step: the fraction of its time that passes outside compiled kernels.

`NUMLSTM_NUM_THREADS=1 python asv_bench/overhead.py [--write]`: with one thread, the time inside kernels is the sum of
all calls. A step is everything that `fit` does for a batch: taking it from the data, forward, loss, backward,
clipping, Adam. The best of many epochs counts, once without a clock, and once with a clock around each kernel, which
the fraction comes from.
"""

from __future__ import annotations

import time

import numpy as np
import tables

from numlstm.backends.contract import EmbeddingSpec, LossSpec, SequenceLossSpec
from numlstm.backends.cpu.machine import threads
from numlstm.backends.cpu.machine.compiling import Kernel
from numlstm.backends.dispatch import backend_for
from numlstm.layers.options import stack_of
from numlstm.training.batches import Sequences
from numlstm.training.data import Data
from numlstm.training.embedding import TokenChannels
from numlstm.training.labels import LabelRows
from numlstm.training.loop import Trainer
from numlstm.training.model import Model
from numlstm.training.network import Network
from numlstm.training.optimizers import Adam
from numlstm.training.targets import Targets

BATCHES, WARM_UP = 8, 10  # of an epoch; epochs until all shapes of batches have come
KINDS = "numbers", "characters", "labels of steps"  # what is read and learnt
SHAPES = {  # (T, N, I, H), whether lengths are unequal, the kind, and epochs
    "(8, 32, 8, 64)": ((8, 32, 8, 64), False, "numbers", 200),
    "(50, 32, 8, 64), lengths 1..T": ((50, 32, 8, 64), True, "numbers", 200),
    "the same, characters": ((50, 32, 8, 64), True, "characters", 200),
    "the same, a CRF": ((50, 32, 8, 64), True, "labels of steps", 200),
    "(100, 64, 64, 128)": ((100, 64, 64, 128), False, "numbers", 40),
}
CHARACTERS, LABELS = 30, 10


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


def random_trainer(steps, rows, inputs, units, unequal=False, kind="numbers"):
    """A trainer on random data of one of `KINDS`; characters have vectors of `inputs` numbers."""
    rng, backend, count = np.random.default_rng(0), backend_for("cpu"), rows * BATCHES
    tokens, x = None, rng.normal(size=(count, steps, inputs)).astype("float32")
    lengths = rng.integers(1, steps + 1, count) if unequal else np.full(count, steps)
    if kind == "characters":
        tokens = TokenChannels(EmbeddingSpec(((CHARACTERS, inputs),), (False,)), (0,))
        x = rng.integers(0, CHARACTERS, (count, steps, 1))
    targets, pooling, loss = Targets(rng.integers(0, LABELS, count), np.ones(count)), "last", LossSpec("softmax")
    if kind == "labels of steps":
        targets = LabelRows(
            rng.integers(0, LABELS, count * steps), steps * np.arange(count), lengths, np.ones(count), 0
        )
        pooling, loss = "none", SequenceLossSpec("crf", LABELS)
    stack = stack_of("lstm", inputs, "float32", {"hidden_size": units})
    network = Network(stack, LABELS, pooling, loss, tokens=tokens)
    flat = network.pack(backend, network.initialise("keras", rng))
    data = Data(Sequences.from_padded(x, lengths), targets)
    model = Model(network, backend, flat, training=True)
    return Trainer(model, Adam(backend, flat, clip_norm=1.0), data, batch_size=rows, accumulation=1, rng=rng)


def seconds_per_step(trainer):
    """Seconds of a step, averaged over an epoch."""
    start = time.perf_counter()
    for batches in trainer.groups():
        trainer.step(batches, 1e-3)
    return (time.perf_counter() - start) / BATCHES


def warm_trainer(*arguments):
    """A `random_trainer` to which all shapes of batches have come."""
    trainer = random_trainer(*arguments)
    for _ in range(WARM_UP):
        seconds_per_step(trainer)
    return trainer


def measured():
    """The lines of the table."""
    yield "| (T, N, I, H) | microseconds a step | outside kernels |\n|---|---|---|"
    for name, (shape, unequal, kind, epochs) in SHAPES.items():
        trainer = warm_trainer(*shape, unequal, kind)
        total = min(seconds_per_step(trainer) for _ in range(epochs))
        timed = []
        with Clock() as clock:
            trainer = warm_trainer(*shape, unequal, kind)  # what it has noted goes through the clock
            for _ in range(epochs):
                clock.seconds = 0.0
                seconds = seconds_per_step(trainer)
                timed.append((seconds, clock.seconds / BATCHES))
        best, inside = min(timed)
        yield f"| {name} | {1e6 * total:.0f} | {100 * (1 - inside / best):.1f} % |"


if __name__ == "__main__":
    if threads.thread_count() != 1:
        raise SystemExit("set NUMLSTM_NUM_THREADS=1: on several threads, times inside kernels overlap")
    tables.report("overhead.md", measured())
