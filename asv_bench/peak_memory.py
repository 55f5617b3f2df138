"""The peak memory of a training step, of this library and of PyTorch: `python asv_bench/peak_memory.py [--write]`.

Each contestant has a process of its own, which has done the same step at a small shape before. The script prints by how
much the step raises the peak memory of the process (Linux's VmHWM), and its time. The loss is the sum of the outputs at
the last step.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import tables
from problems import Problem, layer_of
from processes import start

SHAPES = (Problem(100, 256, 64, 128), Problem(20000, 4, 2, 64))


def peak(since_now=False):
    """The peak memory of this process, in bytes."""
    if since_now:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def ours(problem, recompute=False):
    layer, x = layer_of(problem, backend="cpu", recompute=recompute), problem.data()[0]
    dstate = np.ones((1, problem.N, problem.H), np.float32), None

    def step():
        _, _, pullback = layer.vjp(x)
        pullback(None, dstate)

    return step


def recomputing(problem):
    return ours(problem, recompute=True)


def torch(problem):
    import torch

    net = torch.nn.LSTM(problem.D, problem.H, batch_first=True)
    x = torch.from_numpy(problem.data()[0]).requires_grad_()

    def step():
        net.zero_grad(set_to_none=True)
        net(x)[0][:, -1].sum().backward()

    return step


CONTESTANTS = {"numlstm": ours, "numlstm, recompute": recomputing, "torch": torch}


def measure(connection, name, problem):
    """Send the bytes and the seconds of a step."""
    CONTESTANTS[name](Problem(3, 2, problem.D, problem.H))()
    step = CONTESTANTS[name](problem)
    before = peak(since_now=True)
    step()
    added, times = peak() - before, []
    for _ in range(3):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    connection.send((added, min(times)))


def measured():
    """The lines of the table."""
    yield "| (T, N, I, H) | | MiB | of torch's | seconds |\n|---|---|---|---|---|"
    for problem in SHAPES:
        results = {}
        for name in CONTESTANTS:
            connection, process = start(measure, name, problem)
            results[name] = connection.recv()
            process.join()
        for name, (size, seconds) in results.items():
            yield f"| {problem} | {name} | {size / 2**20:.1f} | {size / results['torch'][0]:.2f} | {seconds:.2f} |"


if __name__ == "__main__":
    tables.report("peak_memory.md", measured(), "torch")
