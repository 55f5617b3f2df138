"""The most memory that a training step takes, next to PyTorch's: `python asv_bench/peak_memory.py`.

Each in a process of its own, which has done the same at a small shape before: what is told is by how much the step
raises the process's peak (Linux's VmHWM), and its time. The loss is the sum of the last step's outputs.
"""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np
from contestants import Problem, layer_of

SHAPES = (Problem(100, 256, 64, 128), Problem(20000, 4, 2, 64))


def peak(since_now=False):
    """The most bytes that this process has had."""
    if since_now:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def ours(problem, recompute=False):
    layer, x = layer_of(problem, backend="cpu", recompute=recompute), problem.data()[0]
    one = np.ones((1, problem.N, problem.H), np.float32), None

    def step():
        _, _, pullback = layer.vjp(x)
        pullback(None, one)

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
    """Bytes and seconds of a step."""
    CONTESTANTS[name](Problem(3, 2, problem.D, problem.H))()
    step = CONTESTANTS[name](problem)
    before = peak(since_now=True)
    step()
    added, times = peak() - before, []
    for _ in range(3):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    connection.send((added, min(times)))


def main():
    context = multiprocessing.get_context("spawn")
    print("| (T, N, I, H) | | MiB | of torch's | seconds |\n|---|---|---|---|---|")
    for problem in SHAPES:
        results = {}
        for name in CONTESTANTS:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=measure, args=(sender, name, problem))
            process.start()
            results[name] = receiver.recv()
            process.join()
        for name, (size, seconds) in results.items():
            print(f"| {problem} | {name} | {size / 2**20:.1f} | {size / results['torch'][0]:.2f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
