"""Layers on top of one another, in one direction or two: written once, over the backend contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np

from ..backends.contract import COMPUTE_DTYPES, Array, Backend, LayerSpec, Noise, Seed
from ..checks import check_option
from ..concurrency import cached_property
from .initial import initialised

MERGES = ("concat", "sum", "mean")


@dataclass(frozen=True)
class Stack:
    """The shape of a stack of recurrent layers.

    Attributes
    ----------
    cell : LayerSpec
        The first layer in one direction; the others differ in their sizes alone.
    hidden_sizes : tuple of int
        Of each layer.
    bidirectional : bool
    merge : {"concat", "sum", "mean"}
        How the outputs of two directions become one.
    residual : bool
        Whether every layer but the first adds its input to its output.
    dropout, input_dropout, weight_dropout : float
        Shares that are zeroed in training: of the inputs of layers above the first, with a mask for each step; of the
        input of the first one, with a mask for each sequence; of the recurrent weights, with a mask for each batch.
    recompute : bool
        Whether training keeps little of a forward pass, and computes the rest again on the way back.
    """

    cell: LayerSpec
    hidden_sizes: tuple[int, ...]
    bidirectional: bool = False
    merge: str = "concat"
    residual: bool = False
    dropout: float = 0.0
    input_dropout: float = 0.0
    weight_dropout: float = 0.0
    recompute: bool = False

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # no cached values

    def computing_in(self, compute_dtype: Any) -> Stack:
        """The same layers with products of another type.

        Raises
        ------
        TypeError, ValueError
            If there is no such type, or if these layers compute in float64.
        """
        if compute_dtype is not None:
            check_option(compute_dtype, "compute_dtype", COMPUTE_DTYPES)
            if self.dtype != "float32":
                raise ValueError(f"compute_dtype must be None with dtype={self.dtype!r}, got {compute_dtype!r}")
        return replace(self, cell=replace(self.cell, compute_dtype=compute_dtype))

    @property
    def input_size(self) -> int:
        """Features of a step."""
        return self.cell.input_size

    @property
    def dtype(self) -> str:
        """Type of all numbers."""
        return self.cell.dtype

    @property
    def num_layers(self) -> int:
        """Layers on top of one another."""
        return len(self.hidden_sizes)

    @cached_property
    def directions(self) -> int:
        """1 or 2."""
        return 1 + self.bidirectional

    @cached_property
    def merges(self) -> bool:
        """Whether two directions become one output."""
        return self.bidirectional and self.merge != "concat"

    @cached_property
    def averages(self) -> bool:
        """Whether the outputs of two directions are averaged."""
        return self.merges and self.merge == "mean"

    @property
    def state_names(self) -> tuple[str, ...]:
        """The cell's states."""
        return self.cell.description.states

    @property
    def states(self) -> int:
        """Number of states of the cell."""
        return len(self.state_names)

    @cached_property
    def output_sizes(self) -> tuple[int, ...]:
        """Features of each layer's output."""
        sizes = [replace(self.cell, hidden_size=hidden).state_sizes[0] for hidden in self.hidden_sizes]
        return tuple(size * (1 if self.merges else self.directions) for size in sizes)

    @property
    def output_size(self) -> int:
        """Features of the last layer's output."""
        return self.output_sizes[-1]

    @cached_property
    def specs(self) -> dict[str, LayerSpec]:
        """A layer in one direction for each suffix of parameter names, ``_l0``, ``_l0_reverse``, ``_l1``, ..."""
        inputs = [self.input_size, *self.output_sizes]
        return {
            f"_l{layer}{suffix}": replace(self.cell, input_size=inputs[layer], hidden_size=hidden)
            for layer, hidden in enumerate(self.hidden_sizes)
            for suffix in ("", "_reverse")[: self.directions]
        }

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, by PyTorch's name where it has one."""
        return {name + suffix: shape for suffix, spec in self.specs.items() for name, shape in spec.shapes.items()}

    @cached_property
    def random(self) -> bool:
        """Whether training needs random numbers."""
        cell = self.cell
        shares = self.dropout, self.input_dropout, self.weight_dropout, cell.recurrent_dropout, cell.candidate_dropout
        return any(shares) or any(cell.zoneout)

    def initialise(self, init: Any, rng: np.random.Generator, forget_bias: float | None = None) -> dict[str, Any]:
        """Initial named parameters, by the method `init`."""
        return {
            name + suffix: value
            for suffix, spec in self.specs.items()
            for name, value in initialised(spec, init, rng, forget_bias).items()
        }

    # Flat vectors -----------------------------------------------------------------------------------------

    @cached_property
    def _slices(self) -> dict[str, list[slice]]:
        """The places of layers and directions in a flat vector, by the backend."""
        return {}

    def slices(self, backend: Backend) -> list[slice]:
        """The part of a flat vector that belongs to each layer and direction."""
        if backend.name not in self._slices:
            ends = [0, *accumulate(backend.size(spec) for spec in self.specs.values())]
            self._slices[backend.name] = [slice(*part) for part in pairwise(ends)]
        return self._slices[backend.name]

    def size(self, backend: Backend) -> int:
        """Length of the flat vector of all parameters."""
        return self.slices(backend)[-1].stop

    def split(self, backend: Backend, flat: Array) -> list[Array]:
        """The parts of a flat vector that belong to each layer and direction."""
        return [flat[part] for part in self.slices(backend)]

    def pack(self, backend: Backend, parameters: Mapping[str, np.ndarray], flat: Array) -> None:
        """Write named parameters to a flat vector."""
        for (suffix, spec), part in zip(self.specs.items(), self.split(backend, flat), strict=True):
            backend.pack(spec, {name: parameters[name + suffix] for name in spec.shapes}, part)

    def unpack(self, backend: Backend, flat: Array) -> dict[str, np.ndarray]:
        """Named parameters from a flat vector."""
        return self.unpacker(backend, self.split(backend, flat))()

    def unpacker(self, backend: Backend, parts: Sequence[Array]) -> Callable[[], dict[str, np.ndarray]]:
        """What gives named parameters from the parts of a flat vector, as `Backend.unpacker`."""
        of_specs = zip(self.specs.items(), parts, strict=True)
        unpackers = [(suffix, backend.unpacker(spec, part)) for (suffix, spec), part in of_specs]
        return lambda: {name + suffix: value for suffix, unpacker in unpackers for name, value in unpacker().items()}

    def prepare(self, backend: Backend, flat: Array, training: bool) -> list[Any]:
        """The weights of each layer and direction, as `forward` takes them."""
        parts = zip(self.specs.values(), self.split(backend, flat), strict=True)
        return [backend.prepare(spec, part, training) for spec, part in parts]

    def weight_mask(self, backend: Backend, rng: np.random.Generator, flat: Array) -> None:
        """Fill `flat` with factors of all parameters: 0 or ``1 / (1 - p)`` for recurrent weights, 1 for others."""
        keep = 1.0 - self.weight_dropout
        masks = {name: np.ones(shape, self.dtype) for name, shape in self.shapes.items()}
        for name, mask in masks.items():
            if name.startswith("weight_hh"):
                mask[...] = (rng.random(mask.shape, np.float32) < keep) / keep
        self.pack(backend, masks, flat)

    # Computing --------------------------------------------------------------------------------------------

    @cached_property
    def _multiplied(self) -> int:
        """Numbers in all matrices."""
        return sum(prod(shape) for shape in self.shapes.values() if len(shape) == 2)

    def numbers(self, rows: int, steps: int) -> int:
        """Numbers in the inputs and in the outputs of all layers."""
        return rows * steps * (self.input_size + sum(self.output_sizes))

    def operations(self, rows: int, steps: float) -> float:
        """Floating-point operations of the products of `forward`; with gradients it is three times as many."""
        return 2.0 * self._multiplied * rows * steps

    def part(self, y: Array | None, direction: int) -> Array | None:
        """The features of one direction, in place, or all of them where directions are merged."""
        if y is None or self.merges or not self.bidirectional:
            return y
        units = y.shape[-1] // 2
        return y[..., direction * units : (direction + 1) * units]

    def forward(
        self,
        backend: Backend,
        weights: Sequence[Any],
        x: Array,
        initial: Sequence[Sequence[Array | None]] | None,
        lengths: np.ndarray | None,
        *,
        seed: Seed | None = None,
        training: bool = False,
        last_outputs: bool = True,
        traces: Sequence[Mapping[str, Array]] | None = None,
    ) -> tuple[Array | None, list[tuple[Array, ...]], list[Any]]:
        """Outputs of the last layer (if asked for), and final states and tape of each layer and direction.

        `initial` holds the states of each layer and direction. Nothing is dropped without a `seed`. Tapes are None
        unless `training`. `traces` holds arrays to fill for each layer and direction: gates by name, and states.
        """
        run = ForwardPass(self, backend, weights, initial, lengths, seed, training, traces)
        y: Array | None = x
        for layer in range(self.num_layers):
            x, y = y, run.layer(layer, y, wanted=last_outputs or layer < self.num_layers - 1)
            if y is not None and self.residual and layer:
                backend.add(y, x)
        return y, run.final, run.tapes

    def dropped(self, backend: Backend, x: Array, layer: int, seed: Seed | None) -> Array:
        """The input of a layer with some units dropped; on the way back, the same of its gradient."""
        share = self.dropout if layer else self.input_dropout
        if seed is None or not share:
            return x
        return backend.dropout(x, share, Noise(seed, layer * self.directions), per_step=layer > 0)

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
        seed: Seed | None = None,
        input_shape: tuple[int, ...] | None = None,
    ) -> tuple[Array | None, list[tuple[Array, ...]]]:
        """Gradients of the input and of the initial states; those of parameters to `gradients`.

        The first has the shape `input_shape`, or is None without one. `shape` is (N, T); `dfinal` holds the gradients
        of the final states of each layer and direction, `gradients` as `split` gives them.
        """
        dinitial: list[tuple[Array, ...]] = [()] * len(gradients)
        shapes = [input_shape, *((*shape, size) for size in self.output_sizes)]
        for layer in reversed(range(self.num_layers)):
            dmerged = backend.multiply(dy, 0.5) if dy is not None and self.averages else dy
            dx, input_of_layer = None, shapes[layer]
            for direction in range(self.directions):
                index = layer * self.directions + direction
                dout = self.part(dmerged, direction)
                dx_part = backend.empty(input_of_layer, self.dtype) if input_of_layer else None
                dinitial[index] = backend.sequence_backward(
                    weights[index], tapes[index], [dout, *[None] * (self.states - 1)], dfinal[index],
                    gradients[index], dx_part,
                )  # fmt: skip
                if dx is None:
                    dx = dx_part
                elif dx_part is not None:
                    backend.add(dx, dx_part)
            if dx is not None:
                dx = self.dropped(backend, dx, layer, seed)
                if self.residual and layer and dy is not None:
                    backend.add(dx, dy)
            dy = dx
        return dy, dinitial

    # Outputs for whole sequences --------------------------------------------------------------------------

    def last(self, backend: Backend, final: Sequence[tuple[Array, ...]]) -> Array:
        """The output after each sequence's last step (backward: its first), given all final states."""
        layers = range(self.num_layers) if self.residual else [self.num_layers - 1]
        total = None
        for layer in layers:
            states = [states[0] for states in final[layer * self.directions : (layer + 1) * self.directions]]
            if len(states) == 2 and not self.merges:
                y = backend.concatenate(states)
            else:
                y = backend.multiply(states[0], 1.0) if len(states) + len(layers) > 2 else states[0]
                if len(states) == 2:
                    backend.add(y, states[1])
                    y = backend.multiply(y, 0.5) if self.averages else y
            if total is None:
                total = y
            else:
                backend.add(total, y)
        return total

    def last_gradients(self, backend: Backend, dlast: Array) -> list[list[Array | None]]:
        """Gradients of the final states of each layer and direction, given that of `last`."""
        dfinal: list[list[Array | None]] = [[None] * self.states for _ in self.specs]
        if self.averages:
            dlast = backend.multiply(dlast, 0.5)
        first = 0 if self.residual else self.num_layers - 1
        for index in range(first * self.directions, len(dfinal)):
            dfinal[index][0] = self.part(dlast, index % self.directions)
        return dfinal


@dataclass(slots=True)
class ForwardPass:
    """A call of `Stack.forward`, layer by layer.

    Attributes
    ----------
    final, tapes : list
        Final states and tape of each layer and direction that has run.
    """

    stack: Stack
    backend: Backend
    weights: Sequence[Any]
    initial: Sequence[Sequence[Array | None]] | None
    lengths: np.ndarray | None
    seed: Seed | None
    training: bool
    traces: Sequence[Mapping[str, Array]] | None
    final: list[tuple[Array, ...]] = field(default_factory=list)
    tapes: list[Any] = field(default_factory=list)

    def layer(self, layer: int, x: Array, wanted: bool) -> Array | None:
        """Run a layer in all directions; its outputs, if they are wanted."""
        stack, backend = self.stack, self.backend
        x_in = stack.dropped(backend, x, layer, self.seed)
        y = out = None
        for direction in range(stack.directions):
            index = layer * stack.directions + direction
            trace = dict(self.traces[index]) if self.traces else {}
            states = [trace.pop(name, None) for name in stack.state_names]
            if wanted and (out is None or stack.merges):
                out = self._outputs(layer, x, states[0])
            self._direction(index, x_in, stack.part(out, direction), states, trace, reverse=direction == 1)
            if y is None:
                y = out
            elif out is not y:
                backend.add(y, out)
        return backend.multiply(y, 0.5) if y is not None and stack.averages else y

    def _outputs(self, layer: int, x: Array, traced: Array | None) -> Array:
        """An array for outputs: the array of the trace, where that holds the output of the layer."""
        if traced is not None and not (self.stack.bidirectional or self.stack.residual):
            return traced
        return self.backend.empty((*x.shape[:2], self.stack.output_sizes[layer]), self.stack.dtype)

    def _direction(
        self, index: int, x: Array, out: Array | None, states: list[Array | None], trace: Mapping[str, Array], *,
        reverse: bool,
    ) -> None:  # fmt: skip
        """Run a layer in one direction; write its outputs to `out`, and traces to `states` and `trace`."""
        traced = states[0]
        if out is not None:
            states[0] = out
        final, tape = self.backend.sequence_forward(
            self.weights[index], x, [None] * self.stack.states if self.initial is None else self.initial[index], states,
            lengths=self.lengths, reverse=reverse, training=self.training, recompute=self.stack.recompute,
            noise=None if self.seed is None else Noise(self.seed, index), traces=trace,
        )  # fmt: skip
        if traced is not None and traced is not states[0]:
            traced[...] = states[0]
        self.final.append(final)
        self.tapes.append(tape)
