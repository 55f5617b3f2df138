"""Linear-chain conditional random fields: loss with its gradient, marginals and best paths (Lafferty et al. 2001).

A block has a row, and its threads share the labels. All in float64, and in logarithms. A field is a vector: transitions
(K, K), then the scores of the first label and of the last.
"""

from __future__ import annotations

import math

import numpy as np

from .ctc import NEVER
from .device import cuda
from .launching import device_function, kernel

ARRAYS = 3  # of float64 and of the scores' shape, which `_walk` writes


@device_function
def _emission(scores, start, axes, targets, target, t, k):
    """The score of a label at a step; `NEVER` where another is wanted. No targets are wanted if `target` is below 0."""
    if target >= 0 and targets[target + t] >= 0 and targets[target + t] != k:
        return NEVER
    return np.float64(scores[start + t * axes[2] + k * axes[3]])


@device_function
def finite(scores, start, axes, length, labels):
    """Whether all of a row's scores are."""
    for t in range(length):
        for k in range(labels):
            if not abs(scores[start + t * axes[2] + k * axes[3]]) < math.inf:
                return False
    return True


@device_function
def begin_row(slopes, way, inside, count, of_parameters, place, size, filling):
    """Fill a row's gradient of scores up to its length, and that of parameters; zeros past the length."""
    for k in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        slopes[way + k] = filling if k < inside else 0.0
    for k in range(cuda.threadIdx.x, size, cuda.blockDim.x):
        of_parameters[place + k] = filling


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
def _walk(scores, start, axes, targets, target, field, labels, length, ways, way, whole):
    """Log-sums over the paths up to each label of a step, with it, and from there on, without; and over all paths.

    `ways` has the former, the latter, and the latter with the step's own label, each in a `whole` of its own.
    """
    first, last = labels * labels, labels * labels + labels
    for t in range(length):
        here = way + t * labels
        for k in range(cuda.threadIdx.x, labels, cuda.blockDim.x):
            before = field[first + k]
            if t > 0:
                before = log_sum(ways, here - labels, field, k, labels, labels)
            ways[here + k] = before + _emission(scores, start, axes, targets, target, t, k)
        cuda.syncthreads()
    for t in range(length - 1, -1, -1):
        here = way + whole + t * labels
        for k in range(cuda.threadIdx.x, labels, cuda.blockDim.x):
            after = field[last + k]
            if t < length - 1:
                after = log_sum(ways, here + whole + labels, field, k * labels, 1, labels)
            ways[here + k] = after
            ways[here + whole + k] = after + _emission(scores, start, axes, targets, target, t, k)
        cuda.syncthreads()
    return log_sum(ways, way + (length - 1) * labels, field, last, 1, labels)


@device_function
def _expect(field, labels, length, ways, way, whole, total, weight, slopes, of_parameters, place):
    """Add `weight` times how often each label is expected at each step, and how often each parameter."""
    for j in range(cuda.threadIdx.x, length * labels, cuda.blockDim.x):
        share = weight * math.exp(ways[way + j] + ways[way + whole + j] - total)
        slopes[way + j] += share
        if j < labels:
            of_parameters[place + labels * labels + j] += share
        if j >= (length - 1) * labels:
            of_parameters[place + labels * labels + labels + j % labels] += share
    for pair in range(cuda.threadIdx.x, labels * labels, cuda.blockDim.x):
        before, here = way + pair // labels, way + 2 * whole + labels + pair % labels
        expected = 0.0
        for _ in range(1, length):
            expected += math.exp(ways[before] + field[pair] + ways[here] - total)
            before += labels
            here += labels
        of_parameters[place + pair] += weight * expected


@kernel
def _crf(scores, axes, shape, lengths, targets, weights, field, ways, slopes, of_parameters, losses):
    """The weighted loss of each row, and its gradient."""
    rows, steps, labels = shape
    whole, size = rows * steps * labels, labels * labels + 2 * labels
    for n in range(cuda.blockIdx.x, rows, cuda.gridDim.x):
        length, weight, start, way = lengths[n], weights[n], axes[0] + n * axes[1], n * steps * labels
        loss = 0.0 if weight == 0 or finite(scores, start, axes, length, labels) else math.nan
        begin_row(slopes, way, length * labels, steps * labels, of_parameters, n * size, size, loss)
        cuda.syncthreads()
        if weight != 0 and loss == 0:
            for agreeing in range(2):
                target = n * steps if agreeing else -1
                total = _walk(scores, start, axes, targets, target, field, labels, length, ways, way, whole)
                sign = -weight if agreeing else weight
                _expect(field, labels, length, ways, way, whole, total, sign, slopes, of_parameters, n * size)
                loss += sign * total
                cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            losses[n] = loss


@kernel
def _marginals(scores, axes, shape, lengths, field, ways, shares):
    """The probability of each label at each step."""
    rows, steps, labels = shape
    whole = rows * steps * labels
    for n in range(cuda.blockIdx.x, rows, cuda.gridDim.x):
        length, start, way = lengths[n], axes[0] + n * axes[1], n * steps * labels
        total = _walk(scores, start, axes, lengths, -1, field, labels, length, ways, way, whole)
        known = finite(scores, start, axes, length, labels)
        for k in range(cuda.threadIdx.x, steps * labels, cuda.blockDim.x):
            share = 0.0
            if k < length * labels:
                share = math.exp(ways[way + k] + ways[way + whole + k] - total) if known else math.nan
            shares[way + k] = share
        cuda.syncthreads()


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
