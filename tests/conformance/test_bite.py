"""The checks of conformance have teeth: each of these backends has one defect, and is caught."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from conformance_checks import (
    AffineCase,
    LayerCase,
    check_adam,
    check_affine,
    check_layer,
    check_loss,
    check_norm,
    check_packing,
    check_stepper,
)
from scipy.special import expit

from numlstm.backends.contract import LayerSpec
from numlstm.backends.cpu.backend import CpuBackend
from numlstm.backends.reference import ReferenceBackend, Twin

LAYER = partial(check_layer, case=LayerCase(lengths="unequal", training=True))
REVERSE = partial(check_layer, case=LayerCase(reverse=True))
STEPPER = partial(check_stepper, case=LayerCase())
AFFINE = partial(check_affine, case=AffineCase())
LOSS = partial(check_loss, rows=7, classes=5, dtype="float32")
NORM = partial(check_norm, size=1023, dtype="float32")
LARGE_NORM = partial(check_norm, size=1023, dtype="float32", scale=1e30)
ADAM = partial(check_adam, dtype="float32")
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


class StepperStandsStill(CpuBackend):
    def stepper(self, weights, x, states):
        return super().stepper(weights, x, [state.copy() for state in states])


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
        spec = weights.packing.spec
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

        def step_backward(weights, saved, dstates):
            return self.change(saved, *layer.twin.step_backward(weights, saved, dstates))

        return replace(layer, twin=Twin(layer.twin.step, step_backward))


class CellGradientNotCarried(StepBackChanged):
    def change(self, saved, dx, dstates, dweights):
        return dx, (dstates[0], np.zeros_like(dstates[1])), dweights


class RecurrentGradientOneStepLate(StepBackChanged):
    def change(self, saved, dx, dstates, dweights):
        y = expit(saved.o_bar) * np.tanh(saved.c)  # where the step before's belongs
        return dx, dstates, dweights | {"weight_hh": np.outer(dweights["bias_ih"], y)}


def spoil_past(lengths, array):
    """What a backend leaves that does not write past the lengths."""
    for row, length in zip(array, lengths, strict=True):
        row[length:] = 7.0


# Affine maps, losses, optimizers --------------------------------------------------------------------------


class AffineGradientAdded(CpuBackend):
    def affine_backward(self, weights, x, dy, gradient):
        before = gradient.copy()
        dx = super().affine_backward(weights, x, dy, gradient)
        gradient += before
        return dx


class SoftmaxNotAveraged(CpuBackend):
    def softmax_cross_entropy(self, scores, targets):
        loss, gradient = super().softmax_cross_entropy(scores, targets)
        return loss, gradient * len(scores)


class NormNotRooted(CpuBackend):
    def global_norm(self, vector):
        return super().global_norm(vector) ** 2


class NormInFloat32(CpuBackend):
    def global_norm(self, vector):
        with np.errstate(over="ignore"):
            return float(np.linalg.norm(vector))


class AdamChanged(CpuBackend):
    """Steps of Adam with some options replaced by `fixed`."""

    fixed = {}  # noqa: RUF012

    def adam_step(self, flat, gradient, moments, **options):
        super().adam_step(flat, gradient, moments, **options | self.fixed)


def adam_with(**fixed):
    """A backend whose Adam takes no notice of some options."""
    return type("AdamChanged", (AdamChanged,), {"fixed": fixed})


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
    "stepper stands still": (StepperStandsStill, STEPPER),
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
    "softmax gradient not averaged": (SoftmaxNotAveraged, LOSS),
    "norm not square-rooted": (NormNotRooted, NORM),
    "norm overflows": (NormInFloat32, LARGE_NORM),
    "Adam without epsilon": (adam_with(epsilon=1e-8), ADAM),
    "Adam without beta1": (adam_with(betas=(0.9, 0.95)), ADAM),
    "Adam without beta2": (adam_with(betas=(0.8, 0.999)), ADAM),
    "Adam without scale": (adam_with(scale=1.0), ADAM),
    "Adam without step": (adam_with(step=1), ADAM),
}
CHECKS = {
    "layer": LAYER,
    "reverse": REVERSE,
    "stepper": STEPPER,
    "packing": PACKING,
    "affine": AFFINE,
    "loss": LOSS,
    "norm": NORM,
    "large norm": LARGE_NORM,
    "Adam": ADAM,
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
