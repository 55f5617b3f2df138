"""Times and errors of contestants whose products take numbers of fewer bits, beside one in float32."""

from __future__ import annotations

import time

from peers import PAUSE, ROUNDS, TURN, Process
from problems import TRAINING

WORST = 0.1


def compare(problem, threads, names, method):
    """Times and errors of every contestant, the last array of its results counts; "numlstm" has no error."""
    processes = {name: Process(name, problem, threads) for name in names}
    exact = processes["numlstm"].ask(method, 0)[-1]
    times, errors = {name: [] for name in processes}, {}
    for name, process in processes.items():
        errors[name] = abs(process.ask(method, 0)[-1] - exact).max() / abs(exact).max()
        if not errors[name] <= WORST:
            raise SystemExit(f"{name}: error {errors[name]:.1e} of the largest number")
    repeats = max(2, min(200, int(TURN / problem.flop(training=method == TRAINING))))
    for _ in range(ROUNDS):
        for name, process in processes.items():
            time.sleep(PAUSE)
            times[name] += process.ask(method, repeats)
    for process in processes.values():
        process.close()
    return times, errors
