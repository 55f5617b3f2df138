"""Initial parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.contract import LayerSpec
from ..cells import FORGETTING, REMEMBERING
from ..concurrency import one_blas_thread

INITS = ("keras", "torch", "chrono")


def initialised(
    spec: LayerSpec, init: str | tuple[str, int], rng: np.random.Generator, forget_bias: float | None = None
) -> dict[str, np.ndarray]:
    """Initial named parameters of one layer in one direction.

    Parameters
    ----------
    spec : LayerSpec
    init : {"keras", "torch"} or ("chrono", steps)
    rng : numpy.random.Generator
    forget_bias : float, optional
        The bias of the forget gate; by default 1 with ``"keras"``, and as drawn with ``"torch"``.
    """
    name = init if isinstance(init, str) else init[0]
    parameters = INITIALISERS["torch" if name == "torch" else "keras"](spec, rng)
    keeps, lets_in = FORGETTING.get(spec.cell), REMEMBERING.get(spec.cell)
    coupled = dict(spec.options).get("coupled_gates", False)
    if coupled == "input":  # the forget gate follows from the input gate
        keeps = None
    elif coupled:
        lets_in = None
    if name == "keras" and forget_bias is None and spec.cell == "lstm":
        forget_bias = 1.0
    if forget_bias is not None:
        gate, bias = (lets_in, -forget_bias) if coupled == "input" else (keeps, forget_bias)
        _set_bias(spec, parameters, gate, bias)
    if not isinstance(init, str):
        biases = np.log(rng.uniform(1.0, init[1] - 1.0, spec.hidden_size))
        _set_bias(spec, parameters, keeps, biases)
        _set_bias(spec, parameters, lets_in, -biases)
    return parameters


def _set_bias(spec: LayerSpec, parameters: dict[str, np.ndarray], block: int | None, value: Any) -> None:
    """Set the bias of a gate, if the layer has the gate and a bias."""
    if block is None:
        return
    rows = slice(block * spec.hidden_size, (block + 1) * spec.hidden_size)
    name = "layer_norm_bias" if spec.layer_norm else "bias_ih"  # normalisation cancels a bias that comes before it
    if name in parameters:
        parameters[name][rows] = value
    if name == "bias_ih" and "bias_hh" in parameters:
        parameters["bias_hh"][rows] = 0.0


def torch_uniform(spec: LayerSpec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every parameter uniform in ±1/√H, as in PyTorch; normalisation changes nothing at first."""
    bound = spec.hidden_size**-0.5
    return {
        name: _plain(name, shape) if name.startswith("layer_norm") else rng.uniform(-bound, bound, shape)
        for name, shape in spec.shapes.items()
    }


def keras_style(spec: LayerSpec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Input weights uniform (Glorot & Bengio 2010), recurrent ones orthogonal, biases and peepholes zero."""
    parameters = {}
    for name, shape in spec.shapes.items():
        if name in ("weight_ih", "weight_hr"):
            bound = (6 / sum(shape)) ** 0.5
            parameters[name] = rng.uniform(-bound, bound, shape)
        elif name in ("weight_hh", "weight_gates"):
            parameters[name] = _orthogonal(shape, rng)
        else:
            parameters[name] = _plain(name, shape)
    return parameters


def _plain(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Ones for a scale, zeros for any other parameter."""
    return np.ones(shape) if name == "layer_norm_weight" else np.zeros(shape)


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A matrix with orthonormal columns (rows, if it is wide), uniform among all such (Saxe et al. 2014)."""
    rows, columns = shape
    with one_blas_thread():
        q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q = q * np.sign(np.diagonal(r))
    return q if rows >= columns else q.T


INITIALISERS: dict[str, Callable[[LayerSpec, np.random.Generator], dict[str, np.ndarray]]] = {
    "keras": keras_style,
    "torch": torch_uniform,
}
