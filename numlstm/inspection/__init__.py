"""See inside a model: its gates and memory, the flow of gradients, what its predictions rest on, how training went.

Plots need matplotlib: extra ``plot``.
"""

from .gates import GatesDisplay, plot_gates
from .gradients import GradientFlow, GradientFlowDisplay, gradient_flow, plot_gradient_flow
from .memory import MemoryDisplay, plot_memory

__all__ = [
    "GatesDisplay",
    "GradientFlow",
    "GradientFlowDisplay",
    "MemoryDisplay",
    "gradient_flow",
    "plot_gates",
    "plot_gradient_flow",
    "plot_memory",
]
