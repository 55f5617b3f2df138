"""Gradients of a stack of layers on memory of its own, for small calls: both ways are noted once, and then repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.contract import Array, Backend
from ..concurrency import new_lock
from .sequences import stacked
from .stack import Stack


class GradientRunner:
    """Runs over sequences of one shape and back, without states of a caller; for one thread at a time.

    Attributes
    ----------
    x, y : array, shape (N, T, D) and (N, T, output size)
        To be filled before `forward`, and what it writes.
    final : list of tuple of array, shape (N, S)
        For each layer and direction, the states after `forward`.
    dy, dx : array
        To be filled before `backward`, and what it writes: gradients of y and x.
    dinitial : list of tuple of array, shape (N, S)
        For each layer and direction, the gradients of the initial states after `backward`.
    parameters : callable
        Gives the gradients of all parameters after `backward`, as new arrays.
    """

    def __init__(self, stack: Stack, backend: Backend, weights: list[Any], rows: int, steps: int) -> None:
        self._stack, self._backend, self._weights = stack, backend, weights
        self.x, self.dy = (
            backend.zeros((rows, steps, size), stack.dtype) for size in (stack.input_size, stack.output_size)
        )
        self._parts = stack.split(backend, backend.zeros((stack.size(backend),), stack.dtype))
        self._no_final = [[None] * stack.states for _ in stack.specs]
        self.y: Array
        self.dx: Array
        self.final: list[tuple[Array, ...]]
        self.dinitial: list[tuple[Array, ...]]
        self.parameters: Callable[[], dict[str, np.ndarray]]
        self.forward, self.backward = self._noted(self._forward), self._noted(self._backward)
        self.lock = new_lock()

    def _noted(self, run: Callable[[], float]) -> Callable[[], float]:
        """What repeats a function, which has run once."""
        repeat = self._backend.record(run)[1]
        assert repeat is not None, f"backend {self._backend.name!r} does not record"
        return repeat

    def _forward(self) -> float:
        self.y, self.final, self._tapes = self._stack.forward(
            self._backend, self._weights, self.x, None, None, training=True
        )
        return 0.0

    def _backward(self) -> float:
        self.dx, self.dinitial = self._stack.backward(
            self._backend, self._weights, self._tapes, self.x.shape[:2], self.dy, self._no_final, self._parts,
            input_shape=self.x.shape,
        )  # fmt: skip
        self.parameters = self._stack.unpacker(self._backend, self._parts)
        return 0.0


class SmallPullback:
    """A pullback on the arrays of a runner, which another call may have when nobody has the pullback any more.

    Parameters
    ----------
    runner : GradientRunner
    single : bool
        Whether sequences have no first axis.
    release : callable
        Takes the runner back.
    other : callable
        Gives a pullback that takes gradients of any kind.
    """

    def __init__(
        self, runner: GradientRunner, single: bool, release: Callable[[GradientRunner], None],
        other: Callable[[], Callable[..., Any]],
    ) -> None:  # fmt: skip
        self._runner, self._single, self._release, self._other = runner, single, release, other

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """Outputs and final states."""
        self._runner.x[...] = x
        self._runner.forward()
        return self._copy(self._runner.y), self._states(self._runner.final)

    def __call__(self, dy: Any, dstate: Any = None) -> tuple[Any, Any, dict[str, np.ndarray]]:
        runner = self._runner
        shape = runner.dy.shape[self._single :]
        if dstate is not None or type(dy) is not np.ndarray or dy.dtype != runner.dy.dtype or dy.shape != shape:
            return self._other()(dy, dstate)
        with runner.lock:
            runner.dy[...] = dy
            runner.backward()
            return self._copy(runner.dx), self._states(runner.dinitial), runner.parameters()

    def _copy(self, array: Array) -> np.ndarray:
        return (array[0] if self._single else array).copy()

    def _states(self, states: list[tuple[Array, ...]]) -> Any:
        """Copies of the states of all layers and directions, in the form that a user gets."""
        if len(states) == 1:
            of_states = [self._copy(array)[None] for array in states[0]]
        else:
            of_states = [stacked([self._copy(array) for array in arrays]) for arrays in zip(*states, strict=True)]
        return of_states[0] if len(of_states) == 1 else tuple(of_states)

    def __del__(self) -> None:
        self._release(self._runner)
