"""Attention and maxima over the steps of a sequence, for single numbers."""

from __future__ import annotations

import math


def attention(score):
    """The weight of a step before weights are divided by their sum; tanh is at most 1, so exp cannot overflow."""
    return math.exp(math.tanh(score))


def attention_slope(one, score):
    """The derivative of tanh."""
    e = math.tanh(score)
    return one - e * e


def is_larger(value, best):
    """Whether a value replaces the best so far; NaN is larger than any number."""
    return value > best or (value != value and best == best)
