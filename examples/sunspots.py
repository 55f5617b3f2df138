"""
Forecasts of sunspots
=====================

Forecast sunspots, one month ahead and each of the next twelve.

`LSTMRegressor` reads windows of four years of the monthly series that comes with numlstm, learns from the years up to
1949 and forecasts the years from 1950 on. The script prints the root mean squared errors of the model and of two simple
forecasts: the value of the last month (persistence), and the value of eleven years ago (seasonal naive). It saves a
picture: `python examples/sunspots.py [picture.png] [--short]`.
"""

# sphinx_gallery_thumbnail_path = "../examples/sunspots.png"
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from numlstm import LSTMRegressor, sliding_windows
from numlstm.datasets import load_sunspots

WINDOW, CYCLE = 48, 132  # months
FIRST_TEST = np.datetime64("1950-01")


def forecast(months, numbers, horizon, epochs):
    """Forecasts, true numbers, and the index of the first forecast month, for each window of the test years."""
    roots = np.sqrt(numbers)  # months with high numbers vary more, but their square roots do not
    X, y = sliding_windows(roots, WINDOW, horizon)
    first = np.arange(len(X)) + WINDOW
    train, test = months[first + horizon - 1] < FIRST_TEST, months[first] >= FIRST_TEST
    model = LSTMRegressor(hidden_size=32, pooling="last", max_iter=epochs, verbose=sys.stderr.isatty(), random_state=0)
    model.fit(X[train], y[train])
    return np.maximum(model.predict(X[test]), 0) ** 2, y[test] ** 2, first[test]


def errors(name, numbers, predicted, truth, first):
    """Print and return the errors of the model, of persistence and of the seasonal naive forecast."""
    ahead = np.arange(truth.shape[1])
    rivals = predicted, numbers[first - 1][:, None], numbers[first[:, None] + ahead - CYCLE]
    rmse = [float(np.sqrt(np.mean((rival - truth) ** 2))) for rival in rivals]
    print("{}: RMSE {:.1f}, persistence {:.1f}, seasonal naive {:.1f}".format(name, *rmse))
    return rmse


def draw(months, numbers, next_month, next_year, first, path):
    """Draw true numbers and forecasts."""
    figure, axes = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
    shown = months >= FIRST_TEST
    for panel in axes:
        panel.plot(months[shown], numbers[shown], color="0.6", linewidth=0.8, label="truth")
        panel.set_ylabel("sunspots")
    axes[0].plot(months[first], next_month, color="tab:red", linewidth=0.8, label="forecast of the next month")
    for i in range(0, len(next_year), 12):
        label = "forecast of the next twelve" if i == 0 else None
        axes[1].plot(months[first[i] : first[i] + 12], next_year[i], color="tab:blue", linewidth=1.5, label=label)
    for panel in axes:
        panel.legend(frameon=False, loc="upper right")
    figure.savefig(path, dpi=90)


def main(path="sunspots.png", short=False):
    """Forecast, compare and draw; return the errors at both horizons."""
    months, numbers = load_sunspots()
    epochs = 5 if short else 10
    one = forecast(months, numbers, 1, epochs)
    twelve = forecast(months, numbers, 12, epochs)
    rmse = errors("one month ahead", numbers, *one), errors("twelve months ahead", numbers, *twelve)
    beaten = all(ours < min(rivals) for ours, *rivals in rmse)
    print("both beaten at both horizons" if beaten else "NOT beaten")
    draw(months, numbers, one[0][:, 0], twelve[0], one[2], path)
    print(f"picture: {path}")
    return rmse


if __name__ == "__main__":
    main(*[argument for argument in sys.argv[1:] if argument != "--short"], short="--short" in sys.argv)
