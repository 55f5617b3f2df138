"""Linear-chain conditional random fields (Lafferty et al. 2001): marginals, best paths, and what the loss needs too.

Given the scores, the labels are a Markov chain (Rabiner 1989): the label after label i does not depend on labels before
i. Its probabilities of transition follow from the log-sums over all ways to the end. Labels that are known up to a step
make probabilities of its label; where some of them are unknown, these are sums over what they may be.

A block has a row, and its threads share the labels. All in float64, and in logarithms less a number for each step, so
that long rows lose no digits. A field is a vector: transitions (K, K), then the scores of the first label and of the
last. What is known of each step and label stands in arrays (N, T, K), one after another:

- onward: log-sums over all ways from the label to the end, less a number for each step;
- norms: the same from the label at the step before, without its own score;
- predicted: the label's log-probability, given the known labels before;
- leaving: `predicted` less the next step's `norms`.
"""

from __future__ import annotations

import math

import numpy as np

from ..contract import LEAST_PARAMETER
from .ctc import NEVER
from .device import cuda
from .launching import device_function, kernel

ARRAYS = 4


@kernel
def _field(parameters, axes, field, count):
    """Parameters in float64, none of them below `LEAST_PARAMETER`."""
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        value = np.float64(parameters[axes[0] + k * axes[3]])
        field[k] = LEAST_PARAMETER if value < LEAST_PARAMETER else value


@device_function
def finite(scores, start, axes, length, labels):
    """Whether all of a row's scores are."""
    for t in range(length):
        for k in range(labels):
            if not abs(scores[start + t * axes[2] + k * axes[3]]) < math.inf:
                return False
    return True


@device_function
def log_sum(values, place, field, first, step, labels):
    """``log(sum over i of exp(values[i] + field[first + i * step]))``."""
    highest, total = NEVER, 0.0
    for i in range(labels):
        highest = max(highest, values[place + i] + field[first + i * step])
    for i in range(labels):
        total += math.exp(values[place + i] + field[first + i * step] - highest)
    return highest + math.log(total)


@device_function
def _highest(values, first, count):
    """The largest of some numbers."""
    highest = values[first]
    for k in range(1, count):
        highest = max(highest, values[first + k])
    return highest


@device_function
def look_on(scores, start, axes, field, labels, length, ways, way, whole):
    """Write `onward` and `norms`."""
    last = labels * labels + labels
    for t in range(length - 1, -1, -1):
        onward, norms = way + t * labels, way + t * labels + whole
        highest = 0.0
        if t < length - 1:
            highest = _highest(ways, norms + labels, labels)
        for k in range(cuda.threadIdx.x, labels, cuda.blockDim.x):
            after = field[last + k]
            if t < length - 1:
                after = ways[norms + labels + k] - highest
            ways[onward + k] = after + np.float64(scores[start + t * axes[2] + k * axes[3]])
        cuda.syncthreads()
        if t > 0:
            for i in range(cuda.threadIdx.x, labels, cuda.blockDim.x):
                ways[norms + i] = log_sum(ways, onward, field, i * labels, 1, labels)
            cuda.syncthreads()


@device_function
def predict(targets, target, field, labels, length, ways, way, whole):
    """Write `predicted` and `leaving`; no label is known if `target`, where those of a row begin, is below 0."""
    first = labels * labels
    total = log_sum(ways, way, field, first, 1, labels)
    for t in range(length):
        onward = way + t * labels
        norms, predicted, leaving = onward + whole, onward + 2 * whole, onward + 3 * whole
        for k in range(cuda.threadIdx.x, labels, cuda.blockDim.x):
            if t == 0:
                value = field[first + k] - total
            elif target >= 0 and targets[target + t - 1] >= 0:
                before = targets[target + t - 1]
                value = field[before * labels + k] - ways[norms + before]
            else:
                value = log_sum(ways, leaving - labels, field, k, labels, labels)
            ways[predicted + k] = value + ways[onward + k]
            if t < length - 1:
                ways[leaving + k] = ways[predicted + k] - ways[norms + labels + k]
        cuda.syncthreads()


@kernel
def _marginals(scores, axes, shape, lengths, field, ways, shares):
    """The probability of each label at each step: what the chain predicts if no label is known."""
    rows, steps, labels = shape
    whole = rows * steps * labels
    for n in range(cuda.blockIdx.x, rows, cuda.gridDim.x):
        length, start, way = lengths[n], axes[0] + n * axes[1], n * steps * labels
        known = finite(scores, start, axes, length, labels)
        if known:
            look_on(scores, start, axes, field, labels, length, ways, way, whole)
            predict(lengths, -1, field, labels, length, ways, way, whole)
        for k in range(cuda.threadIdx.x, steps * labels, cuda.blockDim.x):
            share = 0.0
            if k < length * labels:
                share = math.exp(ways[way + 2 * whole + k]) if known else math.nan
            shares[way + k] = share


@kernel
def _viterbi(scores, axes, shape, lengths, field, best, origins, paths):
    """The best path of each row."""
    rows, steps, labels = shape
    first, last = labels * labels, labels * labels + labels
    for n in range(cuda.blockIdx.x, rows, cuda.gridDim.x):
        length, start, way = lengths[n], axes[0] + n * axes[1], n * steps * labels
        for t in range(length):
            here = way + t * labels
            for k in range(cuda.threadIdx.x, labels, cuda.blockDim.x):
                value, origin = field[first + k], 0
                if t > 0:
                    value = -math.inf
                    for i in range(labels):
                        candidate = best[here - labels + i] + field[i * labels + k]
                        if candidate > value:
                            value, origin = candidate, i
                best[here + k] = value + np.float64(scores[start + t * axes[2] + k * axes[3]])
                origins[here + k] = origin
            cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            label, value, here = 0, -math.inf, way + (length - 1) * labels
            for k in range(labels):
                if best[here + k] + field[last + k] > value:
                    label, value = k, best[here + k] + field[last + k]
            for t in range(steps - 1, -1, -1):
                paths[n * steps + t] = label if t < length else -1
                if 0 < t < length:
                    label = origins[way + t * labels + label]
