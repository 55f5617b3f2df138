"""How good estimators are at their default settings, on real data, and why these are the defaults.

    python asv_bench/accuracy.py candidates    # settings against one another, on parts of the training sets
    python asv_bench/accuracy.py test          # the defaults once on the test sets, beside other methods
    python asv_bench/accuracy.py tables        # what was found, again

Each set is standardised by `SequenceScaler`, fitted on what is trained on. Every result goes to a line of a .jsonl file
at once; what is there is not computed again, so that a run may be interrupted. Sets are in `sets.py`, other methods in
`contestants_of_accuracy.py`. Tables go to `docs/accuracy.md`. Every fit has one thread; `--jobs` run side by side.
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
from contestants_of_accuracy import minirocket, plain_torch, tree_summaries
from scipy.stats import rankdata
from sets import SETS, Split, load
from sklearn.model_selection import train_test_split

from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "accuracy.md"
VALIDATION_SEEDS, TEST_SEEDS = range(5), range(100, 103)
TOO_SLOW = ("PLAID", "genes", "OSULeaf")  # for comparing candidates
LEFT_OUT = ("plain PyTorch loop", "PLAID")  # more than ten minutes a fit
MEMBERS = 3

Method = Callable[[Split, int], Any]


def fitted(train: Split, seed: int, **options: Any) -> Any:
    """An estimator for a set."""
    kind = LSTMRegressor if train.regression else LSTMClassifier
    return kind(random_state=seed, **options).fit(train.X, train.y)


def settings(**options: Any) -> Method:
    """Predictions by an estimator with these options."""
    return lambda train, seed: fitted(train, seed, **options).predict(train.X_test)


def averaged(train: Split, seed: int) -> Any:
    """Predictions by the average of several networks, which differ by their seeds."""
    models = [fitted(train, seed + 1000 * member) for member in range(MEMBERS)]
    if train.regression:
        return np.mean([model.predict(train.X_test) for model in models], axis=0)
    probabilities = np.mean([model.predict_proba(train.X_test) for model in models], axis=0)
    return models[0].classes_[probabilities.argmax(axis=1)]


def other_directions(train: Split, seed: int) -> Any:
    """One direction where the default is two, and the other way round."""
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
    """A quarter of a training set as the test set; of forecasts the last."""
    count = len(split.X)
    held_out = max(count // 4, 8, 0 if split.regression else len(set(split.y)))
    if split.ordered:
        gap = split.y[0].size - 1
        rows, aside = np.arange(count - held_out - gap), np.arange(count - held_out, count)
    else:
        strata = None if split.regression or min(np.unique(split.y, return_counts=True)[1]) < 2 else split.y
        rows, aside = train_test_split(np.arange(count), test_size=held_out, stratify=strata, random_state=seed)
    return Split([split.X[i] for i in rows], split.y[rows], [split.X[i] for i in aside], split.y[aside], split.ordered)


def scaled(split: Split) -> Split:
    """Every channel with mean 0 and standard deviation 1 in the training set."""
    scaler = SequenceScaler().fit(split.X)
    return Split(scaler.transform(split.X), split.y, scaler.transform(split.X_test), split.y_test, split.ordered)


def scored(split: Split, predict: Method, seed: int) -> dict[str, float]:
    """Accuracy, or root mean squared error, and the time of fit and prediction."""
    split, began = scaled(split), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = predict(split, seed)
    seconds = time.perf_counter() - began
    right = np.asarray(predicted).reshape(split.y_test.shape)
    score = np.sqrt(np.mean((right - split.y_test) ** 2)) if split.regression else np.mean(right == split.y_test)
    return {"score": round(float(score), 6), "seconds": round(seconds, 3)}


def computed(job: tuple[str, str, str, int]) -> dict[str, Any]:
    """A line of results."""
    what, name, data, seed = job
    split = load(data)
    part = validation_part(split, seed) if what == "candidates" else split
    found = scored(part, ALL[name], seed)
    return {"name": name, "set": data, "seed": seed, **found}


def warm_up(name: str) -> None:
    """Compile and load what a process needs, before anything is timed."""
    for data in ("ItalyPowerDemand", "lynx 1"):
        scored(load(data), ALL[name], 0)


def jobs_of(what: str) -> list[tuple[str, str, str, int]]:
    """All that is to be computed, set by set."""
    if what == "candidates":
        sets = [data for data in SETS if data not in TOO_SLOW]
        return [(what, name, data, seed) for name in CANDIDATES for data in sets for seed in VALIDATION_SEEDS]
    pairs = [(name, data) for data in SETS for name in METHODS if (name, data) != LEFT_OUT]
    return [(what, name, data, seed) for name, data in pairs for seed in TEST_SEEDS]


class Results:
    """What was found, line by line in a file."""

    def __init__(self, what: str) -> None:
        self.path = HERE / f"accuracy_{what}.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.rows = [json.loads(line) for line in lines]
        self.names = [*(CANDIDATES if what == "candidates" else METHODS)]

    def complete(self, what: str, processes: int) -> None:
        """Compute what is not there."""
        known = {(row["name"], row["set"], row["seed"]) for row in self.rows}
        missing = [job for job in jobs_of(what) if job[1:] not in known]
        os.environ |= {"NUMLSTM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        for name in self.names:
            jobs = [job for job in missing if job[1] == name]
            if not jobs:
                continue
            # Processes of its own: after numba's threads of MiniRocket, PyTorch takes forty times as long.
            with multiprocessing.get_context("spawn").Pool(processes, warm_up, (name,)) as pool:
                for row in pool.imap_unordered(computed, jobs):
                    self._keep(row)

    def _keep(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print("{set:<18} {name:<60.60} {seed:>3} {score:.4g} {seconds:.1f} s".format(**row), flush=True)

    def mean(self, name: str, data: str, value: str = "score") -> float:
        """Over all seeds; NaN if there is none."""
        found = [row[value] for row in self.rows if (row["name"], row["set"]) == (name, data)]
        return float(np.mean(found)) if found else np.nan

    def ranks(self, regression: bool) -> np.ndarray:
        """Of each name (columns) on each set (rows) of one kind, that has all of them; 1 is the best."""
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
        cells = [f"{each:.3g}" for ranks in kinds.values() for each in (ranks[:, k].mean(), ranks[:, k].max())]
        seconds = np.nansum([results.mean(name, data, "seconds") for data in SETS])
        yield f"| {name} | {' | '.join(cells)} | {seconds:.0f} |"


def table_of_methods(results: Results) -> Iterator[str]:
    """A row for each set, in Markdown: scores, the best in bold, and the times of networks."""
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


def write(what: str, results: Results) -> None:
    """Put a table into its place in the docs."""
    text = "\n".join(TABLES[what](results)) + "\n"
    place = re.compile(rf"(<!-- {what} -->\n).*?(<!-- end -->)", re.DOTALL)
    DOCS.write_text(place.sub(lambda found: found[1] + text + found[2], DOCS.read_text()))


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*TABLES, "tables"])
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    given = parser.parse_args()
    for what in TABLES:
        results = Results(what)
        if what == given.what:
            results.complete(what, given.jobs)
        if results.rows and given.what in (what, "tables"):
            write(what, results)


if __name__ == "__main__":
    main()
