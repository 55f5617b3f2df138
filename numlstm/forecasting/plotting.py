"""A picture of a forecast: what was before, the fan of intervals, and the truth where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..checks import check_integer
from .learning import names_of
from .parameters import check_coverage
from .series import read_panel

SHOWN = 4  # horizons of the past


def plot_forecast(
    forecaster: Any,
    y: Any,
    X: Any = None,
    *,
    series: Any = None,
    coverages: Sequence[float] = (0.5, 0.8, 0.95),
    history: int | None = None,
    ax: Any = None,
) -> Any:
    """Draw the forecast of one series: history, fan and truth.

    Parameters
    ----------
    forecaster : LSTMForecaster
        Fitted.
    y : in a form of `LSTMForecaster.fit`
        The series from any time on; what is in it after the last step that the forecaster knows is drawn as the truth.
    X : optional
        Future covariates, as of `LSTMForecaster.predict`.
    series : hashable, optional
        Which one of several series; the first by default.
    coverages : sequence of float in (0, 1), default (0.5, 0.8, 0.95)
        Of the intervals; of a forecaster with `quantiles` those that they make, whatever this says; none where there
        are no intervals.
    history : int, at least 1, optional
        Steps of the past; by default four horizons.
    ax : matplotlib.axes.Axes, optional
        Where to; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed: extra ``plot``.
    NotFittedError, TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTMForecaster
    >>> from numlstm.forecasting import plot_forecast
    >>> y = np.sin(np.arange(80) / 3)
    >>> forecaster = LSTMForecaster(horizon=8, max_iter=2, random_state=0).fit(y[:-8])
    >>> ax = plot_forecast(forecaster, y)  # doctest: +SKIP
    """
    pyplot = _pyplot()
    check_is_fitted(forecaster)
    learnt, known = forecaster._learnt, forecaster._panel
    keys = [each.key for each in known.series]
    place = 0 if series is None else _place(keys, series)
    panel, windows, horizon = forecaster._ahead(None, X, None, None)
    window, own = windows[[place]], panel.series[place]
    steps = own.start + panel.frequency.count * (len(own) + np.arange(horizon))
    times, values = _given(forecaster, y, keys, place)
    past = (SHOWN * horizon) if history is None else check_integer(history, "history", 1)
    ax = pyplot.subplots(figsize=(8, 3.5), layout="constrained")[1] if ax is None else ax
    shown = (times < steps[0]) & (times >= steps[0] - past * panel.frequency.count)
    labels = panel.frequency.times
    ax.plot(labels(times[shown]), values[shown], color="0.35", linewidth=1, label="history")
    for share in _shares(learnt, coverages):
        low, high = learnt.quantiles(window, [(1 - share) / 2, (1 + share) / 2])[0].T
        ax.fill_between(labels(steps), low, high, color="tab:blue", alpha=0.2, linewidth=0, label=f"{share:.0%}")
    ax.plot(labels(steps), learnt.point(window)[0], color="tab:blue", linewidth=1.5, label="forecast")
    after = (times >= steps[0]) & (times <= steps[-1])
    if after.any():
        ax.plot(labels(times[after]), values[after], "o-", color="black", markersize=2.5, linewidth=0.8, label="truth")
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.2 * (top - bottom))  # room for the legend
    ax.legend(frameon=False, fontsize="small", loc="upper left", ncols=6)
    return ax


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "numlstm[plot]"') from error
    return pyplot


def _place(keys: list[Any], series: Any) -> int:
    if series not in keys:
        raise ValueError(f"series must be one of {keys}, got {series!r}")
    return keys.index(series)


def _given(forecaster: Any, y: Any, keys: list[Any], place: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the steps of one series, and its values."""
    panel = read_panel(y, None, None, names_of(forecaster), forecaster._learnt.frequency)
    given = [each.key for each in panel.series]
    own = panel.series[_place(given, keys[place]) if keys[place] in given or len(given) > 1 else 0]
    return own.start + panel.frequency.count * np.arange(len(own)), own.values


def _shares(learnt: Any, coverages: Sequence[float]) -> list[float]:
    """Coverages of the intervals that there are, the widest first."""
    if not learnt.has_quantiles:
        return []
    if learnt.levels is None:
        return sorted((check_coverage(each) for each in coverages), reverse=True)
    pairs = [(low, high) for low in learnt.levels for high in learnt.levels if low < 0.5 and np.isclose(low + high, 1)]
    return sorted((float(high - low) for low, high in pairs), reverse=True)
