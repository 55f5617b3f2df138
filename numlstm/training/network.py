"""A stack of recurrent layers and an affine map of its last hidden state, on one flat parameter vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.contract import AffineSpec, Array, Backend
from ..layers.stack import Stack

HEAD = "_output"


@dataclass(frozen=True)
class Network:
    """The shape of a network for sequences: what it computes, not its weights.

    Attributes
    ----------
    stack : Stack
        The recurrent layers.
    outputs : int
        Scores for each sequence.
    """

    stack: Stack
    outputs: int

    @property
    def head(self) -> AffineSpec:
        """The affine map from the last hidden state to scores."""
        return AffineSpec(self.stack.output_size, self.outputs, self.stack.dtype)

    def initialise(self, init: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial named parameters; the head is Glorot-uniform with zero bias."""
        parameters = self.stack.initialise(init, rng)
        bound = (6 / (self.head.input_size + self.outputs)) ** 0.5
        parameters["weight" + HEAD] = rng.uniform(-bound, bound, self.head.shapes["weight"])
        parameters["bias" + HEAD] = np.zeros(self.outputs)
        return {name: value.astype(self.stack.dtype) for name, value in parameters.items()}

    def pack(self, backend: Backend, parameters: Mapping[str, np.ndarray]) -> Array:
        """A new flat vector of named parameters."""
        flat = backend.zeros((self._split(backend) + backend.size(self.head),), self.stack.dtype)
        self.stack.pack(backend, parameters, flat[: self._split(backend)])
        head = {name: parameters[name + HEAD] for name in self.head.shapes}
        backend.pack(self.head, head, flat[self._split(backend) :])
        return flat

    def unpack(self, backend: Backend, flat: Array) -> dict[str, np.ndarray]:
        """Named parameters from a flat vector."""
        head = backend.unpack(self.head, flat[self._split(backend) :])
        parameters = self.stack.unpack(backend, flat[: self._split(backend)])
        return parameters | {name + HEAD: value for name, value in head.items()}

    def prepare(self, backend: Backend, flat: Array, training: bool) -> tuple[list[Any], Any]:
        """The weights as the functions below take them; they hold until `flat` changes."""
        split = self._split(backend)
        stack = self.stack.prepare(backend, flat[:split], training)
        return stack, backend.prepare(self.head, flat[split:], training)

    def refresh(self, backend: Backend, weights: tuple[list[Any], Any]) -> tuple[list[Any], Any]:
        """The weights to use instead of `weights`, prepared for training, now that the flat vector has changed."""
        layers, head = weights
        return [backend.refresh(each) for each in layers], backend.refresh(head)

    def _split(self, backend: Backend) -> int:
        return self.stack.size(backend)

    def _features(self, backend: Backend, final: Sequence[tuple[Array, ...]]) -> Array:
        """The last layer's hidden states after each sequence's last step, directions side by side."""
        return backend.concatenate([states[0] for states in final[-self.stack.directions :]])

    def scores(self, backend: Backend, weights: Any, x: Array, lengths: np.ndarray | None) -> Array:
        """Scores (N, outputs) of sequences (N, T, D)."""
        _, final, _ = self.stack.forward(backend, weights[0], x, None, lengths, last_outputs=False)
        return backend.affine_forward(weights[1], self._features(backend, final))

    def loss_and_gradient(
        self,
        backend: Backend,
        weights: Any,
        gradient: Array,
        x: Array,
        lengths: np.ndarray | None,
        targets: np.ndarray,
        rng: np.random.Generator,
    ) -> float:
        """Mean cross-entropy of a batch; overwrites `gradient`. `rng` chooses what is dropped out.

        `weights` are prepared for training.
        """
        stack, split = self.stack, self._split(backend)
        shape = x.shape[0], x.shape[1]
        masks = stack.dropout_masks(*shape, rng) if stack.dropout else ()
        layers, head = weights
        _, final, tapes = stack.forward(
            backend, layers, x, None, lengths, masks=masks, training=True, last_outputs=False
        )
        features = self._features(backend, final)
        loss, dscores = backend.softmax_cross_entropy(backend.affine_forward(head, features), targets)
        dfeatures = backend.affine_backward(head, features, dscores, gradient[split:])
        dfinal: list[list[Array | None]] = [[None] * stack.states for _ in final]
        for direction in range(stack.directions):
            part = stack.part(dfeatures, direction)
            dfinal[len(final) - stack.directions + direction][0] = part
        stack.backward(backend, layers, tapes, shape, None, dfinal, gradient[:split], masks=masks, input_gradient=False)
        return loss
