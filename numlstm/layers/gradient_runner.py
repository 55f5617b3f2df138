"""Gradients of a stack of layers on memory of its own, for small calls: both ways are noted once, and then repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.contract import Array, Backend
from ..concurrency import new_lock
from .ports import Input, Output
from .sequences import stacked
from .stack import Stack


class GradientRunner:
    """Runs over sequences of one shape and back, without states of a caller; for one thread at a time.

    Attributes
    ----------
    x, dy : Input
        Sequences (N, T, D), and the gradient of their outputs.
    lengths : int64 array, shape (N,), or None
        Steps of each sequence, to be filled before `forward`; None where all have T.
    final : list of tuple of array, shape (N, S)
        For each layer and direction, the states after `forward`.
    dinitial : list of tuple of array, shape (N, S)
        For each layer and direction, the gradients of the initial states after `backward`.
    parameters : callable
        Gives the gradients of all parameters after `backward`, as new arrays.
    """

    def __init__(
        self, stack: Stack, backend: Backend, weights: list[Any], rows: int, steps: int, lengths: np.ndarray | None
    ) -> None:
        self._stack, self._backend, self._weights, self.lengths = stack, backend, weights, lengths
        self._x, self._dy = (
            backend.zeros((rows, steps, size), stack.dtype) for size in (stack.input_size, stack.output_size)
        )
        self._parts = stack.split(backend, backend.zeros((stack.size(backend),), stack.dtype))
        self._no_final = [[None] * stack.states for _ in stack.specs]
        self.final: list[tuple[Array, ...]]
        self.dinitial: list[tuple[Array, ...]]
        self.parameters: Callable[[], dict[str, np.ndarray]]
        self._y: Array
        self._dx: Array
        self._calls = self._noted(self._run_forward), self._noted(self._run_backward)
        self.x, self.dy = (Input(backend, self._calls, array) for array in (self._x, self._dy))
        self._y_out, self._dx_out = (Output(backend, self._calls, array) for array in (self._y, self._dx))
        self.lock = new_lock()

    def _noted(self, run: Callable[[], float]) -> Callable[[], float]:
        """What repeats a function, which has run once."""
        repeat = self._backend.record(run)[1]
        assert repeat is not None, f"backend {self._backend.name!r} does not record"
        return repeat

    def kind_of_dy(self, single: bool) -> tuple[np.dtype, tuple[int, ...]]:
        """Dtype and shape of what `dy` takes, which has no first axis where there is one sequence."""
        return self._dy.dtype, self._dy.shape[single:]

    def forward(self) -> np.ndarray:
        """Outputs, a new array (N, T, output size), for what `x` has taken."""
        self._y_out.renew()
        self._calls[0]()
        return self._y_out.result()

    def backward(self) -> np.ndarray:
        """The gradient of x, a new array, for what `x` and `dy` have taken."""
        self._dx_out.renew()
        self._calls[1]()
        return self._dx_out.result()

    def _run_forward(self) -> float:
        self._y, self.final, self._tapes = self._stack.forward(
            self._backend, self._weights, self._x, None, self.lengths, training=True
        )
        return 0.0

    def _run_backward(self) -> float:
        self._dx, self.dinitial = self._stack.backward(
            self._backend, self._weights, self._tapes, self._x.shape[:2], self._dy, self._no_final, self._parts,
            input_shape=self._x.shape,
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

    def run(self, x: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, Any]:
        """Outputs and final states."""
        if self._runner.lengths is not None:
            self._runner.lengths[...] = lengths
        self._x = self._runner.x.take(x)
        y = self._runner.forward()
        return y[0] if self._single else y, self._states(self._runner.final)

    def __call__(self, dy: Any, dstate: Any = None) -> tuple[Any, Any, dict[str, np.ndarray]]:
        runner = self._runner
        if dstate is not None or type(dy) is not np.ndarray or (dy.dtype, dy.shape) != runner.kind_of_dy(self._single):
            return self._other()(dy, dstate)
        with runner.lock:
            dy = runner.dy.take(dy)
            dx = runner.backward()
            return dx[0] if self._single else dx, self._states(runner.dinitial), runner.parameters()

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
