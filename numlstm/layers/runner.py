"""A stack of layers on memory of its own, for small calls and streams: a call allocates nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..backends.contract import Array, Backend
from .stack import Stack


class Runner:
    """Runs over sequences of one shape, from arrays of its own to arrays of its own; for one thread at a time.

    Attributes
    ----------
    x : array, shape (N, T, D)
        To be filled before a call.
    y : array, shape (N, T, output size)
        Outputs of the last layer.
    states : list of list of array, shape (N, S)
        For each layer and direction, the states after a call. With `resume` the next call begins with them, else with
        zeros.
    """

    def __init__(
        self, stack: Stack, backend: Backend, weights: list[Any], rows: int, steps: int, *, resume: bool
    ) -> None:
        self._backend = backend
        specs, dtype = list(stack.specs.values()), stack.dtype
        self._stacked: list[Any] = []  # for each state, all layers and directions
        for k in range(stack.states):
            sizes = [spec.state_sizes[k] for spec in specs]
            shapes = [(rows, size) for size in sizes]
            alike = len({*sizes}) == 1
            self._stacked.append(
                backend.zeros((len(specs), *shapes[0]), dtype)
                if alike
                else [backend.zeros(shape, dtype) for shape in shapes]
            )
        self.states: list[list[Array]] = [[state[index] for state in self._stacked] for index in range(len(specs))]
        self.x = x = backend.zeros((rows, steps, stack.input_size), dtype)
        self._calls: list[Callable[[], None]] = []
        for layer, size in enumerate(stack.output_sizes):
            added = stack.residual and layer > 0
            in_state = steps == 1 and not stack.bidirectional and not added  # then the state is the output
            y = self.states[layer][0][:, None] if in_state else backend.zeros((rows, steps, size), dtype)
            for direction in range(stack.directions):
                index = layer * stack.directions + direction
                part = None if in_state else stack.part(y, direction)
                call = backend.runner(
                    weights[index], x, self.states[index], part, reverse=direction == 1, resume=resume
                )
                self._calls.append(call)
            if added:
                self._calls.append(partial(backend.add, y, x))
            x = y
        self.y = x

    def __call__(self) -> None:
        """Run over the sequences in `x`."""
        for call in self._calls:
            call()

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
