"""What a step of training costs besides its kernels: the share of the time that passes outside compiled code.

`NUMLSTM_NUM_THREADS=1 python asv_bench/overhead.py`: on one thread the time inside kernels is the sum of their calls. A
step is everything that `fit` does for a batch: taking it from the data, forward, loss, back, clipping, Adam. The best
of many epochs, once without a clock in it and once with one around each kernel.
"""

from __future__ import annotations

import time

import numpy as np

from numlstm.backends.contract import LossSpec
from numlstm.backends.cpu.machine import threads
from numlstm.backends.cpu.machine.compiling import Kernel
from numlstm.backends.dispatch import backend_for
from numlstm.layers.options import stack_of
from numlstm.training.batches import Sequences
from numlstm.training.loop import Data, Trainer
from numlstm.training.network import Model, Network
from numlstm.training.optimizers import Adam
from numlstm.training.targets import Targets

BATCHES = 8
SHAPES = {(8, 32, 8, 64): 200, (100, 64, 64, 128): 40}  # (T, N, I, H), and epochs


class Clock:
    """Adds up the time inside kernels."""

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


def trainer(steps, rows, inputs, units):
    """A trainer on random data."""
    rng, backend, count = np.random.default_rng(0), backend_for("cpu"), rows * BATCHES
    network = Network(stack_of("lstm", inputs, "float32", {"hidden_size": units}), 10, "last", LossSpec("softmax"))
    flat = network.pack(backend, network.initialise("keras", rng))
    x = rng.normal(size=(count, steps, inputs)).astype("float32")
    data = Data(Sequences.from_padded(x, None), Targets(rng.integers(0, 10, count), np.ones(count)))
    model = Model(network, backend, flat, training=True)
    return Trainer(model, Adam(backend, flat, clip_norm=1.0), data, batch_size=rows, accumulation=1, rng=rng)


def epoch(each):
    """Seconds of a step."""
    start = time.perf_counter()
    for batches in each.groups():
        each.step(batches, 1e-3)
    return (time.perf_counter() - start) / BATCHES


def main():
    for shape, epochs in SHAPES.items():
        each = trainer(*shape)
        epoch(each)
        whole = min(epoch(each) for _ in range(epochs))
        inside = []
        for _ in range(epochs):
            with Clock() as clock:
                epoch(each)
            inside.append(clock.seconds / BATCHES)
        share = 1 - min(inside) / whole
        print(f"{shape}: {1e6 * whole:.0f} microseconds a step, {100 * share:.1f} % outside kernels")


if __name__ == "__main__":
    if threads.thread_count() != 1:
        raise SystemExit("set NUMLSTM_NUM_THREADS=1: on several threads, times inside kernels overlap")
    main()
