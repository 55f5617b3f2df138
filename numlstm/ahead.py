"""Compiling before the first call."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np

from .backends.contract import UnsupportedError
from .backends.dispatch import backend_for
from .layers import GRU, LSTM, RNN
from .layers.layer import Layer


def warm_up(*models: Any) -> None:
    """Compile the code that models need at their first call, and keep it on disk.

    This is useful when a container image is built, or before time is measured:
    ``python -c "import numlstm; numlstm.warm_up()"``. Later processes load the machine code from the cache.
    `show_config` prints the directory of the cache; the environment variable `NUMBA_CACHE_DIR` changes it. The code is
    for this processor; another processor compiles its own code.

    Parameters
    ----------
    *models : layer, estimator or Graph
        Each model is run on a few random numbers. A layer, also one in a graph, runs forward, backward if it has
        gradients, and as a stream.
        An estimator does not change; a clone of it is fitted for one epoch, and predicts. The default is LSTM, GRU and
        RNN layers, LSTMClassifier and LSTMRegressor, all with default settings.

    Raises
    ------
    TypeError
        If a model is not a layer, an estimator or a graph.
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
    """Run a layer forward, backward and as a stream."""
    x, lengths = np.zeros((4, 3, layer.input_size), layer.dtype), np.array([1, 2, 3, 3])
    with suppress(UnsupportedError):  # products in int8 have no gradients
        y, state, pullback = layer.vjp(x, lengths=lengths, training=True, rng=0)
        pullback(y, state)
    layer(x, lengths=lengths)
    if not layer.bidirectional:
        layer.stream().step(x[0, 0])
    backend_for(layer.backend).warm_up(layer.dtype, layer._stack.cell.compute_dtype)


def _run_estimator(estimator: Any) -> None:
    """Fit a clone for one epoch, and predict."""
    from sklearn.base import clone
    from sklearn.exceptions import ConvergenceWarning

    from .estimators import LSTMLanguageModel

    if isinstance(estimator, LSTMLanguageModel):
        clone(estimator).set_params(max_iter=1, verbose=0).fit(["abc", "ab"] * 10).sample(n=2)
        return
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(3 + k % 2, 2)) for k in range(20)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the targets are random
        for targets in _targets(estimator, X):
            clone(estimator).set_params(max_iter=1, verbose=0).fit(X, targets, X_val=X, y_val=targets).predict(X)
    backend_for(estimator.backend).warm_up(estimator.dtype, estimator.compute_dtype)


def _targets(estimator: Any, X: list[np.ndarray]) -> list[Any]:
    """Targets of each kind that an estimator takes."""
    from sklearn.base import is_classifier

    from .estimators import LSTMTagger, LSTMTranscriber

    numbers = np.arange(len(X))
    if isinstance(estimator, LSTMTagger):
        return [[[k % 2 for k in range(len(x))] for x in X]]
    if isinstance(estimator, LSTMTranscriber):
        return [[[k % 2] for k in numbers.tolist()]]
    return [numbers % 2, numbers % 3] if is_classifier(estimator) else [numbers]
