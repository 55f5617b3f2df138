"""Training in bfloat16, here and in PyTorch: `python asv_bench/bfloat16.py [--threads 1 2] [--scores] [--write]`.

First forward and BPTT through a layer; PyTorch's is under `torch.autocast`. Each contestant has a process of its own,
and sleeps until its turn; rounds alternate. An error is the largest difference from this library's gradient of the
recurrent weights in float32, as a share of its largest number; nobody is timed whose error is above a tenth. Then whole
fits, each in a new process, in turns: the least time of an epoch. `--scores` also trains with eight seeds on the
digits, the sunspots and the adding problem, in float32 and in bfloat16. `--write` writes the tables to `bfloat16.md`.
"""

from __future__ import annotations

import argparse

import numpy as np
import tables
from fewer_bits import compare
from peers import installed, milliseconds
from problems import TRAINING, Problem
from processes import printed_number

SHAPES = [Problem(50, 64, H, H) for H in (256, 512, 650)]
CONTESTANTS = {
    "numlstm": "numlstm", "numlstm bfloat16": "numlstm", "torch": "torch", "torch bfloat16": "torch"
}  # fmt: skip
KINDS = None, "bfloat16"
FITS, SEEDS = 3, range(8)
FIT = """
import time
import numpy as np
from numlstm import LSTMRegressor
X = np.random.default_rng(0).normal(size=(320, 50, 64)).astype("float32")
ends = []
LSTMRegressor(
    hidden_size={hidden}, bidirectional=False, batch_size=64, max_iter=11, random_state=0, compute_dtype={kind!r},
    callback=lambda progress: ends.append(time.perf_counter()),
).fit(X, X[:, -1, 0])
print(min(np.diff(ends)))
"""


def counted(threads):
    """A number of threads, in words."""
    return f"{threads} thread{'s' * (threads > 1)}"


def layers(threads, names):
    """The lines of the table of layers."""
    yield f"Forward and BPTT, {counted(threads)}; milliseconds, minimum (median), and largest error\n"
    yield f"| (T, N, I, H) | {' | '.join(names)} | ours: float32 / bfloat16 |"
    yield "|---|" + "---|" * (len(names) + 1)
    for problem in SHAPES:
        times, errors = compare(problem, threads, names, TRAINING)
        cells = [f"{milliseconds(times[name])}, {errors[name]:.2%}" for name in names]
        exact, rounded = (min(times[name]) for name in names[:2])
        yield f"| {problem} | {' | '.join(cells)} | {exact / rounded:.2f} |"
    yield ""


def fits(threads):
    """The lines of the table of fits."""
    yield f"An epoch of LSTMRegressor, 320 sequences (50, 64), batches of 64, {counted(threads)}; milliseconds\n"
    yield "| H | float32 | bfloat16 | float32 / bfloat16 |"
    yield "|---|---|---|---|"
    for problem in SHAPES:
        rounds = [
            [
                printed_number(FIT.format(hidden=problem.H, kind=kind), NUMLSTM_NUM_THREADS=str(threads))
                for kind in KINDS
            ]
            for _ in range(FITS)
        ]
        exact, rounded = map(min, zip(*rounds, strict=True))
        yield f"| {problem.H} | {1e3 * exact:.0f} | {1e3 * rounded:.0f} | {exact / rounded:.2f} |"
    yield ""


def digits(**options):
    """The share of the test digits that a network of `digits.py` has right."""
    from digits import digits as data

    from numlstm import LSTMClassifier

    train, test, train_labels, test_labels = data()
    model = LSTMClassifier(
        bidirectional=False, pooling="last", learning_rate="constant", learning_rate_init=0.005, batch_size=32,
        max_iter=30, n_iter_no_change=None, scale_inputs=False, **options,
    )  # fmt: skip
    return model.fit(train, train_labels).score(test, test_labels)


def sunspots(horizon, **options):
    """The root mean squared error from 1950 on, as in `examples/sunspots.py`."""
    from numlstm import LSTMRegressor, sliding_windows
    from numlstm.datasets import load_sunspots

    months, numbers = load_sunspots()
    X, y = sliding_windows(np.sqrt(numbers), 48, horizon)
    first = np.arange(len(X)) + 48
    begin = np.datetime64("1950-01")
    train, test = months[first + horizon - 1] < begin, months[first] >= begin
    model = LSTMRegressor(pooling="last", max_iter=10, **options).fit(X[train], y[train])
    return float(np.sqrt(np.mean((np.maximum(model.predict(X[test]), 0) ** 2 - y[test] ** 2) ** 2)))


def adding(**options):
    """The root mean squared error on new sequences of the adding problem."""
    from numlstm import LSTMRegressor
    from numlstm.datasets import make_adding

    (X, y), (new, truth) = (make_adding(count, length=50, random_state=k) for k, count in enumerate((2000, 1000)))
    model = LSTMRegressor(pooling="last", init="chrono", max_iter=30, **options).fit(X, y)
    return float(np.sqrt(np.mean((model.predict(new) - truth) ** 2)))


TASKS = {  # of each: what gives the score, and the form it is printed in
    "digits, H = 64: accuracy": (lambda **more: digits(hidden_size=64, **more), ".4f"),
    "digits, H = 256: accuracy": (lambda **more: digits(hidden_size=256, **more), ".4f"),
    "sunspots, a month ahead: RMSE": (lambda **more: sunspots(1, hidden_size=32, **more), ".2f"),
    "sunspots, twelve months: RMSE": (lambda **more: sunspots(12, hidden_size=32, **more), ".2f"),
    "adding, T = 50: RMSE": (lambda **more: adding(hidden_size=32, **more), ".4f"),
}


def scores():
    """The lines of the table of scores."""
    yield f"Scores of {len(SEEDS)} seeds: mean (lowest to highest)\n"
    yield "| | float32 | bfloat16 |"
    yield "|---|---|---|"
    for name, (task, form) in TASKS.items():
        cells = []
        for kind in KINDS:
            values = [task(compute_dtype=kind, random_state=seed) for seed in SEEDS]
            cells.append(f"{np.mean(values):{form}} ({min(values):{form}} to {max(values):{form}})")
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--scores", action="store_true", help="train with eight seeds, too")
    parser.add_argument("--write", action="store_true", help="write the tables to bfloat16.md")
    options = parser.parse_args()
    names = [name for name, module in CONTESTANTS.items() if installed(module)]
    parts = [*(layers(threads, names) for threads in options.threads), fits(options.threads[-1])]
    table = []
    for part in [*parts, *([scores()] if options.scores else [])]:
        for line in part:
            print(line, flush=True)
            table.append(line)
    if options.write:
        tables.write("bfloat16.md", [tables.conditions("torch"), *table])


if __name__ == "__main__":
    main()
