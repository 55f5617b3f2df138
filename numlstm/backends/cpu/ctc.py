"""CTC: the loss of rows of labels without places, and its gradient (Graves et al. 2006).

The kernels compute in float64 and in logarithms. A row with L labels has 2 L + 1 states: its labels, with a blank
before each, and one at the end. A path stays in its state, goes to the next state, or leaps over a blank between two
different labels. Unreachable states pad the states to whole vectors.
"""

from __future__ import annotations

import math

import numpy as np

from ..contract import SequenceLossSpec
from .machine import threads
from .machine.compiling import inner, kernel
from .machine.log_sums import NEVER, at, exponentials, len_of_vector, log_sum, put

FLOP_OF_A_STATE, FLOP_OF_A_SCORE = 150.0, 30.0  # roughly: four log-sums and an exponential; an exponential


@inner
def _normalise(scores, padded, shares):
    """Write the softmax of a step's scores; return the log-sum of their exponentials, NaN if a score is not finite."""
    labels, highest = len(scores), -math.inf
    for k in range(labels):
        if not abs(scores[k]) < math.inf:
            return math.nan
        padded[k] = scores[k]
        highest = max(highest, scores[k])
    exponentials(padded, highest, shares, labels)
    total = 0.0
    for k in range(labels):
        total += shares[k]
    share = 1.0 / total
    for k in range(labels):
        shares[k] *= share
    return highest + math.log(total)


@inner
def _number_states(target, blank, labels, leaps, leaps_on):
    """Write each state's label, and 0 if a path may leap to or from it, else `NEVER`; return the number of states."""
    leaps[:], leaps_on[:] = NEVER, NEVER
    labels[0] = blank
    states = 1
    for label in target:
        if label < 0:
            break
        if states > 1 and labels[states - 2] != label:
            leaps[states] = leaps_on[states - 2] = 0.0
        labels[states], labels[states + 1] = label, blank
        states += 2
    return states


@inner
def _sum_ways(values, stay, leap, leaps, out, place):
    """Log-sums over the three ways to each state: from the same state, from its neighbour, and by a leap."""
    for s in range(0, len(leaps), len_of_vector()):
        leaping = at(values, s + leap) + at(leaps, s)
        put(out, s + place, log_sum(at(values, s + stay), at(values, s + 1), leaping))


@inner
def _walk_ahead(scores, length, labels, leaps, states, row, shares, emissions, ahead):
    """Write log-probabilities of paths up to each step and state; return that of all paths, NaN for bad scores."""
    ahead[0, 2:] = NEVER
    ahead[0, 2] = 0.0  # before the first step, all paths stand at the first state
    for t in range(length):
        logarithm = _normalise(scores[t], row, shares[t])
        if logarithm != logarithm:
            return math.nan
        emissions[t, states:] = NEVER
        for s in range(states):
            emissions[t, s] = scores[t, labels[s]] - logarithm
        _sum_ways(ahead[t], 2, 0, leaps, ahead[t + 1], 2)
        for s in range(len(leaps)):
            ahead[t + 1, s + 2] += emissions[t, s]
    last, before = ahead[length, states + 1], ahead[length, states]
    return max(last, before) + math.log1p(math.exp(-abs(last - before)))


@inner
def _walk_back(length, labels, leaps_on, states, emissions, ahead, total, weight, shares, back, onward, gradient):
    """Sum over the paths from each step and state to the end, and write the gradient."""
    width, count = len(leaps_on), gradient.shape[1]
    back[:] = NEVER
    back[max(0, states - 2) : states] = 0.0
    posterior = np.empty(width)
    for t in range(length - 1, -1, -1):
        for s in range(width):
            posterior[s] = ahead[t + 1, s + 2] + back[s]
            onward[s] = back[s] + emissions[t, s]
        exponentials(posterior, total, posterior, width)
        for k in range(count):
            gradient[t, k] = weight * shares[t, k]
        for s in range(states):
            gradient[t, labels[s]] -= weight * posterior[s]
        _sum_ways(onward, 0, 2, leaps_on, back, 0)


@kernel
def ctc(scores, lengths, targets, weights, blank, gradient, losses, first, last):
    """The weighted loss of each row, and its gradient."""
    _, steps, count = scores.shape
    lanes, room = len_of_vector(), 2 * targets.shape[1] + 1
    width, wide = -(-room // lanes) * lanes, -(-count // lanes) * lanes
    shares, row, emissions = np.empty((steps, wide)), np.full(wide, NEVER), np.empty((steps, width))
    labels, leaps, leaps_on = np.empty(room, np.int64), np.empty(width), np.empty(width)
    ahead = np.full((steps + 1, width + 2), NEVER)  # two extra places before the states, which no path uses
    back, onward = np.empty(width), np.full(width + 2, NEVER)  # two extra places after the states, which no path uses
    for n in range(first, last):
        length, weight = lengths[n], weights[n]
        gradient[n], losses[n] = 0.0, 0.0
        if weight == 0:
            continue
        states = _number_states(targets[n], blank, labels, leaps, leaps_on)
        total = _walk_ahead(scores[n], length, labels, leaps, states, row, shares, emissions, ahead)
        losses[n] = -weight * total
        if total != total:
            gradient[n, :length] = math.nan
        elif total < 0.1 * NEVER:
            losses[n] = math.inf
        else:
            _walk_back(
                length, labels, leaps_on, states, emissions, ahead, total, weight, shares, back, onward, gradient[n]
            )  # fmt: skip


def loss(
    spec: SequenceLossSpec, scores: np.ndarray, lengths: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """The weighted sum of the losses of rows, and its gradient, all in float64."""
    rows, steps, labels = scores.shape
    gradient, losses = np.empty(scores.shape), np.empty(rows)
    work = rows * steps * ((2 * targets.shape[1] + 1) * FLOP_OF_A_STATE + labels * FLOP_OF_A_SCORE)
    shards = threads.even_shards(rows, work)
    threads.run(ctc, (), shards, scores, lengths, targets, weights, spec.blank, gradient, losses)
    return float(losses.sum()), gradient
