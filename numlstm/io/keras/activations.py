"""Keras's activations as ONNX's operators, and as those of recurrent cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .builder import GraphBuilder, Tensor, binary, number, unary
from .config import KerasLayer, Options, description_of

Activation = Callable[[GraphBuilder, Tensor], Tensor]

SLOPE = 0.2  # of Keras's leaky_relu
HARD_SIGMOID_2 = (0.2, 0.5)  # slope and offset in Keras 2
SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}

# Activations of cells, by Keras's names: the name in ONNX, the name in numlstm, and the parameters in ONNX.
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
    """The activation that one of ONNX's operators computes."""
    return lambda builder, x: unary(builder, op, x, **attributes)


def clipped(low: float | None, high: float | None) -> Activation:
    """Clipped between two bounds, each of which may be None."""

    def apply(builder: GraphBuilder, x: Tensor) -> Tensor:
        bounds = [None if bound is None else number(builder, bound, x) for bound in (low, high)]
        return builder.node("Clip", [x, *bounds], x.shape)

    return apply


def _gelu(builder: GraphBuilder, x: Tensor) -> Tensor:
    scaled = binary(builder, "Mul", x, number(builder, math.sqrt(0.5), x))
    share = binary(builder, "Add", unary(builder, "Erf", scaled), number(builder, 1.0, x))
    return binary(builder, "Mul", binary(builder, "Mul", x, number(builder, 0.5, x)), share)


def gelu_by_tanh(builder: GraphBuilder, x: Tensor) -> Tensor:
    """An approximation of gelu: ``x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2``."""
    cube = binary(builder, "Mul", binary(builder, "Mul", x, x), binary(builder, "Mul", x, number(builder, 0.044715, x)))
    inner = binary(builder, "Mul", binary(builder, "Add", x, cube), number(builder, math.sqrt(2 / math.pi), x))
    share = binary(builder, "Add", unary(builder, "Tanh", inner), number(builder, 1.0, x))
    return binary(builder, "Mul", binary(builder, "Mul", x, number(builder, 0.5, x)), share)


def _silu(builder: GraphBuilder, x: Tensor) -> Tensor:
    return binary(builder, "Mul", x, unary(builder, "Sigmoid", x))


def _hard_silu(builder: GraphBuilder, x: Tensor) -> Tensor:
    return binary(builder, "Mul", x, unary(builder, "HardSigmoid", x, alpha=1 / 6, beta=0.5))


def _mish(builder: GraphBuilder, x: Tensor) -> Tensor:
    return binary(builder, "Mul", x, unary(builder, "Tanh", unary(builder, "Softplus", x)))


def _log_sigmoid(builder: GraphBuilder, x: Tensor) -> Tensor:
    return unary(builder, "Neg", unary(builder, "Softplus", unary(builder, "Neg", x)))


def _tanh_shrink(builder: GraphBuilder, x: Tensor) -> Tensor:
    return binary(builder, "Sub", x, unary(builder, "Tanh", x))


def _linear(builder: GraphBuilder, x: Tensor) -> Tensor:
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


def activated(layer: KerasLayer, x: Tensor, name: str = "activation", default: Any = "linear") -> Tensor:
    """The activation in an option of a layer, applied to a tensor."""
    return activation_of(layer, name, default)(layer.builder, x)


def activation_of(layer: KerasLayer, name: str, default: Any) -> Activation:
    """The activation in an option: a name, or a layer in its place."""
    value = layer.options.value(name, default)
    if isinstance(value, dict):
        description = description_of(value, f"{layer.label}: {name}")
        if description.kind in OF_LAYERS:
            return OF_LAYERS[description.kind](Options(description.config, f"{layer.label}: {name}"))
    elif value == "hard_sigmoid" and layer.version == 2:
        slope, offset = HARD_SIGMOID_2
        return _plain("HardSigmoid", alpha=slope, beta=offset)
    elif value is None or (isinstance(value, str) and value in NAMED):
        return NAMED[value or "linear"]
    raise layer.options.refused(name, f"one of {[*NAMED]}")


def of_cell(layer: KerasLayer, name: str, default: str) -> tuple[str, tuple[float, ...]]:
    """The name and parameters in ONNX of a cell's activation."""
    value = layer.options.value(name, default)
    if isinstance(value, dict):
        description = description_of(value, f"{layer.label}: {name}")
        if description.kind in CELL_LAYERS:
            op, parameter = CELL_LAYERS[description.kind]
            options = Options(description.config, f"{layer.label}: {name}")
            value = options.number(parameter)
            options.finish()
            return op, (value,)
    elif value is None or (isinstance(value, str) and value in OF_CELLS):
        op, _, parameters = OF_CELLS[value or "linear"]
        return op, HARD_SIGMOID_2 if value == "hard_sigmoid" and layer.version == 2 else parameters
    raise layer.options.refused(name, f"one of {[*OF_CELLS]} in a recurrent layer")


# Layers that are activations ----------------------------------------------------------------------------------


def _relu(options: Options) -> Activation:
    """ReLU with a slope, a bound and a threshold."""
    most = options.value("max_value")
    most = None if most is None else options.number("max_value")
    slope, threshold = options.number("negative_slope", 0.0), options.number("threshold", 0.0)
    options.finish()
    if not slope and not threshold:
        return _plain("Relu") if most is None else clipped(0.0, most)
    if most is None and not threshold:
        return _plain("LeakyRelu", alpha=slope)
    return lambda builder, x: _general_relu(builder, x, most, slope, threshold)


def _general_relu(builder: GraphBuilder, x: Tensor, most: float | None, slope: float, threshold: float) -> Tensor:
    """``x`` above the threshold, at most `most`; ``slope (x - threshold)`` below it."""
    edge = number(builder, threshold, x)
    above = binary(builder, "Greater", x, edge, "bool")
    passed = builder.node("Where", [above, x, number(builder, 0.0, x)], x.shape, x.dtype)
    passed = clipped(0.0, most)(builder, passed)
    if not slope:
        return passed
    below = unary(builder, "Relu", binary(builder, "Sub", edge, x))
    return binary(builder, "Sub", passed, binary(builder, "Mul", below, number(builder, slope, x)))


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
