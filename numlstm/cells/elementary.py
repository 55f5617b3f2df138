"""The functions that gate equations are made of.

These bodies run in plain Python and in the CUDA simulator; each compiled backend lowers them in its own way. NaN
propagates through all of them.
"""

import math


def exp(x):
    """Exponential function."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def log1p(x):
    """Logarithm of 1 + x, for 0 <= x <= 1."""
    return math.log1p(x)


def sigmoid(x):
    """Logistic function, 1 / (1 + exp(-x))."""
    t = math.exp(-abs(x))
    return (1.0 if x >= 0.0 else t) / (1.0 + t)


def tanh(x):
    """Hyperbolic tangent."""
    return math.tanh(x)


def where_negative(x, a, b):
    """`a` where x < 0, else `b`: also where x is NaN."""
    return a if x < 0.0 else b
