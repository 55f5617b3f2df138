"""One step at a time, with the state kept between calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import cells
from ..backends.contract import Backend
from .sequences import as_numbers, check_tuple
from .stack import Stack


class Stream:
    """A snapshot of a layer that takes one step of every stream at a call, and remembers the state.

    Made by `LSTM.stream`. Not for several threads at once: make one for each. Not to be pickled or copied, as it
    refers to a backend's memory: keep its `state`, and give that to another stream of the same layer.

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
        shape = (stack.num_layers, batch_size, stack.hidden_size)
        self._states = [backend.zeros(shape, stack.dtype) for _ in range(stack.states)]
        self._x = backend.zeros((batch_size, stack.input_size), stack.dtype)
        self._steps = []
        x = self._x
        for layer, layer_weights in enumerate(weights):
            states = [state[layer] for state in self._states]
            self._steps.append(backend.stepper(layer_weights, x[:, None], states))
            x = states[0]
        self._h = x  # of the last layer
        self._dtype = np.dtype(stack.dtype)
        self._shape = (stack.input_size,) if batch_size == 1 else self._x.shape  # what needs no look

    def __getstate__(self) -> None:
        raise TypeError("a Stream cannot be pickled or copied; set the state of another stream to its state")

    def reset(self) -> None:
        """Forget: all states are zero again."""
        for state in self._states:
            state[...] = 0

    @property
    def state(self) -> tuple[np.ndarray, ...]:
        """Copies of the states ``(h, c)``, each of shape (layers, batch_size, H).

        Raises
        ------
        ValueError, TypeError
            When set to arrays of other shapes, or not numeric.
        """
        return tuple(np.array(self._backend.to_numpy(state)) for state in self._states)

    @state.setter
    def state(self, value: Any) -> None:
        shape = (self._stack.num_layers, self.batch_size, self._stack.hidden_size)
        names = cells.get(self._stack.cell).states
        arrays = []
        for array, name in zip(check_tuple(value, "state", names), names, strict=True):
            array = as_numbers(array, f"state: {name}", self._stack.dtype)
            if array.shape != shape:
                raise ValueError(f"state: {name} must have shape {shape}, got {array.shape}")
            arrays.append(array)
        for state, array in zip(self._states, arrays, strict=True):
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
            The last layer's hidden state.

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
            _check_out(out, self._h.shape[single:], self._stack.dtype)
        self._x[...] = x
        for step in self._steps:
            step()
        h = self._backend.to_numpy(self._h)[0] if single else self._backend.to_numpy(self._h)
        if out is None:
            return h.copy()
        out[...] = h
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
