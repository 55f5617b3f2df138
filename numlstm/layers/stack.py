"""Layers on top of one another, in one direction or two: written once, over the backend contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from .. import cells
from ..backends.contract import Array, Backend, LayerSpec
from .initial import INITIALISERS


@dataclass(frozen=True)
class Stack:
    """The shape of a stack of recurrent layers."""

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    bidirectional: bool = False
    dropout: float = 0.0
    dtype: str = "float32"

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}  # nothing that follows from them

    @cached_property
    def directions(self) -> int:
        """1 or 2."""
        return 1 + self.bidirectional

    @cached_property
    def output_size(self) -> int:
        """Features of the output: hidden units of all directions."""
        return self.hidden_size * self.directions

    @cached_property
    def states(self) -> int:
        """Number of states of the cell."""
        return len(cells.get(self.cell).states)

    @cached_property
    def specs(self) -> dict[str, LayerSpec]:
        """A layer in one direction for each suffix of parameter names, ``_l0``, ``_l0_reverse``, ``_l1``, ..."""
        specs = {}
        for layer in range(self.num_layers):
            inputs = self.output_size if layer else self.input_size
            for suffix in ("", "_reverse")[: self.directions]:
                specs[f"_l{layer}{suffix}"] = LayerSpec(self.cell, inputs, self.hidden_size, self.bias, self.dtype)
        return specs

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, by PyTorch's name."""
        return {name + suffix: shape for suffix, spec in self.specs.items() for name, shape in spec.shapes.items()}

    def initialise(self, init: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial named parameters, in the way that `init` names."""
        return {
            name + suffix: value
            for suffix, spec in self.specs.items()
            for name, value in INITIALISERS[init](spec, rng).items()
        }

    # Flat vectors -----------------------------------------------------------------------------------------

    def size(self, backend: Backend) -> int:
        """Length of the flat vector of all parameters."""
        return sum(backend.size(spec) for spec in self.specs.values())

    def split(self, backend: Backend, flat: Array) -> list[Array]:
        """The parts of a flat vector that belong to each layer and direction."""
        parts, start = [], 0
        for spec in self.specs.values():
            parts.append(flat[start : start + backend.size(spec)])
            start += backend.size(spec)
        return parts

    def pack(self, backend: Backend, parameters: Mapping[str, np.ndarray], flat: Array) -> None:
        """Write named parameters to a flat vector."""
        for (suffix, spec), part in zip(self.specs.items(), self.split(backend, flat), strict=True):
            backend.pack(spec, {name: parameters[name + suffix] for name in spec.shapes}, part)

    def unpack(self, backend: Backend, flat: Array) -> dict[str, np.ndarray]:
        """Named parameters from a flat vector."""
        return {
            name + suffix: value
            for (suffix, spec), part in zip(self.specs.items(), self.split(backend, flat), strict=True)
            for name, value in backend.unpack(spec, part).items()
        }

    def prepare(self, backend: Backend, flat: Array, training: bool) -> list[Any]:
        """The weights of each layer and direction, as `forward` takes them."""
        parts = zip(self.specs.values(), self.split(backend, flat), strict=True)
        return [backend.prepare(spec, part, training) for spec, part in parts]

    # Computing --------------------------------------------------------------------------------------------

    def dropout_masks(self, rows: int, steps: int, rng: np.random.Generator) -> list[np.ndarray]:
        """What the output of each layer but the last is multiplied with: 0, or 1 / (1 - dropout)."""
        keep = 1.0 - self.dropout
        scale = np.dtype(self.dtype).type(1.0 / keep)
        shape = rows, steps, self.output_size
        return [(rng.random(shape, np.float32) < keep) * scale for _ in range(self.num_layers - 1)]

    def part(self, y: Array | None, direction: int) -> Array | None:
        """The features of one direction, in place."""
        units = self.hidden_size
        return None if y is None else y[..., direction * units : (direction + 1) * units]

    def forward(
        self,
        backend: Backend,
        weights: Sequence[Any],
        x: Array,
        initial: Sequence[Array] | None,
        lengths: np.ndarray | None,
        *,
        masks: Sequence[np.ndarray] = (),
        training: bool = False,
        last_outputs: bool = True,
    ) -> tuple[Array | None, list[tuple[Array, ...]], list[Any]]:
        """Outputs of the last layer (if asked for), and final states and tape of each layer and direction.

        Tapes are None unless `training`.
        """
        rows, steps = x.shape[:2]
        final, tapes = [], []
        for layer in range(self.num_layers):
            wanted = last_outputs or layer < self.num_layers - 1
            y = backend.empty((rows, steps, self.output_size), self.dtype) if wanted else None
            for direction in range(self.directions):
                index = layer * self.directions + direction
                start = [None] * self.states if initial is None else [state[index] for state in initial]
                outputs = [self.part(y, direction), *[None] * (self.states - 1)]
                states, tape = backend.sequence_forward(
                    weights[index], x, start, outputs, lengths=lengths, reverse=direction == 1, training=training
                )
                final.append(states)
                tapes.append(tape)
            x = backend.multiply(y, backend.to_device(masks[layer], self.dtype)) if layer < len(masks) else y
        return x, final, tapes

    def backward(
        self,
        backend: Backend,
        weights: Sequence[Any],
        tapes: Sequence[Any],
        shape: tuple[int, int],
        dy: Array | None,
        dfinal: Sequence[Sequence[Array | None]],
        gradients: Sequence[Array],
        *,
        masks: Sequence[np.ndarray] = (),
        input_gradient: bool = True,
    ) -> tuple[Array | None, list[tuple[Array, ...]]]:
        """Gradients of the input (if asked for) and of the initial states; those of parameters to `gradients`.

        `shape` is (N, T); `dfinal` holds the gradients of the final states of each layer and direction, `gradients` as
        `split` gives them.
        """
        dinitial: list[tuple[Array, ...]] = [()] * len(gradients)
        for layer in reversed(range(self.num_layers)):
            if dy is not None and layer < len(masks):
                dy = backend.multiply(dy, backend.to_device(masks[layer], self.dtype))
            dx = None
            for direction in range(self.directions):
                index = layer * self.directions + direction
                part = self.part(dy, direction)
                inputs = self.output_size if layer else self.input_size
                own = backend.empty((*shape, inputs), self.dtype) if layer or input_gradient else None
                dinitial[index] = backend.sequence_backward(
                    weights[index], tapes[index], [part, *[None] * (self.states - 1)], dfinal[index],
                    gradients[index], own,
                )  # fmt: skip
                if dx is None:
                    dx = own
                elif own is not None:
                    backend.add(dx, own)
            dy = dx
        return dy, dinitial
