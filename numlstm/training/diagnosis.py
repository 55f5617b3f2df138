"""Why training fails: which parameter diverges, which gates are saturated, which units are dead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..backends.contract import Array, Backend, LayerSpec
from .batches import Sequences
from .network import Model

LOOKED_AT = 32  # sequences, for what gates do
EDGE = 0.05  # a gate is saturated that close to 0 or 1
MOST = 0.95  # of all values: from there on it is the cause


def divergence(model: Model, epoch: int, clip_norm: float | None) -> str:
    """What to say of training that is not finite any more: epoch, parameter, and what to change."""
    parameters = model.network.unpack(model.backend, model.flat)
    gradients = model.network.unpack(model.backend, model.gradient)
    broken = [name for name, value in parameters.items() if not np.isfinite(value).all()]
    wild = [name for name, value in gradients.items() if not np.isfinite(value).all()]
    advice = "; clip_norm=1.0 bounds each step" if clip_norm is None else ""
    if wild:
        return f"In epoch {epoch} the gradient of {_listed(wild)} was no longer finite{advice}."
    if broken:
        return f"In epoch {epoch} {_listed(broken)} held numbers that are not finite{advice}."
    norms = {name: float(np.linalg.norm(value.astype(np.float64))) for name, value in gradients.items()}
    largest = max(norms, key=lambda name: norms[name])
    return f"In epoch {epoch} the largest gradient was that of {largest}, with norm {norms[largest]:.3g}{advice}."


def _listed(names: list[str]) -> str:
    """The first names of some."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more parameters" if len(names) > 3 else "")


@dataclass(frozen=True)
class Activity:
    """What gates and units did at all steps of some sequences.

    Attributes
    ----------
    gates : dict of str to array, shape (M, H)
        By gate, layer and direction: ``forget_gate_l0``, ``forget_gate_l0_reverse``, ...
    hidden : dict of str to array, shape (M, S)
        Hidden states by layer and direction: ``_l0``, ...
    """

    gates: dict[str, np.ndarray]
    hidden: dict[str, np.ndarray]

    @property
    def saturation(self) -> dict[str, float]:
        """The share of values within `EDGE` of 0 or 1, of each gate."""
        return {name: float(((own < EDGE) | (own > 1 - EDGE)).mean()) for name, own in self.gates.items()}


def activity(model: Model, sequences: Sequences) -> Activity:
    """What the first sequences do in a model."""
    stack, backend = model.network.stack, model.backend
    x, lengths = sequences.take(np.arange(min(LOOKED_AT, len(sequences))))
    traces = [_room(spec, backend, *x.shape[:2]) for spec in stack.specs.values()]
    stack.forward(backend, model.layers, model.read(x)[0], None, lengths, traces=traces)
    inside = np.ones(x.shape[:2], bool) if lengths is None else np.arange(x.shape[1]) < lengths[:, None]
    found = Activity({}, {})
    for suffix, trace in zip(stack.specs, traces, strict=True):
        for name, values in trace.items():
            if name.endswith("_gate"):
                found.gates[name + suffix] = backend.to_numpy(values)[inside]
        found.hidden[suffix] = backend.to_numpy(trace[stack.state_names[0]])[inside]
    return found


def _room(spec: LayerSpec, backend: Backend, rows: int, steps: int) -> dict[str, Array]:
    """Arrays for the gates and the first state of a layer."""
    sizes = {gate: spec.hidden_size for gate, _ in spec.description.traces}
    sizes[spec.description.states[0]] = spec.state_sizes[0]
    return {name: backend.empty((rows, steps, size), spec.dtype) for name, size in sizes.items()}


def stagnation(model: Model, sequences: Sequences) -> str:
    """What to say of gates and units where nothing has been learnt; empty if they seem well."""
    found = activity(model, sequences)
    for gate, share in found.saturation.items():
        if share > MOST:
            return (
                f". {share:.0%} of the values of {gate} are within {EDGE} of 0 or 1: it is saturated, and hardly "
                "learns; lower learning_rate_init, or choose another init or forget_bias"
            )
    for suffix, states in found.hidden.items():
        dead = float((states == 0).all(axis=0).mean())
        if dead > MOST:
            return (
                f". {dead:.0%} of the hidden units behind weight_hh{suffix} are 0 at all steps: they are dead; lower "
                "learning_rate_init, or choose another init or nonlinearity"
            )
    return ""
