"""The checks of conformance have teeth: each of these backends has one defect, and is caught."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from conformance_checks import (
    AffineCase,
    LayerCase,
    PoolCase,
    check_adam,
    check_affine,
    check_clip,
    check_layer,
    check_loss,
    check_nan_in_loss,
    check_nan_in_pool,
    check_norm,
    check_packing,
    check_pool,
    check_rmsprop,
    check_runner,
    check_sgd,
)

from numlstm.backends.contract import LayerSpec, LossSpec
from numlstm.backends.cpu.backend import CpuBackend
from numlstm.backends.reference import ReferenceBackend, Twin

LAYER = partial(check_layer, case=LayerCase(lengths="unequal", training=True))
REVERSE = partial(check_layer, case=LayerCase(reverse=True))
RUNNER = partial(check_runner, case=LayerCase())
AFFINE = partial(check_affine, case=AffineCase())
MEAN, MAXIMUM, ATTENTION = (partial(check_pool, case=PoolCase(kind)) for kind in ("mean", "max", "attention"))
NAN_MAXIMUM = partial(check_nan_in_pool, case=PoolCase("max"))
SOFTMAX, BINARY, SQUARED, ABSOLUTE, HUBER, PINBALL = (
    partial(check_loss, spec=LossSpec(kind, parameter), rows=7, outputs=5, dtype="float32")
    for kind, parameter in [
        ("softmax", 0.0), ("binary", 0.0), ("squared", 0.0), ("absolute", 0.0), ("huber", 0.7), ("pinball", 0.2)
    ]
)  # fmt: skip
NAN_SCORE = partial(check_nan_in_loss, spec=LossSpec("pinball", 0.2), dtype="float32")
NORM = partial(check_norm, size=1023, dtype="float32")
LARGE_NORM = partial(check_norm, size=1023, dtype="float32", scale=1e30)
CLIP = partial(check_clip, dtype="float32", limit=0.5)
NAN_CLIP = partial(check_clip, dtype="float32", limit=0.5, spoilt=True)
ADAM = partial(check_adam, dtype="float32")
ADAM_WITH_DECAY = partial(check_adam, dtype="float32", decay=0.5)
ADAMW = partial(check_adam, dtype="float32", decay=0.5, decoupled=True)
MOMENTUM = partial(check_sgd, dtype="float32", decay=0.5)
NESTEROV = partial(check_sgd, dtype="float32", nesterov=True)
RMSPROP = partial(check_rmsprop, dtype="float32", decay=0.5)
PACKING = partial(check_packing, spec=LayerSpec("lstm", 3, 5))


class InputAndForgetSwapped(CpuBackend):
    def pack(self, spec, parameters, flat):
        if isinstance(spec, LayerSpec):
            order = [1, 0, 2, 3]
            parameters = {
                name: value.reshape(4, spec.hidden_size, -1)[order].reshape(value.shape)
                for name, value in parameters.items()
            }
        super().pack(spec, parameters, flat)


class PaddingLeft(CpuBackend):
    def pack(self, spec, parameters, flat):
        before = flat.copy()
        super().pack(spec, parameters, flat)
        flat[flat == 0] = before[flat == 0]


class RefreshForgotten(CpuBackend):
    def refresh(self, weights):
        return weights


# Forward --------------------------------------------------------------------------------------------------


class ForwardWithout(CpuBackend):
    """Sequences run forward without the argument named `ignored`."""

    ignored = ""

    def sequence_forward(self, weights, x, initial, outputs, **options):
        if self.ignored == "initial":
            initial = [None] * len(initial)
        options = {name: value for name, value in options.items() if name != self.ignored}
        return super().sequence_forward(weights, x, initial, outputs, **options)


class LengthsIgnored(ForwardWithout):
    ignored = "lengths"


class ReverseIgnored(ForwardWithout):
    ignored = "reverse"


class InitialIgnored(ForwardWithout):
    ignored = "initial"


class OutputsNotZeroed(CpuBackend):
    def sequence_forward(self, weights, x, initial, outputs, lengths=None, **options):
        result = super().sequence_forward(weights, x, initial, outputs, lengths=lengths, **options)
        for output in outputs:
            spoil_past(lengths, output)
        return result


class FinalAtLastStep(CpuBackend):
    def sequence_forward(self, weights, x, initial, outputs, **options):
        _, tape = super().sequence_forward(weights, x, initial, outputs, **options)
        return tuple(output[:, -1].copy() for output in outputs), tape


class RunnerStandsStill(CpuBackend):
    def runner(self, weights, x, states, y=None, **options):
        return super().runner(weights, x, [state.copy() for state in states], y, **options)


class RunnerForgetsOutputs(CpuBackend):
    def runner(self, weights, x, states, y=None, **options):
        return super().runner(weights, x, states, None, **options)


class RunnerGoesForward(CpuBackend):
    def runner(self, weights, x, states, y=None, *, reverse=False, **options):
        return super().runner(weights, x, states, y, **options)


class RunnerResumesAlways(CpuBackend):
    def runner(self, weights, x, states, y=None, *, resume=True, **options):
        return super().runner(weights, x, states, y, **options)


# Back -----------------------------------------------------------------------------------------------------


class BackwardChanged(CpuBackend):
    """Back-propagation with its arguments changed by `change`."""

    def sequence_backward(self, weights, tape, doutputs, dfinal, gradient, dx=None):
        doutputs, dfinal = self.change(list(doutputs), list(dfinal))
        return super().sequence_backward(weights, tape, doutputs, dfinal, gradient, dx)


class CellGradientDropped(BackwardChanged):
    def change(self, doutputs, dfinal):
        return [doutputs[0], None], [dfinal[0], None]


class FinalGradientDropped(BackwardChanged):
    def change(self, doutputs, dfinal):
        return doutputs, [None] * len(dfinal)


class OneStepDropped(BackwardChanged):
    def change(self, doutputs, dfinal):
        kept = np.arange(doutputs[0].shape[1])[:, np.newaxis] != 0
        return [np.where(kept, array, 0).astype(array.dtype) for array in doutputs], dfinal


class InputGradientNotZeroed(CpuBackend):
    def sequence_forward(self, *arguments, lengths=None, **options):
        self.lengths = lengths
        return super().sequence_forward(*arguments, lengths=lengths, **options)

    def sequence_backward(self, weights, tape, doutputs, dfinal, gradient, dx=None):
        dinitial = super().sequence_backward(weights, tape, doutputs, dfinal, gradient, dx)
        spoil_past(self.lengths, dx)
        return dinitial


class WeightGradientScaled(CpuBackend):
    """The gradient of the parameter `scaled` is that of the reference times `factor`."""

    scaled, factor = "weight_hh", 1.00001

    def sequence_backward(self, weights, tape, doutputs, dfinal, gradient, dx=None):
        dinitial = super().sequence_backward(weights, tape, doutputs, dfinal, gradient, dx)
        spec = weights.weights.packing.spec
        named = self.unpack(spec, gradient)
        named[self.scaled] *= self.factor
        self.pack(spec, named, gradient)
        return dinitial


class BiasGradientOmitted(WeightGradientScaled):
    scaled, factor = "bias_ih", 0


class SecondBiasGradientOmitted(WeightGradientScaled):
    scaled, factor = "bias_hh", 0


class StepBackChanged(ReferenceBackend):
    """What one step of an LSTM gives going back, changed by `change`."""

    def prepare(self, spec, flat, training=False):
        layer = super().prepare(spec, flat, training)

        def step_backward(spec, weights, saved, dstates, masks, gradient):
            before = {name: value.copy() for name, value in gradient.items()}
            results = layer.twin.step_backward(spec, weights, saved, dstates, masks, gradient)
            return self.change(saved, *results, before, gradient)

        return replace(layer, twin=Twin(layer.twin.step, step_backward))


class CellGradientNotCarried(StepBackChanged):
    def change(self, saved, dx, dstates, before, gradient):
        return dx, (dstates[0], np.zeros_like(dstates[1]))


class RecurrentGradientOneStepLate(StepBackChanged):
    def change(self, saved, dx, dstates, before, gradient):
        y = saved.values["o"] * np.tanh(saved.c)  # where the step before's belongs
        own = gradient["bias_ih"] - before["bias_ih"]
        gradient["weight_hh"][...] = before["weight_hh"] + own[..., np.newaxis] * y[0]
        return dx, dstates


def spoil_past(lengths, array):
    """What a backend leaves that does not write past the lengths."""
    for row, length in zip(array, lengths, strict=True):
        row[length:] = 7.0


# Pooling --------------------------------------------------------------------------------------------------


class PoolLengthsIgnored(CpuBackend):
    def pool_forward(self, weights, y, lengths):
        return super().pool_forward(weights, y, None)


class PoolPadded(CpuBackend):
    """A mean over all steps, with zeros for those past the lengths."""

    def pool_forward(self, weights, y, lengths):
        return super().pool_forward(weights, np.nan_to_num(y), None)


class PoolRefreshForgotten(CpuBackend):
    def prepare(self, spec, flat, training=False):
        return super().prepare(spec, flat.copy(), training)

    def refresh(self, weights):
        return weights


class NanNoMaximum(CpuBackend):
    def pool_forward(self, weights, y, lengths):
        return super().pool_forward(weights, np.nan_to_num(y, nan=-np.inf), lengths)


class LastOfEquals(CpuBackend):
    def pool_forward(self, weights, y, lengths):
        pooled, tape = super().pool_forward(weights, y, lengths)
        steps = np.arange(y.shape[1])[:, np.newaxis]
        return pooled, np.where(y == pooled[:, np.newaxis], steps, 0).max(axis=1).astype(tape.dtype)


class PoolGradientChanged(CpuBackend):
    """The way back through a pooling, with what it gives changed by `change`."""

    def pool_backward(self, weights, y, lengths, tape, dpooled, gradient):
        before = gradient.copy()
        dy = super().pool_backward(weights, y, lengths, tape, dpooled, gradient)
        changed = self.change(dy, y, lengths, tape, dpooled[:, np.newaxis])
        gradient[:] = self.change_gradient(gradient, before)
        return changed.astype(dy.dtype)

    def change(self, dy, y, lengths, tape, dpooled):
        return dy

    def change_gradient(self, gradient, before):
        return gradient


class PoolGradientNotZeroed(PoolGradientChanged):
    def change(self, dy, y, lengths, tape, dpooled):
        spoil_past(lengths, dy)
        return dy


class GradientToAllEquals(PoolGradientChanged):
    def change(self, dy, y, lengths, tape, dpooled):
        return np.where(y == np.nanmax(y, axis=1, keepdims=True), dpooled, 0.0)


class GradientOfMeanSummed(PoolGradientChanged):
    def change(self, dy, y, lengths, tape, dpooled):
        return np.where(np.isnan(y), 0.0, dpooled)


class AttentionTakenAsConstant(PoolGradientChanged):
    def change(self, dy, y, lengths, tape, dpooled):
        return np.asarray(tape)[..., np.newaxis] * dpooled


class PoolGradientAdded(PoolGradientChanged):
    def change_gradient(self, gradient, before):
        return gradient + before


class AttentionGradientScaled(CpuBackend):
    """The gradient of the parameter `scaled` is that of the reference times `factor`."""

    scaled, factor = "weight", 1.00001

    def pool_backward(self, weights, y, lengths, tape, dpooled, gradient):
        dy = super().pool_backward(weights, y, lengths, tape, dpooled, gradient)
        spec = PoolCase().spec
        named = self.unpack(spec, gradient)
        named[self.scaled] *= self.factor
        self.pack(spec, named, gradient)
        return dy


class AttentionBiasGradientOmitted(AttentionGradientScaled):
    scaled, factor = "bias", 0


# Affine maps, losses, optimizers --------------------------------------------------------------------------


class AffineGradientAdded(CpuBackend):
    def affine_backward(self, weights, x, dy, gradient):
        before = gradient.copy()
        dx = super().affine_backward(weights, x, dy, gradient)
        gradient += before
        return dx


class LossChanged(CpuBackend):
    """Losses with their arguments changed by `change`."""

    def loss(self, spec, scores, targets, weights):
        return super().loss(*self.change(spec, scores, targets, weights))


class RowsWeighTheSame(LossChanged):
    def change(self, spec, scores, targets, weights):
        return spec, scores, targets, np.where(weights > 0, weights.max(), 0.0)


class WeightZeroNotIgnored(LossChanged):
    def change(self, spec, scores, targets, weights):
        return spec, scores, np.abs(np.nan_to_num(targets)), np.maximum(weights, 1e-300)


class HuberOfOne(LossChanged):
    def change(self, spec, scores, targets, weights):
        return replace(spec, parameter=1.0), scores, targets, weights


class PinballSwapped(LossChanged):
    def change(self, spec, scores, targets, weights):
        return replace(spec, parameter=1.0 - spec.parameter), scores, targets, weights


class TargetsIgnored(LossChanged):
    def change(self, spec, scores, targets, weights):
        return spec, scores, 0 * targets, weights


class TargetsRounded(LossChanged):
    def change(self, spec, scores, targets, weights):
        return spec, scores, np.round(targets), weights


class NanTakenAsZero(LossChanged):
    def change(self, spec, scores, targets, weights):
        return spec, np.nan_to_num(scores), targets, weights


class LossResultChanged(CpuBackend):
    """Losses with their results changed by `change`."""

    def loss(self, spec, scores, targets, weights):
        loss, gradient = super().loss(spec, scores, targets, weights)
        loss, changed = self.change(loss, gradient, scores - targets if targets.ndim == 2 else None, weights)
        return loss, changed.astype(gradient.dtype)


class GradientNotWeighted(LossResultChanged):
    def change(self, loss, gradient, error, weights):
        weights = np.where(weights > 0, weights, 1.0)
        return loss, gradient / weights[:, np.newaxis]


class AveragedAgain(LossResultChanged):
    def change(self, loss, gradient, error, weights):
        return loss / len(weights), gradient / len(weights)


class LossInFloat32(LossResultChanged):
    def change(self, loss, gradient, error, weights):
        return float(np.float32(loss)), gradient


class HalfTheSquare(LossResultChanged):
    def change(self, loss, gradient, error, weights):
        return loss / 2, gradient / 2


class SlopeAtTheTarget(LossResultChanged):
    def change(self, loss, gradient, error, weights):
        return loss, np.where(error == 0, weights[:, np.newaxis], gradient)


class NormNotRooted(CpuBackend):
    def global_norm(self, vector):
        return super().global_norm(vector) ** 2


class NormInFloat32(CpuBackend):
    def global_norm(self, vector):
        with np.errstate(over="ignore"):
            return float(np.linalg.norm(vector))


class NotClipped(CpuBackend):
    def clip_scale(self, vector, limit):
        return 1.0


class ClippedToTheSquare(CpuBackend):
    def clip_scale(self, vector, limit):
        return float(super().clip_scale(vector, limit)) ** 2


class NanClipped(CpuBackend):
    def clip_scale(self, vector, limit):
        return min(limit / max(self.global_norm(vector), 1e-30), 1.0)


def step_with(method, **fixed):
    """A backend one of whose optimizers takes no notice of some options."""

    def step(self, *arrays, **options):
        getattr(CpuBackend, method)(self, *arrays, **options | fixed)

    return type("StepChanged", (CpuBackend,), {method: step})


class DecayAfterTheStep(CpuBackend):
    def adam_step(self, flat, gradient, moments, *, step_and_rate, decay, **options):
        super().adam_step(flat, gradient, moments, step_and_rate=step_and_rate, **options)
        flat -= flat.dtype.type(step_and_rate[1]) * decay * flat


class DecayScaled(CpuBackend):
    def sgd_step(self, *arrays, scale, decay, **options):
        super().sgd_step(*arrays, scale=scale, decay=decay * decay.dtype.type(scale), **options)


DEFECTS = {
    "input and forget gate swapped": (InputAndForgetSwapped, LAYER),
    "padding left": (PaddingLeft, PACKING),
    "refresh forgotten": (RefreshForgotten, LAYER),
    "refresh of an affine map forgotten": (RefreshForgotten, AFFINE),
    "lengths ignored": (LengthsIgnored, LAYER),
    "reverse ignored": (ReverseIgnored, REVERSE),
    "initial ignored": (InitialIgnored, LAYER),
    "outputs not zeroed": (OutputsNotZeroed, LAYER),
    "final state at the last step of all": (FinalAtLastStep, LAYER),
    "runner stands still": (RunnerStandsStill, RUNNER),
    "runner forgets outputs": (RunnerForgetsOutputs, RUNNER),
    "runner resumes always": (RunnerResumesAlways, RUNNER),
    "runner goes forward": (RunnerGoesForward, partial(check_runner, case=LayerCase(reverse=True))),
    "gradient of the cell state dropped": (CellGradientDropped, LAYER),
    "gradient of the cell state not carried": (CellGradientNotCarried, LAYER),
    "gradient of the final states dropped": (FinalGradientDropped, LAYER),
    "gradient of one step's outputs dropped": (OneStepDropped, LAYER),
    "dx not zeroed": (InputGradientNotZeroed, LAYER),
    "recurrent weight gradient one step late": (RecurrentGradientOneStepLate, LAYER),
    "recurrent weight gradient wrong": (WeightGradientScaled, LAYER),
    "bias gradient omitted": (BiasGradientOmitted, LAYER),
    "second bias gradient omitted": (SecondBiasGradientOmitted, LAYER),
    "affine gradient added": (AffineGradientAdded, AFFINE),
    "lengths ignored in a mean": (PoolLengthsIgnored, MEAN),
    "lengths ignored in attention": (PoolLengthsIgnored, ATTENTION),
    "mean over all steps": (PoolPadded, MEAN),
    "gradient of a mean not shared": (GradientOfMeanSummed, MEAN),
    "dy of a mean not zeroed": (PoolGradientNotZeroed, MEAN),
    "dy of a maximum not zeroed": (PoolGradientNotZeroed, MAXIMUM),
    "gradient to all equals": (GradientToAllEquals, MAXIMUM),
    "last of equals": (LastOfEquals, MAXIMUM),
    "NaN is no maximum": (NanNoMaximum, NAN_MAXIMUM),
    "refresh of attention forgotten": (PoolRefreshForgotten, ATTENTION),
    "attention taken as constant": (AttentionTakenAsConstant, ATTENTION),
    "attention gradient added": (PoolGradientAdded, ATTENTION),
    "attention gradient wrong": (AttentionGradientScaled, ATTENTION),
    "attention bias gradient omitted": (AttentionBiasGradientOmitted, ATTENTION),
    "rows weigh the same": (RowsWeighTheSame, SOFTMAX),
    "weight 0 not ignored in softmax": (WeightZeroNotIgnored, SOFTMAX),
    "weight 0 not ignored in squared": (WeightZeroNotIgnored, SQUARED),
    "gradient of a loss not weighted": (GradientNotWeighted, HUBER),
    "loss averaged again": (AveragedAgain, SOFTMAX),
    "loss in float32": (LossInFloat32, ABSOLUTE),
    "binary targets ignored": (TargetsIgnored, BINARY),
    "binary targets rounded": (TargetsRounded, BINARY),
    "half the square": (HalfTheSquare, SQUARED),
    "absolute has a slope at 0": (SlopeAtTheTarget, ABSOLUTE),
    "pinball has a slope at 0": (SlopeAtTheTarget, PINBALL),
    "Huber's parameter ignored": (HuberOfOne, HUBER),
    "pinball's sides swapped": (PinballSwapped, PINBALL),
    "NaN hidden from a loss": (NanTakenAsZero, NAN_SCORE),
    "norm not square-rooted": (NormNotRooted, NORM),
    "norm overflows": (NormInFloat32, LARGE_NORM),
    "gradient not clipped": (NotClipped, CLIP),
    "gradient clipped too far": (ClippedToTheSquare, CLIP),
    "NaN spread by clipping": (NanClipped, NAN_CLIP),
    "Adam without epsilon": (step_with("adam_step", epsilon=1e-8), ADAM),
    "Adam without beta1": (step_with("adam_step", betas=(0.9, 0.95)), ADAM),
    "Adam without beta2": (step_with("adam_step", betas=(0.8, 0.999)), ADAM),
    "Adam without scale": (step_with("adam_step", scale=1.0), ADAM),
    "Adam without step": (step_with("adam_step", step_and_rate=np.array([1, 0.1])), ADAM),
    "Adam without decay": (step_with("adam_step", decay=None), ADAM_WITH_DECAY),
    "decay always decoupled": (step_with("adam_step", decoupled=True), ADAM_WITH_DECAY),
    "decay never decoupled": (step_with("adam_step", decoupled=False), ADAMW),
    "AdamW without decay": (step_with("adam_step", decay=None), ADAMW),
    "AdamW's decay after the step": (DecayAfterTheStep, ADAMW),
    "SGD without momentum": (step_with("sgd_step", momentum=0.0), MOMENTUM),
    "SGD without scale": (step_with("sgd_step", scale=1.0), MOMENTUM),
    "SGD without decay": (step_with("sgd_step", decay=None), MOMENTUM),
    "SGD's decay scaled": (DecayScaled, MOMENTUM),
    "always Nesterov": (step_with("sgd_step", nesterov=True), MOMENTUM),
    "never Nesterov": (step_with("sgd_step", nesterov=False), NESTEROV),
    "RMSprop without rho": (step_with("rmsprop_step", rho=0.9), RMSPROP),
    "RMSprop without epsilon": (step_with("rmsprop_step", epsilon=1e-8), RMSPROP),
    "RMSprop without scale": (step_with("rmsprop_step", scale=1.0), RMSPROP),
    "RMSprop without decay": (step_with("rmsprop_step", decay=None), RMSPROP),
}
CHECKS = {
    "layer": LAYER,
    "reverse": REVERSE,
    "runner": RUNNER,
    "packing": PACKING,
    "affine": AFFINE,
    "mean": MEAN,
    "maximum": MAXIMUM,
    "NaN in a maximum": NAN_MAXIMUM,
    "attention": ATTENTION,
    "softmax": SOFTMAX,
    "binary": BINARY,
    "squared": SQUARED,
    "absolute": ABSOLUTE,
    "Huber": HUBER,
    "pinball": PINBALL,
    "NaN in a loss": NAN_SCORE,
    "norm": NORM,
    "large norm": LARGE_NORM,
    "clipping": CLIP,
    "clipping NaN": NAN_CLIP,
    "Adam": ADAM,
    "Adam with decay": ADAM_WITH_DECAY,
    "AdamW": ADAMW,
    "momentum": MOMENTUM,
    "Nesterov": NESTEROV,
    "RMSprop": RMSPROP,
}


@pytest.mark.parametrize("sound", [CpuBackend, ReferenceBackend])
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_a_sound_backend_passes(check, sound):
    check(sound())


@pytest.mark.parametrize("defect", DEFECTS)
def test_caught(defect):
    backend, check = DEFECTS[defect]
    with pytest.raises(AssertionError):
        check(backend())
