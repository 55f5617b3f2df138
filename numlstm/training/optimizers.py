"""Optimizers for flat parameter vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ..backends.contract import Array, Backend


class Optimizer(ABC):
    """Updates a flat vector of parameters with a gradient, after clipping its norm (Pascanu et al. 2013).

    Parameters
    ----------
    backend : Backend
    flat : array
        The parameters; they are updated in place.
    clip_norm : float or None
        Greatest Euclidean norm of a gradient; a longer gradient is scaled down to this norm.
    decay : array, shape of `flat`, or None
        Strength of the L2 penalty on each parameter. The gradient of the penalty is not clipped.

    Attributes
    ----------
    state : list of array
        The running means or the velocity, each of the shape of `flat`.
    steps : int
        Number of steps taken.
    """

    slots: ClassVar[int]  # number of arrays in `state`

    def __init__(
        self, backend: Backend, flat: Array, *, clip_norm: float | None = None, decay: Array | None = None
    ) -> None:
        self.backend, self.flat, self.clip_norm, self.decay = backend, flat, clip_norm, decay
        self.state = [backend.zeros(flat.shape, str(flat.dtype)) for _ in range(self.slots)]
        self.steps = 0

    def step(self, gradient: Array, learning_rate: float) -> None:
        """Update the parameters once."""
        scale = 1.0 if self.clip_norm is None else self.backend.clip_scale(gradient, self.clip_norm)
        self.steps += 1
        self._update(gradient, learning_rate, scale)

    @abstractmethod
    def _update(self, gradient: Array, learning_rate: float, scale: float | Any) -> None:
        """Update the parameters with `scale` times the gradient."""


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015); AdamW (Loshchilov & Hutter 2019) with `decoupled`."""

    slots = 2

    def __init__(
        self,
        *arguments: Any,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        decoupled: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(*arguments, **common)
        self.betas, self.epsilon, self.decoupled = betas, epsilon, decoupled

    def _update(self, gradient: Array, learning_rate: float, scale: float | Any) -> None:
        self.backend.adam_step(
            self.flat, gradient, (self.state[0], self.state[1]), step=self.steps, learning_rate=learning_rate,
            betas=self.betas, epsilon=self.epsilon, scale=scale, decay=self.decay, decoupled=self.decoupled,
        )  # fmt: skip


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, by default Nesterov's (Sutskever et al. 2013)."""

    slots = 1

    def __init__(self, *arguments: Any, momentum: float = 0.9, nesterov: bool = True, **common: Any) -> None:
        super().__init__(*arguments, **common)
        self.momentum, self.nesterov = momentum, nesterov

    def _update(self, gradient: Array, learning_rate: float, scale: float | Any) -> None:
        self.backend.sgd_step(
            self.flat, gradient, self.state[0], learning_rate=learning_rate, momentum=self.momentum,
            nesterov=self.nesterov, scale=scale, decay=self.decay,
        )  # fmt: skip


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012, lecture 6e)."""

    slots = 1

    def __init__(self, *arguments: Any, rho: float = 0.9, epsilon: float = 1e-8, **common: Any) -> None:
        super().__init__(*arguments, **common)
        self.rho, self.epsilon = rho, epsilon

    def _update(self, gradient: Array, learning_rate: float, scale: float | Any) -> None:
        self.backend.rmsprop_step(
            self.flat, gradient, self.state[0], learning_rate=learning_rate, rho=self.rho, epsilon=self.epsilon,
            scale=scale, decay=self.decay,
        )  # fmt: skip
