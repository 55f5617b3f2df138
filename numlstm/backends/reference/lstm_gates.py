"""The gates of an LSTM with options: which gates are computed, and how, from the sums of products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..contract import LayerSpec
from . import activations, norm
from .activations import Activation

Weights = Mapping[str, np.ndarray]

BLOCKS = {"i": 0, "f": 1, "z": 2, "o": 3}  # of rows, in PyTorch's order
NUMBERS = {"i": 0, "f": 1, "o": 2}  # among the gates proper: blocks of peepholes, and of weights between gates
OPTIONS = {"i": "input_gate", "f": "forget_gate", "o": "output_gate"}
FOLLOWERS = {False: None, True: "i", "input": "f"}  # by the option coupled_gates


@dataclass(frozen=True)
class Gate:
    """A gate, or the block input: from the sum of its products to its value.

    Attributes
    ----------
    block : int
        The block of rows in weights, biases and layer normalisation.
    number : int or None
        Index among the three gates; None for the block input, which has no peephole and no weights from gates.
    activation : tuple
    clip : float
        Bound of the pre-activation.
    """

    block: int
    number: int | None
    activation: Activation
    clip: float

    def forward(self, weights: Weights, a: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pre-activation, after normalisation, the peephole to the cell c, and clipping; and the value."""
        bar = norm.forward(weights, self.block, a)
        if self.number is not None and "peephole" in weights:
            bar = bar + weights["peephole"][self.number] * c
        bar = activations.clip(bar, self.clip)
        return bar, activations.apply(self.activation, bar)

    def backward(
        self, weights: Weights, bar: np.ndarray, c: np.ndarray, dvalue: np.ndarray, gradient: Weights
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradients of the pre-activation before the peephole and the clip, and of the cell: (8), (10) to (12)."""
        dbar = dvalue * activations.slope(self.activation, bar) * activations.clip_slope(bar, self.clip)
        if self.number is None or "peephole" not in weights:
            return dbar, np.zeros_like(c)
        gradient["peephole"][self.number] += (dbar * c).sum(axis=0)
        return dbar, dbar * weights["peephole"][self.number]

    def from_gate(self, weights: Weights, source: str) -> np.ndarray:
        """The weights (H, H) from a gate of the step before to this one: a view."""
        assert self.number is not None
        matrices = weights["weight_gates"][self.number]  # (H, 3 H)
        size, column = len(matrices), NUMBERS[source]
        return matrices[:, column * size : (column + 1) * size]


@dataclass(frozen=True)
class Variant:
    """An LSTM with its options.

    Attributes
    ----------
    computed : dict of str to Gate
        The block input, and the gates that are computed from sums; the others are 1, or coupled.
    carried : tuple of str
        Gates that are also states, for full gate recurrence.
    follower : str or None
        The gate, i or f, that is 1 minus the other.
    output : tuple
        The activation of the cell in the block output.
    cell_clip : float
        Bound of the cell.
    """

    computed: dict[str, Gate]
    carried: tuple[str, ...]
    follower: str | None
    output: Activation
    cell_clip: float

    @staticmethod
    @cache
    def of(spec: LayerSpec) -> Variant:
        """The variant that the options of `spec` describe."""
        options = dict(spec.options)
        follower = FOLLOWERS[options.get("coupled_gates", False)]
        gates = [g for g, option in OPTIONS.items() if options.get(option, True) and g != follower]
        clip = float(options.get("preactivation_clip") or np.inf)
        squash = {g: options.get("recurrent_activation", ("sigmoid",)) for g in gates}
        squash["z"] = options.get("input_activation", ("tanh",))
        return Variant(
            computed={g: Gate(BLOCKS[g], NUMBERS.get(g), activation, clip) for g, activation in squash.items()},
            carried=tuple(gates) if options.get("full_gate_recurrence", False) else (),
            follower=follower,
            output=options.get("output_activation", ("tanh",)),
            cell_clip=float(options.get("cell_clip") or np.inf),
        )

    @property
    def before_cell(self) -> list[str]:
        """The gates that read the cell of the step before: all but the output gate."""
        return [g for g in self.computed if g != "o"]

    def clip_cell(self, c: np.ndarray) -> np.ndarray:
        """The cell within its bounds."""
        return activations.clip(c, self.cell_clip)
