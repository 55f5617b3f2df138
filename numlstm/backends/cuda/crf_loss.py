"""The loss of a CRF with a weight for each step, and its gradient: the sum of ``-w[t] log p(y[t] | y[:t])``.

The gradient flows forward along the chain of labels: each step gets the weight of the steps after it, and loses what
its label wants. After the arrays of the chain, all of float64, stand:

- drawn: what of the weight on the next step came from the label, in the place of `leaving`;
- wanted: the weight on the label, given the known labels up to the next known one.
"""

from __future__ import annotations

import math

from .crf import finite, look_on, predict
from .device import cuda
from .launching import device_function, kernel

ARRAYS = 5


@device_function
def _total(values, first, count):
    """The sum of some numbers."""
    total = 0.0
    for k in range(count):
        total += values[first + k]
    return total


@device_function
def _begin_row(slopes, way, inside, count, of_parameters, place, size, filling):
    """Fill a row's gradient of scores up to its length, and that of parameters; zeros past the length."""
    for k in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        slopes[way + k] = filling if k < inside else 0.0
    for k in range(cuda.threadIdx.x, size, cuda.blockDim.x):
        of_parameters[place + k] = filling


@device_function
def _share_back(field, labels, ways, here, whole, i, j):
    """The probability of label i at the step before, given label j at a step and the known labels before."""
    predicted = here + 2 * whole
    leaving = ways[predicted - labels + i] - ways[here + whole + i]
    return math.exp(leaving + field[i * labels + j] + ways[here + j] - ways[predicted + j])


@device_function
def _share_on(field, labels, ways, here, whole, i, j):
    """The probability of label j at a step, given label i at the step before."""
    return math.exp(field[i * labels + j] + ways[here + j] - ways[here + whole + i])


@device_function
def _want(targets, target, weights, field, labels, length, ways, way, whole):
    """Write `drawn` and `wanted`."""
    for t in range(length - 1, -1, -1):
        here, known = way + t * labels, targets[target + t]
        drawn, wanted = here + 3 * whole, here + 4 * whole
        for i in range(cuda.threadIdx.x, labels, cuda.blockDim.x):
            weight = 0.0
            if t < length - 1 and (known < 0 or known == i):
                for j in range(labels):
                    share = 1.0 if known == i else _share_back(field, labels, ways, here + labels, whole, i, j)
                    weight += ways[wanted + labels + j] * share
            ways[drawn + i] = weight
            ways[wanted + i] = weights[target + t] if known == i else weight
        cuda.syncthreads()


@device_function
def _flow(field, labels, length, ways, way, whole, slopes):
    """Write the gradient of scores."""
    for t in range(length):
        here = way + t * labels
        wanted = here + 4 * whole
        for j in range(cuda.threadIdx.x, labels, cuda.blockDim.x):
            total = 0.0
            for i in range(labels):
                if t == 0:
                    total += ways[wanted + i] * math.exp(ways[here + 2 * whole + j])
                else:
                    weight = slopes[here - labels + i] + ways[here - labels + 3 * whole + i]
                    total += weight * _share_on(field, labels, ways, here, whole, i, j)
            slopes[here + j] = total - ways[wanted + j]
        cuda.syncthreads()


@device_function
def _slopes_of_parameters(targets, target, field, labels, length, ways, way, whole, slopes, of_parameters, place):
    """Write the gradient of parameters."""
    for pair in range(cuda.threadIdx.x, labels * labels, cuda.blockDim.x):
        i, j, total = pair // labels, pair % labels, 0.0
        for t in range(1, length):
            here, before = way + t * labels, targets[target + t - 1]
            weight = slopes[here - labels + i] + ways[here - labels + 3 * whole + i]
            total += weight * _share_on(field, labels, ways, here, whole, i, j)
            if before < 0:
                total -= ways[here + 4 * whole + j] * _share_back(field, labels, ways, here, whole, i, j)
            elif before == i:
                total -= ways[here + 4 * whole + j]
        of_parameters[place + pair] = total
    for k in range(cuda.threadIdx.x, labels, cuda.blockDim.x):
        of_parameters[place + labels * labels + k] = slopes[way + k]
        of_parameters[place + labels * labels + labels + k] = slopes[way + (length - 1) * labels + k]


@device_function
def _loss(targets, target, weights, labels, length, ways, predicted):
    """The loss of a row."""
    loss = 0.0
    for t in range(length):
        label = targets[target + t]
        if label >= 0:
            loss -= weights[target + t] * ways[predicted + t * labels + label]
    return loss


@kernel
def _crf_loss(scores, axes, shape, lengths, targets, weights, field, ways, slopes, of_parameters, losses):
    """The loss of each row, and its gradient."""
    rows, steps, labels = shape
    whole, size = rows * steps * labels, labels * labels + 2 * labels
    for n in range(cuda.blockIdx.x, rows, cuda.gridDim.x):
        length, start, way, target = lengths[n], axes[0] + n * axes[1], n * steps * labels, n * steps
        weight = _total(weights, target, length)
        loss = 0.0 if weight == 0 or finite(scores, start, axes, length, labels) else math.nan
        _begin_row(slopes, way, length * labels, steps * labels, of_parameters, n * size, size, loss)
        cuda.syncthreads()
        if weight != 0 and loss == 0:
            look_on(scores, start, axes, field, labels, length, ways, way, whole)
            predict(targets, target, field, labels, length, ways, way, whole)
            if cuda.threadIdx.x == 0:
                loss = _loss(targets, target, weights, labels, length, ways, way + 2 * whole)
            _want(targets, target, weights, field, labels, length, ways, way, whole)
            _flow(field, labels, length, ways, way, whole, slopes)
            _slopes_of_parameters(
                targets, target, field, labels, length, ways, way, whole, slopes, of_parameters, n * size
            )
        if cuda.threadIdx.x == 0:
            losses[n] = loss
