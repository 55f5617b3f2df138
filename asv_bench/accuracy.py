"""How good estimators are at their default settings, on real data, and why these are the defaults.

    python asv_bench/accuracy.py candidates    # settings against one another, on parts of the training sets
    python asv_bench/accuracy.py test          # the defaults once on the test sets, beside other methods
    python asv_bench/accuracy.py tables        # what was found, again

Each set is standardised by `SequenceScaler`, fitted on what is trained on. Every result goes to a line of a .jsonl file
at once; what is there is not computed again, so that a run may be interrupted. Sets are in `sets.py`.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contestants_of_accuracy import minirocket, plain_torch, tree_summaries
from scipy.stats import rankdata
from sets import SETS, Split, load
from sklearn.model_selection import train_test_split

from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler

HERE = Path(__file__).parent
COSINE = {"learning_rate": "cosine", "n_iter_no_change": None}
ONE_CYCLE = {"learning_rate": "one_cycle", "n_iter_no_change": None}
CANDIDATES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "all epochs": {"n_iter_no_change": None},
    "cosine": COSINE,
    "cosine, mean": COSINE | {"pooling": "mean"},
    "cosine, attention": COSINE | {"pooling": "attention"},
    "cosine, max": COSINE | {"pooling": "max"},
    "cosine, concat": COSINE | {"pooling": "concat"},
    "cosine, concat, both directions": COSINE | {"pooling": "concat", "bidirectional": True},
    "the same with 32 units": COSINE | {"pooling": "concat", "bidirectional": True, "hidden_size": 32},
    "one cycle to 0.01, 50 epochs, concat, both directions": ONE_CYCLE
    | {"pooling": "concat", "bidirectional": True, "learning_rate_init": 0.01, "max_iter": 50},
    "cosine from 0.01, concat": COSINE | {"pooling": "concat", "learning_rate_init": 0.01},
    "cosine, concat, batches of 16": COSINE | {"pooling": "concat", "batch_size": 16},
}
VALIDATION_SEEDS, TEST_SEEDS = range(5), range(100, 103)
TOO_SLOW = ("PLAID", "genes", "OSULeaf")  # for comparing candidates


def numlstm(train: Split, seed: int, **options: Any) -> Any:
    """Predictions by an estimator."""
    kind = LSTMRegressor if train.regression else LSTMClassifier
    return kind(random_state=seed, **options).fit(train.X, train.y).predict(train.X_test)


METHODS: dict[str, Callable[..., Any]] = {
    "numlstm": numlstm,
    "plain PyTorch loop": plain_torch,
    "MiniRocket": minirocket,
    "ExtraTrees on summaries": tree_summaries,
}


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


def scored(split: Split, predict: Callable[[Split, int], Any], seed: int) -> dict[str, float]:
    """Accuracy, or root mean squared error, and the time of fit and prediction."""
    split, began = scaled(split), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = predict(split, seed)
    seconds = time.perf_counter() - began
    right = np.asarray(predicted).reshape(split.y_test.shape)
    score = np.sqrt(np.mean((right - split.y_test) ** 2)) if split.regression else np.mean(right == split.y_test)
    return {"score": float(score), "seconds": seconds}


class Results:
    """What was found, line by line in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = [json.loads(line) for line in lines]

    def add(self, name: str, data: str, seed: int, compute: Callable[[], dict[str, float]]) -> None:
        """Compute what is not there."""
        if any((row["name"], row["set"], row["seed"]) == (name, data, seed) for row in self.rows):
            return
        row = {"name": name, "set": data, "seed": seed, **compute()}
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{data:<18} {name:<34} {seed:>3} {row['score']:.4g} {row['seconds']:.1f} s", flush=True)

    def means(self, value: str = "score") -> dict[str, dict[str, float]]:
        """By set and by name."""
        found: dict[str, dict[str, list[float]]] = {}
        for row in self.rows:
            found.setdefault(row["set"], {}).setdefault(row["name"], []).append(row[value])
        return {data: {name: float(np.mean(each)) for name, each in rows.items()} for data, rows in found.items()}


def compare_candidates(results: Results) -> None:
    """All candidates on validation parts of the training sets."""
    for data in SETS:
        for name, options in CANDIDATES.items():
            for seed in () if data in TOO_SLOW else VALIDATION_SEEDS:
                part = partial(validation_part, load(data), seed)
                results.add(
                    name, data, seed, lambda part=part, o=options, s=seed: scored(part(), partial(numlstm, **o), s)
                )


def compare_methods(results: Results) -> None:
    """All methods on the test sets."""
    for data in SETS:
        for name, predict in METHODS.items():
            for seed in TEST_SEEDS:
                results.add(name, data, seed, lambda d=data, p=predict, s=seed: scored(load(d), p, s))


def table(results: Results) -> Iterator[str]:
    """Means of all seeds, mean ranks, the worst case, and times, in Markdown."""
    scores, seconds = results.means(), results.means("seconds")
    names = list(dict.fromkeys(row["name"] for row in results.rows))
    yield f"| set | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    ranks = []
    for data, found in scores.items():
        worse = np.array([found.get(name, np.nan) for name in names]) * (1 if load(data).regression else -1)
        best = np.nanmin(worse)
        cells = ["" if np.isnan(each) else f"{abs(each):.3f}" for each in worse]
        yield f"| {data} | {' | '.join(f'**{c}**' if w == best else c for c, w in zip(cells, worse, strict=True))} |"
        if not np.isnan(worse).any():
            ranks.append(rankdata(worse.round(4)))
    yield f"| mean rank | {' | '.join(f'{rank:.2f}' for rank in np.mean(ranks, axis=0))} |"
    yield f"| worst rank | {' | '.join(f'{rank:.3g}' for rank in np.max(ranks, axis=0))} |"
    total = [sum(found.get(name, 0.0) for found in seconds.values()) for name in names]
    yield f"| seconds of all | {' | '.join(f'{each:.0f}' for each in total)} |"


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["candidates", "test", "tables"])
    what = parser.parse_args().what
    runs = {"candidates": compare_candidates, "test": compare_methods}
    for name, run in runs.items():
        results = Results(HERE / f"accuracy_{name}.jsonl")
        if what == name:
            run(results)
        if results.rows and what in (name, "tables"):
            (HERE / f"accuracy_{name}.md").write_text("\n".join(table(results)) + "\n")


if __name__ == "__main__":
    main()
