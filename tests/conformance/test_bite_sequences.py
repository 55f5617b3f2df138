"""The checks of losses over sequences have teeth: each of these backends has one defect, and is caught."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sequence_losses import (
    SequenceCase,
    check_forbidden,
    check_impossible,
    check_nan_in_sequence_loss,
    check_readings,
    check_rows_alone,
    check_sequence_loss,
)

from numlstm.backends.cpu.backend import CpuBackend

CTC, CRF = (partial(check_sequence_loss, case=SequenceCase(kind)) for kind in ("ctc", "crf"))
BY_STEP = partial(check_sequence_loss, case=SequenceCase("crf", by_step=True))
NAN_CTC, NAN_CRF = (partial(check_nan_in_sequence_loss, case=SequenceCase(kind)) for kind in ("ctc", "crf"))
ALONE = partial(check_rows_alone, case=SequenceCase("ctc"))
IMPOSSIBLE = partial(check_impossible, case=SequenceCase("ctc"))
FORBIDDEN = partial(check_forbidden, case=SequenceCase("crf"))
READINGS = partial(check_readings, case=SequenceCase("crf"))


class Changed(CpuBackend):
    """What comes in and what goes out, changed by `given` and `result`."""

    def given(self, scores, lengths, targets, row_weights):
        return scores, lengths, targets, row_weights

    def result(self, loss, slopes, gradient, row_weights):
        return loss, slopes

    def sequence_loss(self, weights, scores, lengths, targets, row_weights, gradient):
        scores, lengths, targets, row_weights = self.given(scores, lengths, targets, row_weights)
        loss, slopes = super().sequence_loss(weights, scores, lengths, targets, row_weights, gradient)
        return self.result(loss, slopes, gradient, row_weights)


class LengthsIgnored(Changed):
    def given(self, scores, lengths, targets, row_weights):
        return np.nan_to_num(scores), None, targets, row_weights


class RepeatsMerged(Changed):
    def given(self, scores, lengths, targets, row_weights):
        merged = np.full_like(targets, -1)
        for out, row in zip(merged, targets, strict=True):
            kept = [label for k, label in enumerate(row) if k == 0 or label != row[k - 1]]
            out[: len(kept)] = kept
        return scores, lengths, merged, row_weights


class RowsWeighTheSame(Changed):
    def given(self, scores, lengths, targets, row_weights):
        return scores, lengths, targets, np.where(row_weights > 0, 1.0, 0.0)


class StepsWeighTheSame(Changed):
    def given(self, scores, lengths, targets, row_weights):
        return scores, lengths, targets, np.nanmean(row_weights, axis=1)


class WeightsOfTheStepBefore(Changed):
    def given(self, scores, lengths, targets, row_weights):
        return scores, lengths, targets, np.roll(np.nan_to_num(row_weights), 1, axis=1)


class WeightlessTakenAsUnlabelled(Changed):
    def given(self, scores, lengths, targets, row_weights):
        return scores, lengths, np.where(row_weights > 0, targets, -1), row_weights


class UnlabelledTakenAsFirst(Changed):
    def given(self, scores, lengths, targets, row_weights):
        return scores, lengths, np.maximum(targets, 0), row_weights


class NanTakenAsZero(Changed):
    def given(self, scores, lengths, targets, row_weights):
        return np.nan_to_num(scores, posinf=0.0, neginf=0.0), lengths, targets, row_weights


class GradientPastTheLengths(Changed):
    def given(self, scores, lengths, targets, row_weights):
        self.shortest = lengths.argmin()
        return scores, lengths, targets, row_weights

    def result(self, loss, slopes, gradient, row_weights):
        slopes[self.shortest, -1] += 1e-30
        return loss, slopes


class LossInFloat32(Changed):
    def result(self, loss, slopes, gradient, row_weights):
        return float(np.float32(loss)), slopes


class GradientScaled(Changed):
    def result(self, loss, slopes, gradient, row_weights):
        return loss, slopes * 1.00000001


class GradientOfTheOtherSign(Changed):
    def result(self, loss, slopes, gradient, row_weights):
        return loss, -slopes


class TransitionsOmitted(Changed):
    def result(self, loss, slopes, gradient, row_weights):
        gradient[: slopes.shape[2] ** 2] = 0.0
        return loss, slopes


class EndsSwapped(Changed):
    def result(self, loss, slopes, gradient, row_weights):
        labels = slopes.shape[2]
        gradient[labels**2 :] = np.roll(gradient[labels**2 :], labels)
        return loss, slopes


class RowsTouch(Changed):
    def result(self, loss, slopes, gradient, row_weights):
        return loss, slopes * (1 + 1e-16 * len(slopes)) + np.where(slopes != 0, 1e-17 * (len(slopes) - 1), 0.0)


class InfinityAsZero(Changed):
    def result(self, loss, slopes, gradient, row_weights):
        return (0.0 if loss == np.inf else loss), slopes


class PathsGreedy(CpuBackend):
    def best_paths(self, weights, scores, lengths):
        paths = super().best_paths(weights, scores, lengths)
        return np.where(paths < 0, paths, np.nan_to_num(scores).argmax(axis=2))


class MarginalsWithoutTransitions(CpuBackend):
    def marginals(self, weights, scores, lengths):
        shares = super().marginals(weights, scores, lengths)
        odds = np.exp(np.nan_to_num(scores))
        return np.where(shares == 0, 0, odds / odds.sum(axis=2, keepdims=True))


class ForbiddenTakenAsUnlikely(CpuBackend):
    def prepare(self, spec, flat, training=False):
        return super().prepare(spec, np.maximum(flat, -9.0), training)


class BlankIsFirst(CpuBackend):
    def prepare(self, spec, flat, training=False):
        return super().prepare(replace(spec, blank=0) if hasattr(spec, "blank") else spec, flat, training)


CAUGHT = [
    (LengthsIgnored, CTC),
    (LengthsIgnored, CRF),
    (RepeatsMerged, partial(check_sequence_loss, case=SequenceCase("ctc", outputs=3, steps=12, lengths="full"))),
    (RowsWeighTheSame, CTC),
    (RowsWeighTheSame, CRF),
    (StepsWeighTheSame, BY_STEP),
    (WeightsOfTheStepBefore, BY_STEP),
    (WeightlessTakenAsUnlabelled, BY_STEP),
    (LengthsIgnored, BY_STEP),
    (GradientOfTheOtherSign, BY_STEP),
    (TransitionsOmitted, BY_STEP),
    (EndsSwapped, BY_STEP),
    (UnlabelledTakenAsFirst, CRF),
    (NanTakenAsZero, NAN_CTC),
    (NanTakenAsZero, NAN_CRF),
    (GradientPastTheLengths, CTC),
    (LossInFloat32, CTC),
    (LossInFloat32, CRF),
    (GradientScaled, CTC),
    (GradientScaled, CRF),
    (TransitionsOmitted, CRF),
    (EndsSwapped, CRF),
    (RowsTouch, ALONE),
    (InfinityAsZero, IMPOSSIBLE),
    (ForbiddenTakenAsUnlikely, FORBIDDEN),
    (PathsGreedy, READINGS),
    (MarginalsWithoutTransitions, READINGS),
    (BlankIsFirst, partial(check_sequence_loss, case=SequenceCase("ctc", blank=2, places=2))),
]


@pytest.mark.parametrize(
    ("backend", "check"), CAUGHT, ids=[f"{backend.__name__}-{k}" for k, (backend, _) in enumerate(CAUGHT)]
)
def test_is_caught(backend, check):
    check(CpuBackend())
    with pytest.raises(AssertionError):
        check(backend())
