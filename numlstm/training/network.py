"""A stack of recurrent layers, a pooling over steps and an affine map to scores, on one flat parameter vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from ..backends.contract import LIKELIHOODS, POOLINGS, AffineSpec, Array, Backend, LossSpec, PoolSpec
from ..concurrency import cached_property
from ..layers.stack import Stack

HEAD, POOL = "_output", "_attention"  # what their parameters' names end in
PARTS = {  # what scores are made of, for each pooling
    "last": ("last",),
    "mean": ("mean",),
    "max": ("max",),
    "attention": ("attention",),
    "concat": ("last", "max", "mean"),
    "none": (),
}


@dataclass(frozen=True)
class Network:
    """The shape of a network for sequences: what it computes, not its weights.

    Attributes
    ----------
    stack : Stack
        The recurrent layers.
    outputs : int
        Scores for each sequence, or for each step.
    pooling : {"last", "mean", "max", "attention", "concat", "none"}
        What the scores of a sequence are made of: the last hidden state, a pooling of the last layer's outputs at every
        step, or, with "concat", the last state, maximum and mean side by side. With "none" there are scores for every
        step.
    loss : LossSpec
    activity : (float, float) or None
        Strengths of penalties on size and change of the last layer's outputs, in training.
    static : int
        Numbers of a whole sequence that the affine map reads beside.
    """

    stack: Stack
    outputs: int
    pooling: str
    loss: LossSpec
    activity: tuple[float, float] | None = None
    static: int = 0

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}  # nothing that follows from them

    @cached_property
    def head(self) -> AffineSpec:
        """The affine map to scores."""
        size = self.stack.output_size * max(1, len(self.poolings))
        return AffineSpec(size + self.static, self.outputs, self.stack.dtype)

    @property
    def poolings(self) -> tuple[str, ...]:
        """What the affine map reads of the sequence, side by side: the last state, or poolings of all steps."""
        return PARTS[self.pooling]

    @cached_property
    def pools(self) -> dict[str, PoolSpec]:
        """The poolings of all steps, by what their parameters' names end in."""
        size, dtype = self.stack.output_size, self.stack.dtype
        return {f"_{part}": PoolSpec(part, size, dtype) for part in self.poolings if part in POOLINGS}

    @cached_property
    def others(self) -> dict[str, AffineSpec | PoolSpec]:
        """What may have parameters besides the stack, by what their names end in."""
        return {HEAD: self.head, **self.pools}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter."""
        return self.stack.shapes | {
            name + suffix: shape for suffix, spec in self.others.items() for name, shape in spec.shapes.items()
        }

    @property
    def used(self) -> dict[str, np.ndarray]:
        """For every parameter a mask of the numbers that are of any use."""
        masks = {name: np.ones(shape, bool) for name, shape in self.shapes.items()}
        return masks | {
            name + suffix: mask for suffix, spec in self.stack.specs.items() for name, mask in spec.used.items()
        }

    def initialise(
        self, init: Any, rng: np.random.Generator, forget_bias: float | None = None
    ) -> dict[str, np.ndarray]:
        """Initial named parameters; head and pooling as in PyTorch with "torch", else Glorot-uniform with zero bias."""
        parameters = self.stack.initialise(init, rng, forget_bias)
        bounds = _torch_bound if init == "torch" else _glorot_bound
        for suffix, spec in self.others.items():
            for name, shape in spec.shapes.items():
                bound = bounds(name, spec.shapes["weight"])
                parameters[name + suffix] = rng.uniform(-bound, bound, shape)
        return {name: value.astype(self.stack.dtype) for name, value in parameters.items()}

    def parts(self, backend: Backend, flat: Array) -> tuple[Array, dict[str, Array]]:
        """The stack's part of a flat vector, and those of the others."""
        sizes = [self.stack.size(backend), *map(backend.size, self.others.values())]
        edges = np.cumsum([0, *sizes]).tolist()
        stack, *others = (flat[start:end] for start, end in pairwise(edges))
        return stack, dict(zip(self.others, others, strict=True))

    def pack(self, backend: Backend, parameters: Mapping[str, np.ndarray]) -> Array:
        """A new flat vector of named parameters."""
        size = self.stack.size(backend) + sum(map(backend.size, self.others.values()))
        flat = backend.zeros((size,), self.stack.dtype)
        stack, others = self.parts(backend, flat)
        self.stack.pack(backend, parameters, stack)
        for suffix, part in others.items():
            spec = self.others[suffix]
            backend.pack(spec, {name: parameters[name + suffix] for name in spec.shapes}, part)
        return flat

    def unpack(self, backend: Backend, flat: Array) -> dict[str, np.ndarray]:
        """Named parameters from a flat vector."""
        stack, others = self.parts(backend, flat)
        parameters = self.stack.unpack(backend, stack)
        for suffix, part in others.items():
            named = backend.unpack(self.others[suffix], part)
            parameters |= {name + suffix: value for name, value in named.items()}
        return parameters


def _glorot_bound(name: str, weight: tuple[int, ...]) -> float:
    """Of uniform weights; biases are 0 (Glorot & Bengio 2010)."""
    return (6 / sum((*weight, 1)[:2])) ** 0.5 if name == "weight" else 0.0


def _torch_bound(name: str, weight: tuple[int, ...]) -> float:
    """Of uniform weights and biases, as in PyTorch's Linear."""
    return weight[-1] ** -0.5


class Model:
    """A network with weights on a backend.

    Parameters
    ----------
    network : Network
    backend : Backend
    flat : array
        Its parameters.
    training : bool
        Whether `flat` will change; if so, `refresh` is to be called after each change.
    """

    def __init__(self, network: Network, backend: Backend, flat: Array, *, training: bool) -> None:
        self.network, self.backend, self.flat = network, backend, flat
        stack, others = network.parts(backend, flat)
        self.layers = network.stack.prepare(backend, stack, training)
        self.others = {suffix: backend.prepare(network.others[suffix], part, training)
                       for suffix, part in others.items()}  # fmt: skip

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        refresh = self.backend.refresh
        self.layers = [refresh(weights) for weights in self.layers]
        for suffix, weights in self.others.items():
            self.others[suffix] = refresh(weights)

    @cached_property
    def gradient(self) -> Array:
        """Where `loss_and_gradient` leaves the gradient of the flat vector."""
        return self.backend.zeros(self.flat.shape, self.network.stack.dtype)

    @cached_property
    def _gradients(self) -> tuple[list[Array], dict[str, Array]]:
        stack, others = self.network.parts(self.backend, self.gradient)
        return self.network.stack.split(self.backend, stack), others

    def scores(self, x: Array, lengths: np.ndarray | None, static: np.ndarray | None = None) -> Array:
        """Scores (N, outputs) of sequences (N, T, D); (N · T, outputs) if every step has its own.

        `static` (N, F) is what the affine map reads beside.
        """
        y, final, _ = self._run(x, lengths)
        features = self._beside(static, self._features(y, final, lengths)[0])
        return self.backend.affine_forward(self.others[HEAD], features)

    def scores_vjp(
        self, x: Array, lengths: np.ndarray | None, static: np.ndarray | None = None
    ) -> tuple[Array, Callable[[Array], tuple[Array, Array | None, list[list[Array | None]]]]]:
        """Scores as from `scores`, and a function that takes their gradient back.

        It gives the gradients of x, of the last layer's outputs at every step (None for zeros), and of the final states
        of each layer and direction. It overwrites `gradient`. Nothing is dropped out.
        """
        backend, network, head = self.backend, self.network, self.others[HEAD]
        y, final, tapes = self._run(x, lengths, training=True)
        features, tapes_of_pools = self._features(y, final, lengths)
        features = self._beside(static, features)

        def pullback(dscores: Array) -> tuple[Array, Array | None, list[list[Array | None]]]:
            gradients, others = self._gradients
            dfeatures = backend.affine_backward(head, features, dscores, others[HEAD])
            dy, dfinal = self._features_backward(dfeatures, y, lengths, len(final), tapes_of_pools)
            shape = x.shape[0], x.shape[1]
            dx, _ = network.stack.backward(backend, self.layers, tapes, shape, dy, dfinal, gradients)
            return dx, dy, dfinal

        return backend.affine_forward(head, features), pullback

    def shares(self, x: Array, lengths: np.ndarray | None) -> Array:
        """The weight that attention gives to each step, (N, T)."""
        y, final, _ = self._run(x, lengths)
        return self._features(y, final, lengths)[1][POOL]

    def loss_and_gradient(
        self,
        x: Array,
        lengths: np.ndarray | None,
        targets: np.ndarray,
        weights: np.ndarray,
        rng: np.random.Generator,
        static: np.ndarray | None = None,
    ) -> float | Any:
        """The weighted sum of a batch's losses; overwrites `gradient`. `rng` chooses what is dropped out.

        Targets and weights are as in `loss`, `static` as in `scores`.
        The sum is a float, or becomes one once a device has computed it.
        """
        backend, network = self.backend, self.network
        stack, head = network.stack, self.others[HEAD]
        gradients, others = self._gradients
        seed = int(rng.integers(2**64, dtype=np.uint64)) if stack.random else None
        layers, mask = self._drop_weights(rng) if stack.weight_dropout else (self.layers, None)
        y, final, tapes = self._run(x, lengths, layers, seed, training=True)
        features, tapes_of_pools = self._features(y, final, lengths)
        features = self._beside(static, features)
        loss, dscores = self.loss(backend.affine_forward(head, features), targets, weights)
        dfeatures = backend.affine_backward(head, features, dscores, others[HEAD])
        dy, dfinal = self._features_backward(dfeatures, y, lengths, len(final), tapes_of_pools)
        if network.activity:
            _, slope = backend.activity_loss(y, lengths, *network.activity)
            slope = backend.multiply(slope, weights.sum() * len(weights) / weights.size)
            if dy is None:
                dy = slope
            else:
                backend.add(dy, slope)
        stack.backward(backend, layers, tapes, (x.shape[0], x.shape[1]), dy, dfinal, gradients, seed=seed,
                       input_gradient=False)  # fmt: skip
        if mask is not None:
            for gradient, part in zip(gradients, stack.split(backend, mask), strict=True):
                gradient[...] = backend.multiply(gradient, part)
        return loss

    def loss(self, scores: Array, targets: np.ndarray, weights: np.ndarray) -> tuple[float | Any, Array]:
        """The weighted sum of the losses of scores (M, K), and its gradient.

        Weights (M,) are of rows; weights (M, targets) of single targets, whose losses must not depend on one another.
        """
        spec = self.network.loss
        if weights.ndim == 1 and spec.kind not in LIKELIHOODS:
            return self.backend.loss(spec, scores, targets, weights)
        count = scores.shape[1] // spec.scores
        if weights.ndim == 1:
            weights = np.repeat(weights, count)
        loss, gradient = self.backend.loss(
            spec, scores.reshape(-1, spec.scores), targets.reshape(-1, spec.numbers), weights.ravel()
        )
        return loss, gradient.reshape(*scores.shape)

    def _drop_weights(self, rng: np.random.Generator) -> tuple[list[Any], Array]:
        """The layers with some recurrent weights dropped, and what all weights were multiplied with."""
        stack, backend = self.network.stack, self.backend
        flat, mask, layers = self._dropped
        stack.weight_mask(backend, rng, mask)
        flat[...] = backend.multiply(self.network.parts(backend, self.flat)[0], mask)
        layers[:] = [backend.refresh(weights) for weights in layers]
        return layers, mask

    @cached_property
    def _dropped(self) -> tuple[Array, Array, list[Any]]:
        """Room for dropped weights and for their mask, and what computes with them."""
        stack, backend = self.network.stack, self.backend
        flat, mask = (backend.zeros((stack.size(backend),), stack.dtype) for _ in range(2))
        return flat, mask, stack.prepare(backend, flat, training=True)

    def _run(
        self, x: Array, lengths: np.ndarray | None, layers: Any = None, seed: int | None = None, training: bool = False
    ) -> Any:
        """The last layer's outputs, if anything asks for them, and final states and tapes of all."""
        network = self.network
        wanted = network.pooling != "last" or (training and bool(network.activity))
        return network.stack.forward(
            self.backend, self.layers if layers is None else layers, x, None, lengths,
            seed=seed, training=training, last_outputs=wanted,
        )  # fmt: skip

    def _features(
        self, y: Array, final: list[tuple[Array, ...]], lengths: np.ndarray | None
    ) -> tuple[Array, dict[str, Any]]:
        """What the affine map reads, and the tapes of poolings."""
        network, backend = self.network, self.backend
        if not network.poolings:
            return y.reshape(-1, network.stack.output_size), {}
        features, tapes = [], {}
        for part in network.poolings:
            if part == "last":
                features.append(network.stack.last(backend, final))
            else:
                pooled, tapes[f"_{part}"] = backend.pool_forward(self.others[f"_{part}"], y, lengths)
                features.append(pooled)
        return features[0] if len(features) == 1 else backend.concatenate(features), tapes

    def _features_backward(
        self, dfeatures: Array, y: Array, lengths: np.ndarray | None, count: int, tapes: dict[str, Any]
    ) -> tuple[Array | None, list[list[Array | None]]]:
        """Gradients of the outputs at every step, and of the final states of `count` layers and directions.

        Nothing comes of the last columns of `dfeatures`, where there are static features.
        """
        network, backend = self.network, self.backend
        stack, size = network.stack, network.stack.output_size
        dy, dfinal = None, [[None] * stack.states] * count
        alone = dfeatures.shape[1] == size
        for k, part in enumerate(network.poolings or ("none",)):
            own = dfeatures if alone else backend.multiply(dfeatures[:, k * size : (k + 1) * size], 1.0)
            if part == "none":
                return own.reshape(*y.shape[:2], -1), dfinal
            if part == "last":
                dfinal = stack.last_gradients(backend, own)
                continue
            suffix = f"_{part}"
            slope = backend.pool_backward(
                self.others[suffix], y, lengths, tapes[suffix], own, self._gradients[1][suffix]
            )  # fmt: skip
            if dy is None:
                dy = slope
            else:
                backend.add(dy, slope)
        return dy, dfinal

    def _beside(self, static: np.ndarray | None, features: Array) -> Array:
        """Features (M, ·), with those of whole sequences beside them, at each step the same if M is N · T."""
        if static is None:
            return features
        static = np.repeat(static, features.shape[0] // len(static), axis=0)
        return self.backend.concatenate([features, self.backend.to_device(static, self.network.stack.dtype)])
