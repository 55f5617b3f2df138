"""The loss of a CRF with a weight for each step, and its gradient: the sum of ``-w[t] log p(y[t] | y[:t])``.

The gradient flows forward along the chain of labels: each step gets the weight of the steps after it, and loses what
its label wants. Each row of the batch writes its own part of the gradient of parameters; the parts are summed in the
order of the batch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .crf import CrfWeights, look_on, new_chain, predict, read, run_rows
from .machine import recording
from .machine.compiling import inner, kernel
from .machine.log_sums import exponentials


class Flows(NamedTuple):
    """Arrays (T, K) for a row.

    Attributes
    ----------
    wanted
        The weight on each label of a step, given the known labels up to the next known one.
    drawn
        What of the weight on the next step came from each label of a step.
    """

    wanted: np.ndarray
    drawn: np.ndarray


@inner
def _lose(target, weights, length, predicted):
    """The loss."""
    loss = 0.0
    for t in range(length):
        if target[t] >= 0:
            loss -= weights[t] * predicted[t, target[t]]
    return loss


@inner
def _want(target, weights, length, field, chain, flows, pairs):
    """Write the weight that the known labels put on each label, and subtract that on each pair of labels."""
    labels, wanted, drawn = len(field.start), flows.wanted, flows.drawn
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
            _share_out(t, field, chain, flows, pairs)


@inner
def _share_out(t, field, chain, flows, pairs):
    """Write what each label of the step before `t`, which is not known, has of the weight on the labels of `t`."""
    labels = len(field.start)
    for i in range(labels):
        leaving = chain.predicted[t - 1, i] - chain.norms[t, i]
        for k in range(labels):
            chain.values[k] = leaving + field.transitions[i, k] + chain.onward[t, k] - chain.predicted[t, k]
        exponentials(chain.values, 0.0, chain.shares, labels)
        for k in range(labels):
            flow = flows.wanted[t, k] * chain.shares[k]
            flows.drawn[t - 1, i] += flow
            pairs[i, k] -= flow


@inner
def _flow(length, field, chain, flows, gradient, pairs):
    """Write the gradient of scores, and add the weight that flows along each pair of labels."""
    labels, total = len(field.start), 0.0
    for k in range(labels):
        total += flows.wanted[0, k]
    exponentials(chain.predicted[0], 0.0, chain.shares, labels)
    for k in range(labels):
        gradient[0, k] = total * chain.shares[k] - flows.wanted[0, k]
    for t in range(1, length):
        for i in range(labels):
            for k in range(labels):
                chain.values[k] = field.transitions[i, k] + chain.onward[t, k]
            exponentials(chain.values, chain.norms[t, i], chain.shares, labels)
            weight = gradient[t - 1, i] + flows.drawn[t - 1, i]
            for k in range(labels):
                flow = weight * chain.shares[k]
                gradient[t, k] += flow
                pairs[i, k] += flow
        for k in range(labels):
            gradient[t, k] -= flows.wanted[t, k]


@kernel
def crf_loss(scores, lengths, targets, weights, field, gradient, losses, of_parameters, first, last):
    """The loss of each row, and its gradient."""
    _, steps, labels = scores.shape
    chain, flows = new_chain(steps, field), Flows(np.empty((steps, labels)), np.empty((steps, labels)))
    for n in range(first, last):
        length, target = lengths[n], targets[n]
        gradient[n], of_parameters[n], losses[n] = 0.0, 0.0, 0.0
        if not weights[n, :length].any():
            continue
        if not read(scores[n], length, chain.onward):
            gradient[n, :length], of_parameters[n], losses[n] = math.nan, math.nan, math.nan
            continue
        pairs = of_parameters[n, : labels * labels].reshape(labels, labels)
        look_on(length, field, chain)
        predict(target, length, field, chain)
        losses[n] = _lose(target, weights[n], length, chain.predicted)
        _want(target, weights[n], length, field, chain, flows, pairs)
        _flow(length, field, chain, flows, gradient[n], pairs)
        for k in range(labels):
            of_parameters[n, labels * labels + k] = gradient[n, 0, k]
            of_parameters[n, labels * labels + labels + k] = gradient[n, length - 1, k]


def loss(
    weights: CrfWeights, scores: np.ndarray, lengths: np.ndarray, targets: np.ndarray, of_steps: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """The sum of rows' losses with weights of their steps, and its gradients of scores and parameters, in float64."""
    rows = len(scores)
    gradient, losses, of_parameters = np.empty(scores.shape), np.empty(rows), np.empty((rows, weights.flat.size))
    run_rows(crf_loss, scores, lengths, targets, of_steps, weights.field, gradient, losses, of_parameters)
    total = recording.resulting(lambda: float(losses.sum()))
    return total, gradient, recording.computed(np.sum, of_parameters, axis=0)
