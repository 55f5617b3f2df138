"""Initial parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import cells
from ..backends.contract import LayerSpec


def torch_uniform(spec: LayerSpec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every parameter uniform in ±1/√H, as in PyTorch."""
    bound = spec.hidden_size**-0.5
    return {name: rng.uniform(-bound, bound, shape) for name, shape in spec.shapes.items()}


def keras_style(spec: LayerSpec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Input weights uniform (Glorot & Bengio 2010), recurrent ones orthogonal, forget gates biased open by 1."""
    parameters = {name: np.zeros(shape) for name, shape in spec.shapes.items()}
    rows, inputs = spec.shapes["weight_ih"]
    bound = (6 / (rows + inputs)) ** 0.5
    parameters["weight_ih"] = rng.uniform(-bound, bound, (rows, inputs))
    parameters["weight_hh"] = _orthogonal(spec.shapes["weight_hh"], rng)
    gates = cells.get(spec.cell).gates
    if spec.bias and "forget_gate" in gates:
        start = gates.index("forget_gate") * spec.hidden_size
        parameters["bias_ih"][start : start + spec.hidden_size] = 1.0
    return parameters


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A tall matrix with orthonormal columns, uniform among all such (Saxe et al. 2014)."""
    q, r = np.linalg.qr(rng.standard_normal(shape))
    return q * np.sign(np.diagonal(r))


INITIALISERS: dict[str, Callable[[LayerSpec, np.random.Generator], dict[str, np.ndarray]]] = {
    "keras": keras_style,
    "torch": torch_uniform,
}
