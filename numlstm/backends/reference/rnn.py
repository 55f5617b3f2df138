"""The simple recurrent network of Elman (1990), as PyTorch writes it.

``h = φ(W x + b_ih + R h⁻ + b_hh)``, where φ is tanh or another activation. Its argument may be clipped, as in
ONNX.

References
----------
.. [1] J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..contract import LayerSpec
from . import activations, affine, norm
from .masks import Masks
from .twin import Gates, States, Twin, Weights, register


class Saved(NamedTuple):
    """The values that a step keeps for the backward step: inputs, the sum, and the pre-activation."""

    x: np.ndarray
    h_in: np.ndarray
    a: np.ndarray
    h_bar: np.ndarray


def step(
    spec: LayerSpec, weights: Weights, x: np.ndarray, states: States, masks: Masks
) -> tuple[States, Saved, Gates]:  # fmt: skip
    """One step forward."""
    h_in = masks.recurrent * states[0]
    a = affine.forward(weights, "ih", 0, x) + affine.forward(weights, "hh", 0, h_in)
    h_bar = activations.clip(norm.forward(weights, 0, a), _clip(spec))
    return (activations.apply(_nonlinearity(spec), h_bar),), Saved(x, h_in, a, h_bar), {}


def step_backward(
    spec: LayerSpec, weights: Weights, saved: Saved, dstates: States, masks: Masks, gradient: Weights
) -> tuple[np.ndarray, States]:
    """One step back."""
    delta = dstates[0] * activations.slope(_nonlinearity(spec), saved.h_bar)
    delta = delta * activations.clip_slope(saved.h_bar, _clip(spec))
    delta = norm.backward(weights, 0, saved.a, delta, gradient)
    dh = masks.recurrent * affine.backward(weights, "hh", 0, saved.h_in, delta, gradient)
    return affine.backward(weights, "ih", 0, saved.x, delta, gradient), (dh,)


def _nonlinearity(spec: LayerSpec) -> tuple[Any, ...]:
    """The activation, as `activations` takes it."""
    return dict(spec.options).get("nonlinearity", ("tanh",))


def _clip(spec: LayerSpec) -> float:
    """The bound of the pre-activation."""
    return dict(spec.options).get("preactivation_clip", np.inf)


register("rnn", Twin(step, step_backward))
