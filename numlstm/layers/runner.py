"""A stack of layers on memory of its own: what small calls and streams run, as nothing is made anew for them."""

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
        For each layer and direction, what a call leaves, and where one begins that is to `resume`; others begin from
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
                backend.zeros((len(specs), *shapes[0]), dtype) if alike else [backend.zeros(s, dtype) for s in shapes]
            )
        self.states: list[list[Array]] = [[state[index] for state in self._stacked] for index in range(len(specs))]
        self.x = x = backend.zeros((rows, steps, stack.input_size), dtype)
        self._calls: list[Callable[[], None]] = []
        for layer, size in enumerate(stack.output_sizes):
            added = stack.residual and layer > 0
            alone = steps == 1 and not stack.bidirectional and not added  # then the state is the output
            y = self.states[layer][0][:, None] if alone else backend.zeros((rows, steps, size), dtype)
            for direction in range(stack.directions):
                index = layer * stack.directions + direction
                part = None if alone else stack.part(y, direction)
                own = weights[index], x, self.states[index], part
                self._calls.append(backend.runner(*own, reverse=direction == 1, resume=resume))
            if added:
                self._calls.append(partial(backend.add, y, x))
            x = y
        self.y = x

    def __call__(self) -> None:
        """Run over what is in `x`."""
        for call in self._calls:
            call()

    def reset(self) -> None:
        """Zeros in all states."""
        for state in self._stacked:
            for array in state if isinstance(state, list) else [state]:
                array[...] = 0

    def copies(self, row: int | None = None) -> Any:
        """The states as a layer gives them: of each all layers and directions, of all rows or of one."""
        made: list[Any] = []
        for state in self._stacked:
            if isinstance(state, list):
                made.append([np.array(self._backend.to_numpy(each if row is None else each[row])) for each in state])
            else:
                made.append(self._backend.to_numpy(state if row is None else state[:, row]).copy())
        return made[0] if len(made) == 1 else tuple(made)
