"""The time of CTC's loss with its gradient, next to PyTorch's: `python asv_bench/ctc.py [--threads 1]`.

(T, N, C) = (200, 32, 30) float32 scores, targets of 20 labels, from scores to the gradient of scores: PyTorch's
`log_softmax`, `ctc_loss` and `backward`. Each in a process of its own; they take turns, so that what else the machine
does meets both. What is told is the least of many calls. Values and gradients are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time

import numpy as np

T, N, C, LABELS = 200, 32, 30, 20
TURNS, CALLS = 20, 25


def problem():
    """Scores (N, T, C), targets (N, 20)."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, T, C)).astype("float32"), rng.integers(1, C, size=(N, LABELS))


def ours():
    """A call that gives loss and gradient."""
    from numlstm.backends.contract import SequenceLossSpec
    from numlstm.backends.cpu.backend import CpuBackend

    scores, targets = problem()
    backend, spec, weights = CpuBackend(), SequenceLossSpec("ctc", C), np.ones(N)
    nothing = np.zeros(0, "float32")
    prepared = backend.prepare(spec, nothing)
    return lambda: backend.sequence_loss(prepared, scores, None, targets, weights, nothing)


def torch(threads=None):
    """The same."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    scores, targets = problem()
    x = torch.tensor(scores.transpose(1, 0, 2).copy(), requires_grad=True)
    wanted, lengths, counts = torch.tensor(targets), torch.full((N,), T), torch.full((N,), LABELS)

    def call():
        x.grad = None
        loss = torch.nn.functional.ctc_loss(x.log_softmax(-1), wanted, lengths, counts, reduction="sum")
        loss.backward()
        return loss.item(), x.grad.numpy().transpose(1, 0, 2)

    return call


def work(connection, name, threads):
    """Give the result once, then the least time of some calls, whenever asked."""
    if threads:
        os.environ["NUMLSTM_NUM_THREADS"] = str(threads)
    call = ours() if name == "numlstm" else torch(threads)
    connection.send(call())
    while connection.recv():
        times = []
        for _ in range(CALLS):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        connection.send(min(times))


def main():
    """Compare, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="of each; by default as many as it takes by itself")
    threads = parser.parse_args().threads
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in ("numlstm", "torch"):
        pipes[name], other = context.Pipe()
        processes.append(context.Process(target=work, args=(other, name, threads), daemon=True))
        processes[-1].start()
    (loss, gradient), (theirs, of_theirs) = (pipe.recv() for pipe in pipes.values())
    np.testing.assert_allclose(loss, theirs, rtol=1e-4)
    np.testing.assert_allclose(gradient, of_theirs, atol=1e-3)  # theirs is computed in float32
    best = dict.fromkeys(pipes, np.inf)
    for _ in range(TURNS):
        for name, pipe in pipes.items():
            pipe.send(True)
            best[name] = min(best[name], pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    for name, seconds in best.items():
        print(f"{name}: {1e3 * seconds:.2f} ms")
    print(f"numlstm is {best['torch'] / best['numlstm']:.1f} times as fast")


if __name__ == "__main__":
    main()
