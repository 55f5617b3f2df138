"""A stack of layers on memory of its own, for small calls and streams: a call allocates nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..backends.contract import Array, Backend
from ..concurrency import cached_property
from .ports import Input, Output
from .stack import Stack


class Runner:
    """Runs over sequences of one shape, from arrays of its own to arrays of its own; for one thread at a time.

    Attributes
    ----------
    x : array, shape (N, T, D)
        To be filled before a call.
    y : array, shape (N, T, output size)
        Outputs of the last layer, where a call writes them.
    lengths : int64 array, shape (N,), or None
        Steps of each sequence, to be filled before a call; None where all have T.
    states : list of list of array, shape (N, S)
        For each layer and direction, the states after a call. With `resume` the next call begins with them, else with
        zeros.
    calls : list of callable
        What a call does, one after the other.
    """

    def __init__(
        self, stack: Stack, backend: Backend, weights: list[Any], rows: int, steps: int, *, resume: bool,
        unequal: bool = False,
    ) -> None:  # fmt: skip
        self._backend, self.lengths = backend, np.full(rows, steps) if unequal else None
        specs, dtype = list(stack.specs.values()), stack.dtype
        sizes = [spec.state_sizes for spec in specs]
        joined = [backend.zeros((rows * sum(of_state),), dtype) for of_state in zip(*sizes, strict=True)]
        self._stacked = [
            _by_layer(state, rows, of_state) for state, of_state in zip(joined, zip(*sizes, strict=True), strict=True)
        ]
        self.states: list[list[Array]] = [[state[index] for state in self._stacked] for index in range(len(specs))]
        self.x = self.y = backend.zeros((rows, steps, stack.input_size), dtype)
        self.calls: list[Callable[[], None]] = []
        if resume and steps == 1 and not stack.bidirectional:
            y = backend.zeros((rows, 1, stack.output_size), dtype)
            step = backend.step_runner(weights, self.x, joined, y, residual=stack.residual)
            if step:
                self.y, self.calls = y, [step]
                return
        for layer in range(stack.num_layers):
            self._add_layer(stack, weights, layer, resume)

    def _add_layer(self, stack: Stack, weights: list[Any], layer: int, resume: bool) -> None:
        """The calls that run a layer, from the output of the one below."""
        backend, x = self._backend, self.y
        rows, steps, _ = x.shape
        added = stack.residual and layer > 0
        in_state = resume and steps == 1 and not stack.bidirectional and not added  # then the state is the output
        size = stack.output_sizes[layer]
        y = self.states[layer][0][:, None] if in_state else backend.zeros((rows, steps, size), stack.dtype)
        for direction in range(stack.directions):
            index = layer * stack.directions + direction
            part = None if in_state else stack.part(y, direction)
            call = backend.runner(
                weights[index], x, self.states[index], part, reverse=direction == 1, resume=resume,
                lengths=self.lengths,
            )  # fmt: skip
            self.calls.append(call)
        if added:
            self.calls.append(partial(backend.add, y, x))
        self.y = y

    def __call__(self) -> None:
        """Run over the sequences in `x`."""
        for call in self.calls:
            call()

    def outputs(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Outputs of the last layer for sequences, a new array (N, T, output size)."""
        if self.lengths is not None:
            self.lengths[...] = lengths
        x_in, y_out = self._ports
        x = x_in.take(x)
        y_out.renew()
        self()
        return y_out.result()

    @cached_property
    def _ports(self) -> tuple[Input, Output]:
        return Input(self._backend, self.calls, self.x), Output(self._backend, self.calls, self.y)

    def reset(self) -> None:
        """Zeros in all states."""
        for state in self._stacked:
            for array in state if isinstance(state, list) else [state]:
                array[...] = 0

    def copies(self, row: int | None = None) -> Any:
        """Copies of the states in the form that a layer gives, for all rows or for one."""
        copies: list[Any] = []
        for state in self._stacked:
            if isinstance(state, list):
                arrays = [array if row is None else array[row] for array in state]
                copies.append([np.array(self._backend.to_numpy(array)) for array in arrays])
            else:
                copies.append(self._backend.to_numpy(state if row is None else state[:, row]).copy())
        return copies[0] if len(copies) == 1 else tuple(copies)


def _by_layer(state: Array, rows: int, sizes: Sequence[int]) -> Any:
    """A state of all layers, (layers, N, S), in place; a list of (N, S) if sizes differ."""
    if len({*sizes}) == 1:
        return state.reshape(len(sizes), rows, sizes[0])
    ends = rows * np.cumsum(sizes)
    return [state[end - rows * size : end].reshape(rows, size) for end, size in zip(ends.tolist(), sizes, strict=True)]
