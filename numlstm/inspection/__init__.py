"""See inside a model: its gates and memory, the flow of gradients, what its predictions rest on, how training went.

Plots need matplotlib: extra ``plot``.
"""

from .attribution import Attribution, AttributionDisplay, attribute, plot_attribution, score_function
from .gates import GatesDisplay, plot_gates
from .gradients import GradientFlow, GradientFlowDisplay, gradient_flow, plot_gradient_flow
from .importance import permutation_importance
from .memory import MemoryDisplay, plot_memory
from .profiling import Profile, ProfileDisplay, profile
from .training import TrainingCurveDisplay, TrainingRecordDisplay, TrainingRecorder, plot_learning_curve

__all__ = [
    "Attribution",
    "AttributionDisplay",
    "GatesDisplay",
    "GradientFlow",
    "GradientFlowDisplay",
    "MemoryDisplay",
    "Profile",
    "ProfileDisplay",
    "TrainingCurveDisplay",
    "TrainingRecordDisplay",
    "TrainingRecorder",
    "attribute",
    "gradient_flow",
    "permutation_importance",
    "plot_attribution",
    "plot_gates",
    "plot_gradient_flow",
    "plot_learning_curve",
    "plot_memory",
    "profile",
    "score_function",
]
