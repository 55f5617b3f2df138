"""The oracle: every cell a second time, from the papers, in plain float64 NumPy."""

from . import lstm  # noqa: F401  (registers the twin)
from .backend import ReferenceBackend
from .twin import Twin, register

__all__ = ["ReferenceBackend", "Twin", "register"]
