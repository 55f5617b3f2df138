"""Activation functions by their names in ONNX, each with its derivative.

Every function takes ``(one, x, alpha, beta)`` and returns its value and its slope at x. A function without parameters
ignores the last two.
"""

from .elementary import exp, log1p, sigmoid, tanh, where_negative


def identity(one, x, alpha, beta):
    """``x``."""
    return x, one


def affine(one, x, alpha, beta):
    """``alpha x + beta``."""
    return alpha * x + beta, alpha


def logistic(one, x, alpha, beta):
    """``1 / (1 + exp(-x))``."""
    y = sigmoid(x)
    return y, y - y * y


def hyperbolic_tangent(one, x, alpha, beta):
    """``tanh(x)``."""
    y = tanh(x)
    return y, one - y * y


def scaled_tanh(one, x, alpha, beta):
    """``alpha tanh(beta x)``."""
    y = tanh(beta * x)
    return alpha * y, alpha * beta * (one - y * y)


def relu(one, x, alpha, beta):
    """``max(x, 0)``."""
    zero = one - one
    return where_negative(x, zero, x), where_negative(zero - x, one, zero)


def leaky_relu(one, x, alpha, beta):
    """``x`` where x >= 0, else ``alpha x``."""
    return where_negative(x, alpha * x, x), where_negative(x, alpha, one)


def thresholded_relu(one, x, alpha, beta):
    """``x`` where x >= alpha, else 0."""
    zero = one - one
    return where_negative(x - alpha, zero, x), where_negative(x - alpha, zero, one)


def hard_sigmoid(one, x, alpha, beta):
    """``min(max(alpha x + beta, 0), 1)``."""
    zero = one - one
    y = alpha * x + beta
    inside = where_negative(zero - y, where_negative(y - one, alpha, zero), zero)
    return where_negative(y, zero, where_negative(one - y, one, y)), inside


def elu(one, x, alpha, beta):
    """``x`` where x >= 0, else ``alpha (exp(x) - 1)``."""
    zero = one - one
    t = exp(where_negative(x, x, zero))
    return where_negative(x, alpha * (t - one), x), where_negative(x, alpha * t, one)


def softsign(one, x, alpha, beta):
    """``x / (1 + |x|)``."""
    zero = one - one
    scale = one / (one + where_negative(x, zero - x, x))
    return x * scale, scale * scale


def softplus(one, x, alpha, beta):
    """``log(1 + exp(x))``."""
    zero = one - one
    t = exp(where_negative(x, x, zero - x))
    return where_negative(x, zero, x) + log1p(t), sigmoid(x)


# By name: the function, and the default values of its parameters.
ACTIVATIONS = {
    "identity": (identity, ()),
    "affine": (affine, (1.0, 0.0)),
    "sigmoid": (logistic, ()),
    "tanh": (hyperbolic_tangent, ()),
    "scaled_tanh": (scaled_tanh, (1.0, 1.0)),
    "relu": (relu, ()),
    "leaky_relu": (leaky_relu, (0.01,)),
    "thresholded_relu": (thresholded_relu, (1.0,)),
    "hard_sigmoid": (hard_sigmoid, (0.2, 0.5)),
    "elu": (elu, (1.0,)),
    "softsign": (softsign, ()),
    "softplus": (softplus, ()),
}
FUNCTIONS = tuple(function for function, _ in ACTIVATIONS.values())
