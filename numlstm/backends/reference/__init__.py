"""The oracle: every cell a second time, from the papers, in plain float64 NumPy."""

from . import gru, lstm, rnn  # noqa: F401  (registers the twins)
from .backend import ReferenceBackend
from .twin import Twin, register

__all__ = ["ReferenceBackend", "Twin", "register"]
