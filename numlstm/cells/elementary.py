"""The functions that gate equations are made of.

These bodies run in plain Python and in the CUDA simulator; each compiled backend lowers them in its own way.
"""

import math


def sigmoid(x):
    """Logistic function, 1 / (1 + exp(-x))."""
    t = math.exp(-abs(x))
    return (1.0 if x >= 0.0 else t) / (1.0 + t)


def tanh(x):
    """Hyperbolic tangent."""
    return math.tanh(x)
