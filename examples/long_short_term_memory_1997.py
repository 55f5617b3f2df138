"""
The experiments of 1997
=======================

Runs the experiments of "Long Short-Term Memory" (Hochreiter & Schmidhuber 1997) again, with LSTM, GRU and plain RNN.
Each line is a task: its criterion of success, how many training sequences the paper's network needed, and how many
each of our networks needed until the criterion held. "no" stands for a network that did not get there, with the share
of sequences that it still had wrong. The last task is from "Learning to Forget" (Gers, Schmidhuber & Cummins 2000).

All networks of a task have the same units, batches and learning rate (Adam). Where the lag is long, forget gates
start with `init="chrono"` (Tallec & Ollivier 2018): biases that make units forget after 1 to T steps, T being the
length of a sequence. With a bias of 1, a unit keeps 73 % of its state at each step, and after 100 steps nothing: 0.73
** 100 = 2e-14. Training cannot even begin where neither the state nor its gradient comes through. The option
`--why-chrono` measures it on the adding problem with T = 100 (LSTM, 16 units, batches of 20, seed 0). On 2026-11-29 it
printed: with a bias of 1 the criterion did not hold within 480,000 sequences, 85 % of the last 2,000 were still wrong,
neither with a learning rate of 0.005 nor with 0.01; with chrono it held after 17,000 and 16,500.

Two tasks differ from the paper in one point: in 2a and 2b, whose networks predict every symbol, the last one weighs as
much as all others together.

What was measured is in `examples/long_short_term_memory_1997.md`: `python examples/long_short_term_memory_1997.py
[picture.png] [--quick] [--only TASK] [--seeds N] [--write table.md] [--why-chrono]`
"""

# sphinx_gallery_thumbnail_path = "../examples/long_short_term_memory_1997.png"

import argparse
import datetime
import warnings
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import numlstm
from numlstm import LSTMRegressor, datasets

CELLS = ("lstm", "gru", "rnn")
MOST = 100_000  # sequences, where the paper has more
COMMON = {"hidden_size": 16, "learning_rate_init": 0.01, "batch_size": 20, "init": "chrono", "pooling": "last",
          "scale_targets": False}  # fmt: skip


@dataclass
class Task:
    """A task whose criterion looks at the last `window` training sequences, each judged before it is learnt.

    Attributes
    ----------
    name, criterion : str
    paper : int or None
        Sequences that the paper's network needed.
    draw : callable
        ``draw(n, rng)`` gives sequences, targets and weights of steps or None.
    window, allowed : int
        Of so many sequences, so many may be wrong.
    bound, mean : float
        A sequence is wrong if an error is as large as `bound`; the mean error must be below `mean`.
    chunk : int
        Sequences between two looks.
    options : dict
        Of the network, besides those in COMMON.
    """

    name: str
    criterion: str
    paper: int | None
    draw: object
    window: int
    bound: float
    allowed: int = 0
    mean: float = np.inf
    chunk: int = 500
    options: dict = field(default_factory=dict)

    def errors(self, predicted, y):
        """The largest error of each sequence."""
        return np.abs(np.asarray(predicted) - y).reshape(len(y), -1).max(axis=1)

    def solved(self, model, recent, rng):
        """Whether the criterion holds."""
        errors = np.array(recent)
        return len(errors) == self.window and self.holds(errors)

    def holds(self, errors):
        """Whether errors are as few and as small as they must be."""
        return (errors >= self.bound).sum() <= self.allowed and errors.mean() < self.mean


class Tested(Task):
    """A task whose criterion looks at `window` fresh sequences, while nothing is learnt."""

    def solved(self, model, recent, rng):
        tested = np.array([])
        last = np.array(recent)[-self.chunk :]
        while len(tested) < self.window:
            if not self.holds(last):
                return False
            X, y, _ = self.draw(min(self.chunk, self.window - len(tested)), rng)
            last = self.errors(model.predict(X), y)
            tested = np.concatenate([tested, last])
        return self.holds(tested)


class LastStep(Tested):
    """Errors count at the last step alone."""

    def errors(self, predicted, y):
        return super().errors(np.asarray(predicted)[:, -1], y[:, -1])


class Legal(Task):
    """All symbols that may follow must have the largest outputs, at every step of given strings."""

    def errors(self, predicted, y):
        return np.zeros(len(y))

    def solved(self, model, recent, rng):
        return all(legal_everywhere(model, strings) for strings in self.draw.tests())


def legal_everywhere(model, strings):
    """Whether at every step all symbols that may follow are the most active ones."""
    return all(
        (np.where(legal, scores, np.inf).min(axis=1) > np.where(legal, -np.inf, scores).max(axis=1)).all()
        for scores, legal in zip(model.predict(strings.X), strings.legal, strict=True)
    )


class Strings:
    """256 embedded Reber strings to learn, again and again, and 256 others."""

    def __init__(self, seed=0):
        self.train = datasets.make_embedded_reber(256, random_state=seed)
        self.test = datasets.make_embedded_reber(256, exclude=self.train.X, random_state=seed + 1)

    def __call__(self, count, rng):
        return self.train.X, self.train.y, None

    def tests(self):
        """What must be right."""
        return self.train, self.test


class Streams:
    """Streams of 100 symbols to learn; in the end, one of a million."""

    def __call__(self, count, rng):
        X, y, _ = datasets.make_continual_reber(count, length=100, random_state=rng)
        return X, y, None

    def tests(self):
        """Short streams first: most networks fail there already."""
        for seed, length in enumerate([1_000, 10_000, 100_000, 1_000_000]):
            yield datasets.make_continual_reber(1, length=length, random_state=seed)


def numbers(make, **options):
    """Sequences with a number to say at the end."""

    def draw(count, rng):
        X, y = make(count, **options, random_state=rng)
        return X, y.astype(float), None

    return draw


def classes(**options):
    """The temporal order problem with an output for each class."""

    def draw(count, rng):
        X, y = datasets.make_temporal_order(count, **options, random_state=rng)
        return X, np.eye(2 ** options["n_symbols"])[y], None

    return draw


def lags(regular):
    """Long lags; the last step weighs as much as all others together."""

    def draw(count, rng):
        X, y = datasets.make_long_lag(count, regular=regular, random_state=rng)
        weights = np.ones(y.shape[:2])
        weights[:, -1] = y.shape[1]
        return X, y, weights

    return draw


def adding(length, paper):
    """The adding problem."""
    draw = numbers(datasets.make_adding, length=length)
    criterion = "last 2,000 right (error < 0.04), mean error < 0.01"
    return Task(f"4 adding, T = {length:,}", criterion, paper, draw, 2000, 0.04, mean=0.01)


def order(name, count, paper):
    """The temporal order problem."""
    criterion = "last 2,000 right (all outputs within 0.3), mean error < 0.1"
    return Task(name, criterion, paper, classes(n_symbols=count), 2000, 0.3, mean=0.1)


def two_sequence(name, noisy, mean, paper):
    """The two-sequence problem."""
    draw = numbers(datasets.make_two_sequence, noisy=noisy)
    return Tested(
        name, f"256 test sequences right (error < 0.2), mean error < {mean}", paper, draw, 256, 0.2, mean=mean
    )


def multiplication(allowed, paper):
    """The multiplication problem."""
    draw = numbers(datasets.make_multiplication)
    name = f"5 multiplication, {allowed} wrong"
    return Task(name, f"at most {allowed} of the last 2,000 wrong (error ≥ 0.04)", paper, draw, 2000, 0.04, allowed)


def tasks():
    """All tasks of the two papers."""
    small = {"hidden_size": 32, "batch_size": 4, "learning_rate_init": 0.02, "init": "keras"}
    wide = {"hidden_size": 128, "batch_size": 2, "learning_rate_init": 0.003, "init": "keras", "forget_bias": 5.0}
    few = {"batch_size": 2, "scale_inputs": False}
    all_right = "10,000 test sequences right (all errors < 0.25"
    legal = "legal symbols most active at every step"
    return [
        Legal("1 embedded Reber", f"256 + 256 strings: {legal}", 8_440, Strings(), 1, 1.0, chunk=256, options=small),
        Tested("2a long lag, regular", f"{all_right})", 5_040, lags(True), 10_000, 0.25, chunk=100, options=wide),
        LastStep("2b long lag, random", f"{all_right} at the end)", 5_680, lags(False), 10_000, 0.25, chunk=100,
                 options=few),
        two_sequence("3a two sequences", False, 0.01, 39_850),
        two_sequence("3b two sequences, noise", True, 0.04, 43_250),
        adding(100, 74_000),
        adding(500, 209_000),
        adding(1000, 853_000),
        multiplication(140, 482_000),
        multiplication(13, 1_273_000),
        order("6a temporal order", 2, 31_390),
        order("6b temporal order, three symbols", 3, 571_100),
        Legal("continual Reber (2000)", f"a stream of 1,000,000: {legal}", None, Streams(), 1, 1.0, chunk=200,
              options=small),
    ]  # fmt: skip


QUICK = ("1 embedded Reber", "3a two sequences", "4 adding, T = 100", "6a temporal order")


def learn(task, cell, most, seed):
    """Sequences that a network needed, None if the criterion did not hold; and the share that it had wrong last."""
    rng, used, recent = np.random.default_rng(seed), 0, deque(maxlen=task.window if type(task) is Task else task.chunk)
    model = LSTMRegressor(cell=cell, random_state=seed, **COMMON | task.options)
    while used < most:
        X, y, weights = task.draw(task.chunk, rng)
        if used:
            recent.extend(task.errors(model.predict(X), y))
            if task.solved(model, recent, rng):
                return used, 0.0
        model.partial_fit(X, y, sample_weight=weights)
        used += task.chunk
    return None, float((np.array(recent) >= task.bound).mean())


def why_chrono(most=480_000):
    """Print and return what an LSTM needs for the adding problem with chrono, and with a forget bias of 1."""
    needed = {}
    for name, init in ("forget bias 1", "keras"), ("chrono", "chrono"):
        for rate in (0.005, 0.01):
            task = adding(100, 74_000)
            task.options = {"init": init, "learning_rate_init": rate}
            used, wrong = needed[name, rate] = learn(task, "lstm", most, 0)
            outcome = (
                f"not within {most:,} sequences, {wrong:.0%} wrong" if used is None else f"after {used:,} sequences"
            )
            print(f"adding, T = 100, {name}, learning rate {rate}: {outcome}", flush=True)
    return needed


def said(results):
    """What a column of the table says of the trials of one network."""
    solved = sorted(used for used, _ in results if used is not None)
    wrong = max(share for _, share in results)
    if not solved:
        return f"no ({wrong:.0%} wrong)" if wrong else "no"
    trials = "" if len(solved) == len(results) else f" ({len(solved)} of {len(results)})"
    return f"{solved[len(solved) // 2]:,}{trials}"


def draw(rows, path):
    """Sequences needed, by the paper and by each network, as rows of the table say."""
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.5 * len(rows)), layout="constrained")
    markers = {"paper": ("D", "black"), "LSTM": ("o", "#0072B2"), "GRU": ("s", "#E69F00"), "RNN": ("^", "#D55E00")}
    columns = [row.strip("| ").split(" | ") for row in rows]
    for k, (name, (marker, colour)) in enumerate(markers.items(), 2):
        shift = 0.12 * (k - 4) if k > 2 else 0.0  # marks do not hide one another
        points = [(needed(own[k]), place + shift) for place, own in enumerate(columns) if needed(own[k])]
        x, y = np.array(points).reshape(-1, 2).T
        axes.scatter(x, y, marker=marker, s=45, facecolors="none" if name == "paper" else colour, edgecolors=colour,
                     label=name, zorder=3)  # fmt: skip
    axes.set_yticks(range(len(columns)), [own[0] for own in columns])
    axes.set(xscale="log", xlabel="training sequences until the criterion held; no mark: it did not")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=100)


def needed(text):
    """The number at the beginning of a column of the table, if there is one."""
    number = text.split(" ")[0].replace(",", "")
    return int(number) if number.isdigit() and "%" not in text else None


def line(*columns):
    """A row of a Markdown table."""
    return "| " + " | ".join(columns) + " |"


def main(path="long_short_term_memory_1997.png", quick=False, only="", seeds=1, write=None):
    """Run, print, draw; return the results by task and cell."""
    warnings.simplefilter("ignore", UserWarning)
    chosen = [task for task in tasks() if task.name.startswith(only) and (not quick or task.name in QUICK)]
    head = "task", "criterion", "paper", *map(str.upper, CELLS)
    print(line(*head), line(*["---"] * len(head)), sep="\n", flush=True)
    table, rows = {}, []
    for task in chosen:
        most = min(task.paper or 20_000, 20_000 if quick else MOST)
        results = table[task.name] = {cell: [learn(task, cell, most, seed) for seed in range(seeds)] for cell in CELLS}
        paper = f"{task.paper:,}" if task.paper else "18 % of trials"
        columns = task.name, task.criterion, paper, *(said(results[cell]) for cell in CELLS)
        print(line(*columns), flush=True)
        rows.append(line(*columns, str(seeds), datetime.datetime.now(datetime.UTC).date().isoformat()))
        if write:
            rows = write_rows(Path(write), rows)
        draw(rows, path)
    solved = sum(used is not None for results in table.values() for used, _ in results["lstm"])
    print(f"the LSTM solved {solved} of {len(table) * seeds}")
    print(f"picture: {path}")
    return table


HEAD = f"""# The tasks of 1997 and 2000

Written by `python examples/long_short_term_memory_1997.py --write`, numlstm {numlstm.__version__}. Training sequences
until the criterion held, the median of the trials (seeds 0, 1, ...) that got there; "no" if none did within the paper's
number, or {MOST:,} where the paper has more, or 20,000 streams of 100 symbols. Units, batches, learning rates and
initial biases are in the example, the same for all networks of a task. In 2a and 2b the last step weighs as much as all
others together.

"""


def write_rows(path, rows):
    """Write rows to a table, in the place of older ones of their tasks; all that are in it then."""
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    by_name = {row.split(" | ")[0][2:]: row for row in [*before, *rows] if row.startswith("| ")}
    head = "task", "criterion", "paper", *map(str.upper, CELLS), "trials", "measured"
    rows = [by_name[task.name] for task in tasks() if task.name in by_name]
    text = "\n".join([line(*head), line(*["---"] * len(head)), *rows])
    path.write_text(f"{HEAD}{text}\n", encoding="utf-8")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The experiments of 1997 again.")
    parser.add_argument("path", nargs="?", default="long_short_term_memory_1997.png")
    parser.add_argument("--quick", action="store_true", help="four tasks, 20,000 sequences at most")
    parser.add_argument("--only", default="", help="what names of tasks begin with")
    parser.add_argument("--seeds", type=int, default=1, help="trials of each network")
    parser.add_argument("--write", help="file for the table; rows of other tasks stay")
    parser.add_argument("--why-chrono", action="store_true", help="only compare initial biases on the adding problem")
    arguments = vars(parser.parse_args())
    if arguments.pop("why_chrono"):
        why_chrono()
    else:
        main(**arguments)
