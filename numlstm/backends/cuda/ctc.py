"""CTC: the loss of rows of labels without places, and its gradient (Graves et al. 2006).

A block has a row, and its threads share the row's states: the labels, with blanks before, between and after. All in
float64, and in logarithms.
"""

from __future__ import annotations

import math

import numpy as np

from .device import cuda
from .launching import device_function, kernel

NEVER = -1e300  # the logarithm of 0: finite, so that differences are numbers


@device_function
def log_add(a, b):
    """``log(exp(a) + exp(b))``."""
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


@device_function
def _label(targets, start, s, blank):
    """Of a state: blanks are even."""
    return blank if s % 2 == 0 else targets[start + s // 2]


@device_function
def _leaps(targets, start, s):
    """Whether a path may come to a state over a blank: to a label that is not the one before."""
    return s % 2 == 1 and s >= 3 and targets[start + s // 2] != targets[start + s // 2 - 1]


@device_function
def _count_states(targets, start, places):
    """Labels stand before the first -1."""
    states = 1
    for k in range(places):
        if targets[start + k] < 0:
            break
        states += 2
    return states


@device_function
def _logarithms(scores, start, axes, labels, length, out, place):
    """What each step's scores are normalised by, by all threads; whether all of them are finite."""
    for t in range(cuda.threadIdx.x, length, cuda.blockDim.x):
        highest, total, wrong = -math.inf, 0.0, False
        for k in range(labels):
            value = np.float64(scores[start + t * axes[2] + k * axes[3]])
            wrong = wrong or not abs(value) < math.inf
            highest = max(highest, value)
        for k in range(labels):
            total += math.exp(np.float64(scores[start + t * axes[2] + k * axes[3]]) - highest)
        out[place + t] = math.nan if wrong else highest + math.log(total)
    cuda.syncthreads()
    finite = True
    for t in range(length):
        finite = finite and out[place + t] == out[place + t]
    return finite


@device_function
def _arrive(values, place, targets, start, s):
    """Log-sum over the three ways to a state, from the log-sums of all paths to each state a step before."""
    total = values[place + s]
    if s >= 1:
        total = log_add(total, values[place + s - 1])
    if _leaps(targets, start, s):
        total = log_add(total, values[place + s - 2])
    return total


@device_function
def _leave(values, place, targets, start, s, states):
    """Log-sum over the three ways from a state on."""
    total = values[place + s]
    if s + 1 < states:
        total = log_add(total, values[place + s + 1])
    if s + 2 < states and _leaps(targets, start, s + 2):
        total = log_add(total, values[place + s + 2])
    return total


@device_function
def _emission(scores, start, axes, label, logarithms, place, t):
    """Of a label at a step."""
    return np.float64(scores[start + t * axes[2] + label * axes[3]]) - logarithms[place + t]


@device_function
def _walk_ahead(scores, start, axes, targets, target, blank, states, length, logarithms, place, ahead, way, room):
    """Log-probabilities of all paths up to each step and state, and in all."""
    for t in range(length):
        for s in range(cuda.threadIdx.x, states, cuda.blockDim.x):
            before = 0.0 if s < 2 else NEVER
            if t > 0:
                before = _arrive(ahead, way + (t - 1) * room, targets, target, s)
            label = _label(targets, target, s, blank)
            ahead[way + t * room + s] = before + _emission(scores, start, axes, label, logarithms, place, t)
        cuda.syncthreads()
    last = way + (length - 1) * room + states - 1
    total = ahead[last]
    if states > 1:
        total = log_add(total, ahead[last - 1])
    cuda.syncthreads()
    return total


@device_function
def _walk_back(
    scores, start, axes, targets, target, blank, states, length, logarithms, place, ahead, way, onward, turns, room
):
    """The way back over the paths from each step and state on; what was ahead becomes that of all paths through it."""
    for t in range(length - 1, -1, -1):
        here, after = turns + t % 2 * room, turns + (t + 1) % 2 * room
        for s in range(cuda.threadIdx.x, states, cuda.blockDim.x):
            value = 0.0 if s >= states - 2 else NEVER
            if t < length - 1:
                value = _leave(onward, after, targets, target, s, states)
            label = _label(targets, target, s, blank)
            onward[here + s] = value + _emission(scores, start, axes, label, logarithms, place, t)
            ahead[way + t * room + s] += value
        cuda.syncthreads()


@device_function
def _slope(scores, start, axes, targets, target, blank, states, logarithms, place, through, total, t, k):
    """The derivative of a row's loss with respect to a score."""
    slope = math.exp(_emission(scores, start, axes, k, logarithms, place, t))
    for s in range(states):
        if _label(targets, target, s, blank) == k:
            slope -= math.exp(through[s] - total)
    return slope


@kernel
def _ctc(scores, axes, shape, lengths, targets, places, weights, blank, logarithms, ahead, onward, gradient, losses):
    """The weighted loss of each row, and its gradient."""
    rows, steps, labels = shape
    room = 2 * places + 1
    for n in range(cuda.blockIdx.x, rows, cuda.gridDim.x):
        weight, length, target, place = weights[n], lengths[n], n * places, n * steps
        start, way = axes[0] + n * axes[1], n * steps * room
        states = _count_states(targets, target, places)
        finite, total = True, 0.0
        if weight != 0:
            finite = _logarithms(scores, start, axes, labels, length, logarithms, place)
        if weight != 0 and finite:
            total = _walk_ahead(
                scores, start, axes, targets, target, blank, states, length, logarithms, place, ahead, way, room
            )  # fmt: skip
            _walk_back(
                scores, start, axes, targets, target, blank, states, length, logarithms, place, ahead, way, onward,
                2 * n * room, room,
            )  # fmt: skip
        possible = total > 0.1 * NEVER
        for number in range(cuda.threadIdx.x, steps * labels, cuda.blockDim.x):
            t, k = number // labels, number % labels
            slope = 0.0
            if weight != 0 and t < length and possible and finite:
                through = ahead[way + t * room : way + (t + 1) * room]
                slope = weight * _slope(
                    scores, start, axes, targets, target, blank, states, logarithms, place, through, total, t, k
                )  # fmt: skip
            elif t < length and not finite:
                slope = math.nan
            gradient[place * labels + number] = slope
        if cuda.threadIdx.x == 0:
            loss = -weight * total if possible else math.inf
            losses[n] = loss if finite else math.nan
        cuda.syncthreads()
