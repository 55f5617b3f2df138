"""Why training fails: which parameter diverges, which gates are saturated, which units are dead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..backends.contract import Array, Backend, LayerSpec
from .batches import Sequences
from .model import Model

MOST_STEPS = 1000  # steps of a sequence that are looked at
LOOKED_AT = 32  # sequences that show the activity of gates
EDGE = 0.05  # a gate value is saturated if it is that close to 0 or 1
MOST = 0.95  # a larger share of saturated values, or of dead units, is named as the cause


def divergence(model: Model, epoch: int, clip_norm: float | None) -> str:
    """A message for training that is no longer finite: epoch, parameter, and what to change."""
    parameters = model.network.unpack(model.backend, model.flat)
    gradients = model.network.unpack(model.backend, model.gradient)
    not_finite = [name for name, value in parameters.items() if not np.isfinite(value).all()]
    exploded = [name for name, value in gradients.items() if not np.isfinite(value).all()]
    advice = "; clip_norm=1.0 bounds each step" if clip_norm is None else ""
    if exploded:
        return f"In epoch {epoch} the gradient of {_listed(exploded)} was no longer finite{advice}."
    if not_finite:
        return f"In epoch {epoch} {_listed(not_finite)} held numbers that are not finite{advice}."
    norms = {name: float(np.linalg.norm(value.astype(np.float64))) for name, value in gradients.items()}
    largest = max(norms, key=lambda name: norms[name])
    return f"In epoch {epoch} the largest gradient was that of {largest}, with norm {norms[largest]:.3g}{advice}."


def _listed(names: list[str]) -> str:
    """Names as text, at most three."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more parameters" if len(names) > 3 else "")


@dataclass(frozen=True)
class Activity:
    """Gates and hidden states at all steps of some sequences.

    Attributes
    ----------
    gates : dict of str to array, shape (M, H)
        Values by gate, layer and direction: ``forget_gate_l0``, ``forget_gate_l0_reverse``, ...
    hidden : dict of str to array, shape (M, S)
        Hidden states by layer and direction: ``_l0``, ...
    """

    gates: dict[str, np.ndarray]
    hidden: dict[str, np.ndarray]

    @property
    def saturation(self) -> dict[str, float]:
        """The share of values within `EDGE` of 0 or 1, for each gate."""
        return {name: float(((gate < EDGE) | (gate > 1 - EDGE)).mean()) for name, gate in self.gates.items()}


def activity(model: Model, sequences: Sequences) -> Activity:
    """The activity of a model that reads the first sequences."""
    stack, backend = model.network.stack, model.backend
    x, lengths = sequences.window(0, MOST_STEPS).take(np.arange(min(LOOKED_AT, len(sequences))))
    traces = [_empty_trace(spec, backend, *x.shape[:2]) for spec in stack.specs.values()]
    stack.forward(backend, model.layers, model.read(x)[0], None, lengths, traces=traces)
    inside = np.ones(x.shape[:2], bool) if lengths is None else np.arange(x.shape[1]) < lengths[:, None]
    result = Activity({}, {})
    for suffix, trace in zip(stack.specs, traces, strict=True):
        for name, values in trace.items():
            if name.endswith("_gate"):
                result.gates[name + suffix] = backend.to_numpy(values)[inside]
        result.hidden[suffix] = backend.to_numpy(trace[stack.state_names[0]])[inside]
    return result


def _empty_trace(spec: LayerSpec, backend: Backend, rows: int, steps: int) -> dict[str, Array]:
    """Arrays for the gates and the first state of a layer."""
    sizes = {gate: spec.hidden_size for gate, _ in spec.description.traces}
    sizes[spec.description.states[0]] = spec.state_sizes[0]
    return {name: backend.empty((rows, steps, size), spec.dtype) for name, size in sizes.items()}


def stagnation(model: Model, sequences: Sequences, epoch: int) -> str:
    """A message about saturated gates or dead units after an epoch, if nothing is learnt; empty if there are none."""
    observed = activity(model, sequences)
    for gate, share in observed.saturation.items():
        if share > MOST:
            return (
                f". After epoch {epoch}, {share:.0%} of the values of {gate} are within {EDGE} of 0 or 1: it is "
                "saturated, and hardly learns; lower learning_rate_init, or choose another init or forget_bias"
            )
    for suffix, states in observed.hidden.items():
        dead = float((states == 0).all(axis=0).mean())
        if dead > MOST:
            return (
                f". After epoch {epoch}, {dead:.0%} of the hidden units behind weight_hh{suffix} are 0 at all steps: "
                "they are dead; lower learning_rate_init, or choose another init or nonlinearity"
            )
    return ""
