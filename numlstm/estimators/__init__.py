"""Estimators with scikit-learn's interface."""

from .classifier import LSTMClassifier

__all__ = ["LSTMClassifier"]
