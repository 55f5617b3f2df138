"""Losses over whole sequences, of either kind, and what a CRF says: a block of threads for each row."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import SequenceLossSpec, check_row_weights, weights_of_steps
from . import crf, crf_loss, ctc
from .arrays import DeviceArray, axes_of, copy, empty, to_device, to_numpy
from .device import THREADS
from .launching import Kernel
from .losses import DeviceScalar
from .pooling import ends_on
from .products import column_sums
from .reductions import total_of

MOST_BLOCKS = 1 << 16


class Weights:
    """The parameters of a loss; a view of the flat vector, so always up to date."""

    def __init__(self, spec: SequenceLossSpec, flat: DeviceArray) -> None:
        self.spec, self.flat = spec, flat

    def refresh(self) -> None:
        """Follow a change of the flat vector."""

    def field(self) -> DeviceArray:
        """As kernels take them."""
        values = empty(self.flat.device, self.flat.shape, "float64")
        crf._field.for_all(values.size, self.flat.base, axes_of(self.flat), values.base, values.size)
        return values


def loss(
    weights: Weights,
    scores: DeviceArray,
    lengths: np.ndarray | None,
    targets: np.ndarray,
    row_weights: np.ndarray,
    gradient: DeviceArray,
) -> tuple[DeviceScalar, DeviceArray]:
    """`Backend.sequence_loss` for arrays on a device."""
    check_row_weights(weights.spec, row_weights)
    device, rows = scores.device, scores.shape[0]
    losses, labels = empty(device, (rows,), "float64"), np.asarray(targets, np.int64)
    wanted = to_device(device, labels if labels.size else np.full((rows, 1), -1))
    slopes = _doubles(scores)
    if weights.spec.kind == "ctc":
        steps, places = scores.shape[1], wanted.shape[1]
        shares = to_device(device, np.asarray(row_weights, np.float64))
        logarithms = empty(device, (rows, steps), "float64")
        ahead, onward = (empty(device, (rows, count, 2 * places + 1), "float64") for count in (steps, 2))
        _launch(
            ctc._ctc, scores, lengths, wanted, places, shares, weights.spec.blank, logarithms, ahead, onward, slopes,
            losses,
        )  # fmt: skip
    else:
        of_parameters, field = empty(device, (rows, gradient.size), "float64"), weights.field()
        shares, ways = to_device(device, weights_of_steps(row_weights, scores.shape[1])), _ways(scores, crf_loss.ARRAYS)
        _launch(crf_loss._crf_loss, scores, lengths, wanted, shares, field, ways, slopes, of_parameters, losses)
        summed = empty(device, gradient.shape, "float64")
        column_sums(summed, of_parameters)
        copy(gradient, summed)
    return DeviceScalar(total_of(losses)), _as_scores(slopes, scores)


def label_marginals(weights: Weights, scores: DeviceArray, lengths: np.ndarray | None) -> DeviceArray:
    """`Backend.marginals`."""
    shares = _doubles(scores)
    _launch(crf._marginals, scores, lengths, weights.field(), _ways(scores, crf.ARRAYS), shares)
    return _as_scores(shares, scores)


def best_paths(weights: Weights, scores: DeviceArray, lengths: np.ndarray | None) -> np.ndarray:
    """`Backend.best_paths`."""
    origins, paths = (empty(scores.device, shape, "int64") for shape in (scores.shape, scores.shape[:2]))
    _launch(crf._viterbi, scores, lengths, weights.field(), _doubles(scores), origins, paths)
    return to_numpy(paths)


def _launch(kernel: Kernel, scores: DeviceArray, lengths: np.ndarray | None, *arguments: Any) -> None:
    """Run a kernel that takes scores, where they are, and each row's length before `arguments`."""
    ends = ends_on(scores, lengths)  # memory is given back, and used again, as soon as nobody holds it
    blocks = min(scores.shape[0], MOST_BLOCKS)
    kernel.launch(blocks, THREADS, scores.base, axes_of(scores), scores.shape, ends.base, *map(_base, arguments))


def _base(argument: Any) -> Any:
    """What kernels take of an array."""
    return argument.base if isinstance(argument, DeviceArray) else argument


def _doubles(scores: DeviceArray) -> DeviceArray:
    return empty(scores.device, scores.shape, "float64")


def _ways(scores: DeviceArray, count: int) -> DeviceArray:
    """Room for so many numbers of each step and label."""
    return empty(scores.device, (count * scores.size,), "float64")


def _as_scores(values: DeviceArray, scores: DeviceArray) -> DeviceArray:
    """In the dtype of the scores."""
    if values.dtype == scores.dtype:
        return values
    rounded = empty(scores.device, scores.shape, str(scores.dtype))
    copy(rounded, values)
    return rounded
