"""Compiling ahead of the first call."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .layers import GRU, LSTM, RNN
from .layers.layer import Layer


def warm_up(*models: Any) -> None:
    """Compile now what models would compile at their first call, and keep it on disk.

    For the image of a container, or before a clock runs: ``python -c "import numlstm; numlstm.warm_up()"``. A process
    that finds the machine code in the cache (`show_config` says where that is; `NUMBA_CACHE_DIR` moves it) loads it.
    The code is for this processor; another one compiles its own.

    Parameters
    ----------
    *models : layer, estimator or Graph
        Each is run on a few random numbers: layers, those in a graph, too, forward, back and as a stream; estimators,
        which stay as they are, as a clone that is fitted for an epoch and predicts. By default LSTM, GRU and RNN
        layers, and LSTMClassifier and LSTMRegressor, at their default settings.

    Raises
    ------
    TypeError
        If a model is none of them.
    BackendUnavailableError
        If a model's backend cannot run here.

    Examples
    --------
    >>> import numlstm
    >>> numlstm.warm_up(numlstm.LSTM(3, 5, layer_norm=True))
    """
    if not models:
        from .estimators import LSTMClassifier, LSTMRegressor

        models = LSTM(2, 3), GRU(2, 3), RNN(2, 3), LSTMClassifier(), LSTMRegressor()
    for model in models:
        if not isinstance(model, Layer) and not hasattr(model, "cell") and not hasattr(model, "layers"):
            raise TypeError(f"models must be layers, estimators or graphs, got {type(model).__name__}")
    for model in models:
        if hasattr(model, "cell") and not isinstance(model, Layer):
            _run_estimator(model)
            continue
        for layer in [model] if isinstance(model, Layer) else model.layers:
            _run_layer(layer)


def _run_layer(layer: Layer) -> None:
    """Everything that a layer does."""
    x, lengths = np.zeros((4, 3, layer.input_size), layer.dtype), np.array([1, 2, 3, 3])
    y, state, pullback = layer.vjp(x, lengths=lengths, training=True, rng=0)
    pullback(y, state)
    layer(x, state, lengths)
    if not layer.bidirectional:
        layer.stream().step(x[0, 0])


def _run_estimator(estimator: Any) -> None:
    """A short fit, and predictions; of classes or of numbers."""
    from sklearn.base import clone, is_classifier
    from sklearn.exceptions import ConvergenceWarning

    rng = np.random.default_rng(0)
    X = [rng.normal(size=(3 + k % 2, 2)) for k in range(20)]
    y = np.arange(20) % (2 if is_classifier(estimator) else 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # there is nothing to learn
        for targets in (y, y % 3) if is_classifier(estimator) else (y,):
            clone(estimator).set_params(max_iter=1, verbose=0).fit(X, targets, X_val=X, y_val=targets).predict(X)
