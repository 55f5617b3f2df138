"""Permutation importance: how much a score falls if channels, or windows of time, are shuffled among sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils import Bunch

from ..checks import check_integer, check_rng
from .lessons import fitted_model, read
from .reading import sequences_of


def permutation_importance(
    model: Any,
    X: Any,
    y: Any,
    *,
    scoring: Any = None,
    n_repeats: int = 5,
    n_windows: int = 1,
    lengths: Any = None,
    static: Any = None,
    random_state: Any = None,
) -> Bunch:
    """Measure how much a model's score falls if a channel is shuffled among sequences [1]_.

    It works as `sklearn.inspection.permutation_importance`, which does not take sequences.

    Parameters
    ----------
    model : fitted estimator
    X, y
        Sequences that were not in `fit`, and their targets, in forms that `score` takes.
    scoring : str or callable, optional
        As in scikit-learn; by default the model's `score`.
    n_repeats : int, at least 1, default 5
        How often each channel is shuffled.
    n_windows : int, at least 1, default 1
        Each sequence is cut into so many windows of equal length, and each window is shuffled separately.
    lengths : int array, shape (n,); optional
        Steps of each sequence of a padded array.
    static : array, shape (n, F); optional
        Static features, as in `fit`. They do not change.
    random_state : int, numpy.random.Generator or None, default None
        The source of random numbers for the shuffling.

    Returns
    -------
    sklearn.utils.Bunch
        With ``importances`` (C, n_repeats), the falls of the score; ``importances_mean`` and ``importances_std`` (C,).
        With several windows the shapes are (C, n_windows, n_repeats) and (C, n_windows).

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError, ValueError
        If `score` does not take X and y, if a sequence has fewer steps than there are windows, or if another parameter
        is not as described.

    Notes
    -----
    If sequences differ in length, a window of another sequence is stretched to the steps that it replaces.

    References
    ----------
    .. [1] L. Breiman, "Random Forests", 2001, section 10.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTMClassifier
    >>> from numlstm.inspection import permutation_importance
    >>> X = np.random.default_rng(0).normal(size=(300, 8, 2))
    >>> y = X[:, 6, 1] > 0  # channel 1 in the second half decides
    >>> model = LSTMClassifier(hidden_size=16, random_state=0).fit(X[:200], y[:200])
    >>> result = permutation_importance(model, X[200:], y[200:], n_windows=2, random_state=0)
    >>> np.unravel_index(result.importances_mean.argmax(), (2, 2))
    (np.int64(1), np.int64(1))
    """
    if fitted_model(model).network.tokens is not None:
        raise ValueError("X must hold numbers: texts and categories are not shuffled")
    check_integer(n_repeats, "n_repeats", 1)
    windows, rng = check_integer(n_windows, "n_windows", 1), check_rng(random_state, "random_state")
    read(model, X, lengths)  # raises the errors of predict
    sequences = sequences_of(X, lengths)
    shortest = min(map(len, sequences), default=0)
    if windows > shortest:
        raise ValueError(f"n_windows must be at most the {shortest} steps of the shortest sequence, got {n_windows}")
    scorer, options = check_scoring(model, scoring), {} if static is None else {"static": static}

    def score(changed: list[np.ndarray]) -> float:
        return float(scorer(model, changed, y, **options))

    original, channels = score(sequences), sequences[0].shape[1]
    falls = np.empty((channels, windows, n_repeats))
    for channel in range(channels):
        for window in range(windows):
            for repeat in range(n_repeats):
                order = rng.permutation(len(sequences))
                shuffled = _shuffled(sequences, order, channel, window, windows)
                falls[channel, window, repeat] = original - score(shuffled)
    importances = falls[:, 0] if windows == 1 else falls
    return Bunch(
        importances=importances, importances_mean=importances.mean(axis=-1), importances_std=importances.std(axis=-1)
    )


def _shuffled(
    sequences: list[np.ndarray], order: np.ndarray, channel: int, window: int, windows: int
) -> list[np.ndarray]:
    """Copies of sequences in which a window of a channel comes from other sequences."""
    changed = [x.copy() for x in sequences]
    for x, donor in zip(changed, order.tolist(), strict=True):
        source, target = _window(sequences[donor], window, windows), _window(x, window, windows)
        steps = np.arange(len(target)) * len(source) // len(target)
        target[:, channel] = source[steps, channel]
    return changed


def _window(x: np.ndarray, window: int, windows: int) -> np.ndarray:
    """One of the windows of a sequence, a view."""
    return x[len(x) * window // windows : len(x) * (window + 1) // windows]
