"""A plot of a forecast: history, the fan of intervals, and the truth if it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..checks import check_integer
from .learning import names_of
from .parameters import check_coverage
from .series import read_panel

SHOWN = 4  # horizons of history


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
        The series, from any step on. Its values after the last step that the forecaster knows are drawn as the truth.
    X : optional
        Future covariates, as in `LSTMForecaster.predict`.
    series : hashable, optional
        The name of the series to draw; by default the first one.
    coverages : sequence of float in (0, 1), default (0.5, 0.8, 0.95)
        Coverages of the intervals. A forecaster with `quantiles` has the intervals between its quantiles instead; one
        without `conformal`, `quantiles` and `distribution` has none.
    history : int, at least 1, optional
        Steps of the past; by default four horizons.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default a new figure.

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
    keys = [known_series.key for known_series in known.series]
    place = 0 if series is None else _place(keys, series)
    panel, windows, horizon = forecaster._ahead(None, X, None, None)
    window, steps = windows[[place]], panel.series[place].numbers(panel.frequency, horizon)
    times, values = _steps_and_values(forecaster, y, keys, place)
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


def _steps_and_values(forecaster: Any, y: Any, keys: list[Any], place: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the steps of one series in y, and its values."""
    panel = read_panel(y, None, None, names_of(forecaster), forecaster._learnt.frequency)
    keys_of_y = [series.key for series in panel.series]
    has_names = keys[place] in keys_of_y or len(keys_of_y) > 1
    series = panel.series[_place(keys_of_y, keys[place]) if has_names else 0]
    return series.start + panel.frequency.count * np.arange(len(series)), series.values


def _shares(learnt: Any, coverages: Sequence[float]) -> list[float]:
    """Coverages of the intervals to draw, the widest first."""
    if not learnt.has_quantiles:
        return []
    if learnt.levels is None:
        return sorted((check_coverage(coverage) for coverage in coverages), reverse=True)
    pairs = [(low, high) for low in learnt.levels for high in learnt.levels if low < 0.5 and np.isclose(low + high, 1)]
    return sorted((float(high - low) for low, high in pairs), reverse=True)
