"""Whole fits of estimators on real data, and their predictions."""

from functools import cache

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits

from numlstm import LSTMClassifier, LSTMRegressor, sliding_windows
from numlstm.datasets import load_sunspots

from .common import REPEAT, check_close

SIMPLE = {"bidirectional": False, "pooling": "last", "learning_rate": "constant", "n_iter_no_change": None,
          "batch_size": 32, "backend": "cpu", "random_state": 0}  # fmt: skip


def digits(cell):
    """A classifier of handwritten digits, a row of pixels at each step."""
    pixels, labels = load_digits(return_X_y=True)
    model = LSTMClassifier(cell=cell, max_iter=30, **SIMPLE)
    return model, (pixels.reshape(-1, 8, 8) / 16).astype(np.float32), labels


def sunspots(cell):
    """A forecast of the next month from the last four years."""
    X, y = sliding_windows(np.sqrt(load_sunspots().numbers), 48, 1)
    model = LSTMRegressor(cell=cell, hidden_size=32, max_iter=5, **SIMPLE)
    return model, (X / 10).astype(np.float32), y


DATA = {"digits": digits, "sunspots": sunspots}


def scores(model, X):
    """Predictions of a fitted model minus their mean over the sequences."""
    predictions = model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
    return predictions - predictions.mean(axis=0)


def check_fit(model, X, y):
    """Compare two epochs on a few sequences with those of the reference."""
    few, rest = slice(40), slice(40, 48)
    short = clone(model).set_params(max_iter=2).fit(X[few], y[few])
    reference = clone(short).set_params(backend="reference", dtype="float64").fit(X[few], y[few])
    check_close("prediction", scores(short, X[rest]), scores(reference, X[rest]), tolerance=1e-4)


@cache
def fitted(data, cell):
    """A model that agrees with the reference after a short fit, and its data."""
    model, X, y = DATA[data](cell)
    check_fit(model, X, y)
    return model.fit(X, y), X, y


class Fitting:
    """A whole `fit`, and `predict` for all sequences and for one."""

    params = (tuple(DATA), ("lstm", "gru", "rnn"))
    param_names = ("data", "cell")
    repeat = REPEAT

    def setup(self, data, cell):
        self.model, self.X, self.y = fitted(data, cell)

    def time_fit(self, data, cell):
        self.model.fit(self.X, self.y)

    def time_predict(self, data, cell):
        self.model.predict(self.X)

    def time_predict_one(self, data, cell):
        self.model.predict(self.X[:1])
