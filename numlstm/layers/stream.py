"""One step at a time, with the state kept between calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.contract import Array, Backend
from .sequences import as_numbers, check_tuple, of_layers
from .stack import Stack, stacked


class Stream:
    """A snapshot of a layer that takes one step of every stream at a call, and remembers the state.

    Made by the `stream` of a layer. Not for several threads at once: make one for each. Not to be pickled or copied, as
    it refers to a backend's memory: keep its `state`, and give that to another stream of the same layer.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTM
    >>> stream = LSTM(3, 5, random_state=0).stream()
    >>> stream.step(np.ones(3)).shape
    (5,)
    """

    def __init__(self, stack: Stack, backend: Backend, weights: list[Any], batch_size: int) -> None:
        self._stack, self._backend = stack, backend
        self.batch_size = batch_size
        self._specs = list(stack.specs.values())
        self._states = [
            [backend.zeros((batch_size, size), stack.dtype) for size in spec.state_sizes] for spec in self._specs
        ]
        self._x = backend.zeros((batch_size, stack.input_size), stack.dtype)
        self._steps: list[Callable[[], None]] = []
        x = self._x
        for layer, (layer_weights, states) in enumerate(zip(weights, self._states, strict=True)):
            self._steps.append(backend.stepper(layer_weights, x[:, None], states))
            x = self._residual(states[0], x) if stack.residual and layer else states[0]
        self._y = x  # of the last layer
        self._dtype = np.dtype(stack.dtype)
        self._shape = (stack.input_size,) if batch_size == 1 else self._x.shape  # what needs no look

    def _residual(self, h: Array, x: Array) -> Array:
        """Where the output of a layer is that adds its input."""
        y, backend = self._backend.zeros(h.shape, self._stack.dtype), self._backend

        def add() -> None:
            y[...] = h
            backend.add(y, x)

        self._steps.append(add)
        return y

    def __getstate__(self) -> None:
        raise TypeError("a Stream cannot be pickled or copied; set the state of another stream to its state")

    def reset(self) -> None:
        """Forget: all states are zero again."""
        for states in self._states:
            for state in states:
                state[...] = 0

    @property
    def state(self) -> Any:
        """A copy of the state, as a call of the layer gives it: ``(h, c)`` or ``h``, each (layers, batch_size, H).

        Raises
        ------
        ValueError, TypeError
            When set to arrays of other shapes, or not numeric.
        """
        numpy = self._backend.to_numpy
        made = [stacked([np.array(numpy(array)) for array in arrays]) for arrays in zip(*self._states, strict=True)]
        return made[0] if len(made) == 1 else tuple(made)

    @state.setter
    def state(self, value: Any) -> None:
        names = self._stack.state_names
        of_states = [value] if len(names) == 1 else check_tuple(value, "state", names)
        checked = []
        for k, (given, name) in enumerate(zip(of_states, names, strict=True)):
            shapes = [(self.batch_size, spec.state_sizes[k]) for spec in self._specs]
            checked.append(of_layers(given, f"state: {name}", shapes, self._stack.dtype))
        for states, arrays in zip(self._states, zip(*checked, strict=True), strict=True):
            for state, array in zip(states, arrays, strict=True):
                state[...] = self._backend.to_device(array, self._stack.dtype)

    def step(self, x_t: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Take one step.

        Parameters
        ----------
        x_t : array, shape (batch_size, D), or (D,) with a batch size of 1
        out : array, shape (batch_size, H) or (H,), optional
            Filled and returned; a new array by default.

        Returns
        -------
        array, shape (batch_size, H), or (H,) if `x_t` was (D,)
            The last layer's output.

        Raises
        ------
        ValueError, TypeError
            If `x_t` or `out` has another shape or dtype.
        """
        x = x_t
        if type(x) is not np.ndarray or x.dtype != self._dtype or x.shape != self._shape:
            x = self._checked(x_t)
        single = x.ndim == 1
        if out is not None:
            _check_out(out, self._y.shape[single:], self._stack.dtype)
        self._x[...] = x
        for step in self._steps:
            step()
        y = self._backend.to_numpy(self._y)[0] if single else self._backend.to_numpy(self._y)
        if out is None:
            return y.copy()
        out[...] = y
        return out

    def _checked(self, x_t: Any) -> np.ndarray:
        """One step's input, or an error that says what was expected."""
        x = as_numbers(x_t, "x_t", self._stack.dtype)
        shape = self._x.shape
        if x.shape != shape and (1, *x.shape) != shape:
            raise ValueError(f"x_t must have shape {shape}, got {np.shape(x_t)}")
        return x


def _check_out(out: Any, shape: tuple[int, ...], dtype: str) -> None:
    """An error, before anything changes, if results cannot be written to `out`."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
