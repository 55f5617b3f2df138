"""See inside a model: its gates and memory, the flow of gradients, what its predictions rest on, how training went.

Plots need matplotlib: extra ``plot``.
"""

from .attribution import Attribution, attribute, score_function
from .attribution_plot import AttributionDisplay, plot_attribution
from .gates import GatesDisplay, plot_gates
from .gradient_plot import GradientFlowDisplay, plot_gradient_flow
from .gradients import GradientFlow, gradient_flow
from .importance import permutation_importance
from .learning_curve import TrainingCurveDisplay, plot_learning_curve
from .memory import MemoryDisplay, plot_memory
from .profiling import Profile, ProfileDisplay, profile
from .recorder import TrainingRecordDisplay, TrainingRecorder

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
