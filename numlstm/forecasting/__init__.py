"""Forecasts of time series: one estimator from a table of numbers to forecasts with intervals."""

from .forecaster import LSTMForecaster

__all__ = ["LSTMForecaster"]
