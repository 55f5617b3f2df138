"""Losses on several threads."""

import numpy as np

from numlstm.backends.contract import LossSpec
from numlstm.backends.cpu.backend import CpuBackend
from numlstm.backends.cpu.machine.thread_count import limit_threads


def test_any_number_of_threads_gives_the_same_bits():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(2001, 203)).astype("float32"), rng.integers(203, size=2001)
    weights, results = rng.uniform(size=2001), []
    for threads in (1, 2, 3):
        with limit_threads(threads):
            loss, gradient = CpuBackend().loss(LossSpec("softmax"), scores, targets, weights)
        results.append((loss, gradient.tobytes()))
    assert results[1] == results[2] == results[0]
