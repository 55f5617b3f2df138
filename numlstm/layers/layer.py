"""What all layers have in common: calls, gradients, streams and traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from ..backends.contract import Array, Backend
from ..backends.dispatch import backend_for, check_name, gpu_array_in
from ..checks import check_flag, check_integer, check_option, check_rng, check_tuple
from ..concurrency import new_lock
from ..documenting import sharing
from ..savable import Savable
from .gradient_runner import GradientRunner, SmallPullback
from .options import COMMON, DEFAULTS, check_init, not_defaults, stack_of
from .parameters import checked_parameters
from .runner import Runner
from .sequences import PaddedBatch, as_array, as_batch, check_lengths, of_layers, resident, stacked, unpacked
from .stack import Stack
from .stream import Stream
from .trace import STATES, Trace

Pullback = Callable[..., tuple[Any, Any, dict[str, np.ndarray]]]

SMALL = 1 << 14  # numbers in x and y of a call whose arrays are kept for the next
MEDIUM = 1 << 21  # those of a call whose arrays are kept when its shape comes again
SHAPES_KEPT, NUMBERS_KEPT, RUNNERS_KEPT = 16, 2 * MEDIUM, 4  # at most, the last for threads that call at once

Weights = tuple[Mapping[str, np.ndarray], dict[str, list[Any]], dict[tuple[str, str, tuple[int, ...]], list[Any]]]

SHARED = """
    input_size : int, at least 1
        D, the features of a step.
    hidden_size : int, at least 1, or list of int
        H, the hidden units of a layer in one direction; a list has one for each layer.
    num_layers : int, at least 1, default 1
        Layers on top of one another; each reads the outputs of the one below.
    bias : bool, default True
        Whether the two bias vectors exist (both train, as in PyTorch).
    bidirectional : bool, default False
        Whether every layer also runs from last step to first.
    merge : {"concat", "sum", "mean"}, default "concat"
        How the outputs of two directions become one: side by side, added, or averaged.
    residual : bool, default False
        Whether every layer but the first adds its input to its output.
    layer_norm : bool, default False
        Whether pre-activations are normalised over the hidden units at each step (Ba et al. 2016), with parameters
        ``layer_norm_weight_l0`` and ``layer_norm_bias_l0``.
    dropout : float in [0, 1), default 0.0
        Share of the outputs between layers that is zeroed in training; the rest is scaled up.
    input_dropout : float in [0, 1), default 0.0
        Share of the first layer's input that is zeroed in training, with one mask for a whole sequence (Gal &
        Ghahramani 2016).
    recurrent_dropout : float in [0, 1), default 0.0
        Share of the state that the recurrent weights read that is zeroed in training, with one mask for a whole
        sequence (Gal & Ghahramani 2016).
    weight_dropout : float in [0, 1), default 0.0
        Share of the recurrent weights that is zeroed in training, with a new mask for each batch (DropConnect: Merity
        et al. 2018).
    recompute : bool, default False
        Whether gradients keep the states of every √T-th step only, and compute the steps between again on the way back
        (Chen et al. 2016): for long sequences a small part of the memory, for a third more time."""
LAST = """
    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        The backend that computes; by default the one that `numlstm.get_backend` returns at each call. "auto" takes CUDA
        for calls that are large enough, see there.
    dtype : {"float32", "float64"}, default "float32"
        Of parameters and all arithmetic.
    compute_dtype : {"tf32", "float16", "bfloat16", "int8"} or None, default None
        The type that weights and vectors in products are rounded to, for speed; everything else stays float32:
        parameters, states, sums, and what optimizers see. Gradients go back through the rounded weights. On GPUs of
        compute capability 8.0 or later all but ``"int8"`` use tensor cores (experimental). On processors
        ``"bfloat16"`` takes AVX-512 BF16, and weight gradients are sums of products that are not rounded;
        ``"int8"`` takes AVX-512 VNNI or AVX-VNNI, and is for inference, without gradients. Elsewhere a call raises
        `UnsupportedError`.
    random_state : int, numpy.random.Generator or None, default None
        Where initial parameters come from."""

THREADS = """
    A layer serves several threads at once, also while another thread sets its parameters: a call computes with the
    parameters that the layer had when the call began."""


documented = sharing({"SHARED": SHARED, "LAST": LAST, "THREADS": THREADS})


class Layer(Savable):
    """Recurrent layers, one or several, in one direction or two; batch first."""

    cell: ClassVar[str]
    _stack: Stack
    backend: str | None
    _shown: dict[str, Any]  # options that are not at their defaults
    _read_only: str = ""  # why parameters cannot be set, if they cannot

    def __init__(
        self,
        input_size: int,
        hidden_size: int | list[int],
        num_layers: int = 1,
        *,
        backend: str | None = None,
        dtype: str = "float32",
        compute_dtype: str | None = None,
        random_state: int | np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        """Take the options that all cells have: for classes of layers without options of their own."""
        if unknown := sorted(options.keys() - COMMON.keys()):
            raise TypeError(f"{type(self).__name__} has no options {unknown}; its options are {[*COMMON]}")
        given = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        self._start({**COMMON, **options, **given}, backend, dtype, compute_dtype, random_state)

    def _start(
        self, options: Mapping[str, Any], backend: Any, dtype: Any, compute_dtype: Any, random_state: Any
    ) -> None:
        """Check the options, and draw the parameters."""
        given = {name: value for name, value in options.items() if name in DEFAULTS or name == "hidden_size"}
        self._stack = stack_of(
            self.cell,
            check_integer(options["input_size"], "input_size", 1),
            check_option(dtype, "dtype", ("float32", "float64")),
            given,
        )
        self._stack = self._stack.computing_in(compute_dtype)
        self.backend = None if backend is None else check_name(backend)
        self._shown, self._read_only = not_defaults(given), ""
        rng = check_rng(random_state, "random_state")
        self.set_parameters(self._stack.initialise(check_init(given["init"], "init"), rng, given.get("forget_bias")))

    @property
    def input_size(self) -> int:
        """D, the features of a step."""
        return self._stack.input_size

    @property
    def hidden_size(self) -> int | list[int]:
        """H, the hidden units of a layer in one direction; a list where layers differ."""
        sizes = self._stack.hidden_sizes
        return sizes[0] if len({*sizes}) == 1 else list(sizes)

    @property
    def output_size(self) -> int:
        """Features of the output."""
        return self._stack.output_size

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
        shown = self._shown | ({} if self.dtype == "float32" else {"dtype": self.dtype})
        compute_dtype = self._stack.cell.compute_dtype
        shown = shown | ({"compute_dtype": compute_dtype} if compute_dtype else {})
        extra = [f"{name}={value!r}" for name, value in shown.items()]
        return f"{type(self).__name__}({', '.join([str(self.input_size), str(self.hidden_size), *extra])})"

    def __getstate__(self) -> dict[str, Any]:
        changed = {"_weights": (dict(self.parameters), {}, {}), "_read_only": ""}  # a copy shares no memory
        return super().__getstate__() | changed

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
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
            If it is no mapping, or an array is not numeric; or if the layer is one of a fitted estimator's `layers_`,
            which are for reading.

        Examples
        --------
        >>> from numlstm import LSTM
        >>> a, b = LSTM(3, 5, random_state=0), LSTM(3, 5, random_state=1)
        >>> b.set_parameters(a.parameters)
        """
        if self._read_only:
            raise TypeError(self._read_only)
        new = checked_parameters(parameters, self._stack.shapes, self.dtype)
        self._weights: Weights = MappingProxyType(new), {}, {}

    def _prepared(self, backend: Backend) -> list[Any]:
        """The weights as `backend` wants them; packed at the first call after a change."""
        parameters, packed, _ = self._weights
        if backend.name not in packed:
            flat = backend.zeros((self._stack.size(backend),), self.dtype)
            self._stack.pack(backend, parameters, flat)
            packed[backend.name] = self._stack.prepare(backend, flat, training=False)
        return packed[backend.name]

    # Computing --------------------------------------------------------------------------------------------

    def __call__(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[np.ndarray, Any]:
        """Run over whole sequences; inference, so nothing is dropped out.

        Parameters
        ----------
        x : array, shape (N, T, D) or (T, D); or list of N arrays of shape (T_i, D)
            NumPy's, or in a GPU's memory: of CuPy, PyTorch, Numba, or any kind with ``__cuda_array_interface__``. A
            ``torch.nn.utils.rnn.PackedSequence`` is taken as the list of its sequences. T and T_i may be 0.
        state : optional
            What an earlier call gave: of an LSTM a tuple ``(h_0, c_0)``, of others ``h_0``, each of shape (layers ·
            directions, N, H), or (layers · directions, H) with one sequence, or a list of arrays (N, H) where layers
            differ in size; zeros by default.
        lengths : int array, shape (N,), in 0..T; optional
            Steps of each sequence, in any order; T by default. Not with a list, which has its own.

        Returns
        -------
        y : array, shape (N, T, H · directions) or (T, H · directions)
            Outputs of the last layer, zeros past each length. Of the kind of `x`, on the same GPU.
        state
            ``(h_n, c_n)`` or ``h_n``: after each sequence's own last step (backward: its first). That of a sequence
            without a step is as it was.

        Raises
        ------
        ValueError, TypeError
            If shapes or dtypes do not fit, or an array is in a GPU's memory and the backend chosen computes elsewhere;
            the message names the parameter.
        BackendUnavailableError
            If the backend asked for is not available.
        """
        if state is None and type(x) is np.ndarray and x.dtype == self.dtype:
            result = self._small_call(x, lengths, backend_for(self.backend))
            if result is not None:
                return result
        batch, backend = self._read(x, state, lengths)
        initial = self._initial(state, batch, backend)
        x_in = batch.resident(backend, self.dtype)
        y, final, _ = self._stack.forward(backend, self._prepared(backend), x_in, initial, batch.steps_to_run)
        batch.clear(y)
        batch.keep(final, initial)
        return batch.outputs(y, backend), self._final(final, batch, backend)

    def _read(self, x: Any, state: Any, lengths: Any, passes: int = 1) -> tuple[PaddedBatch, Backend]:
        """Checked sequences, and the backend for `passes` times the work of a forward pass over them."""
        x = unpacked(x)
        parts = state if isinstance(state, list | tuple) else (state,)
        arrays = [array for array in map(gpu_array_in, (x, *parts)) if array is not None]
        if arrays:
            backend = backend_for(self.backend, array=arrays[0])
            return as_batch(x, lengths, self.input_size, self.dtype, backend), backend
        batch = as_batch(x, lengths, self.input_size, self.dtype)
        work = passes * self._stack.operations(*batch.x.shape[:2])
        return batch, backend_for(self.backend, work=work)

    def _small_call(self, x: np.ndarray, lengths: Any, backend: Backend) -> tuple[np.ndarray, Any] | None:
        """The results of a small call, on arrays that are kept from call to call; None if the call is not small."""
        possible, unequal = self._unequal(x, lengths)
        idle = self.idle_runners(x.shape, backend, unequal is not None) if possible else None
        if idle is None:
            return None
        runner = self.acquire_runner(idle, x.shape, backend, unequal is not None)
        single, y = x.ndim == 2, runner.outputs(x, unequal)
        result = y[0] if single else y, runner.copies(0 if single else None)
        self.release_runner(idle, runner)
        return result

    def _unequal(self, x: np.ndarray, lengths: Any) -> tuple[bool, np.ndarray | None]:
        """Whether a call with these `lengths` may be a small one, and the steps of each sequence if they differ."""
        if lengths is None:
            return True, None
        if x.ndim != 3 or x.shape[2] != self.input_size or 0 in x.shape:
            return False, None
        rows, steps, _ = x.shape
        unequal = check_lengths(lengths, rows, steps, least=0)
        return unequal is None or bool(unequal.all()), unequal

    def idle_runners(self, shape: tuple[int, ...], backend: Backend, unequal: bool = False) -> list[Runner] | None:
        """Runners for inputs of a shape, (N, T, D) or (T, D), that no call uses; None if such calls are not small."""
        return self._idle("call, lengths" if unequal else "call", shape, backend)

    def _idle(self, kind: str, shape: tuple[int, ...], backend: Backend) -> list[Any] | None:
        idle = self._weights[2].get((kind, backend.name, shape))
        return self._small_calls(kind, shape, backend) if idle is None else idle

    def acquire_runner(
        self, idle: list[Runner], shape: tuple[int, ...], backend: Backend, unequal: bool = False
    ) -> Runner:
        """An idle runner, or a new one; it belongs to the caller until `release_runner`."""
        try:
            return idle.pop()
        except IndexError:
            rows, steps = (1, *shape)[-3:-1]
            weights = self._prepared(backend)
            return Runner(self._stack, backend, weights, rows, steps, resume=False, unequal=unequal)

    @staticmethod
    def release_runner(idle: list[Any], runner: Any) -> None:
        """Keep a runner for the next call, unless many are kept."""
        if len(idle) < RUNNERS_KEPT:
            idle.append(runner)

    def _small_calls(self, kind: str, shape: tuple[int, ...], backend: Backend) -> list[Any] | None:
        """The list that keeps idle runners for a shape.

        None if the shape is wrong, its calls are not small, or they are the first ones of medium size.
        """
        stack, kept = self._stack, self._weights[2]
        if len(shape) not in (2, 3) or shape[-1] != stack.input_size or 0 in shape or stack.merges:
            return None
        numbers = stack.numbers(*(1, *shape)[-3:-1])
        if numbers > (MEDIUM if backend.moves else SMALL):
            return None
        of_others = sum(stack.numbers(*(1, *other)[-3:-1]) for _, _, other in list(kept))
        if len(kept) >= SHAPES_KEPT or of_others + numbers > NUMBERS_KEPT:
            kept.clear()
        idle = kept.setdefault((kind, backend.name, shape), [])
        return idle if numbers <= SMALL else None

    def _small_vjp(self, x: np.ndarray, lengths: Any, backend: Backend) -> tuple[np.ndarray, Any, Pullback] | None:
        """As `vjp`, on arrays that are kept from call to call; None if the call is not small."""
        if not backend.records or self._stack.recompute:
            return None
        possible, unequal = self._unequal(x, lengths)
        idle = self._idle("vjp" if unequal is None else "vjp, lengths", x.shape, backend) if possible else None
        if idle is None:
            return None
        try:
            runner = idle.pop()
        except IndexError:
            rows, steps = (1, *x.shape)[-3:-1]
            own = None if unequal is None else unequal.copy()
            runner = GradientRunner(self._stack, backend, self._prepared(backend), rows, steps, own)
        other = partial(_other_vjp, self, x, unequal, self._weights)
        pullback = SmallPullback(runner, x.ndim == 2, partial(self.release_runner, idle), other)
        return *pullback.run(x, unequal), pullback

    def trace(self, x: Any, state: Any = None, lengths: Any = None) -> Trace:
        """Run over whole sequences, and keep what every gate of every layer was at every step.

        Parameters
        ----------
        x, state, lengths
            As in a call.

        Returns
        -------
        Trace
            Gates and states by name, NumPy arrays.

        Raises
        ------
        ValueError, TypeError, BackendUnavailableError
            As a call does.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTM
        >>> trace = LSTM(3, 5, random_state=0).trace(np.ones((7, 3)))
        >>> trace.forget_gate.shape
        (1, 7, 5)
        """
        batch, backend = self._read(x, state, lengths)
        stack = self._stack
        initial = self._initial(state, batch, backend)
        rows, steps, _ = batch.x.shape
        arrays = []
        for spec in stack.specs.values():
            sizes = {gate: spec.hidden_size for gate, _ in spec.description.traces}
            sizes |= dict(zip(stack.state_names[:2], spec.state_sizes, strict=False))
            arrays.append({name: backend.empty((rows, steps, size), self.dtype) for name, size in sizes.items()})
        x_in = batch.resident(backend, self.dtype)
        stack.forward(backend, self._prepared(backend), x_in, initial, batch.steps_to_run, traces=arrays)
        single = batch.form == "single"
        values = {}
        for name in arrays[0]:
            traced = [backend.to_numpy(of_layer[name])[:, : batch.steps] for of_layer in arrays]
            for array in traced:
                batch.clear(array)
            values[STATES.get(name, name)] = stacked([array[0] if single else array for array in traced])
        return Trace(values, np.full(rows, steps) if batch.lengths is None else batch.lengths)

    def vjp(
        self, x: Any, state: Any = None, lengths: Any = None, *, training: bool = False, rng: Any = None
    ) -> tuple[np.ndarray, Any, Pullback]:
        """Run, and return the function that takes gradients back.

        Parameters
        ----------
        x, state, lengths
            As in a call. `x` is not copied: leave it as it is until the last use of `pullback`.
        training : bool, default False
            Whether dropout and zoneout apply.
        rng : int, numpy.random.Generator or None, default None
            Where masks come from; the same seed gives the same masks on every backend.

        Returns
        -------
        y, state
            As from a call.
        pullback : callable
            ``dx, dstate_0, dparameters = pullback(dy, dstate=None)`` with the gradient of a scalar loss with respect
            to y and, optionally, to the state, in its form; `dy` may be None for zeros, and so may each part of
            `dstate`. `dx` has the form and the kind of `x`; `dparameters` are NumPy arrays, with the names and shapes
            of `parameters`. It may be called often; threads that call it at once wait for one another.

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
        if not training and state is None and type(x) is np.ndarray and x.dtype == self.dtype:
            result = self._small_vjp(x, lengths, backend_for(self.backend))
            if result is not None:
                return result
        return self._vjp(x, state, lengths, training, rng)

    def _vjp(self, x: Any, state: Any, lengths: Any, training: bool, rng: Any) -> tuple[np.ndarray, Any, Pullback]:
        """As `vjp`, for calls of any size."""
        batch, backend = self._read(x, state, lengths, passes=3)
        stack = self._stack
        initial = self._initial(state, batch, backend)
        weights, seed, mask = self._prepared(backend), None, None
        if check_flag(training, "training") and stack.random:
            generator = check_rng(rng, "rng")
            seed = int(generator.integers(2**64, dtype=np.uint64))
            if stack.weight_dropout:
                weights, mask = self._with_dropped_weights(backend, generator)
        x_in = batch.resident(backend, self.dtype)
        y, final, tapes = stack.forward(backend, weights, x_in, initial, batch.steps_to_run, seed=seed, training=True)
        batch.clear(y)
        batch.keep(final, initial)
        turn = new_lock()  # the way back writes to the memory of tapes

        def pullback(dy: Any, dstate: Any = None) -> tuple[Any, Any, dict[str, np.ndarray]]:
            single = batch.form == "single"
            shape = len(batch.x), batch.steps, stack.output_size
            dy_in = _gradient(dy, "dy", shape[1:] if single else shape, self.dtype, backend)
            dy_in = dy_in[None] if single and dy_in is not None else dy_in
            dy_in = None if dy_in is None or not batch.steps else batch.cleared(dy_in, backend)
            dfinal = self._final_gradients(dstate, batch, backend)
            dfinal_in = [[None if d is None else batch.cleared(d, backend) for d in states] for states in dfinal]
            gradient = backend.empty((stack.size(backend),), self.dtype)
            parts = stack.split(backend, gradient)
            with turn:
                dx, dinitial = stack.backward(
                    backend, weights, tapes, batch.x.shape[:2], dy_in, dfinal_in, parts, seed=seed,
                    input_shape=batch.x.shape,
                )  # fmt: skip
                batch.keep(dinitial, dfinal)
                dx_out, dstate_0 = batch.restored(dx, backend), self._final(dinitial, batch, backend)
            if mask is not None:
                gradient = backend.multiply(gradient, mask)
            return dx_out, dstate_0, stack.unpack(backend, gradient)

        return batch.outputs(y, backend), self._final(final, batch, backend), pullback

    def _with_dropped_weights(self, backend: Backend, rng: np.random.Generator) -> tuple[list[Any], Array]:
        """Weights with some recurrent ones dropped, and the mask that multiplied them."""
        stack = self._stack
        flat, mask = (backend.zeros((stack.size(backend),), self.dtype) for _ in range(2))
        stack.pack(backend, self.parameters, flat)
        stack.weight_mask(backend, rng, mask)
        return stack.prepare(backend, backend.multiply(flat, mask), training=False), mask

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
            raise ValueError("stream() needs bidirectional=False, got True: the last step of a stream is not known")
        backend = backend_for(self.backend)
        return Stream(self._stack, backend, self._prepared(backend), check_integer(batch_size, "batch_size", 1))

    # States -----------------------------------------------------------------------------------------------

    def _initial(self, state: Any, batch: PaddedBatch, backend: Backend) -> list[list[Array | None]] | None:
        """Checked initial states of each layer and direction, resident."""
        if state is None:
            return None
        names = [f"{name}_0" for name in self._stack.state_names]
        return self._states(state, "state", names, batch, backend)

    def _final_gradients(self, dstate: Any, batch: PaddedBatch, backend: Backend) -> list[list[Array | None]]:
        """Checked gradients of the final states, resident, for each layer and direction."""
        names = [f"d{name}_n" for name in self._stack.state_names]
        if dstate is None:
            return [[None] * len(names) for _ in self._stack.specs]
        return self._states(dstate, "dstate", names, batch, backend, optional=True)

    def _states(
        self, value: Any, name: str, names: Sequence[str], batch: PaddedBatch, backend: Backend, optional: bool = False
    ) -> list[list[Array | None]]:
        """The states that a user gives, checked, for each layer and direction."""
        single = batch.form == "single"
        rows = () if single else (len(batch.x),)
        specs = list(self._stack.specs.values())
        by_layer: list[list[Array | None]] = [[] for _ in specs]
        of_states = [value] if len(names) == 1 else check_tuple(value, name, names)
        for k, (given, part) in enumerate(zip(of_states, names, strict=True)):
            shapes = [(*rows, spec.state_sizes[k]) for spec in specs]
            if given is None and optional:
                arrays: list[Any] = [None] * len(specs)
            else:
                arrays = of_layers(given, f"{name}: {part}", shapes, self.dtype, backend)
            for states, array in zip(by_layer, arrays, strict=True):
                array = array[None] if single and array is not None else array
                states.append(None if array is None else resident(array, backend, self.dtype))
        return by_layer

    def _final(self, states: Sequence[Sequence[Array]], batch: PaddedBatch, backend: Backend) -> Any:
        """States of all layers and directions, in the form that a user gets."""
        of_states = [batch.stacked(arrays, backend) for arrays in zip(*states, strict=True)]
        return of_states[0] if len(of_states) == 1 else tuple(of_states)


def _gradient(value: Any, name: str, shape: tuple[int, ...], dtype: str, backend: Backend) -> Array | None:
    """A checked gradient, resident, or None for zeros."""
    if value is None:
        return None
    array = as_array(value, name, dtype, backend)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return resident(array, backend, dtype)


def _other_vjp(layer: Layer, x: np.ndarray, lengths: np.ndarray | None, weights: Weights) -> Pullback:
    """The pullback of `vjp` with weights that the layer has had, for gradients of any kind."""
    before = on_backend(layer, layer.backend)
    before._weights = weights
    return before._vjp(x, None, lengths, False, None)[2]


def layer_of(kind: type[Layer], stack: Stack, parameters: Mapping[str, Any], shown: Mapping[str, Any],
             backend: str | None, read_only: str = "") -> Layer:  # fmt: skip
    """The layer that a stack and its parameters describe, as after training.

    `shown` are its options; `read_only` says why its parameters cannot be set, if they cannot.
    """
    layer = object.__new__(kind)
    layer._stack, layer.backend, layer._shown = stack, backend, dict(shown)
    layer.set_parameters(parameters)
    layer._read_only = read_only
    return layer


def on_backend(layer: Layer, backend: str | None) -> Layer:
    """The same layer, with the same weights, for another backend."""
    other = object.__new__(type(layer))
    other.__dict__.update(layer.__dict__)
    other.backend = backend
    return other
