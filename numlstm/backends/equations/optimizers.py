"""One step of each optimizer for one parameter theta with gradient g, in the type of these numbers.

The hyper-parameters of a step are a named tuple, computed in float64. Engines round them to the parameters' type;
one that is too large becomes infinite, and theta shows it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

SMALLEST_NORM = 1e-30  # a gradient of zeros is not divided by zero


def clip_scale(norm, limit):
    """The factor that brings a norm down to `limit`: at most 1, and 1 where the norm is NaN."""
    ratio = limit / max(norm, SMALLEST_NORM)
    return ratio if ratio < 1.0 else 1.0


def penalised(theta, g, decay):
    """The gradient with that of an L2 penalty of strength `decay`."""
    return g + decay * theta


class AdamNumbers(NamedTuple):
    """Hyper-parameters of a step of Adam.

    Attributes
    ----------
    beta1, beta2 : float
    one_less_beta1, one_less_beta2 : float
        1 - beta1 and 1 - beta2. They are computed in float64: in float32, 1 - 0.999 has five correct digits.
    rate : float
        alpha / (1 - beta1**t).
    correction : float
        1 / sqrt(1 - beta2**t).
    epsilon : float
    coupled, shrink : float
        Factors of the decay: of its part in the gradient (an L2 penalty), and of what theta shrinks by (AdamW).
    """

    beta1: float
    one_less_beta1: float
    beta2: float
    one_less_beta2: float
    rate: float
    correction: float
    epsilon: float
    coupled: float
    shrink: float


def adam_numbers(step, learning_rate, beta1, beta2, epsilon, decoupled):
    """The hyper-parameters of step number `step`, counted from 1; `decoupled` decay is AdamW's."""
    rate, correction = learning_rate / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    coupled, shrink = (0.0, learning_rate) if decoupled else (1.0, 0.0)
    return AdamNumbers(beta1, 1 - beta1, beta2, 1 - beta2, rate, correction, epsilon, coupled, shrink)


def adam_decay(theta, g, decay, numbers):
    """Theta and its gradient after decay: an L2 penalty changes the gradient, AdamW's decay changes theta."""
    return theta - numbers.shrink * decay * theta, g + numbers.coupled * decay * theta


def adam(theta, g, mean, square, numbers):
    """Kingma & Ba 2015, algorithm 1: theta and both running means after the step."""
    mean = numbers.beta1 * mean + numbers.one_less_beta1 * g
    square = numbers.beta2 * square + numbers.one_less_beta2 * (g * g)
    return theta - numbers.rate * mean / (math.sqrt(square) * numbers.correction + numbers.epsilon), mean, square


class SgdNumbers(NamedTuple):
    """Hyper-parameters of gradient descent; its step is ``ahead * velocity + now * g``, times the rate."""

    rate: float
    momentum: float
    ahead: float
    now: float


def sgd_numbers(learning_rate, momentum, nesterov):
    """The hyper-parameters of a step."""
    ahead, now = (momentum, 1.0) if nesterov else (1.0, 0.0)
    return SgdNumbers(learning_rate, momentum, ahead, now)


def sgd(theta, g, velocity, numbers):
    """With momentum (Sutskever et al. 2013): theta and the velocity after the step."""
    velocity = numbers.momentum * velocity + g
    return theta - numbers.rate * (numbers.ahead * velocity + numbers.now * g), velocity


class RmsPropNumbers(NamedTuple):
    """Hyper-parameters of RMSprop."""

    rate: float
    rho: float
    one_less_rho: float
    epsilon: float


def rmsprop_numbers(learning_rate, rho, epsilon):
    """The hyper-parameters of a step."""
    return RmsPropNumbers(learning_rate, rho, 1 - rho, epsilon)


def rmsprop(theta, g, square, numbers):
    """Hinton 2012, lecture 6e: theta and the running mean of the gradient's square after the step."""
    square = numbers.rho * square + numbers.one_less_rho * (g * g)
    return theta - numbers.rate * g / (math.sqrt(square) + numbers.epsilon), square
