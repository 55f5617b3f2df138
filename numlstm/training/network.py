"""A network: recurrent layers, a pooling over steps and an output layer; all parameters lie in one flat vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..backends.contract import (
    POOLINGS,
    AffineSpec,
    Array,
    Backend,
    EmbeddingSpec,
    LossSpec,
    PoolSpec,
    SequenceLossSpec,
)
from ..concurrency import cached_property
from ..layers.stack import Stack
from .embedding import TokenChannels
from .outputs import BLOCK, HEAD, AdaptiveSoftmax, FullSoftmax

LARGE = 1 << 21  # inputs and outputs of all layers
LONG = 1e10  # operations of a forward pass: it takes some tens of milliseconds
POOL, CHAIN, TABLES = "_attention", "_crf", ""  # the names of their parameters end with these
PARTS = {  # the poolings that the output layer reads side by side
    "last": ("last",),
    "mean": ("mean",),
    "max": ("max",),
    "attention": ("attention",),
    "concat": ("last", "max", "mean"),
    "none": (),
}


@dataclass(frozen=True)
class Network:
    """The description of a network: what it computes, without its weights.

    Attributes
    ----------
    stack : Stack
        The recurrent layers.
    outputs : int
        Number of scores for each sequence, or for each step.
    pooling : {"last", "mean", "max", "attention", "concat", "none"}
        What the output layer reads of the last recurrent layer: the last hidden state; the mean, the maximum or the
        attention pooling of the outputs at all steps; or, with "concat", last state, maximum and mean side by side.
        With "none" it reads each step, and there are scores for each step.
    loss : LossSpec or SequenceLossSpec
        The latter is of the scores of all steps of a sequence; its parameters are learnt, too.
    activity : (float, float) or None
        Strengths of the penalties on the size and on the change of the last recurrent layer's outputs, in training.
    static : int
        Number of static features that the output layer also reads.
    tokens : TokenChannels or None
        The channels that hold tokens, if there are some.
    cutoffs : tuple of int
        The first class of each tail of an adaptive softmax; without any, each class has a score of its own.
    tied : bool
        Whether the weight of the output layer is the table of the tokens' vectors (Press & Wolf 2017).
    output_dropout : float
        Share of the last layer's outputs that is zeroed in training, the same at all steps of a sequence.
    """

    stack: Stack
    outputs: int
    pooling: str
    loss: LossSpec | SequenceLossSpec
    activity: tuple[float, float] | None = None
    static: int = 0
    tokens: TokenChannels | None = None
    cutoffs: tuple[int, ...] = ()
    tied: bool = False
    output_dropout: float = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # cached properties are left out

    def computing_in(self, compute_dtype: Any) -> Network:
        """The same with recurrent layers whose products are of another type, as from `Stack.computing_in`."""
        return replace(self, stack=self.stack.computing_in(compute_dtype))

    @cached_property
    def head(self) -> AffineSpec:
        """The output layer: an affine map to scores."""
        return AffineSpec(self._features, self.outputs, self.stack.dtype)

    @cached_property
    def softmax(self) -> FullSoftmax | AdaptiveSoftmax | None:
        """The output layer of a network that predicts a class for each step."""
        if self.pooling != "none" or not isinstance(self.loss, LossSpec) or self.loss.kind != "softmax":
            return None
        if self.cutoffs:
            return AdaptiveSoftmax(self._features, self.outputs, self.cutoffs, self.stack.dtype)
        return FullSoftmax(self._features, self.outputs, self.stack.dtype)

    @property
    def _features(self) -> int:
        return self.stack.output_size * max(1, len(self.poolings)) + self.static

    @property
    def random(self) -> bool:
        """Whether training needs a seed of masks."""
        return self.stack.random or bool(self.output_dropout) or (self.tokens is not None and self.tokens.random)

    def repeats(self, rows: int, steps: int, unequal: bool) -> bool:
        """Whether training on so many sequences of so many steps is always the same calls of the backend.

        `unequal` are batches that are padded to that many steps, of several shapes. A long step, or a large one where
        there are several shapes, is not worth the memory that repeats keep.
        """
        if unequal and self.stack.numbers(rows, steps) > LARGE:
            return False
        scores = rows * self.outputs * (steps if self.pooling == "none" else 1)
        return self._plain and scores <= BLOCK and self.stack.operations(rows, steps) < LONG

    @cached_property
    def _plain(self) -> bool:
        """Whether nothing but the data and a seed is different from batch to batch."""
        drawn = self.stack.weight_dropout or (self.tokens and self.tokens.token_dropout)
        others = self.activity or self.cutoffs or self.tied or self.stack.recompute
        return self.loss.kind != "ctc" and not drawn and not others

    @property
    def poolings(self) -> tuple[str, ...]:
        """The poolings that the output layer reads, side by side."""
        return PARTS[self.pooling]

    @cached_property
    def pools(self) -> dict[str, PoolSpec]:
        """The poolings over all steps, by the suffix of their parameters' names."""
        size, dtype = self.stack.output_size, self.stack.dtype
        return {f"_{part}": PoolSpec(part, size, dtype) for part in self.poolings if part in POOLINGS}

    @cached_property
    def others(self) -> dict[str, AffineSpec | PoolSpec | SequenceLossSpec | EmbeddingSpec]:
        """What has parameters besides the recurrent layers, by the suffix of their names."""
        tables = {TABLES: self.tokens.spec} if self.tokens else {}
        chain = {CHAIN: self.loss} if isinstance(self.loss, SequenceLossSpec) else {}
        outputs = self.softmax.specs if self.softmax else {HEAD: self.head}
        return {**outputs, **self.pools, **chain, **tables}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter."""
        return self.stack.shapes | {
            name + suffix: shape for suffix, spec in self.others.items() for name, shape in spec.shapes.items()
        }

    @property
    def used(self) -> dict[str, np.ndarray]:
        """For every parameter a mask: which of its numbers have an effect."""
        masks = {name: np.ones(shape, bool) for name, shape in self.shapes.items()}
        return masks | {
            name + suffix: mask for suffix, spec in self.stack.specs.items() for name, mask in spec.used.items()
        }

    def initialise(
        self, init: Any, rng: np.random.Generator, forget_bias: float | None = None
    ) -> dict[str, np.ndarray]:
        """Initial parameters by name.

        With "torch", output layer and pooling begin like PyTorch's Linear. Otherwise their weights are Glorot-uniform,
        and their biases are 0. Vectors of tokens are normally distributed, as in PyTorch.
        """
        parameters = self.stack.initialise(init, rng, forget_bias)
        bound_of = _torch_bound if init == "torch" else _glorot_bound
        for suffix, spec in self.others.items():
            for name, shape in spec.shapes.items():
                if suffix == TABLES:
                    parameters[name] = rng.normal(size=shape)
                    continue
                bound = bound_of(name, spec.shapes["weight"]) if suffix != CHAIN else 0.0
                parameters[name + suffix] = rng.uniform(-bound, bound, shape)
        if self.tied:
            parameters["embedding_0"] = parameters["weight" + HEAD]
        return {name: value.astype(self.stack.dtype) for name, value in parameters.items()}

    def parts(self, backend: Backend, flat: Array) -> tuple[Array, dict[str, Array]]:
        """The parts of a flat vector: of the recurrent layers, and of all others."""
        sizes = [self.stack.size(backend), *map(backend.size, self.others.values())]
        edges = np.cumsum([0, *sizes]).tolist()
        stack, *others = (flat[start:end] for start, end in pairwise(edges))
        return stack, dict(zip(self.others, others, strict=True))

    def pack(self, backend: Backend, parameters: Mapping[str, np.ndarray]) -> Array:
        """A new flat vector with these parameters."""
        size = self.stack.size(backend) + sum(map(backend.size, self.others.values()))
        flat = backend.zeros((size,), self.stack.dtype)
        stack, others = self.parts(backend, flat)
        self.stack.pack(backend, parameters, stack)
        for suffix, part in others.items():
            spec = self.others[suffix]
            backend.pack(spec, {name: parameters[name + suffix] for name in spec.shapes}, part)
        return flat

    def unpack(self, backend: Backend, flat: Array) -> dict[str, np.ndarray]:
        """The parameters in a flat vector, by name."""
        stack, others = self.parts(backend, flat)
        parameters = self.stack.unpack(backend, stack)
        for suffix, part in others.items():
            named = backend.unpack(self.others[suffix], part)
            parameters |= {name + suffix: value for name, value in named.items()}
        return parameters


def _glorot_bound(name: str, weight: tuple[int, ...]) -> float:
    """The bound of uniformly distributed weights; biases are 0 (Glorot & Bengio 2010)."""
    return (6 / sum((*weight, 1)[:2])) ** 0.5 if name == "weight" else 0.0


def _torch_bound(name: str, weight: tuple[int, ...]) -> float:
    """The bound of uniformly distributed weights and biases, as in PyTorch's Linear."""
    return weight[-1] ** -0.5
