"""Losses over whole sequences, of either kind."""

from __future__ import annotations

import numpy as np

from ..contract import SequenceLossSpec, check_row_weights, weights_of_steps
from . import crf_loss, ctc
from .crf import CrfWeights, contiguous
from .machine import recording


class CtcWeights:
    """CTC has no parameters."""

    def __init__(self, spec: SequenceLossSpec) -> None:
        self.spec = spec

    def refresh(self) -> None:
        """There is nothing to follow."""


Weights = CtcWeights | CrfWeights


def prepare(spec: SequenceLossSpec, flat: np.ndarray) -> Weights:
    """What `loss` takes."""
    return CtcWeights(spec) if spec.kind == "ctc" else CrfWeights(spec, flat)


def loss(
    weights: Weights,
    scores: np.ndarray,
    lengths: np.ndarray | None,
    targets: np.ndarray,
    row_weights: np.ndarray,
    gradient: np.ndarray,
) -> tuple[float, np.ndarray]:
    """`Backend.sequence_loss` for NumPy arrays."""
    check_row_weights(weights.spec, row_weights)
    values, ends = contiguous(scores, lengths)
    labels = recording.contiguous(targets, np.int64)
    if isinstance(weights, CrfWeights):
        of_steps = recording.computed(weights_of_steps, row_weights, labels.shape[1])
        total, slope, of_parameters = crf_loss.loss(weights, values, ends, labels, of_steps)
        recording.do(np.copyto, gradient, of_parameters, "same_kind")
    else:
        total, slope = ctc.loss(weights.spec, values, ends, labels, np.ascontiguousarray(row_weights, np.float64))
    return total, recording.contiguous(slope, scores.dtype)
