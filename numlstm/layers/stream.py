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
        self._stack, self._backend, self._weights = stack, backend, weights
        self.batch_size = batch_size
        self.reset()

    def __getstate__(self) -> None:
        raise TypeError("a Stream cannot be pickled or copied; set the state of another stream to its state")

    def reset(self) -> None:
        """Forget: all states are zero again."""
        shape = (self._stack.num_layers, self.batch_size, self._stack.hidden_size)
        self._states = [self._backend.zeros(shape, self._stack.dtype) for _ in range(self._stack.states)]

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
            arrays.append(self._backend.to_device(array.copy(), self._stack.dtype))
        self._states = arrays

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
        stack, backend = self._stack, self._backend
        x = as_numbers(x_t, "x_t", stack.dtype)
        single = x.ndim == 1 and self.batch_size == 1
        shape = (self.batch_size, stack.input_size)
        if (x[None] if single else x).shape != shape:
            raise ValueError(f"x_t must have shape {shape}, got {np.shape(x_t)}")
        y_shape = (stack.hidden_size,) if single else (self.batch_size, stack.hidden_size)
        if out is not None:
            _check_out(out, y_shape, stack.dtype)
        x = backend.to_device(x.reshape(self.batch_size, 1, -1), stack.dtype)
        _, final, _ = stack.forward(backend, self._weights, x, self._states, None)
        for index, states in enumerate(final):
            for kept, new in zip(self._states, states, strict=True):
                kept[index] = new
        y = backend.to_numpy(final[-1][0]).reshape(y_shape)
        if out is None:
            return y
        out[...] = y
        return out


def _check_out(out: Any, shape: tuple[int, ...], dtype: str) -> None:
    """An error, before anything changes, if results cannot be written to `out`."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
