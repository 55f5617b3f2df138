"""The LSTM of Gers et al. (2000) as Greff et al. (2017) write it, and the variants that they compare.

Notation: x input, y block output (``"h"`` elsewhere), z block input (PyTorch's g), i, f, o the gates, c the
cell. W are the input weights, R the recurrent ones, p the peepholes; a bar marks a pre-activation and ⊙ the product by
elements. The equations are in the order of Greff et al., section II; the numbers are ours. By default φ_z and φ_c are
tanh, and σ is the logistic function; options can change them::

    II-A, forward                                             II-B, backward
    (1) z̄ = W_z x + R_z y⁻ + b_z,             z = φ_z(z̄)     ( 7) δy = Δ + R_z'δz⁺ + R_i'δi⁺ + R_f'δf⁺ + R_o'δo⁺
    (2) ī = W_i x + R_i y⁻ + p_i ⊙ c⁻ + b_i,  i = σ(ī)       ( 8) δo = δy ⊙ φ_c(c) ⊙ σ'(ō)
    (3) f̄ = W_f x + R_f y⁻ + p_f ⊙ c⁻ + b_f,  f = σ(f̄)       ( 9) δc = δy ⊙ o ⊙ φ_c'(c) + p_o ⊙ δo
    (4) c = z ⊙ i + c⁻ ⊙ f                                          + p_i ⊙ δi⁺ + p_f ⊙ δf⁺ + δc⁺ ⊙ f⁺
    (5) ō = W_o x + R_o y⁻ + p_o ⊙ c + b_o,   o = σ(ō)       (10) δf = δc ⊙ c⁻ ⊙ σ'(f̄)
    (6) y = φ_c(c) ⊙ o                                       (11) δi = δc ⊙ z ⊙ σ'(ī)
                                                             (12) δz = δc ⊙ i ⊙ φ_z'(z̄)
                                                             (13) δx = W_z'δz + W_i'δi + W_f'δf + W_o'δo
    (14) δW = Σ δ xᵀ,  (15) δR = Σ δ y⁻ᵀ,  (16) δb = Σ δ     (17) δp_i = Σ c⁻ ⊙ δi,  δp_f likewise,  δp_o = Σ c ⊙ δo

Each b is the sum of PyTorch's two biases, which have the same gradient. The marks ⁻ and ⁺ are the step
before and the step after, Δ the gradient from the layer above.

The forget gate in (4) is the change that Gers et al. made to the LSTM of 1997. They squash z and c by scaled
logistic functions and truncate the gradient; tanh and the full gradient are from Greff et al. Their variants (section
III-B) are gates that are 1 (NIG, NFG, NOG), ``i = 1 - f`` (CIFG), no peepholes (NP), and full gate recurrence (FGR):
each gate's sum has three more terms: weights times the value of each gate at the step before.

Other options are not in Greff et al.: ``f = 1 - i`` (ONNX), y as a projection (Sak et al.), layer normalisation of sums
and of the argument of φ_c (Ba et al.), dropout of the vectors in R's products and in (4) (Gal & Ghahramani; Semeniuta
et al.), and clipping of pre-activations and c.

References
----------
.. [1] F. A. Gers, J. Schmidhuber, F. Cummins, "Learning to forget: continual prediction with LSTM", Neural
   Computation 12(10), 2000.
.. [2] F. A. Gers, J. Schmidhuber, "Recurrent nets that time and count", IJCNN 2000 (peepholes).
.. [3] K. Greff, R. K. Srivastava, J. Koutník, B. R. Steunebrink, J. Schmidhuber, "LSTM: a search space
   odyssey", IEEE Transactions on Neural Networks and Learning Systems 28(10), 2017.
.. [4] H. Sak, A. Senior, F. Beaufays, "Long short-term memory recurrent neural network architectures for large scale
   acoustic modeling", Interspeech 2014, eq. 7.
.. [5] J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", arXiv:1607.06450, 2016, eq. 20 to 22.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..contract import LayerSpec
from . import activations, affine, norm
from .lstm_gates import Gate, Variant
from .masks import Masks
from .twin import Gates, States, Twin, Weights, register

NORM_C = 4  # block of layer normalisation, after those of i, f, z, o
LEADERS = {"i": "f", "f": "i"}  # for each coupled gate (the follower), its leader: follower = 1 - leader


class Saved(NamedTuple):
    """The values that a step keeps for the backward step.

    They are its inputs: x, the vector that R multiplied, and the old cell and gates; the sum and the pre-activation of
    each computed gate; the value of every gate; and the new cell.
    """

    x: np.ndarray
    y_in: np.ndarray
    c_prev: np.ndarray
    gates_prev: dict[str, np.ndarray]
    sums: dict[str, np.ndarray]
    bars: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    c: np.ndarray


def step(
    spec: LayerSpec, weights: Weights, x: np.ndarray, states: States, masks: Masks
) -> tuple[States, Saved, Gates]:  # fmt: skip
    """One step forward: equations (1) to (6)."""
    variant = Variant.of(spec)
    y_prev, c_prev, *carried = states
    gates_prev = dict(zip(variant.carried, carried, strict=True))
    y_in = masks.recurrent * y_prev
    sums = {g: _sum(weights, gate, x, y_in, gates_prev) for g, gate in variant.computed.items()}
    values = {g: np.ones_like(c_prev) for g in "ifo"}
    bars = {}
    for g in variant.before_cell:
        bars[g], values[g] = variant.computed[g].forward(weights, sums[g], c_prev)
    if variant.follower:
        values[variant.follower] = 1.0 - values[LEADERS[variant.follower]]
    c = variant.clip_cell(masks.candidate * values["z"] * values["i"] + c_prev * values["f"])
    if "o" in variant.computed:
        bars["o"], values["o"] = variant.computed["o"].forward(weights, sums["o"], c)
    y = activations.apply(variant.output, norm.forward(weights, NORM_C, c)) * values["o"]
    if "weight_hr" in weights:
        y = y @ weights["weight_hr"][0].T
    saved = Saved(x, y_in, c_prev, gates_prev, sums, bars, values, c)
    return (y, c, *(values[g] for g in variant.carried)), saved, _public(values)


def step_backward(
    spec: LayerSpec, weights: Weights, saved: Saved, dstates: States, masks: Masks, gradient: Weights
) -> tuple[np.ndarray, States]:
    """One step back: equations (8) to (17).

    ``dstates`` holds δy of (7), the terms of (9) from the next step, and the gradients of the gates from the next step
    by full gate recurrence; each includes the gradient from outside. The result for the states before has the same
    form.
    """
    variant = Variant.of(spec)
    values, (dy, dc, *carried) = saved.values, dstates
    dvalues = dict.fromkeys("ifo", np.zeros_like(saved.c)) | dict(zip(variant.carried, carried, strict=True))
    do, dc = _output_backward(variant, weights, saved, dy, dc, gradient)
    dvalues["o"] = dvalues["o"] + do
    back = _GatesBackward(variant, weights, saved, gradient)
    if "o" in variant.computed:
        dc = dc + back.gate("o", dvalues["o"], saved.c)
    dc = dc * activations.clip_slope(saved.c, variant.cell_clip)

    dvalues["i"] = dvalues["i"] + dc * masks.candidate * values["z"]
    dvalues["f"] = dvalues["f"] + dc * saved.c_prev
    dvalues["z"] = dc * masks.candidate * values["i"]
    if variant.follower:
        leader = LEADERS[variant.follower]
        dvalues[leader] = dvalues[leader] - dvalues[variant.follower]
    dc_prev = dc * values["f"]
    for g in variant.before_cell:
        dc_prev = dc_prev + back.gate(g, dvalues[g], saved.c_prev)
    return back.dx, (masks.recurrent * back.dy_in, dc_prev, *(back.dgates_prev[g] for g in variant.carried))


def _sum(
    weights: Weights, gate: Gate, x: np.ndarray, y_in: np.ndarray, gates_prev: dict[str, np.ndarray]
) -> np.ndarray:  # fmt: skip
    """The sum before normalisation: ``W x + R y⁻ + b``, with the terms of full gate recurrence."""
    a = affine.forward(weights, "ih", gate.block, x) + affine.forward(weights, "hh", gate.block, y_in)
    for source, value in gates_prev.items():
        if gate.number is not None:
            a = a + value @ gate.from_gate(weights, source).T
    return a


def _output_backward(
    variant: Variant, weights: Weights, saved: Saved, dy: np.ndarray, dc: np.ndarray, gradient: Weights
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of o, and of c without the peephole: back through the projection and equation (6)."""
    normal = norm.forward(weights, NORM_C, saved.c)
    squashed = activations.apply(variant.output, normal)
    if "weight_hr" in weights:
        gradient["weight_hr"][0] += dy.T @ (squashed * saved.values["o"])
        dy = dy @ weights["weight_hr"][0]
    dnormal = dy * saved.values["o"] * activations.slope(variant.output, normal)
    return dy * squashed, dc + norm.backward(weights, NORM_C, saved.c, dnormal, gradient)


class _GatesBackward:
    """Goes back through the gates, and sums their gradients of x, y⁻ and the gates of the step before."""

    def __init__(self, variant: Variant, weights: Weights, saved: Saved, gradient: Weights) -> None:
        self.variant, self.weights, self.saved, self.gradient = variant, weights, saved, gradient
        self.dx, self.dy_in = np.zeros_like(saved.x), np.zeros_like(saved.y_in)
        self.dgates_prev = {g: np.zeros_like(value) for g, value in saved.gates_prev.items()}

    def gate(self, g: str, dvalue: np.ndarray, c: np.ndarray) -> np.ndarray:
        """The gradient of the cell c that a gate's peephole reads, from the gradient of the gate's value."""
        gate, weights, gradient = self.variant.computed[g], self.weights, self.gradient
        dbar, dc = gate.backward(weights, self.saved.bars[g], c, dvalue, gradient)
        delta = norm.backward(weights, gate.block, self.saved.sums[g], dbar, gradient)
        self.dx = self.dx + affine.backward(weights, "ih", gate.block, self.saved.x, delta, gradient)
        self.dy_in = self.dy_in + affine.backward(weights, "hh", gate.block, self.saved.y_in, delta, gradient)
        if gate.number is not None:
            for source, value in self.saved.gates_prev.items():
                gate.from_gate(gradient, source)[...] += delta.T @ value
                self.dgates_prev[source] = self.dgates_prev[source] + delta @ gate.from_gate(weights, source)
        return dc


def _public(values: dict[str, np.ndarray]) -> Gates:
    """Gates by their public names."""
    names = {"input_gate": "i", "forget_gate": "f", "cell_input": "z", "output_gate": "o"}
    return {name: values[g] for name, g in names.items()}


register("lstm", Twin(step, step_backward))
