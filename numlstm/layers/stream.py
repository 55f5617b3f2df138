"""One step at a time, with the state kept between calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from ..backends.contract import Backend
from ..checks import check_tuple
from ..concurrency import cached_property, new_lock
from .runner import Runner
from .sequences import as_numbers, of_layers, resident
from .stack import Stack


class Steps:
    """Whether every step of a stream was completed: after one that was not, the state is not known.

    A ``with`` block is a step, or it sets the whole state. A block that raises ValueError or TypeError has changed
    nothing. The caller holds the lock of the stream.
    """

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy
        self.open = False  # whether a step has begun, and has not ended

    def check(self) -> None:
        """Raise an error if a step was interrupted."""
        if self.open:
            raise RuntimeError(f"an earlier step of this stream was interrupted: {self._remedy}")

    def anew(self) -> Steps:
        """For a block that sets the whole state: it may follow a step that was interrupted."""
        self.open = False
        return self

    def __enter__(self) -> None:
        self.check()
        self.open = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is None or issubclass(kind, ValueError | TypeError):
            self.open = False


class Stream:
    """A snapshot of a layer that takes one step of every stream at a call, and remembers the state.

    The method `stream` of a layer makes it. Threads that use it at once wait for one another, and each of their steps
    continues the same streams. It cannot be pickled or copied, as it refers to memory of a backend: keep its `state`,
    and give that to another stream of the same layer.

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
        self._run = Runner(stack, backend, weights, batch_size, 1, resume=True)
        self._x, self._y = self._run.x[:, 0], self._run.y[:, 0]
        self._memory = {1: (self._x[0], self._y[0]), 2: (self._x, self._y)}  # of a step, by the axes of its input
        self._on_host = isinstance(self._y, ndarray)
        self._call = self._run.calls[0] if len(self._run.calls) == 1 else self._run
        self._dtype = np.dtype(stack.dtype)
        self._shape = (stack.input_size,) if batch_size == 1 else self._x.shape  # a shape that needs no check
        self._memory_of_shape = self._memory[len(self._shape)]
        self._turn, self._steps = new_lock(), Steps("call reset(), or set state")

    def __getstate__(self) -> None:
        raise TypeError("a Stream cannot be pickled or copied; set the state of another stream to its state")

    def reset(self) -> None:
        """Set all states to zero."""
        with self._turn, self._steps.anew():
            self._run.reset()

    @property
    def state(self) -> Any:
        """A copy of the state, as a call of the layer gives it: ``(h, c)`` or ``h``, each (layers, batch_size, H).

        Raises
        ------
        ValueError, TypeError
            When set to arrays of other shapes, or not numeric.
        RuntimeError
            When read after a step that was interrupted.
        """
        with self._turn:
            self._steps.check()
            return self._run.copies()

    @state.setter
    def state(self, value: Any) -> None:
        names = self._stack.state_names
        of_states = [value] if len(names) == 1 else check_tuple(value, "state", names)
        checked = []
        for k, (given, name) in enumerate(zip(of_states, names, strict=True)):
            shapes = [states[k].shape for states in self._run.states]
            checked.append(of_layers(given, f"state: {name}", shapes, self._stack.dtype, self._backend))
        with self._turn, self._steps.anew():
            for states, arrays in zip(self._run.states, zip(*checked, strict=True), strict=True):
                for state, array in zip(states, arrays, strict=True):
                    state[...] = resident(array, self._backend, self._stack.dtype)

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
        RuntimeError
            If an exception such as KeyboardInterrupt ended an earlier step before its end; `reset`, or set `state`.
        """
        if type(x_t) is ndarray and x_t.dtype is self._dtype and x_t.shape == self._shape:
            x, (own_x, y) = x_t, self._memory_of_shape
        else:
            x = self.checked(x_t)
            own_x, y = self._memory[x.ndim]
        if out is not None:
            _check_out(out, y.shape, self._dtype)
        steps = self._steps
        with self._turn:  # and nothing else: a step of a small layer takes less than another block would
            if steps.open:
                steps.check()
            steps.open = True
            own_x[...] = x
            self._call()
            if not self._on_host:
                y = self._backend.to_numpy(y)
            if out is None:
                out = y.copy()
            else:
                out[...] = y
            steps.open = False
        return out

    @cached_property
    def jit_step(self) -> Any:
        """A step for functions that Numba compiles, and for C; the caller keeps the state.

        In a function that ``numba.njit`` compiles, ``jit_step(x_t, state, out)`` takes a step as `step` does, to the
        bit: it reads `x_t`, updates the arrays of `state` in place, and fills `out` with the last layer's output.
        `state` is ``(h, c)`` or ``h``, as `state` gives it; where layers differ in size, an array holds those of all
        layers one after the other. All are C-contiguous arrays of the dtype of the layer, of any shape with as many
        numbers. It can be an argument of the compiled function (only then does ``cache=True`` keep the machine code
        on disk) or a name that it finds outside of it. Steps may run side by side, in ``prange`` and in threads.

        C calls the function at ``jit_step.address``,
        ``void step(const void *plan, const void *x_t, void *const state[], void *out)``, with ``jit_step.plan``. It
        checks nothing. Keep a reference to `jit_step` as long as it may be called.

        Raises
        ------
        UnsupportedError
            If the backend is not "cpu".
        ValueError
            When called from a compiled function: if an array has another size. An array of another type is an error
            while that function is compiled.

        Examples
        --------
        >>> import numba
        >>> import numpy as np
        >>> from numlstm import LSTM
        >>> step = LSTM(3, 5, random_state=0, backend="cpu").stream().jit_step
        >>> @numba.njit
        ... def simulate(step, x, h, c, y):
        ...     for t in range(len(x)):
        ...         step(x[t], (h, c), y)
        >>> h, c = np.zeros((2, 1, 1, 5), "float32")
        >>> y = np.empty(5, "float32")
        >>> simulate(step, np.ones((100, 3), "float32"), h, c, y)
        >>> bool((y == h[-1, 0]).all())
        True
        """
        return self._backend.jit_step(self._weights, self.batch_size, residual=self._stack.residual)

    def checked(self, x_t: Any, dtype: str | None = None) -> np.ndarray:
        """The checked input of one step, by default in the dtype of the stream."""
        x = as_numbers(x_t, "x_t", dtype or self._stack.dtype)
        shape = self._x.shape
        if x.shape != shape and (1, *x.shape) != shape:
            raise ValueError(f"x_t must have shape {shape}, got {np.shape(x_t)}")
        return x


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """An error, before anything changes, if results cannot be written to `out`."""
    if not isinstance(out, ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
