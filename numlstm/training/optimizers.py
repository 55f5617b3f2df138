"""Optimizers for flat parameter vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

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
    repeats: ClassVar[bool] = True  # whether all steps are the same calls of the backend

    def __init__(
        self, backend: Backend, flat: Array, *, clip_norm: float | None = None, decay: Array | None = None
    ) -> None:
        self.backend, self.flat, self.clip_norm, self.decay = backend, flat, clip_norm, decay
        self.state = [backend.zeros(flat.shape, str(flat.dtype)) for _ in range(self.slots)]
        self.steps, self.step_and_rate = 0, np.zeros(2)

    def step(self, gradient: Array, learning_rate: float) -> None:
        """Update the parameters once."""
        self.advance(learning_rate)
        self.update(gradient)

    def advance(self, learning_rate: float) -> None:
        """Note number and learning rate of the next step."""
        self.steps += 1
        self.step_and_rate[0], self.step_and_rate[1] = self.steps, learning_rate

    def update(self, gradient: Array) -> None:
        """Update the parameters, after `advance`."""
        self._update(gradient, 1.0 if self.clip_norm is None else self.backend.clip_scale(gradient, self.clip_norm))

    def begin_epoch(self) -> bool:
        """Prepare for steps. Returns whether that changed the parameters."""
        return False

    def end_epoch(self) -> bool:
        """Set the parameters to those that predict. Returns whether that changed them."""
        return False

    def record(self, losses: Sequence[float]) -> None:  # noqa: B027 most optimizers do not need them
        """Record the monitored losses of all epochs so far."""

    @abstractmethod
    def _update(self, gradient: Array, scale: float | Any) -> None:
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

    def _update(self, gradient: Array, scale: float | Any) -> None:
        self.backend.adam_step(
            self.flat, gradient, (self.state[0], self.state[1]), step_and_rate=self.step_and_rate,
            betas=self.betas, epsilon=self.epsilon, scale=scale, decay=self.decay, decoupled=self.decoupled,
        )  # fmt: skip


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, by default Nesterov's (Sutskever et al. 2013)."""

    slots = 1

    def __init__(self, *arguments: Any, momentum: float = 0.9, nesterov: bool = True, **common: Any) -> None:
        super().__init__(*arguments, **common)
        self.momentum, self.nesterov = momentum, nesterov

    def _update(self, gradient: Array, scale: float | Any) -> None:
        self.backend.sgd_step(
            self.flat, gradient, self.state[0], step_and_rate=self.step_and_rate, momentum=self.momentum,
            nesterov=self.nesterov, scale=scale, decay=self.decay,
        )  # fmt: skip


class ASGD(SGD):
    """Averaged stochastic gradient descent that begins to average when the loss stalls (Merity et al. 2018, NT-ASGD).

    The average begins when the monitored loss is higher than the least one of all epochs but the last five. It is what
    predicts; the steps continue from the weights that are not averaged.
    """

    slots = 3  # velocity, average, and the weights that the steps continue from
    repeats = False
    patience = 5

    def __init__(self, *arguments: Any, **common: Any) -> None:
        super().__init__(*arguments, momentum=0.0, nesterov=False, **common)
        self.averaged = 0  # steps in the average
        self.averaging = False

    def begin_epoch(self) -> bool:
        if self.averaged:
            self.flat[...] = self.state[2]
        return self.averaged > 0

    def end_epoch(self) -> bool:
        if self.averaged:
            self.state[2][...] = self.flat
            self.flat[...] = self.state[1]
        return self.averaged > 0

    def record(self, losses: Sequence[float]) -> None:
        if len(losses) > self.patience and losses[-1] > min(losses[: -self.patience]):
            self.averaging = True

    def _update(self, gradient: Array, scale: float | Any) -> None:
        super()._update(gradient, scale)
        if self.averaging:
            self.averaged += 1
            average, multiply = self.state[1], self.backend.multiply
            self.backend.add(average, multiply(average, -1.0 / self.averaged))
            self.backend.add(average, multiply(self.flat, 1.0 / self.averaged))


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012, lecture 6e)."""

    slots = 1

    def __init__(self, *arguments: Any, rho: float = 0.9, epsilon: float = 1e-8, **common: Any) -> None:
        super().__init__(*arguments, **common)
        self.rho, self.epsilon = rho, epsilon

    def _update(self, gradient: Array, scale: float | Any) -> None:
        self.backend.rmsprop_step(
            self.flat, gradient, self.state[0], step_and_rate=self.step_and_rate, rho=self.rho, epsilon=self.epsilon,
            scale=scale, decay=self.decay,
        )  # fmt: skip
