"""Linear-chain conditional random fields (Lafferty et al. 2001): marginals, best paths, and what the loss needs too.

Given the scores, the labels are a Markov chain (Rabiner 1989): the label after label i does not depend on labels before
i. Its probabilities of transition follow from the log-sums over all ways to the end. Labels that are known up to a step
make probabilities of its label; where some of them are unknown, these are sums over what they may be.

The kernels compute in float64. All sums over ways are logarithms less a number for each step, so that long rows lose no
digits. Labels that never occur pad each row of labels to whole vectors.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..contract import LEAST_PARAMETER, SequenceLossSpec
from .machine import recording, threads
from .machine.compiling import inner, kernel
from .machine.log_sums import NEVER, at, every, exp_down, larger, len_of_vector, put

FLOP_OF_A_TRANSITION = 60.0  # roughly: three exponentials
MOST_LANES = 8  # of float64, on any processor


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
        labels, padded = spec.outputs, -(-spec.outputs // MOST_LANES) * MOST_LANES
        transitions, transposed = (np.full((labels, padded), NEVER) for _ in range(2))
        self.field = Field(np.empty(labels), np.empty(labels), transitions, transposed)
        self.refresh()

    def refresh(self) -> None:
        """Read the new values of `flat`, to where kernels found the old ones."""
        recording.do(_read, self.flat, self.field)


def _read(flat: np.ndarray, field: Field) -> None:
    labels = len(field.start)
    values = np.maximum(flat.astype(np.float64), LEAST_PARAMETER)
    transitions = values[: labels**2].reshape(labels, labels)
    field.start[:], field.end[:] = values[labels**2 :].reshape(2, labels)
    field.transitions[:, :labels], field.transposed[:, :labels] = transitions, transitions.T


class Chain(NamedTuple):
    """Arrays (T, K) for a row, with labels that never occur; and two vectors (K,).

    Attributes
    ----------
    onward
        Log-sums over all ways from a step's label to the end, less a number for each step.
    norms
        The same from a label of the step before, without its own score.
    predicted
        Log-probabilities of a step's labels, given the known labels before it.
    values, shares
        What goes into exponentials, and comes out.
    """

    onward: np.ndarray
    norms: np.ndarray
    predicted: np.ndarray
    values: np.ndarray
    shares: np.ndarray


@inner
def new_chain(steps, field):
    """Memory for a row of so many steps."""
    shape = steps, field.transitions.shape[1]
    onward, norms, predicted = np.full(shape, NEVER), np.full(shape, NEVER), np.full(shape, NEVER)
    return Chain(onward, norms, predicted, np.full(shape[1], NEVER), np.empty(shape[1]))


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
def look_on(length, field, chain):
    """Write log-sums over all ways from each step on; `onward` holds the scores before."""
    labels = len(field.start)
    for k in range(labels):
        chain.onward[length - 1, k] += field.end[k]
    for t in range(length - 1, 0, -1):
        advance(chain.onward[t], field.transposed, chain.norms[t], chain.shares)
        highest = NEVER
        for k in range(labels):
            highest = max(highest, chain.norms[t, k])
        for k in range(labels):
            chain.onward[t - 1, k] += chain.norms[t, k] - highest


@inner
def predict(target, length, field, chain):
    """Write the log-probability of each label, given the known labels before it."""
    labels, predicted = len(field.start), chain.predicted
    for k in range(labels):
        predicted[0, k] = field.start[k] + chain.onward[0, k]
    total = log_total(predicted[0, :labels])
    for k in range(labels):
        predicted[0, k] -= total
    for t in range(1, length):
        before = target[t - 1]
        if before >= 0:
            for k in range(labels):
                predicted[t, k] = field.transitions[before, k] + chain.onward[t, k] - chain.norms[t, before]
        else:
            for k in range(labels):
                chain.values[k] = predicted[t - 1, k] - chain.norms[t, k]
            advance(chain.values, field.transitions, predicted[t], chain.shares)
            for k in range(labels):
                predicted[t, k] += chain.onward[t, k]


@kernel
def marginals(scores, lengths, field, shares, first, last):
    """The probability of each label at each step: what the chain predicts if no label is known."""
    _, steps, labels = scores.shape
    chain, unknown = new_chain(steps, field), np.full(steps, -1)
    for n in range(first, last):
        length = lengths[n]
        shares[n] = 0.0
        if not read(scores[n], length, chain.onward):
            shares[n, :length] = math.nan
            continue
        look_on(length, field, chain)
        predict(unknown, length, field, chain)
        for t in range(length):
            for k in range(labels):
                shares[n, t, k] = math.exp(chain.predicted[t, k])


@kernel
def viterbi(scores, lengths, field, paths, first, last):
    """The best path of each row."""
    _, steps, labels = scores.shape
    origins, best, before = np.empty((steps, labels), np.int64), np.empty(labels), np.empty(labels)
    for n in range(first, last):
        length = lengths[n]
        for j in range(labels):
            best[j] = field.start[j] + scores[n, 0, j]
        for t in range(1, length):
            for j in range(labels):
                before[j], best[j], origins[t, j] = best[j], -math.inf, 0
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


def label_marginals(weights: CrfWeights, scores: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """`Backend.marginals`."""
    shares = np.empty(scores.shape)
    run_rows(marginals, *contiguous(scores, lengths), weights.field, shares)
    return shares.astype(scores.dtype, copy=False)


def best_paths(weights: CrfWeights, scores: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """`Backend.best_paths`."""
    paths = np.empty(scores.shape[:2], np.int64)
    run_rows(viterbi, *contiguous(scores, lengths), weights.field, paths)
    return paths


def contiguous(scores: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores and lengths as kernels take them."""
    lengths = np.full(len(scores), scores.shape[1]) if lengths is None else lengths
    return recording.contiguous(scores, np.float64), recording.contiguous(lengths, np.int64)


def run_rows(function: Any, scores: np.ndarray, *arguments: Any) -> None:
    """Run a kernel over all rows, divided among threads."""
    rows, steps, labels = scores.shape
    shards = threads.even_shards(rows, rows * steps * labels**2 * FLOP_OF_A_TRANSITION)
    threads.run(function, (), shards, scores, *arguments)
