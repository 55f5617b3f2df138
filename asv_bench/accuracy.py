"""The accuracy of estimators with default settings on real data, and the reasons for the defaults.

    python asv_bench/accuracy.py candidates    # compares settings, on parts of the training sets
    python asv_bench/accuracy.py test          # compares the defaults with other methods, on the test sets
    python asv_bench/accuracy.py tables        # writes the tables again

Each set is standardised by a `SequenceScaler` that was fitted on the training set. Each result is written at once to a
line of a .jsonl file, and is not computed again, so that a run may be interrupted. Sets are in `sets.py`, other methods
in `accuracy_methods.py`. Tables are written to `docs/accuracy.md`. Each fit uses one thread; `--jobs` fits run at the
same time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_methods import minirocket, plain_torch, tree_summaries
from scipy.stats import rankdata
from sets import SETS, Split, load
from sklearn.model_selection import train_test_split

from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "accuracy.md"
VALIDATION_SEEDS, TEST_SEEDS = range(5), range(100, 103)
TOO_SLOW = ("PLAID", "genes", "OSULeaf")  # sets on which candidates are not compared
LEFT_OUT = ("plain PyTorch loop", "PLAID")  # a fit takes more than ten minutes
MEMBERS = 3

Method = Callable[[Split, int], Any]


def fitted(train: Split, seed: int, **options: Any) -> Any:
    """A fitted estimator for a set."""
    kind = LSTMRegressor if train.regression else LSTMClassifier
    return kind(random_state=seed, **options).fit(train.X, train.y)


def settings(**options: Any) -> Method:
    """A method: the predictions of an estimator with these options."""
    return lambda train, seed: fitted(train, seed, **options).predict(train.X_test)


def averaged(train: Split, seed: int) -> Any:
    """The averaged predictions of several networks with different seeds."""
    models = [fitted(train, seed + 1000 * member) for member in range(MEMBERS)]
    if train.regression:
        return np.mean([model.predict(train.X_test) for model in models], axis=0)
    probabilities = np.mean([model.predict_proba(train.X_test) for model in models], axis=0)
    return models[0].classes_[probabilities.argmax(axis=1)]


def other_directions(train: Split, seed: int) -> Any:
    """One direction if the default is two, and two if the default is one."""
    return settings(bidirectional=train.regression)(train, seed)


BEFORE = {
    "bidirectional": False, "pooling": "last", "learning_rate": "constant", "learning_rate_init": 0.005,
    "max_iter": 100, "batch_size": 32, "n_iter_no_change": 10, "scale_inputs": False,
}  # fmt: skip
ONE_CYCLE = BEFORE | {
    "learning_rate": "one_cycle", "learning_rate_init": 0.01, "max_iter": 50, "n_iter_no_change": None,
}  # fmt: skip
AUTO = {"max_iter": "auto", "batch_size": "auto"}
CANDIDATES: dict[str, Method] = {
    "the first defaults: 100 epochs, constant rate 0.005, `n_iter_no_change=10`, last state": settings(**BEFORE),
    "the same to the last epoch": settings(**BEFORE | {"n_iter_no_change": None}),
    "cosine": settings(**BEFORE | {"n_iter_no_change": None, "learning_rate": "cosine"}),
    "one cycle to 0.01, 50 epochs": settings(**ONE_CYCLE),
    'the same, `pooling="concat"`': settings(**ONE_CYCLE | {"pooling": "concat"}),
    'the same, `"auto"` epochs and batches': settings(**ONE_CYCLE | {"pooling": "concat"} | AUTO),
    "**the defaults**: both directions in the classifier": settings(),
    "the other number of directions": other_directions,
    '`pooling="last"`': settings(pooling="last"),
    "batches of 32": settings(batch_size=32),
    "cosine from 0.01": settings(learning_rate="cosine"),
    "rate 0.005": settings(learning_rate_init=0.005),
    "`hidden_size=32`": settings(hidden_size=32),
    '`init="torch"`': settings(init="torch"),
    "`forget_bias=2`": settings(forget_bias=2.0),
    "`clip_norm=None`": settings(clip_norm=None),
    '`solver="adamw", alpha=0.1`': settings(solver="adamw", alpha=0.1),
    "`early_stopping=True, validation_fraction=0.3`": settings(early_stopping=True, validation_fraction=0.3),
    '`cell="gru"`': settings(cell="gru"),
    f"{MEMBERS} networks averaged": averaged,
}
METHODS: dict[str, Method] = {
    "numlstm": settings(),
    "numlstm, the first defaults": settings(**BEFORE),
    "plain PyTorch loop": plain_torch,
    "MiniRocket": minirocket,
    "ExtraTrees on summaries": tree_summaries,
}
ALL = CANDIDATES | METHODS


def validation_part(split: Split, seed: int) -> Split:
    """The training set, with a quarter of it as the test set; for forecasts, the last quarter."""
    count = len(split.X)
    held_out = max(count // 4, 8, 0 if split.regression else len(set(split.y)))
    if split.ordered:
        gap = split.y[0].size - 1
        rows, test_rows = np.arange(count - held_out - gap), np.arange(count - held_out, count)
    else:
        strata = None if split.regression or min(np.unique(split.y, return_counts=True)[1]) < 2 else split.y
        rows, test_rows = train_test_split(np.arange(count), test_size=held_out, stratify=strata, random_state=seed)
    X, X_test = ([split.X[i] for i in part] for part in (rows, test_rows))
    return Split(X, split.y[rows], X_test, split.y[test_rows], split.ordered)


def scaled(split: Split) -> Split:
    """The set, scaled so that each channel has mean 0 and standard deviation 1 in the training set."""
    scaler = SequenceScaler().fit(split.X)
    return Split(scaler.transform(split.X), split.y, scaler.transform(split.X_test), split.y_test, split.ordered)


def scored(split: Split, predict: Method, seed: int) -> dict[str, float]:
    """The accuracy or the root mean squared error of a method, and the time of fit and prediction."""
    split, began = scaled(split), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = predict(split, seed)
    seconds = time.perf_counter() - began
    predicted = np.asarray(predicted).reshape(split.y_test.shape)
    errors = (predicted - split.y_test) ** 2 if split.regression else predicted == split.y_test
    score = np.sqrt(np.mean(errors)) if split.regression else np.mean(errors)
    return {"score": round(float(score), 6), "seconds": round(seconds, 3)}


def computed(job: tuple[str, str, str, int]) -> dict[str, Any]:
    """The line of results for a job."""
    table, name, data, seed = job
    split = load(data)
    part = validation_part(split, seed) if table == "candidates" else split
    return {"name": name, "set": data, "seed": seed, **scored(part, ALL[name], seed)}


def warm_up(name: str) -> None:
    """Compile and load all that a process needs, before anything is timed."""
    for data in ("ItalyPowerDemand", "lynx 1"):
        scored(load(data), ALL[name], 0)


def jobs_of(table: str) -> list[tuple[str, str, str, int]]:
    """All jobs of a table, set by set."""
    if table == "candidates":
        sets = [data for data in SETS if data not in TOO_SLOW]
        return [(table, name, data, seed) for name in CANDIDATES for data in sets for seed in VALIDATION_SEEDS]
    pairs = [(name, data) for data in SETS for name in METHODS if (name, data) != LEFT_OUT]
    return [(table, name, data, seed) for name, data in pairs for seed in TEST_SEEDS]


class Results:
    """The results of a table, line by line in a file."""

    def __init__(self, table: str) -> None:
        self.path = HERE / f"accuracy_{table}.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.rows = [json.loads(line) for line in lines]
        self.names = [*(CANDIDATES if table == "candidates" else METHODS)]

    def complete(self, table: str, processes: int) -> None:
        """Compute the missing results."""
        known = {(row["name"], row["set"], row["seed"]) for row in self.rows}
        missing = [job for job in jobs_of(table) if job[1:] not in known]
        os.environ |= {"NUMLSTM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        for name in self.names:
            jobs = [job for job in missing if job[1] == name]
            if not jobs:
                continue
            # Each method has its own processes: after MiniRocket has used Numba's threads, PyTorch is 40 times slower.
            with multiprocessing.get_context("spawn").Pool(processes, warm_up, (name,)) as pool:
                for row in pool.imap_unordered(computed, jobs):
                    self._keep(row)

    def _keep(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print("{set:<18} {name:<60.60} {seed:>3} {score:.4g} {seconds:.1f} s".format(**row), flush=True)

    def mean(self, name: str, data: str, value: str = "score") -> float:
        """The mean over all seeds; NaN without results."""
        values = [row[value] for row in self.rows if (row["name"], row["set"]) == (name, data)]
        return float(np.mean(values)) if values else np.nan

    def ranks(self, regression: bool) -> np.ndarray:
        """The rank of each method (columns) on each complete set (rows) of one kind; 1 is the best."""
        ranks = []
        for data in SETS:
            scores = np.array([self.mean(name, data) for name in self.names])
            if load(data).regression == regression and not np.isnan(scores).any():
                ranks.append(rankdata((scores if regression else -scores).round(4)))
        return np.array(ranks)


def table_of_candidates(results: Results) -> Iterator[str]:
    """A row for each candidate, in Markdown."""
    kinds = {kind: results.ranks(kind) for kind in (False, True)}
    counts = [len(ranks) for ranks in kinds.values()]
    yield "| | mean rank, {} sets of classes | worst | mean rank, {} sets of numbers | worst | seconds |".format(
        *counts
    )
    yield "|---|---|---|---|---|---|"
    for k, name in enumerate(results.names):
        cells = [f"{rank:.3g}" for ranks in kinds.values() for rank in (ranks[:, k].mean(), ranks[:, k].max())]
        seconds = np.nansum([results.mean(name, data, "seconds") for data in SETS])
        yield f"| {name} | {' | '.join(cells)} | {seconds:.0f} |"


def table_of_methods(results: Results) -> Iterator[str]:
    """A row for each set, in Markdown: scores, with the best in bold, and the times of the networks."""
    timed = results.names[:3]
    yield f"| set | rows, steps, channels | {' | '.join(results.names)} | seconds of the first three |"
    yield f"|---|---|{'---|' * len(results.names)}---|"
    for data, (_, source) in SETS.items():
        split = load(data)
        scores = np.array([results.mean(name, data) for name in results.names])
        best = np.nanmin(scores) if split.regression else np.nanmax(scores)
        cells = [f"**{x:.3f}**" if round(x - best, 4) == 0 else "" if np.isnan(x) else f"{x:.3f}" for x in scores]
        seconds = ", ".join(f"{results.mean(name, data, 'seconds'):.1f}" for name in timed).replace("nan", "-")
        longest = max(map(len, split.X))
        size = f"{len(split.X)} + {len(split.X_test)}, {longest}, {split.X[0].shape[1]}"
        yield f"| {data}: {source} | {size} | {' | '.join(cells)} | {seconds} |"
    for kind, title in ((False, "classes"), (True, "numbers")):
        ranks = results.ranks(kind)
        yield f"| mean rank, {len(ranks)} sets of {title} | | {' | '.join(f'{r:.2f}' for r in ranks.mean(axis=0))} | |"


TABLES = {"candidates": table_of_candidates, "test": table_of_methods}


def write(table: str, results: Results) -> None:
    """Write a table to its place in the docs."""
    text = "\n".join(TABLES[table](results)) + "\n"
    place = re.compile(rf"(<!-- {table} -->\n).*?(<!-- end -->)", re.DOTALL)
    DOCS.write_text(place.sub(lambda match: match[1] + text + match[2], DOCS.read_text()))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*TABLES, "tables"])
    parser.add_argument("--jobs", type=int, default=1, help="number of processes at the same time")
    options = parser.parse_args()
    for table in TABLES:
        results = Results(table)
        if table == options.what:
            results.complete(table, options.jobs)
        if results.rows and options.what in (table, "tables"):
            write(table, results)


if __name__ == "__main__":
    main()
