"""See inside a model: its gates and memory, the flow of gradients, what its predictions rest on, how training went.

Plots need matplotlib: extra ``plot``.
"""

from .gates import GatesDisplay, plot_gates
from .memory import MemoryDisplay, plot_memory

__all__ = [
    "GatesDisplay",
    "MemoryDisplay",
    "plot_gates",
    "plot_memory",
]
