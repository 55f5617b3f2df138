"""The LSTM layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ..backends.contract import Array, Backend
from ..backends.dispatch import backend_for, check_name
from .initial import INITIALISERS
from .sequences import (
    Batch,
    as_batch,
    as_numbers,
    check_flag,
    check_integer,
    check_option,
    check_real,
    check_rng,
    check_tuple,
)
from .stack import Stack
from .stream import Stream

State = tuple[np.ndarray, np.ndarray]
Pullback = Callable[..., tuple[Any, State, dict[str, np.ndarray]]]


class LSTM:
    """Long Short-Term Memory layers, one or several, in one direction or two; batch first.

    Means what `torch.nn.LSTM` means where the names are the same.

    Parameters
    ----------
    input_size : int, at least 1
        D, the features of a step.
    hidden_size : int, at least 1
        H, the hidden units of a layer in one direction.
    num_layers : int, at least 1, default 1
        Layers on top of one another; each reads the outputs of the one below.
    bias : bool, default True
        Whether the two bias vectors exist (both train, as in PyTorch).
    dropout : float in [0, 1), default 0.0
        Share of the outputs between layers that is zeroed in training; the rest is scaled up.
    bidirectional : bool, default False
        Whether every layer also runs from last step to first; its outputs stand behind the others.
    init : {"keras", "torch"}, default "keras"
        ``"keras"``: Glorot-uniform input weights, orthogonal recurrent weights, forget bias 1. ``"torch"``:
        everything uniform in ±1/√H.
    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        What computes; by default whatever `numlstm.get_backend` says at each call.
    dtype : {"float32", "float64"}, default "float32"
        Of parameters and all arithmetic.
    random_state : int, numpy.random.Generator or None, default None
        Where initial parameters come from.

    Attributes
    ----------
    parameters : mapping of str to read-only array
        ``weight_ih_l0`` (4H, D), ``weight_hh_l0`` (4H, H), ``bias_ih_l0`` and ``bias_hh_l0`` (4H,), with
        ``_reverse`` for the other direction and ``l1``, ... for the layers above, which read H · directions
        features. Rows are in PyTorch's order: input gate, forget gate, cell input, output gate.

    Raises
    ------
    TypeError, ValueError
        If a parameter has the wrong type or is out of range.

    Notes
    -----
    With σ the logistic function, ⊙ the product unit by unit, and W, R, b the blocks of rows above::

        i = σ(W_i x + R_i h + b_i)        input gate: what to let in
        f = σ(W_f x + R_f h + b_f)        forget gate: what to keep
        g = tanh(W_g x + R_g h + b_g)     cell input
        o = σ(W_o x + R_o h + b_o)        output gate: what to give out
        c' = f ⊙ c + i ⊙ g                memory cell
        h' = o ⊙ tanh(c')                 hidden state, the output

    The gradient passes from c' to c through f alone: as long as the forget gate stays open it does not vanish
    [1]_. Without f this is the LSTM of [2]_.

    References
    ----------
    .. [1] F. Gers, J. Schmidhuber, F. Cummins, "Learning to Forget: Continual Prediction with LSTM", 2000.
    .. [2] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTM
    >>> layer = LSTM(3, 5, random_state=0)
    >>> y, (h_n, c_n) = layer(np.zeros((2, 7, 3)))
    >>> y.shape, h_n.shape, c_n.shape
    ((2, 7, 5), (1, 2, 5), (1, 2, 5))
    """

    cell = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        init: str = "keras",
        backend: str | None = None,
        dtype: str = "float32",
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self._stack = Stack(
            self.cell,
            check_integer(input_size, "input_size", 1),
            check_integer(hidden_size, "hidden_size", 1),
            check_integer(num_layers, "num_layers", 1),
            check_flag(bias, "bias"),
            check_flag(bidirectional, "bidirectional"),
            check_real(dropout, "dropout", 0.0, 1.0),
            check_option(dtype, "dtype", ("float32", "float64")),
        )
        self.backend = None if backend is None else check_name(backend)
        check_option(init, "init", list(INITIALISERS))
        self.set_parameters(self._stack.initialise(init, check_rng(random_state, "random_state")))

    @property
    def input_size(self) -> int:
        """D, the features of a step."""
        return self._stack.input_size

    @property
    def hidden_size(self) -> int:
        """H, the hidden units of a layer in one direction."""
        return self._stack.hidden_size

    @property
    def num_layers(self) -> int:
        """Layers on top of one another."""
        return self._stack.num_layers

    @property
    def bidirectional(self) -> bool:
        """Whether every layer runs in both directions."""
        return self._stack.bidirectional

    @property
    def dtype(self) -> str:
        """Type of all numbers."""
        return self._stack.dtype

    def __repr__(self) -> str:
        stack = self._stack
        shown = {"num_layers": 1, "bias": True, "dropout": 0.0, "bidirectional": False, "dtype": "float32"}
        extra = [f"{key}={getattr(stack, key)!r}" for key, default in shown.items() if getattr(stack, key) != default]
        return f"{type(self).__name__}({', '.join([str(stack.input_size), str(stack.hidden_size), *extra])})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_weights": (dict(self.parameters), {})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.set_parameters(state["_weights"][0])

    # Parameters -------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, np.ndarray]:
        """All parameters by name, read-only."""
        return self._weights[0]

    def set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Replace all parameters.

        Parameters
        ----------
        parameters : mapping of str to array
            The names and shapes of `parameters`; the arrays are copied.

        Raises
        ------
        ValueError
            If names are missing or unknown, or a shape is wrong; nothing is changed then.
        TypeError
            If it is no mapping, or an array is not numeric.

        Examples
        --------
        >>> from numlstm import LSTM
        >>> a, b = LSTM(3, 5, random_state=0), LSTM(3, 5, random_state=1)
        >>> b.set_parameters(a.parameters)
        """
        if not isinstance(parameters, Mapping):
            raise TypeError(f"parameters must be a mapping of names to arrays, got {type(parameters).__name__}")
        shapes = self._stack.shapes
        if missing := sorted(shapes.keys() - parameters.keys()):
            raise ValueError(f"parameters must hold {missing}, which are missing")
        if unknown := sorted(parameters.keys() - shapes.keys(), key=str):
            raise ValueError(f"parameters must be among {list(shapes)}, got {unknown}")
        new = {}
        for name, shape in shapes.items():
            array = np.array(as_numbers(parameters[name], name), self.dtype)
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
            array.flags.writeable = False
            new[name] = array
        self._weights: tuple[Mapping[str, np.ndarray], dict[str, list[Any]]] = MappingProxyType(new), {}

    def _prepared(self, backend: Backend) -> list[Any]:
        """The weights as `backend` wants them; packed at the first call after a change."""
        parameters, packed = self._weights
        if backend.name not in packed:
            flat = backend.zeros((self._stack.size(backend),), self.dtype)
            self._stack.pack(backend, parameters, flat)
            packed[backend.name] = self._stack.prepare(backend, flat, training=False)
        return packed[backend.name]

    # Computing --------------------------------------------------------------------------------------------

    def __call__(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[np.ndarray, State]:
        """Run over whole sequences; inference, so nothing is dropped out.

        Parameters
        ----------
        x : array, shape (N, T, D) or (T, D); or list of N arrays of shape (T_i, D)
        state : (h_0, c_0), optional
            Each (layers · directions, N, H), or (layers · directions, H) with one sequence; zeros by default.
        lengths : int array, shape (N,), in 1..T; optional
            Steps of each sequence, in any order; T by default. Not with a list, which has its own.

        Returns
        -------
        y : array, shape (N, T, H · directions) or (T, H · directions)
            Outputs of the last layer, zeros past each length.
        (h_n, c_n) : tuple of array, shape (layers · directions, N, H) or (layers · directions, H)
            States after each sequence's own last step (backward: its first).

        Raises
        ------
        ValueError, TypeError
            If shapes or dtypes do not fit; the message names the parameter.
        BackendUnavailableError
            If the backend asked for is not available.
        """
        batch = as_batch(x, lengths, self.input_size, self.dtype)
        backend = backend_for(self.backend)
        initial = self._initial(state, batch, backend)
        x_in = backend.to_device(batch.x, self.dtype)
        y, final, _ = self._stack.forward(backend, self._prepared(backend), x_in, initial, batch.lengths)
        y = backend.to_numpy(y)
        return (y[0] if batch.form == "single" else y), self._final(final, batch, backend)

    def vjp(
        self, x: Any, state: Any = None, lengths: Any = None, *, training: bool = False, rng: Any = None
    ) -> tuple[np.ndarray, State, Pullback]:
        """Run, and return the function that takes gradients back.

        Parameters
        ----------
        x, state, lengths
            As in a call. `x` is not copied: leave it as it is until the last use of `pullback`.
        training : bool, default False
            Whether dropout applies.
        rng : int, numpy.random.Generator or None, default None
            Where dropout's masks come from; the same seed gives the same masks on every backend.

        Returns
        -------
        y, (h_n, c_n)
            As from a call.
        pullback : callable
            ``dx, (dh_0, dc_0), dparameters = pullback(dy, dstate=None)`` with the gradient of a scalar loss
            with respect to y and, optionally, to ``(h_n, c_n)``; `dy` may be None for zeros, and so may either
            of the two. `dx` has the form of `x`, `dparameters` the names and shapes of `parameters`.

        Raises
        ------
        ValueError, TypeError, BackendUnavailableError
            As a call does; `pullback` too, where gradients do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTM
        >>> layer = LSTM(3, 5, random_state=0)
        >>> y, state, pullback = layer.vjp(np.ones((2, 7, 3)))
        >>> dx, dstate, dparameters = pullback(np.ones_like(y))
        >>> dx.shape, dparameters["weight_hh_l0"].shape
        ((2, 7, 3), (20, 5))
        """
        batch = as_batch(x, lengths, self.input_size, self.dtype)
        backend, stack = backend_for(self.backend), self._stack
        initial = self._initial(state, batch, backend)
        masks = []
        if check_flag(training, "training") and stack.dropout:
            rows, steps, _ = batch.x.shape
            masks = stack.dropout_masks(rows, steps, check_rng(rng, "rng"))
        weights = self._prepared(backend)
        x_in = backend.to_device(batch.x, self.dtype)
        y, final, tapes = stack.forward(backend, weights, x_in, initial, batch.lengths, masks=masks, training=True)
        states = self._final(final, batch, backend)

        def pullback(dy: Any, dstate: Any = None) -> tuple[Any, State, dict[str, np.ndarray]]:
            single = batch.form == "single"
            shape = (*batch.x.shape[:2], stack.output_size)
            gradient_in = _gradient(dy, "dy", shape[1:] if single else shape, self.dtype)
            dy_in = None if gradient_in is None else backend.to_device(gradient_in.reshape(shape), self.dtype)
            dfinal = self._final_gradients(dstate, states, backend)
            gradient = backend.zeros((stack.size(backend),), self.dtype)
            parts = stack.split(backend, gradient)
            dx, dinitial = stack.backward(backend, weights, tapes, shape[:2], dy_in, dfinal, parts, masks=masks)
            return (
                batch.restore(backend.to_numpy(dx)),
                self._final(dinitial, batch, backend),
                stack.unpack(backend, gradient),
            )

        y = backend.to_numpy(y)
        return (y[0] if batch.form == "single" else y), states, pullback

    def stream(self, batch_size: int = 1) -> Stream:
        """A snapshot that takes one step at a time and keeps the state.

        Parameters
        ----------
        batch_size : int, at least 1, default 1
            Streams that advance together.

        Returns
        -------
        Stream

        Raises
        ------
        ValueError
            If the layer is bidirectional: the end of a stream is not known.
        """
        if self.bidirectional:
            raise ValueError("stream() needs bidirectional=False: the last step of a stream is not known")
        backend = backend_for(self.backend)
        return Stream(self._stack, backend, self._prepared(backend), check_integer(batch_size, "batch_size", 1))

    def _initial(self, state: Any, batch: Batch, backend: Backend) -> list[Array] | None:
        """Checked initial states, resident."""
        if state is None:
            return None
        layers = self.num_layers * self._stack.directions
        shape: tuple[int, ...] = (layers, len(batch.x), self.hidden_size)
        given = (layers, self.hidden_size) if batch.form == "single" else shape
        names = ("h_0", "c_0")
        arrays = []
        for array, name in zip(check_tuple(state, "state", names), names, strict=True):
            array = as_numbers(array, f"state: {name}", self.dtype)
            if array.shape != given:
                raise ValueError(f"state: {name} must have shape {given}, got {array.shape}")
            arrays.append(backend.to_device(array.reshape(shape), self.dtype))
        return arrays

    def _final(self, states: list[tuple[Array, ...]], batch: Batch, backend: Backend) -> State:
        """States of every layer and direction, stacked."""
        each = [[backend.to_numpy(array)[None] for array in arrays] for arrays in zip(*states, strict=True)]
        h, c = (arrays[0] if len(arrays) == 1 else np.concatenate(arrays) for arrays in each)
        if batch.form == "single":
            return h[:, 0], c[:, 0]
        return h, c

    def _final_gradients(self, dstate: Any, states: State, backend: Backend) -> list[list[Array | None]]:
        """Checked gradients of the final states, resident, for each layer and direction."""
        layers = self.num_layers * self._stack.directions
        if dstate is None:
            return [[None, None]] * layers
        names = ("dh_n", "dc_n")
        checked = [
            _gradient(array, f"dstate: {name}", state.shape, self.dtype)
            for array, name, state in zip(check_tuple(dstate, "dstate", names), names, states, strict=True)
        ]
        return [
            [
                None if array is None else backend.to_device(array.reshape(layers, -1, self.hidden_size)[i], self.dtype)
                for array in checked
            ]
            for i in range(layers)
        ]


def _gradient(value: Any, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """A checked gradient, or None for zeros."""
    if value is None:
        return None
    array = as_numbers(value, name, dtype)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


def layer_of(stack: Stack, parameters: Mapping[str, Any], backend: str | None) -> LSTM:
    """The layer of a stack and its parameters: what a trained network leaves."""
    layer = object.__new__(LSTM)
    layer._stack, layer.backend = stack, backend
    layer.set_parameters(parameters)
    return layer
