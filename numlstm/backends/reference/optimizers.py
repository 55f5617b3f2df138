"""One step of each optimizer: new parameters theta and state, from the gradient g and the old ones."""

from __future__ import annotations

import numpy as np


def adam(
    theta: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    *,
    step: int,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The body of the loop of Kingma & Ba (2015), algorithm 1, with its names.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """
    beta1, beta2 = betas
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g**2
    m_hat = m / (1.0 - beta1**step)
    v_hat = v / (1.0 - beta2**step)
    return theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon), m, v


def sgd(
    theta: np.ndarray, g: np.ndarray, v: np.ndarray, *, learning_rate: float, momentum: float, nesterov: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Momentum, and Nesterov's (Sutskever et al. 2013), with the velocity in units of the gradient, as in PyTorch.

    References
    ----------
    .. [1] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep
       learning", ICML 2013.
    """
    v = momentum * v + g
    return theta - learning_rate * (g + momentum * v if nesterov else v), v


def rmsprop(
    theta: np.ndarray, g: np.ndarray, q: np.ndarray, *, learning_rate: float, rho: float, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient, divided by the root of the running mean of its square.

    References
    ----------
    .. [1] G. Hinton, N. Srivastava, K. Swersky, "Neural networks for machine learning", lecture 6e, 2012.
    """
    q = rho * q + (1.0 - rho) * g**2
    return theta - learning_rate * g / (np.sqrt(q) + epsilon), q
