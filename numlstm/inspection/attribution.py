"""Attribution: how much each channel contributes to a prediction at each step."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..checks import check_integer, check_option
from ..forecasting import LSTMForecaster
from ..training.batches import Sequences
from .forecasts import forecast_cases
from .lessons import read
from .reading import sequences_of
from .scorer import STEPS, Case, Explained, Scorer

METHODS = ("integrated_gradients", "gradient_x_input", "occlusion")
INCOMPLETE = 0.05  # the share of the difference of scores that integrated gradients may miss without a warning


@dataclass(frozen=True)
class Attribution:
    """Shares of scores, with a check of their sums.

    Attributes
    ----------
    values : list of float64 array, shape (T_i, C)
        The share of each channel at each step, for each sequence.
    scores, baseline_scores : float64 array, shape (n,)
        The explained scores of the sequences, and those of their baselines.
    delta : float64 array, shape (n,)
        The sum of the shares of a sequence minus the difference of its two scores: 0 if they are complete.
    method : str
    sequences : list of array, shape (T_i, C)
        X; numbers of tokens, where it holds texts or categories. For a forecaster: the numbers that it reads, NaN where
        it reads none.
    first_step : int
        The number of the first step. It is 0, but for a forecaster, whose step 0 is the first one that is forecast.
    """

    values: list[np.ndarray]
    scores: np.ndarray
    baseline_scores: np.ndarray
    delta: np.ndarray
    method: str
    sequences: list[np.ndarray]
    first_step: int = 0


def attribute(
    model: Any,
    X: Any,
    target: Any = None,
    *,
    method: str = "integrated_gradients",
    baselines: Any = None,
    lengths: Any = None,
    static: Any = None,
    covariates: Any = None,
    n_steps: int = 50,
    window: int = 1,
) -> Attribution:
    """Explain scores of a model by the channels and steps of its input.

    The names are those of Captum where the meaning is the same.

    Parameters
    ----------
    model : fitted estimator
    X
        Sequences, in a form that the model takes. For a forecaster: the series to forecast, as y in `predict`; None for
        those of `fit`.
    target : optional
        The score to explain:

        - of a classifier: one of `classes_`. The score is that of `decision_function`; with two classes it is the
          log-odds of the class, and the default is the second class.
        - of a regressor: the number of the target. The score is the prediction in the unit of y. The number may be
          left out if there is only one target.
        - of a regressor with targets at each step: (step, number). Negative steps count from the end: ``(-1, 0)``.
        - of a tagger: (step, label). The score is that of the label at this step.
        - of a transcriber: (step, label), with None for the blank. Steps are those of `predict_proba`: each has
          `subsample` steps of X.
        - of a forecaster: a step of the horizon, from 0, of the forecast that `predict` returns; or (step, level) for a
          quantile as `predict_quantiles` returns it. The step may be left out if there is only one.
    method : {"integrated_gradients", "gradient_x_input", "occlusion"}, default "integrated_gradients"
        - integrated gradients: the mean gradient on the straight line from the baseline to the sequence, times their
          difference [1]_. The shares add up to the difference of the scores.
        - gradient times input: the gradient at the sequence, times the difference. It needs one gradient only.
        - occlusion: how much the score falls if the baseline replaces some steps of a channel [2]_.
    baselines : number, array of shape (C,), or sequences as X; optional
        The input that stands for "no information", in the unit of X. The default is the mean of each channel in
        training with `scale_inputs`, else 0. A token has a vector of zeros as its baseline; this cannot be changed.
        For a forecaster: a number for the series, or one for each channel; by default the mean of the series in its
        window, and the means of covariates in training. The series keeps a thousandth of its distances from that
        number, as the width of intervals jumps where a window is constant.
    lengths : int array, shape (n,); optional
        Steps of each sequence of a padded array.
    static : array, shape (n, F); optional
        Static features, as in `fit`. They do not change, and get no share.
    covariates : optional
        Covariates of a forecaster, as X in `predict`.
    n_steps : int, at least 1, default 50
        Points on the path of integrated gradients (Gauss-Legendre quadrature).
    window : int, at least 1, default 1
        Steps that occlusion replaces together; each gets the same share.

    Returns
    -------
    Attribution
        The shares are in `values`, a list of arrays (T_i, C). The channels of a forecaster are the series, past
        covariates and future covariates; its steps are those of the window, and those ahead if there are future
        covariates. Shares are in the unit of the series.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError, ValueError
        If X has a form that the model does not take, if the target, method or step does not exist, or if baselines do
        not fit X.

    Warns
    -----
    UserWarning
        If integrated gradients miss the difference of scores by more than 5 % of it, and by more than 5 % of the mean
        difference of all sequences: `n_steps` is too low.

    Notes
    -----
    What a forecaster knows of a whole series, its mean and deviation in training, does not change, and gets no share;
    nor do features of the calendar.

    References
    ----------
    .. [1] M. Sundararajan, A. Taly, Q. Yan, "Axiomatic Attribution for Deep Networks", 2017.
    .. [2] M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTMClassifier
    >>> from numlstm.inspection import attribute
    >>> X = np.random.default_rng(0).normal(size=(400, 8, 2))
    >>> model = LSTMClassifier(hidden_size=16, random_state=0).fit(X, X[:, 7, 1] > 0)  # channel 1 at step 7 decides
    >>> result = attribute(model, X[:5], n_steps=300)
    >>> shares = np.abs(result.values).mean(axis=0)
    >>> step, channel = np.unravel_index(shares.argmax(), shares.shape)
    >>> int(step), int(channel)
    (7, 1)
    >>> bool(np.abs(result.delta).max() < 0.02 * np.abs(result.scores - result.baseline_scores).max())
    True
    """
    check_option(method, "method", METHODS)
    check_integer(n_steps, "n_steps", 1)
    check_integer(window, "window", 1)
    scorer: Explained
    first_step = 0
    if isinstance(model, LSTMForecaster):
        if lengths is not None:
            raise ValueError("lengths must be None for a forecaster: pass a list of series")
        scorer, cases = forecast_cases(model, X, target, covariates, static, baselines, method)
        inputs, first_step = [case.x for case in cases], scorer.first_step
    elif covariates is not None:
        raise ValueError(f"covariates must be None for {type(model).__name__}: channels of X are its covariates")
    else:
        scorer = Scorer(model, target)
        inputs, cases = _cases(scorer, read(model, X, lengths), X, lengths, static, baselines)
    explain: Callable[..., np.ndarray]
    if method == "occlusion":
        explain = partial(_occluded, scorer, window)
    else:
        explain = partial(_integrated, scorer, *_points(n_steps, method))
    values = [explain(*case) for case in cases]
    scores = [scorer.scores(np.stack([case.x, case.baseline]), case.fixed) for case in cases]
    input_scores, baseline_scores = np.array(scores).reshape(-1, 2).T
    differences = input_scores - baseline_scores
    delta = np.array([shares.sum() for shares in values]) - differences
    if method == "integrated_gradients" and len(values):
        _check_complete(delta, differences, n_steps)
    return Attribution(values, input_scores, baseline_scores, delta, method, inputs, first_step)


def _cases(
    scorer: Scorer, sequences: Sequences, X: Any, lengths: Any, static: Any, baselines: Any
) -> tuple[list[np.ndarray], list[Case]]:
    """X as arrays, and each sequence as the network reads it, with its baseline and static features."""
    split = scorer.split(sequences)
    inputs = split if scorer.tokens or not split else sequences_of(X, lengths)
    cases = []
    for x, baseline, row in zip(
        split, _baselines(scorer, baselines, inputs), scorer.static(static, len(split)), strict=True
    ):
        cases.append(Case(scorer.read(x)[: len(baseline)].astype(np.float64), baseline, row))
    return inputs, cases


def _check_complete(delta: np.ndarray, differences: np.ndarray, n_steps: int) -> None:
    """Warn if shares do not add up to the differences of scores."""
    sizes = np.abs(differences)
    missing = np.flatnonzero(np.abs(delta) > INCOMPLETE * np.maximum(sizes, sizes.mean()))
    if len(missing):
        k = missing[0]
        warnings.warn(
            f"integrated gradients of {len(missing)} sequences are not complete: those of sequence {k} miss the "
            f"difference of scores, {differences[k]:.4g}, by {delta[k]:.4g}. Pass more than n_steps={n_steps}",
            stacklevel=3,
        )


def _points(n_steps: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """The points where gradients are taken, from the baseline (0) to the sequence (1), and their weights."""
    if method == "gradient_x_input":
        return np.ones(1), np.ones(1)
    points, weights = np.polynomial.legendre.leggauss(n_steps)
    return (points + 1) / 2, weights / 2


def _integrated(
    scorer: Explained, points: np.ndarray, weights: np.ndarray, x: np.ndarray, baseline: np.ndarray, fixed: Any
) -> np.ndarray:
    """The weighted mean of gradients at points from `baseline` (0) to `x` (1), times the difference of both."""
    path = baseline + points[:, None, None] * (x - baseline)
    return scorer.by_channel(np.tensordot(weights, scorer.gradients(path, fixed), axes=1) * (x - baseline))


def _occluded(scorer: Explained, window: int, x: np.ndarray, baseline: np.ndarray, fixed: Any) -> np.ndarray:
    """The fall of the score if the baseline replaces some steps of a channel, divided by their number."""
    values = np.empty((len(x), len(scorer.columns)))
    original = scorer.scores(x[None], fixed)[0]
    for places in _parts(values.shape, window):
        versions = np.repeat(x[None], len(places), axis=0)
        for version, (steps, channel) in zip(versions, places, strict=True):
            columns = scorer.columns[channel]
            version[steps, columns] = baseline[steps, columns]
        for (steps, channel), score in zip(places, scorer.scores(versions, fixed), strict=True):
            values[steps, channel] = (original - score) / len(values[steps])
    return values


def _parts(shape: tuple[int, ...], window: int) -> Iterator[list[tuple[slice, int]]]:
    """Windows of each channel, in groups that fit into memory."""
    steps, channels = shape
    places = [(slice(t, t + window), c) for t in range(0, steps, window) for c in range(channels)]
    count = max(1, STEPS // steps)
    for first in range(0, len(places), count):
        yield places[first : first + count]


def _baselines(scorer: Scorer, baselines: Any, sequences: list[np.ndarray]) -> list[np.ndarray]:
    """The baseline of each sequence, as the network reads it.

    Raises
    ------
    ValueError
        If baselines have neither the channels of X nor its shapes.
    """
    if baselines is None:
        size = max(columns.stop for columns in scorer.columns)
        return [np.zeros((len(x), size)) for x in sequences]  # the mean where channels are scaled
    if scorer.tokens is not None:
        raise ValueError("baselines must be None where X holds texts or categories: vectors of zeros stand for nothing")
    if isinstance(baselines, numbers.Real):
        raw = [np.full(x.shape, float(baselines)) for x in sequences]
    elif _is_step(baselines, sequences):
        raw = [np.broadcast_to(np.asarray(baselines, np.float64), x.shape) for x in sequences]
    else:
        raw = _sequences_or_none(baselines)
    if [baseline.shape for baseline in raw] != [x.shape for x in sequences]:
        raise ValueError(f"baselines must be a number, have {_channels(sequences)} channels, or be sequences as X")
    if not all(np.isfinite(baseline).all() for baseline in raw):
        raise ValueError("baselines must be finite")
    return raw if scorer.channels is None else [scorer.channels.scaled(baseline, "float64") for baseline in raw]


def _sequences_or_none(baselines: Any) -> list[np.ndarray]:
    """Baselines as sequences; an empty list if they have another form."""
    try:
        return sequences_of(baselines)
    except (TypeError, ValueError):
        return []


def _channels(sequences: list[np.ndarray]) -> int:
    return sequences[0].shape[1] if sequences else 0


def _is_step(baselines: Any, sequences: list[np.ndarray]) -> bool:
    """Whether baselines hold one number for each channel."""
    try:
        return np.shape(baselines) == (_channels(sequences),)
    except ValueError:  # ragged: sequences
        return False


def score_function(model: Any, target: Any = None) -> Callable[[np.ndarray], np.ndarray]:
    """The score that `attribute` explains, as a function of arrays, for libraries such as TimeSHAP [1]_ and SHAP.

    Parameters
    ----------
    model : fitted estimator
    target : optional
        As in `attribute`.

    Returns
    -------
    callable
        Takes an array (n, T, C), and returns scores (n, 1).

    Raises
    ------
    NotFittedError, TypeError, ValueError
        As `attribute` does.

    References
    ----------
    .. [1] J. Bento et al., "TimeSHAP: Explaining Recurrent Models through Sequence Perturbations", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTMRegressor
    >>> from numlstm.inspection import score_function
    >>> X = np.random.default_rng(0).normal(size=(50, 8, 2))
    >>> score = score_function(LSTMRegressor(hidden_size=8, random_state=0).fit(X, X[:, 3, 1]))
    >>> score(X[:4]).shape
    (4, 1)
    """
    scorer = Scorer(model, target)
    if scorer.statics is not None:
        raise ValueError(
            "model must be fitted without static features: libraries that call the function do not pass them"
        )

    def score(X: np.ndarray) -> np.ndarray:
        return np.array([scorer.scores(x[None], None) for x in scorer.split(read(model, X))]).reshape(-1, 1)

    return score
