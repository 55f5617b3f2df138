"""The loss of a CRF with a weight for each step, and its gradient: the sum of ``-w[t] log p(y[t] | y[:t])``.

Given the scores, the labels are a Markov chain (Rabiner 1989): the label after label i does not depend on labels before
i. Its probabilities of transition follow from the log-sums over all ways to the end. Labels that are known up to a step
make probabilities of its label; where some of them are unknown, these are sums over what they may be.

The gradient flows forward along the chain: each step gets the weight of the steps after it, and loses what its label
wants. All sums over ways are logarithms less a number for each step, so that long rows lose no digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .crf import advance, log_total, read
from .machine.compiling import inner, kernel
from .machine.log_sums import NEVER, exponentials


class Room(NamedTuple):
    """Arrays (T, K) for a row, with labels that never occur; and two vectors (K,).

    Attributes
    ----------
    onward
        Log-sums over all ways from a step's label to the end, less a number for each step.
    norms
        The same from a label of the step before, without its own score.
    predicted
        Log-probabilities of a step's labels, given the known labels before it.
    wanted
        The weight on each label of a step, given the known labels up to the next known one.
    drawn
        What of the weight on the next step came from each label of a step.
    values, shares
        What goes into exponentials, and comes out.
    """

    onward: np.ndarray
    norms: np.ndarray
    predicted: np.ndarray
    wanted: np.ndarray
    drawn: np.ndarray
    values: np.ndarray
    shares: np.ndarray


@inner
def _look_on(length, field, room):
    """Write log-sums over all ways from each step on; `onward` holds the scores before."""
    labels = len(field.start)
    for k in range(labels):
        room.onward[length - 1, k] += field.end[k]
    for t in range(length - 1, 0, -1):
        advance(room.onward[t], field.transposed, room.norms[t], room.shares)
        highest = NEVER
        for k in range(labels):
            highest = max(highest, room.norms[t, k])
        for k in range(labels):
            room.onward[t - 1, k] += room.norms[t, k] - highest


@inner
def _predict(target, length, field, room):
    """Write the log-probability of each label, given the known labels before it."""
    labels, predicted = len(field.start), room.predicted
    for k in range(labels):
        predicted[0, k] = field.start[k] + room.onward[0, k]
    total = log_total(predicted[0, :labels])
    for k in range(labels):
        predicted[0, k] -= total
    for t in range(1, length):
        before = target[t - 1]
        if before >= 0:
            for k in range(labels):
                predicted[t, k] = field.transitions[before, k] + room.onward[t, k] - room.norms[t, before]
        else:
            for k in range(labels):
                room.values[k] = predicted[t - 1, k] - room.norms[t, k]
            advance(room.values, field.transitions, predicted[t], room.shares)
            for k in range(labels):
                predicted[t, k] += room.onward[t, k]


@inner
def _lose(target, weights, length, predicted):
    """The loss."""
    loss = 0.0
    for t in range(length):
        if target[t] >= 0:
            loss -= weights[t] * predicted[t, target[t]]
    return loss


@inner
def _want(target, weights, length, field, room, pairs):
    """Write the weight that the known labels put on each label, and subtract that on each pair of labels."""
    labels, wanted, drawn = len(field.start), room.wanted, room.drawn
    drawn[:length] = 0.0
    for t in range(length - 1, -1, -1):
        wanted[t] = drawn[t]
        if target[t] >= 0:
            wanted[t, target[t]] = weights[t]  # nothing is drawn from the others
        if t > 0 and target[t - 1] >= 0:
            for k in range(labels):
                drawn[t - 1, target[t - 1]] += wanted[t, k]
                pairs[target[t - 1], k] -= wanted[t, k]
        elif t > 0:
            _share_out(t, field, room, pairs)


@inner
def _share_out(t, field, room, pairs):
    """Write what each label of the step before `t`, which is not known, has of the weight on the labels of `t`."""
    labels = len(field.start)
    for i in range(labels):
        leaving = room.predicted[t - 1, i] - room.norms[t, i]
        for k in range(labels):
            room.values[k] = leaving + field.transitions[i, k] + room.onward[t, k] - room.predicted[t, k]
        exponentials(room.values, 0.0, room.shares, labels)
        for k in range(labels):
            flow = room.wanted[t, k] * room.shares[k]
            room.drawn[t - 1, i] += flow
            pairs[i, k] -= flow


@inner
def _flow(length, field, room, gradient, pairs):
    """Write the gradient of scores, and add the weight that flows along each pair of labels."""
    labels, total = len(field.start), 0.0
    for k in range(labels):
        total += room.wanted[0, k]
    exponentials(room.predicted[0], 0.0, room.shares, labels)
    for k in range(labels):
        gradient[0, k] = total * room.shares[k] - room.wanted[0, k]
    for t in range(1, length):
        for i in range(labels):
            for k in range(labels):
                room.values[k] = field.transitions[i, k] + room.onward[t, k]
            exponentials(room.values, room.norms[t, i], room.shares, labels)
            weight = gradient[t - 1, i] + room.drawn[t - 1, i]
            for k in range(labels):
                flow = weight * room.shares[k]
                gradient[t, k] += flow
                pairs[i, k] += flow
        for k in range(labels):
            gradient[t, k] -= room.wanted[t, k]


@kernel
def stepwise_crf(scores, lengths, targets, weights, field, gradient, losses, of_parameters, first, last):
    """The loss of each row with a weight for each step, and its gradient."""
    _, steps, labels = scores.shape
    shape = steps, field.transitions.shape[1]
    room = Room(
        np.full(shape, NEVER), np.full(shape, NEVER), np.full(shape, NEVER), np.zeros(shape), np.zeros(shape),
        np.full(shape[1], NEVER), np.empty(shape[1]),
    )  # fmt: skip
    for n in range(first, last):
        length, target = lengths[n], targets[n]
        gradient[n], of_parameters[n], losses[n] = 0.0, 0.0, 0.0
        if not weights[n, :length].any():
            continue
        if not read(scores[n], length, room.onward):
            gradient[n, :length], of_parameters[n], losses[n] = math.nan, math.nan, math.nan
            continue
        pairs = of_parameters[n, : labels * labels].reshape(labels, labels)
        _look_on(length, field, room)
        _predict(target, length, field, room)
        losses[n] = _lose(target, weights[n], length, room.predicted)
        _want(target, weights[n], length, field, room, pairs)
        _flow(length, field, room, gradient[n], pairs)
        for k in range(labels):
            of_parameters[n, labels * labels + k] = gradient[n, 0, k]
            of_parameters[n, labels * labels + labels + k] = gradient[n, length - 1, k]
