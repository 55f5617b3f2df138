"""Optimizers on flat parameter vectors."""

from __future__ import annotations

from ..backends.contract import Array, Backend


class Adam:
    """Adam (Kingma & Ba 2015), with the gradient's global norm clipped first (Pascanu et al. 2013).

    Parameters
    ----------
    backend : Backend
    flat : array
        The parameters to optimize, in place.
    learning_rate, betas, epsilon
        Adam's.
    clip_norm : float or None
        Greatest Euclidean norm of a gradient; longer ones are scaled down to it.
    """

    def __init__(
        self,
        backend: Backend,
        flat: Array,
        *,
        learning_rate: float,
        betas: tuple[float, float],
        epsilon: float,
        clip_norm: float | None,
    ) -> None:
        self.backend, self.flat = backend, flat
        self.learning_rate, self.betas, self.epsilon, self.clip_norm = learning_rate, betas, epsilon, clip_norm
        self.moments = backend.zeros(flat.shape, str(flat.dtype)), backend.zeros(flat.shape, str(flat.dtype))
        self.steps = 0

    def step(self, gradient: Array) -> None:
        """Move the parameters one step."""
        scale = 1.0
        if self.clip_norm is not None:
            scale = min(1.0, self.clip_norm / max(self.backend.global_norm(gradient), 1e-30))
        self.steps += 1
        self.backend.adam_step(
            self.flat, gradient, self.moments, step=self.steps, learning_rate=self.learning_rate, betas=self.betas,
            epsilon=self.epsilon, scale=scale,
        )  # fmt: skip
