"""Linear-chain conditional random fields: loss with its gradient, marginals and best paths (Lafferty et al. 2001).

The kernels compute in float64 and in logarithms. Labels that never occur pad each row of labels to whole vectors. Each
row of the batch writes its own part of a gradient; the parts are summed in the order of the batch.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..contract import SequenceLossSpec
from .machine import threads
from .machine.compiling import inner, kernel
from .machine.log_sums import NEVER, at, every, exp_down, exponentials, larger, len_of_vector, put

FLOP_OF_A_TRANSITION = 60.0  # roughly: three exponentials


class Field(NamedTuple):
    """The parameters of a CRF in float64, as kernels take them: transitions in rows of whole vectors."""

    start: np.ndarray
    end: np.ndarray
    transitions: np.ndarray
    transposed: np.ndarray


class CrfWeights:
    """The parameters of a CRF.

    Parameters
    ----------
    spec : SequenceLossSpec
    flat : array
        Its parameters, in the order of ``spec.shapes``.
    """

    def __init__(self, spec: SequenceLossSpec, flat: np.ndarray) -> None:
        self.spec, self.flat = spec, flat
        self.refresh()

    def refresh(self) -> None:
        """Read the new values of `flat`."""
        labels = self.spec.outputs
        values = np.maximum(self.flat.astype(np.float64), NEVER)
        transitions, ends = values[: labels**2].reshape(labels, labels), values[labels**2 :].reshape(2, labels)
        self.field = Field(ends[0], ends[1], _filled(transitions), _filled(transitions.T))


def _filled(rows: np.ndarray) -> np.ndarray:
    """Rows, padded to whole vectors of any width."""
    filled = np.full((len(rows), -(-len(rows) // MOST_LANES) * MOST_LANES), NEVER)
    filled[:, : len(rows)] = rows
    return filled


MOST_LANES = 8  # of float64, on any processor


@inner
def advance(before, transitions, after, totals):
    """``log(sum over i of exp(before[i] + transitions[i, j]))`` for each j."""
    labels = len(transitions)
    for j in range(0, labels, len_of_vector()):
        highest, total = every(NEVER), every(0.0)
        for i in range(labels):
            highest = larger(highest, every(before[i]) + at(transitions[i], j))
        for i in range(labels):
            total = total + exp_down(every(before[i]) + at(transitions[i], j) - highest)
        put(after, j, highest)
        put(totals, j, total)
    for j in range(labels):
        after[j] += math.log(totals[j])


@inner
def log_total(values):
    """The logarithm of a sum of exponentials."""
    highest, total = NEVER, 0.0
    for value in values:
        highest = max(highest, value)
    for value in values:
        total += math.exp(value - highest)
    return highest + math.log(total)


@inner
def _walk(emissions, length, field, ahead, back, onward, totals):
    """Write log-sums over paths to each label of each step, and from it to the end; return that over all paths."""
    labels = len(field.start)
    for k in range(labels):
        ahead[0, k] = field.start[k] + emissions[0, k]
        back[length - 1, k] = field.end[k]
    for t in range(1, length):
        advance(ahead[t - 1], field.transitions, ahead[t], totals)
        for k in range(labels):
            ahead[t, k] += emissions[t, k]
    for t in range(length - 2, -1, -1):
        for k in range(labels):
            onward[k] = emissions[t + 1, k] + back[t + 1, k]
        advance(onward, field.transposed, back[t], totals)
    return log_total(ahead[length - 1, :labels] + field.end)


@inner
def _expect(emissions, length, field, ahead, back, onward, shares, total, weight, gradient, of_parameters):
    """Add `weight` times the expected number of each label at each step, and of each use of a parameter."""
    labels = len(field.start)
    pairs = of_parameters[: labels * labels].reshape(labels, labels)
    for t in range(length):
        for k in range(len(onward)):
            onward[k] = ahead[t, k] + back[t, k]
        exponentials(onward, total, shares, labels)
        for k in range(labels):
            gradient[t, k] += weight * shares[k]
            if t == 0:
                of_parameters[labels * labels + k] += weight * shares[k]
            if t == length - 1:
                of_parameters[labels * labels + labels + k] += weight * shares[k]
    for t in range(1, length):
        for i in range(labels):
            for k in range(labels):
                onward[k] = emissions[t, k] + back[t, k] + field.transitions[i, k]
            exponentials(onward, total - ahead[t - 1, i], shares, labels)
            for k in range(labels):
                pairs[i, k] += weight * shares[k]


@inner
def _follow(emissions, length, target, field, weight, gradient, of_parameters):
    """The score of the path of a complete target; subtract `weight` along this path."""
    labels = len(field.start)
    pairs = of_parameters[: labels * labels].reshape(labels, labels)
    score = field.start[target[0]] + field.end[target[length - 1]]
    of_parameters[labels * labels + target[0]] -= weight
    of_parameters[labels * labels + labels + target[length - 1]] -= weight
    for t in range(length):
        score += emissions[t, target[t]]
        gradient[t, target[t]] -= weight
        if t > 0:
            score += field.transitions[target[t - 1], target[t]]
            pairs[target[t - 1], target[t]] -= weight
    return score


@inner
def read(scores, length, emissions):
    """Copy a row's scores; return whether all of them are finite."""
    finite = True
    for t in range(length):
        for k in range(scores.shape[1]):
            finite = finite and abs(scores[t, k]) < math.inf  # false for NaN
            emissions[t, k] = scores[t, k]
    return finite


@inner
def _clamp(emissions, length, target, labels):
    """Exclude all other labels at labelled steps; return whether each step has a label."""
    complete = True
    for t in range(length):
        complete = complete and target[t] >= 0
        for k in range(labels):
            if target[t] >= 0 and target[t] != k:
                emissions[t, k] = NEVER
    return complete


@kernel
def crf(scores, lengths, targets, weights, field, gradient, losses, of_parameters, first, last):
    """The weighted loss of each row, and its gradient."""
    _, steps, labels = scores.shape
    shape = steps, field.transitions.shape[1]
    emissions, ahead, back = np.full(shape, NEVER), np.full(shape, NEVER), np.full(shape, NEVER)
    onward, shares = np.full(shape[1], NEVER), np.empty(shape[1])
    for n in range(first, last):
        length, weight, target = lengths[n], weights[n], targets[n]
        gradient[n], of_parameters[n], losses[n] = 0.0, 0.0, 0.0
        if weight == 0:
            continue
        if not read(scores[n], length, emissions):
            gradient[n, :length], of_parameters[n], losses[n] = math.nan, math.nan, math.nan
            continue
        total = _walk(emissions, length, field, ahead, back, onward, shares)
        _expect(
            emissions, length, field, ahead, back, onward, shares, total, weight, gradient[n], of_parameters[n]
        )  # fmt: skip
        if _clamp(emissions, length, target, labels):
            agreeing = _follow(emissions, length, target, field, weight, gradient[n], of_parameters[n])
        else:
            agreeing = _walk(emissions, length, field, ahead, back, onward, shares)
            _expect(
                emissions, length, field, ahead, back, onward, shares, agreeing, -weight, gradient[n], of_parameters[n]
            )  # fmt: skip
        losses[n] = weight * (total - agreeing)


@kernel
def marginals(scores, lengths, field, shares, first, last):
    """The probability of each label at each step."""
    _, steps, labels = scores.shape
    shape = steps, field.transitions.shape[1]
    emissions, ahead, back = np.full(shape, NEVER), np.full(shape, NEVER), np.full(shape, NEVER)
    onward, totals = np.full(shape[1], NEVER), np.empty(shape[1])
    for n in range(first, last):
        length = lengths[n]
        finite = read(scores[n], length, emissions)
        total = _walk(emissions, length, field, ahead, back, onward, totals)
        shares[n, length:] = 0.0
        for t in range(length):
            for k in range(labels):
                shares[n, t, k] = math.exp(ahead[t, k] + back[t, k] - total) if finite else math.nan


@kernel
def viterbi(scores, lengths, field, paths, first, last):
    """The best path of each row."""
    _, steps, labels = scores.shape
    origins, best, before = np.empty((steps, labels), np.int64), np.empty(labels), np.empty(labels)
    for n in range(first, last):
        length = lengths[n]
        best[:] = field.start + scores[n, 0]
        for t in range(1, length):
            before[:], best[:], origins[t] = best, -math.inf, 0
            for i in range(labels):
                for j in range(labels):
                    value = before[i] + field.transitions[i, j]
                    if value > best[j]:
                        best[j], origins[t, j] = value, i
            best += scores[n, t]
        paths[n] = -1
        paths[n, length - 1] = np.argmax(best + field.end)
        for t in range(length - 1, 0, -1):
            paths[n, t - 1] = origins[t, paths[n, t]]


def loss(
    of_rows: Any,
    weights: CrfWeights,
    scores: np.ndarray,
    lengths: np.ndarray,
    targets: np.ndarray,
    row_weights: np.ndarray,
) -> tuple[float, np.ndarray, np.ndarray]:
    """The weighted sum of rows' losses, by a kernel, and its gradients of scores and parameters, all in float64."""
    rows = len(scores)
    gradient, losses, of_parameters = np.empty(scores.shape), np.empty(rows), np.empty((rows, weights.flat.size))
    _run(of_rows, scores, lengths, targets, row_weights, weights.field, gradient, losses, of_parameters)
    return float(losses.sum()), gradient, of_parameters.sum(axis=0)


def label_marginals(weights: CrfWeights, scores: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """`Backend.marginals`."""
    shares = np.empty(scores.shape)
    _run(marginals, *contiguous(scores, lengths), weights.field, shares)
    return shares.astype(scores.dtype, copy=False)


def best_paths(weights: CrfWeights, scores: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """`Backend.best_paths`."""
    paths = np.empty(scores.shape[:2], np.int64)
    _run(viterbi, *contiguous(scores, lengths), weights.field, paths)
    return paths


def contiguous(scores: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores and lengths as kernels take them."""
    lengths = np.full(len(scores), scores.shape[1]) if lengths is None else lengths
    return np.ascontiguousarray(scores, np.float64), np.ascontiguousarray(lengths, np.int64)


def _run(function: Any, scores: np.ndarray, *arguments: Any) -> None:
    """Run a kernel over all rows, divided among threads."""
    rows, steps, labels = scores.shape
    shards = threads.even_shards(rows, rows * steps * labels**2 * FLOP_OF_A_TRANSITION)
    threads.run(function[()], shards, scores, *arguments)
