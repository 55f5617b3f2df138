"""Losses and their gradients: computed in float64, whatever the scores are stored in."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .. import plain
from ..contract import LossSpec
from ..equations import losses as equations
from .machine import threads
from .machine.arrays import Arguments, address_of
from .machine.board import ShardCall
from .machine.compiling import kernel, once
from .machine.log_sums import NEVER, exponentials, len_of_vector
from .machine.memory import array_at, stored
from .machine.recording import contiguous, resulting

FLOP_OF_A_SCORE = 40.0  # roughly: an exponential and a division

elementwise_loss = plain.compiled(equations.elementwise, once, ())
softmax_loss = plain.compiled(equations.softmax_loss, once, ())
softmax_slope = plain.compiled(equations.softmax_slope, once, ())


class LossCall(NamedTuple):
    """Rows of scores, and what is wanted of each."""

    scores: int  # (N, columns) numbers
    gradient: int  # (N, columns) numbers, written
    targets: int  # (N,) int64 classes, or (N, columns) numbers
    weights: int  # (N,) float64
    losses: int  # (N,) float64, written
    total: int  # their sum, written
    rows: int  # N
    columns: int
    row_bytes: int
    kind: int  # of an elementwise loss
    parameter: int  # address of its parameter, float64


@once
def _clear(gradient):
    """Zeros. `gradient[:] = 0` takes Numba longer to compile."""
    for k in range(gradient.size):
        gradient[k] = 0


@kernel
def softmax(real, at, first, last):
    """The weighted cross-entropy of each row, and its gradient: of the rows first <= n < last.

    A `LossCall` is at the address. Terms are `softmax_term` on vectors: none is below exp(-700).
    """
    run = stored(LossCall, at)
    classes = run.columns
    room = -(-classes // len_of_vector()) * len_of_vector()
    values, terms = np.empty(room), np.empty(room)
    for k in range(classes, room):
        values[k] = NEVER
    weights, losses = array_at(np.float64, run.weights, run.rows), array_at(np.float64, run.losses, run.rows)
    targets = array_at(np.int64, run.targets, run.rows)
    for n in range(first, last):
        scores = array_at(real, run.scores + n * run.row_bytes, classes)
        gradient = array_at(real, run.gradient + n * run.row_bytes, classes)
        losses[n] = 0.0
        if weights[n] == 0:
            _clear(gradient)
            continue
        highest = -math.inf
        for k in range(classes):
            values[k] = scores[k]
            highest = max(highest, values[k])
        exponentials(values, highest, terms, classes)
        total = 0.0
        for k in range(classes):
            total += terms[k]
        losses[n] = weights[n] * softmax_loss(values[targets[n]], highest, total)
        for k in range(classes):
            gradient[k] = weights[n] * softmax_slope(terms[k], total, k == targets[n])


@kernel
def elementwise(real, at, first, last):
    """The weighted losses of the scores of each row, and their gradient: of the rows first <= n < last."""
    run = stored(LossCall, at)
    weights, losses = array_at(np.float64, run.weights, run.rows), array_at(np.float64, run.losses, run.rows)
    parameter = array_at(np.float64, run.parameter, 1)[0]
    for n in range(first, last):
        scores = array_at(real, run.scores + n * run.row_bytes, run.columns)
        targets = array_at(real, run.targets + n * run.row_bytes, run.columns)
        gradient = array_at(real, run.gradient + n * run.row_bytes, run.columns)
        losses[n] = 0.0
        if weights[n] == 0:
            _clear(gradient)
            continue
        total = 0.0
        for k in range(run.columns):
            value, slope = elementwise_loss(run.kind, parameter, np.float64(scores[k]), np.float64(targets[k]))
            total += value
            gradient[k] = weights[n] * slope
        losses[n] = weights[n] * total


@kernel
def total(real, at, first, last):
    """The sum of the losses of all rows."""
    run = stored(LossCall, at)
    losses, sums = array_at(np.float64, run.losses, run.rows), array_at(np.float64, run.total, 1)
    sums[0] = 0.0
    for n in range(run.rows):
        sums[0] += losses[n]


for shared in (softmax, elementwise, total):
    shared.takes(ShardCall)


def loss(spec: LossSpec, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """`Backend.loss` for NumPy arrays."""
    softmaxes, real = spec.kind == "softmax", scores.dtype.type
    scores, targets = contiguous(scores), contiguous(targets, np.int64 if softmaxes else real)
    gradient, weights, losses = np.empty(scores.shape, real), contiguous(weights, np.float64), np.empty(len(scores) + 1)
    parameter, (rows, columns) = np.array([spec.parameter]), scores.shape
    call = LossCall(
        scores=address_of(scores), gradient=address_of(gradient), targets=address_of(targets),
        weights=address_of(weights), losses=address_of(losses), total=address_of(losses) + 8 * rows,
        rows=rows, columns=columns, row_bytes=scores.strides[0],
        kind=0 if softmaxes else equations.ELEMENTWISE.index(spec.kind), parameter=address_of(parameter),
    )  # fmt: skip
    arguments = Arguments.of(np.array(call, np.int64), (scores, gradient, targets, weights, losses, parameter))
    shards = threads.even_shards(rows, FLOP_OF_A_SCORE * scores.size)
    threads.share(softmax if softmaxes else elementwise, real, arguments, shards)
    threads.share(total, real, arguments)
    return resulting(lambda: losses.item(rows)), gradient
