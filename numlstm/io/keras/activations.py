"""Keras's activations as ONNX's operators, and as those of recurrent cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .config import Options, Part, described
from .sketch import Sketch, Tensor, binary, number, unary

Activation = Callable[[Sketch, Tensor], Tensor]

SLOPE = 0.2  # of Keras's leaky_relu
HARD_SIGMOID_2 = (0.2, 0.5)  # slope and offset in Keras 2
SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}

# What cells have, by Keras's names: the name in ONNX, that in numlstm, and parameters, of which identity has none.
OF_CELLS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "linear": ("Affine", "identity", (1.0, 0.0)),
    "relu": ("Relu", "relu", ()),
    "leaky_relu": ("LeakyRelu", "leaky_relu", (SLOPE,)),
    "elu": ("Elu", "elu", (1.0,)),
    "sigmoid": ("Sigmoid", "sigmoid", ()),
    "hard_sigmoid": ("HardSigmoid", "hard_sigmoid", (1 / 6, 0.5)),
    "tanh": ("Tanh", "tanh", ()),
    "softplus": ("Softplus", "softplus", ()),
    "softsign": ("Softsign", "softsign", ()),
}


def _plain(op: str, **attributes: Any) -> Activation:
    """One of ONNX's operators."""
    return lambda sketch, x: unary(sketch, op, x, **attributes)


def clipped(low: float | None, high: float | None) -> Activation:
    """Between two bounds, where they are given."""

    def apply(sketch: Sketch, x: Tensor) -> Tensor:
        bounds = [None if bound is None else number(sketch, bound, x) for bound in (low, high)]
        return sketch.node("Clip", [x, *bounds], x.shape)

    return apply


def _gelu(sketch: Sketch, x: Tensor) -> Tensor:
    scaled = binary(sketch, "Mul", x, number(sketch, math.sqrt(0.5), x))
    share = binary(sketch, "Add", unary(sketch, "Erf", scaled), number(sketch, 1.0, x))
    return binary(sketch, "Mul", binary(sketch, "Mul", x, number(sketch, 0.5, x)), share)


def gelu_by_tanh(sketch: Sketch, x: Tensor) -> Tensor:
    """An approximation of gelu: ``x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2``."""
    cube = binary(sketch, "Mul", binary(sketch, "Mul", x, x), binary(sketch, "Mul", x, number(sketch, 0.044715, x)))
    inner = binary(sketch, "Mul", binary(sketch, "Add", x, cube), number(sketch, math.sqrt(2 / math.pi), x))
    share = binary(sketch, "Add", unary(sketch, "Tanh", inner), number(sketch, 1.0, x))
    return binary(sketch, "Mul", binary(sketch, "Mul", x, number(sketch, 0.5, x)), share)


def _silu(sketch: Sketch, x: Tensor) -> Tensor:
    return binary(sketch, "Mul", x, unary(sketch, "Sigmoid", x))


def _hard_silu(sketch: Sketch, x: Tensor) -> Tensor:
    return binary(sketch, "Mul", x, unary(sketch, "HardSigmoid", x, alpha=1 / 6, beta=0.5))


def _mish(sketch: Sketch, x: Tensor) -> Tensor:
    return binary(sketch, "Mul", x, unary(sketch, "Tanh", unary(sketch, "Softplus", x)))


def _log_sigmoid(sketch: Sketch, x: Tensor) -> Tensor:
    return unary(sketch, "Neg", unary(sketch, "Softplus", unary(sketch, "Neg", x)))


def _tanh_shrink(sketch: Sketch, x: Tensor) -> Tensor:
    return binary(sketch, "Sub", x, unary(sketch, "Tanh", x))


def _linear(sketch: Sketch, x: Tensor) -> Tensor:
    return x


NAMED: dict[str, Activation] = {
    "linear": _linear,
    "relu": _plain("Relu"),
    "relu6": clipped(0.0, 6.0),
    "leaky_relu": _plain("LeakyRelu", alpha=SLOPE),
    "elu": _plain("Elu", alpha=1.0),
    "celu": _plain("Elu", alpha=1.0),
    "selu": _plain("Selu", **SELU),
    "gelu": _gelu,
    "silu": _silu,
    "swish": _silu,
    "hard_silu": _hard_silu,
    "hard_swish": _hard_silu,
    "mish": _mish,
    "sigmoid": _plain("Sigmoid"),
    "hard_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "log_sigmoid": _log_sigmoid,
    "tanh": _plain("Tanh"),
    "hard_tanh": clipped(-1.0, 1.0),
    "tanh_shrink": _tanh_shrink,
    "softplus": _plain("Softplus"),
    "softsign": _plain("Softsign"),
    "exponential": _plain("Exp"),
    "softmax": _plain("Softmax", axis=-1),
    "log_softmax": _plain("LogSoftmax", axis=-1),
}


def activated(part: Part, x: Tensor, name: str = "activation", default: Any = "linear") -> Tensor:
    """What the activation in an option makes of a tensor."""
    return activation_of(part, name, default)(part.sketch, x)


def activation_of(part: Part, name: str, default: Any) -> Activation:
    """The activation that an option names, or a layer that stands in its place."""
    value = part.options.value(name, default)
    if isinstance(value, dict):
        layer = described(value, f"{part.label}: {name}")
        if layer.kind in OF_LAYERS:
            return OF_LAYERS[layer.kind](Options(layer.config, f"{part.label}: {name}"))
    elif value == "hard_sigmoid" and part.version == 2:
        slope, offset = HARD_SIGMOID_2
        return _plain("HardSigmoid", alpha=slope, beta=offset)
    elif value is None or (isinstance(value, str) and value in NAMED):
        return NAMED[value or "linear"]
    raise part.options.refused(name, f"one of {[*NAMED]}")


def of_cell(part: Part, name: str, default: str) -> tuple[str, tuple[float, ...]]:
    """ONNX's name and parameters of a cell's activation."""
    value = part.options.value(name, default)
    if isinstance(value, dict):
        layer = described(value, f"{part.label}: {name}")
        if layer.kind in CELL_LAYERS:
            op, parameter = CELL_LAYERS[layer.kind]
            options = Options(layer.config, f"{part.label}: {name}")
            given = (options.number(parameter),)
            options.finish()
            return op, given
    elif value is None or (isinstance(value, str) and value in OF_CELLS):
        op, _, parameters = OF_CELLS[value or "linear"]
        return op, HARD_SIGMOID_2 if value == "hard_sigmoid" and part.version == 2 else parameters
    raise part.options.refused(name, f"one of {[*OF_CELLS]} in a recurrent layer")


# Layers that are activations ----------------------------------------------------------------------------------


def _relu(options: Options) -> Activation:
    """Rectified, with a slope, a bound and a threshold."""
    most = options.value("max_value")
    most = None if most is None else options.number("max_value")
    slope, threshold = options.number("negative_slope", 0.0), options.number("threshold", 0.0)
    options.finish()
    if not slope and not threshold:
        return _plain("Relu") if most is None else clipped(0.0, most)
    if most is None and not threshold:
        return _plain("LeakyRelu", alpha=slope)
    return lambda sketch, x: _general_relu(sketch, x, most, slope, threshold)


def _general_relu(sketch: Sketch, x: Tensor, most: float | None, slope: float, threshold: float) -> Tensor:
    """``x`` above the threshold, at most `most`; ``slope (x - threshold)`` below it."""
    edge = number(sketch, threshold, x)
    above = binary(sketch, "Greater", x, edge, "bool")
    passed = sketch.node("Where", [above, x, number(sketch, 0.0, x)], x.shape, x.dtype)
    passed = clipped(0.0, most)(sketch, passed)
    if not slope:
        return passed
    below = unary(sketch, "Relu", binary(sketch, "Sub", edge, x))
    return binary(sketch, "Sub", passed, binary(sketch, "Mul", below, number(sketch, slope, x)))


def _leaky_relu(options: Options) -> Activation:
    slope = options.number("negative_slope", 0.3)
    options.finish()
    return _plain("LeakyRelu", alpha=slope)


def _elu(options: Options) -> Activation:
    alpha = options.number("alpha", 1.0)
    options.finish()
    return _plain("Elu", alpha=alpha)


def _softmax(options: Options) -> Activation:
    axes = options.integers("axis")
    options.finish()
    if len(axes) != 1:
        raise options.refused("axis", "one integer")
    return _plain("Softmax", axis=axes[0])


OF_LAYERS: dict[str, Callable[[Options], Activation]] = {
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "Softmax": _softmax,
}
CELL_LAYERS = {"LeakyReLU": ("LeakyRelu", "negative_slope"), "ELU": ("Elu", "alpha")}
