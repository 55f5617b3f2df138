"""Forecasts of time series: one estimator from a table of numbers to forecasts with intervals."""

from .forecaster import LSTMForecaster
from .plotting import plot_forecast

__all__ = ["LSTMForecaster", "plot_forecast"]
