"""
Forecasts, and where others win
===============================

Forecast four series and a chaotic one, beside forecasts that cost nothing and exponential smoothing.

`LSTMForecaster` forecasts airline passengers, carbon dioxide, sunspots and temperatures with its defaults, over
windows at the end of each series that it has not learnt from; so do the seasonal naive forecast, drift and exponential
smoothing. Of the chaotic series of Mackey and Glass, the error 84 units of time ahead is compared with those of a ridge
regression and of boosted trees on the same windows. Prints all errors, also where another one wins, and saves a
picture: `python examples/forecasting.py [picture.png] [--short]`.
"""

import sys
import time
import warnings

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sktime.datasets import load_airline
from statsmodels.datasets import co2, sunspots
from vega_datasets import local_data

from numlstm import LSTMForecaster, sliding_windows
from numlstm.forecasting import plot_forecast

TESTS = {  # windows, and steps of each
    "airline passengers": (5, 12),
    "carbon dioxide": (8, 12),
    "sunspots": (8, 11),
    "Seattle temperatures": (60, 24),
}
HORIZON, FIRST_TEST = 14, 4500  # of Mackey and Glass's series, in steps of 6 units of time
LAGS = 34  # that ridge regression and boosting read there; the network reads 14


def series(short):
    """Four series with their frequencies; two of them in a short run."""
    found = {"airline passengers": load_airline().astype(float)}
    weeks = co2.load_pandas().data["co2"]
    found["carbon dioxide"] = weeks.resample("MS").mean().interpolate()
    if not short:
        years = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
        found["sunspots"] = pd.Series(years, pd.period_range("1700", periods=len(years), freq="Y"))
        hours = local_data.seattle_temps()
        found["Seattle temperatures"] = pd.Series(hours["temp"].to_numpy(float))
    return found


def mackey_glass(count, delay=17.0, step=0.1, every=60, warm_up=10_000):
    """The series of Mackey and Glass 1977, every 6 units of time, by Runge and Kutta's method of order 4."""
    lag, total = round(delay / step), warm_up + count * every
    x = np.full(lag + 1 + total, 1.2)

    def change(now, before):
        return 0.2 * before / (1 + before**10) - 0.1 * now

    for t in range(lag, lag + total):
        before, after = x[t - lag], x[t - lag + 1]
        middle = (before + after) / 2
        k1 = change(x[t], before)
        k2 = change(x[t] + step / 2 * k1, middle)
        k3 = change(x[t] + step / 2 * k2, middle)
        k4 = change(x[t] + step * k3, after)
        x[t + 1] = x[t] + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x[lag + 1 + warm_up :: every][:count]


def chaos(short, seed=0):
    """Errors of four forecasts 84 units of time ahead, as shares of the deviation of the series; and seconds."""
    values = mackey_glass(FIRST_TEST + 500)
    began = time.perf_counter()
    model = LSTMForecaster(
        horizon=HORIZON, context_length=14, differencing="none", linear_skip=False, conformal=False, n_members=1,
        hidden_size=64, pooling="last", learning_rate_init=0.02, max_iter=10 if short else 60, random_state=seed,
    ).fit(values[:FIRST_TEST])  # fmt: skip
    seconds = time.perf_counter() - began
    X, y = sliding_windows(values, LAGS, HORIZON)
    first = np.arange(len(X)) + LAGS  # of each forecast
    train, test = first + HORIZON <= FIRST_TEST, first >= FIRST_TEST
    flat, target = X[:, :, 0], y[:, -1]
    forecasts = {
        "LSTMForecaster": np.array(model.predict(y=[values[:origin] for origin in first[test]]))[:, -1],
        "ridge": RidgeCV(np.logspace(-6, 3, 10)).fit(flat[train], target[train]).predict(flat[test]),
        "boosting": HistGradientBoostingRegressor(max_iter=500, random_state=0)
        .fit(flat[train], target[train])
        .predict(flat[test]),
        "last value": flat[test, -1],
    }
    errors = {
        name: float(np.sqrt(np.mean((each - target[test]) ** 2)) / values.std()) for name, each in forecasts.items()
    }
    return errors, seconds


def compare(found):
    """Print and return the mean absolute scaled error of each model on each series."""
    errors = {}
    for name, y in found.items():
        windows, horizon = TESTS[name]
        table = LSTMForecaster(random_state=0).backtest(y, n_windows=windows, horizon=horizon)
        means = table.groupby("model", sort=False)[["mase", "coverage", "seconds"]].mean()
        errors[name] = means["mase"].to_dict() | {"coverage": float(means["coverage"].iloc[0])}
        said = ", ".join(f"{model} {error:.3f}" for model, error in means["mase"].items())
        seconds = ", ".join(f"{model} {time_taken:.1f} s" for model, time_taken in means["seconds"].items())
        print(f"{name} ({windows} windows): MASE {said}")
        print(f"    best: {means['mase'].idxmin()}; 80 % intervals cover {means['coverage'].iloc[0]:.0%}; {seconds}")
    return errors


def draw(found, path):
    """The last forecast of each series, with its fan."""
    figure, axes = plt.subplots(len(found), 1, figsize=(8, 2.4 * len(found)), layout="constrained")
    for axis, (name, y) in zip(axes, found.items(), strict=True):
        horizon = TESTS[name][1]
        forecaster = LSTMForecaster(horizon=horizon, random_state=0).fit(y[:-horizon])
        plot_forecast(forecaster, y, ax=axis)
        axis.set_title(name, fontsize="medium", loc="left")
    figure.savefig(path, dpi=90)


def main(path="forecasting.png", short=False):
    """Forecast, compare, draw; return the errors on the four series and on the chaotic one."""
    warnings.simplefilter("ignore")  # of exponential smoothing, whose search may not converge
    found = series(short)
    errors = compare(found)
    chaotic, seconds = chaos(short)
    said = ", ".join(f"{model} {error:.3f}" for model, error in chaotic.items())
    print(f"Mackey and Glass, 84 units of time ahead: NRMSE {said}; learnt in {seconds:.1f} s")
    draw(found, path)
    print(f"picture: {path}")
    return errors, chaotic


if __name__ == "__main__":
    main(*[each for each in sys.argv[1:] if each != "--short"], short="--short" in sys.argv)
