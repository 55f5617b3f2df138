"""
One model for many series
=========================

Forecast many series with one model: days of power demand, births in 192 countries, and months of employment.

`LSTMForecaster` learns from 596 whole days of the power demand of Italy, and forecasts the evenings of 500 other days
from their first 18 hours. Then it forecasts the number of births per woman in 192 countries, five years ahead, and the
employment in 17 industries, six months ahead; one model learns from all series of a set. The rivals forecast the same
steps: the last value, drift, and exponential smoothing, which has a model for each series. Prints mean absolute scaled
errors, also where a rival wins, and saves a picture: `python examples/many_series.py [picture.png] [--short]`.
"""

import sys
import time
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sktime.datasets
from statsmodels.datasets import fertility
from vega_datasets import local_data

from numlstm import LSTMForecaster
from numlstm.forecasting.rivals import RIVALS
from numlstm.metrics import coverage, mase

KNOWN, TRAINED = 18, 596  # hours of a day, and days
TOTALS = [
    "nonfarm", "private", "goods_producing", "service_providing", "private_service_providing", "nonfarm_change",
]  # fmt: skip


def days():
    """Power demand of Italy, 1,096 days of 24 hours each, scaled; days of one season stand together, so shuffled."""
    folder = Path(sktime.datasets.__file__).parent / "data" / "ItalyPowerDemand"
    rows = [
        [float(value) for value in line.split(":")[0].split(",")]
        for part in ("TRAIN", "TEST")
        for line in (folder / f"ItalyPowerDemand_{part}.ts").read_text().splitlines()
        if line and line[0] not in "@#"
    ]
    return np.random.default_rng(0).permutation(np.array(rows))


def evenings(short):
    """Print and return the errors of each model on the evenings; with days and forecasts, for the picture."""
    found = days()
    learnt, others = [*found[:TRAINED]], found[TRAINED : TRAINED + (50 if short else 500)]
    began = time.perf_counter()
    model = LSTMForecaster(horizon=24 - KNOWN, context_length=KNOWN, season_length=1, random_state=0).fit(learnt)
    forecasts = {"LSTMForecaster": np.array(model.predict(y=[*others[:, :KNOWN]]))}
    seconds = time.perf_counter() - began
    bounds = np.array(model.predict_interval(0.8, y=[*others[:, :KNOWN]]))
    for name, rival in RIVALS.items():
        forecasts[name] = np.concatenate([rival(day[:KNOWN], np.array([KNOWN]), 24 - KNOWN, 1) for day in others])
    errors = {
        name: float(
            np.mean([mase(day[KNOWN:], own, y_train=day[:KNOWN]) for day, own in zip(others, each, strict=True)])
        )
        for name, each in forecasts.items()
    }
    said = ", ".join(f"{name} {error:.3f}" for name, error in errors.items())
    share = coverage(others[:, KNOWN:], bounds[:, :, 0], bounds[:, :, 1])
    print(f"evenings of {len(others)} days: MASE {said}; 80 % intervals cover {share:.0%}; learnt in {seconds:.1f} s")
    return errors, others, forecasts["LSTMForecaster"], bounds


def countries(short):
    """Print and return the errors on births per woman, 1960 to 2011: one model and rivals."""
    table = fertility.load_pandas().data.set_index("Country Name")
    table = table[[str(year) for year in range(1960, 2012)]].dropna().T
    table.index = pd.PeriodIndex(table.index, freq="Y")
    table = table.iloc[:, :20] if short else table
    scores = LSTMForecaster(random_state=0).backtest(table, n_windows=2, horizon=5)
    means = scores.groupby("model", sort=False)[["mase", "coverage", "seconds"]].mean()
    said = ", ".join(f"{name} {error:.3f}" for name, error in means["mase"].items())
    print(
        f"births per woman in {table.shape[1]} countries, 2 windows of 5 years: MASE {said}; 80 % intervals cover "
        f"{means['coverage'].iloc[0]:.0%}; learnt in {table.shape[1] * means['seconds'].iloc[0]:.1f} s"
    )
    return means["mase"].to_dict()


def industries(short):
    """Print and return the errors on employment: one model, a model for each series, and rivals."""
    table = local_data.us_employment().set_index("month").drop(columns=TOTALS).astype(float)
    table.index = pd.DatetimeIndex(table.index, freq="MS")
    table = table.iloc[:, :3] if short else table
    options = {"horizon": 6, "random_state": 0}
    scores = LSTMForecaster(**options).backtest(table, n_windows=6)
    errors = scores.groupby("model", sort=False)["mase"].mean().to_dict()
    apart = [LSTMForecaster(**options).backtest(table[[name]], n_windows=6) for name in table]
    own = pd.concat(each[each["model"] == "LSTMForecaster"] for each in apart)
    errors = {"LSTMForecaster for each": float(own["mase"].mean()), **errors}
    said = ", ".join(f"{name} {error:.3f}" for name, error in errors.items())
    print(f"employment of {table.shape[1]} industries, 6 windows of 6 months: MASE {said}")
    return errors


def draw(others, forecasts, bounds, path):
    """The first days, their forecasts and intervals."""
    figure, axes = plt.subplots(2, 4, figsize=(10, 4.5), sharex=True, sharey=True, layout="constrained")
    hours = np.arange(KNOWN, 24)
    for axis, day, own, (low, high) in zip(axes.flat, others, forecasts, np.moveaxis(bounds, 2, 1), strict=False):
        axis.plot(day, color="0.35", linewidth=1, label="truth")
        axis.fill_between(hours, low, high, color="tab:blue", alpha=0.25, linewidth=0, label="80 %")
        axis.plot(hours, own, color="tab:blue", linewidth=1.5, label="forecast")
        axis.axvline(KNOWN - 0.5, color="0.8", linewidth=0.8)
    axes[0, 0].legend(frameon=False, fontsize="small")
    figure.supxlabel("hour")
    figure.supylabel("power demand, scaled")
    figure.savefig(path, dpi=90)


def main(path="many_series.png", short=False):
    """Forecast, compare, draw; return the errors on evenings, births and employment."""
    warnings.simplefilter("ignore")  # of exponential smoothing, whose search may not converge
    of_days, others, forecasts, bounds = evenings(short)
    of_countries = countries(short)
    of_industries = industries(short)
    draw(others, forecasts, bounds, path)
    print(f"picture: {path}")
    return of_days, of_countries, of_industries


if __name__ == "__main__":
    main(*[each for each in sys.argv[1:] if each != "--short"], short="--short" in sys.argv)
