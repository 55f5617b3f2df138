"""The contract between layers and backends.

Shapes: ``N`` sequences, ``T`` steps, ``D`` inputs, ``H`` hidden units; a state of length ``S`` (H, or the size of
a projection). Arrays are resident on the backend, of dtype float32 or float64; their last axis is contiguous, other
axes may have any stride.

- Gradients are of the scalar loss that is returned; they overwrite, callers accumulate.
- Outputs never alias inputs, but a tape refers to the ``x`` it was made from until `sequence_backward`.
- Results of a sequence depend on that sequence alone: not on its place in the batch, nor on the number of
  threads. Sums over the batch are taken in the batch's order. Where products come from a library, as on GPUs,
  the last bits may depend on the shape of the batch; the same call gives the same bits.
- Callers have checked shapes and values; a backend raises only the two errors below.

Randomness
----------
What is dropped depends on a seed alone: unit ``u`` of row ``n`` at step ``t`` (of x, in either
direction; 0 where there is one mask a sequence) is dropped with probability p where ``hash(u) < floor(2**32 p)``. In
unsigned integers of 64 bits, with ``G = 0x9E3779B97F4A7C15``, the row's key is ``k = mix(seed)`` and then ``k = mix(k +
G * (word + 1))`` for the words ``stream``, ``t`` and ``n``, with the mixing function of SplitMix64 (Steele et al.
2014)::

    mix(z): z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB; z ^= z >> 31

In 32 bits, a being the low and b the high half of k::

    hash(u): v = u * 0x9E3779B1 + a; v ^= v >> 16; v *= 0x7FEB352D; v ^= v >> 15; v ^= b; v *= 0x846CA68B; v ^= v >> 16

The stream is ``8 * layer + kind``: the layer counts layers and directions, the kind is one of `STREAMS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import cells
from ..concurrency import cached_property
from .equations.optimizers import clip_scale

Array = Any
States = Sequence[Array | None]

FORKED = (
    "this process was forked from one that used CUDA, which does not survive that; start processes by 'spawn' or "
    "'forkserver', or choose backend='cpu'"
)

COMPUTE_DTYPES = ("tf32", "float16", "bfloat16", "int8")

# Kinds of masks; that of the zoneout of state k is zoneout + k.
STREAMS = {"dropout": 0, "recurrent_dropout": 1, "candidate_dropout": 2, "zoneout": 3}


class BackendUnavailableError(RuntimeError):
    """The backend that was asked for cannot run here; the message says why, and what to do."""


class UnsupportedError(NotImplementedError):
    """The backend does not support an option; the message names both."""


class Lookup(NamedTuple):
    """An input (N, T, D) whose vectors are rows of a table.

    Attributes
    ----------
    table : array, shape (V, D)
    rows : int64 NumPy array, shape (N, T)
        Which row each vector is, below V; negative for a vector of zeros.
    """

    table: Array
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, T and D."""
        rows, steps = self.rows.shape
        return rows, steps, self.table.shape[1]


@dataclass(frozen=True)
class LayerSpec:
    """One layer in one direction: what a backend needs to know to pack its parameters, and to compute.

    Attributes
    ----------
    cell : str
        Name of a registered cell.
    input_size, hidden_size : int
        D and H.
    bias : bool
        Whether the two bias vectors exist.
    dtype : str
        ``"float32"`` or ``"float64"``.
    options : tuple of (str, value)
        Options of the cell that are not at their defaults, sorted by name.
    layer_norm : bool
        Whether every pre-activation is normalised over the hidden units (Ba et al. 2016), for each row and step.
    recurrent_dropout : float in [0, 1)
        Share that is zeroed in training of every vector that ``weight_hh`` multiplies: one mask a sequence (Gal &
        Ghahramani 2016). The rest is scaled up.
    candidate_dropout : float in [0, 1)
        Share of what a cell would add to its memory that is zeroed in training, at every step (Semeniuta et al. 2016).
    compute_dtype : {"tf32", "float16", "bfloat16", "int8"} or None
        What the factors of all products are rounded to, also on the way back through weights; sums and everything else
        stay in `dtype`, and the factors of weight gradients may. `reference.rounded` says it for "bfloat16". With
        "int8" each vector and each row of weights has a step of its own, and there are no gradients:
        `reference.quantised` has the rule.
    zoneout : tuple of float in [0, 1), for the first states, or empty
        Share of the units of a state that keep their old value at a step of training (Krueger et al. 2017); elsewhere
        the old and the new are mixed in that proportion.
    """

    cell: str
    input_size: int
    hidden_size: int
    bias: bool = True
    dtype: str = "float32"
    options: cells.Options = ()
    layer_norm: bool = False
    recurrent_dropout: float = 0.0
    candidate_dropout: float = 0.0
    zoneout: tuple[float, ...] = ()
    compute_dtype: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # no cached values

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, field.name) for field in fields(self)))

    @cached_property
    def description(self) -> cells.Cell:
        """The cell with its options, and with normalisation and masks."""
        return cells.describe(
            self.cell, self.options, layer_norm=self.layer_norm, recurrent_dropout=self.recurrent_dropout,
            candidate_dropout=self.candidate_dropout, zoneout=self.zoneout,
        )  # fmt: skip

    @cached_property
    def state_sizes(self) -> tuple[int, ...]:
        """Length of every state of a row."""
        return tuple(map(self.size, self.description.state_sizes))

    def size(self, name: str) -> int:
        """The number that a cell calls ``"input"``, ``"hidden"`` or ``"projected"``."""
        if name == "projected":
            return int(dict(self.options)["proj_size"])
        return self.input_size if name == "input" else self.hidden_size

    @cached_property
    def used(self) -> dict[str, np.ndarray]:
        """For every parameter a mask of the numbers that the cell uses."""
        masks = {name: np.zeros(shape, bool) for name, shape in self.shapes.items()}
        for phase in self.description.phases:
            units = self.size(phase.size)

            def mark(name: str | None, row: int, columns: slice = slice(None), units: int = units) -> None:
                if name in masks:
                    part = masks[name].reshape(len(masks[name]), -1)[row * units : (row + 1) * units]
                    part[:, columns] = True

            for product in phase.products:
                width = self.size(self.description.source_size(product.source))
                for row in product.rows:
                    mark(product.weight, row, slice(product.column * width, (product.column + 1) * width))
                    mark(product.bias, row)
            for _, name, row in phase.parameters:
                mark(name, row)
            for row in phase.norm:
                mark("layer_norm_weight", row)
                mark("layer_norm_bias", row)
        return masks

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, by PyTorch's name where it has one; row blocks follow the cell's gates."""
        shapes = {}
        for parameter in self.description.parameters:
            if self.bias or not parameter.optional:
                rows = (parameter.blocks * self.size(parameter.size),)
                columns = (parameter.column_blocks * self.size(parameter.columns),) if parameter.columns else ()
                shapes[parameter.name] = rows + columns
        return shapes


@dataclass(frozen=True)
class AffineSpec:
    """An affine map ``y = weight x + bias``: parameters ``weight`` (output_size, input_size) and ``bias``."""

    input_size: int
    output_size: int
    dtype: str = "float32"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter."""
        return {"weight": (self.output_size, self.input_size), "bias": (self.output_size,)}


POOLINGS = ("mean", "max", "attention")


@dataclass(frozen=True)
class PoolSpec:
    """A map from the vectors of the steps of a sequence to one vector.

    Attributes
    ----------
    kind : {"mean", "max", "attention"}
        Attention is a mean with weights ``softmax(tanh(weight · y_t + bias))`` over the steps t (Raffel & Ellis 2015,
        "Feed-Forward Networks with Attention Can Solve Some Long-Term Memory Problems", eq. 6-9).
    features : int
        Length of the vectors.
    dtype : str
    """

    kind: str
    features: int
    dtype: str = "float32"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter; there are none but with attention."""
        return {"weight": (self.features,), "bias": (1,)} if self.kind == "attention" else {}


@dataclass(frozen=True)
class EmbeddingSpec:
    """Tables of vectors, one for each kind of token; the vectors of a step stand side by side.

    Attributes
    ----------
    tables : tuple of (int, int)
        Tokens, and numbers of a vector, of each table.
    frozen : tuple of bool
        Whether a table stays as it is: its gradient is zero.
    dtype : str
    """

    tables: tuple[tuple[int, int], ...]
    frozen: tuple[bool, ...]
    dtype: str = "float32"

    @property
    def output_size(self) -> int:
        """Numbers of a step."""
        return sum(size for _, size in self.tables)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter."""
        return {f"embedding_{k}": table for k, table in enumerate(self.tables)}

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """Of each table where it starts in a flat vector, the column of its vectors, and their numbers."""
        starts = np.cumsum([0, *(count * size for count, size in self.tables)]).tolist()
        columns = np.cumsum([0, *(size for _, size in self.tables)]).tolist()
        return [(start, column, size) for start, column, (_, size) in zip(starts, columns, self.tables, strict=False)]


LOSSES = ("softmax", "binary", "squared", "absolute", "huber", "pinball")
SCORES = {"gaussian": 2, "student_t": 3, "negative_binomial": 2}  # of each target
LIKELIHOODS = "quantiles", *SCORES


@dataclass(frozen=True)
class LossSpec:
    """A loss of scores s (M, K) with targets t; the loss of a row is summed over its K scores.

    Attributes
    ----------
    kind : {"softmax", "binary", "squared", "absolute", "huber", "pinball", "quantiles", "gaussian", "student_t", \
        "negative_binomial"}
        - softmax: ``log(sum(exp(s))) - s[t]``, targets (M,) are class indices: the cross-entropy;
        - binary: ``log(1 + exp(s)) - t s``, targets (M, K) in [0, 1]: the cross-entropy of K independent labels;
        - squared: ``(s - t)²``;
        - absolute: ``|s - t|``, with gradient 0 at 0;
        - huber: ``e²/2`` where ``|e| <= parameter``, else ``parameter (|e| - parameter/2)``, with e = s - t;
        - pinball: ``parameter (t - s)`` where ``t > s``, else ``(1 - parameter) (s - t)``, with gradient 0 at s = t:
          least at the quantile of that level.
        One target, whose distribution has the row's scores as parameters; targets are (M, `numbers`):

        - quantiles: the sum of the pinball losses of quantiles at `levels`, which cannot cross: the middle one, number
          K // 2, is its score, each other lies softplus of its score beyond its neighbour;
        - gaussian: ``-log p(t)`` for a normal distribution, with scores (mean, raw scale);
        - student_t: the same for Student's t, with scores (location, raw scale, raw degrees of freedom);
        - negative_binomial: the same for a count, with scores (raw mean, raw dispersion); targets are the count and its
          exposure, which the mean is multiplied by.
    parameter : float
        Of Huber's loss and the pinball loss.
    levels : tuple of float
        Of quantiles, growing.
    """

    kind: str
    parameter: float = 0.0
    levels: tuple[float, ...] = ()

    @property
    def scores(self) -> int:
        """Scores for each target of a regression."""
        return len(self.levels) or SCORES.get(self.kind, 1)

    @property
    def numbers(self) -> int:
        """Numbers that describe a target."""
        return 2 if self.kind == "negative_binomial" else 1


SEQUENCE_LOSSES = ("ctc", "crf")
LEAST_PARAMETER = -1e9  # of a CRF, as engines read it: exp of it is 0, and sums with it still keep seven digits


@dataclass(frozen=True)
class SequenceLossSpec:
    """What is lost by scores s (T, K) of the steps of a sequence where a row of labels is wanted: -log p(labels | s).

    Attributes
    ----------
    kind : {"ctc", "crf"}
        - ctc: connectionist temporal classification (Graves et al. 2006, eq. 2-16). Each step says a label or the
          blank, with probabilities softmax(s[t]); a path reads as its labels without repetitions, then without blanks.
          The probability of labels is the sum over all paths that read so.
        - crf: a linear-chain conditional random field (Lafferty et al. 2001). A path y has one label for each step and
          the score ``start[y[0]] + sum(s[t, y[t]]) + sum(transitions[y[t-1], y[t]]) + end[y[T-1]]``; its probability is
          the softmax over all K^T paths. A step without a label may have any: the sum over all paths that agree.
          With a weight w[t] for each step it is ``-sum(w[t] * log p(y[t] | y[:t], s))``, where p is this quotient: the
          sum over all paths that agree with the labels of the first t steps by that of t - 1 steps. At a step without
          a label it is 1, so the step's weight does not matter. Parameters below -1e9, as -inf, count as -1e9.
    outputs : int
        K: with CTC the labels and the blank.
    blank : int
        Of CTC: which of the K scores is the blank's.
    """

    kind: str
    outputs: int
    blank: int = 0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter; CTC has none."""
        labels = self.outputs
        return {"transitions": (labels, labels), "start": (labels,), "end": (labels,)} if self.kind == "crf" else {}


def check_row_weights(spec: SequenceLossSpec, row_weights: np.ndarray) -> None:
    """Only a CRF takes weights of steps.

    Raises
    ------
    UnsupportedError
        If they are for another loss.
    """
    if row_weights.ndim > 1 and spec.kind != "crf":
        raise UnsupportedError(f"weights of steps need a loss of kind 'crf', got {spec.kind!r}: pass one for each row")


def weights_of_steps(row_weights: np.ndarray, steps: int, out: np.ndarray | None = None) -> np.ndarray:
    """The weight of each step (N, T), in `out` if it is given, where rows may have one for all steps."""
    out = np.empty((len(row_weights), steps)) if out is None else out
    out[...] = row_weights if row_weights.ndim > 1 else row_weights[:, np.newaxis]
    return out


Seed = int | np.ndarray
Spec = LayerSpec | AffineSpec | PoolSpec | EmbeddingSpec | SequenceLossSpec


@dataclass(frozen=True, slots=True)
class Noise:
    """The seed of the masks of a layer.

    Attributes
    ----------
    seed : int or array of uint64, shape ()
        From 0 to 2**64 - 1. What `record` has noted reads an array anew each time.
    layer : int
        Number of the layer and direction.
    """

    seed: Seed
    layer: int


class Backend(ABC):
    """What every backend does. The default methods serve backends whose resident arrays are NumPy arrays."""

    name: str
    looks_up: bool = False  # whether `sequence_forward` takes a `Lookup`
    records: bool = False  # whether `record` notes steps
    moves: bool = False  # whether `mover` puts arrays in the places of others

    @property
    def compute_dtypes(self) -> tuple[str, ...]:
        """The values of `compute_dtype`, besides None, that layers can have here."""
        return ()

    # Arrays -----------------------------------------------------------------------------------------------

    def to_device(self, array: np.ndarray, dtype: str) -> Array:
        """A resident array with the values of `array`: `array` itself, if it is one already."""
        if array.dtype != dtype:
            array = array.astype(dtype)
        return array if array.strides[-1:] in ((array.itemsize,), ()) else np.ascontiguousarray(array)

    def upload(self, array: np.ndarray, dtype: str) -> Array:
        """As `to_device`, for arrays that are read once: the result may be used until the second upload after it.

        `array` may change as soon as the functions that were given the result have returned, even if they compute
        later.
        """
        return self.to_device(array, dtype)

    def adopt(self, array: Any, name: str, dtype: str) -> tuple[Array, Callable[[Array], Any]]:
        """Take an array that is in a GPU's memory already, without a copy to the host.

        Parameters
        ----------
        array
            CuPy's, PyTorch's, Numba's or any other with ``__cuda_array_interface__``, or a resident one.
        name : str
            What users call it, for errors.
        dtype : str

        Returns
        -------
        resident : array
            Of that dtype; it may be a view of `array`.
        give : callable
            Makes resident arrays what users get who passed such an array, without a copy.

        Raises
        ------
        TypeError
            If this backend computes elsewhere, or the array holds anything but real numbers.
        ValueError
            If it is on another GPU.
        """
        kind = f"{type(array).__module__.partition('.')[0]}.{type(array).__name__}"
        raise TypeError(
            f"{name} must be in the host's memory for backend {self.name!r}, got a {kind} in a GPU's: copy it to the "
            "host, or choose backend='cuda'"
        )

    def wait(self) -> None:  # noqa: B027 - most have nothing to wait for
        """Return when all that was asked for has been computed."""

    def warm_up(self, dtype: str, compute_dtype: str | None) -> None:  # noqa: B027 - most compile the same for all sizes
        """Compile what calls of other sizes need, of models with these types."""

    def record(self, step: Callable[[], float]) -> tuple[float, Callable[[], float] | None]:
        """Run a step of training, and note what it does.

        Parameters
        ----------
        step : callable
            Returns a loss that `loss` gave, or 0. It reads and writes the same arrays each time, that of lengths among
            them, and those of seeds. Between the calls of this backend it does nothing that depends on numbers.

        Returns
        -------
        loss : float
        repeat : callable or None
            Does the same again, with what the arrays hold then, and returns the loss. None where nothing is noted.
        """
        return step(), None

    def mover(self, calls: Sequence[Callable[[], Any]], array: Array) -> Callable[[np.ndarray], None] | None:
        """A function that puts another array in the place of one that calls read or write.

        `calls` are those of `runner` and `record` that know the array. The other is a NumPy array of the same size and
        dtype, C-contiguous, and stays with the calls until the next one takes its place. None where that cannot be.
        """
        return None

    def watching_weight_gradients(self, timed: Callable[[Callable], Callable]) -> AbstractContextManager[None]:
        """Inside of this context, what sums the gradients of recurrent weights goes through `timed`.

        Only where that is a part of `sequence_backward` of its own; elsewhere nothing changes.
        """
        return nullcontext()

    def peak(self, dtype: str) -> float | None:
        """Floating-point operations of `dtype` that a second has at most, measured now; None if nobody knows."""
        return None

    def to_numpy(self, array: Array) -> np.ndarray:
        """A NumPy array with the values of a resident `array`."""
        return np.asarray(array)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A resident array, not initialised."""
        return np.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A resident array of zeros."""
        return np.zeros(shape, dtype)

    def add(self, out: Array, value: Array) -> None:
        """``out += value``."""
        np.add(out, value, out=out)

    def multiply(self, a: Array, b: Array | float) -> Array:
        """A new array ``a * b`` of the dtype of `a`; `b` is an array of its shape, or a number."""
        return np.multiply(a, b, dtype=a.dtype)

    @abstractmethod
    def dropout(self, x: Array, probability: float, noise: Noise, *, per_step: bool) -> Array:
        """A new array, x (N, T, F) with units dropped and the others divided by ``1 - probability``.

        The mask is of the stream "dropout"; without `per_step` it is that of step 0 at all steps. It serves on the
        way back too.
        """

    def concatenate(self, arrays: Sequence[Array]) -> Array:
        """A new array, `arrays` side by side along the last axis."""
        return np.concatenate(arrays, axis=-1)

    def take_channels(self, x: np.ndarray, channels: Sequence[int], dtype: str) -> np.ndarray:
        """Some channels of x (N, T, C), an array of NumPy, as a new C-contiguous one."""
        return np.ascontiguousarray(x[:, :, list(channels)], dtype)

    def repeat_rows(self, x: np.ndarray, count: int) -> np.ndarray:
        """A new array with each row of x, an array of NumPy, `count` times."""
        return np.repeat(x, count, axis=0)

    def assign(self, out: Array, value: Array) -> None:
        """Overwrite `out` with an array of its shape."""
        out[...] = value

    def take_rows(self, x: Array, rows: np.ndarray) -> Array:
        """A new array with some rows of x (M, F); `rows` are int64 numbers of rows."""
        return x.take(rows, axis=0)

    def add_rows(self, out: Array, rows: np.ndarray, value: Array) -> None:
        """Add the rows of `value` to the rows of `out` (M, F) that have the numbers `rows`, each at most once."""
        out[rows] += value

    # Parameters as flat vectors, in an order of the backend's own -----------------------------------------

    def size(self, spec: Spec) -> int:
        """Length of the flat vector that holds the parameters of `spec`."""
        return sum(prod(shape) for shape in spec.shapes.values())

    def pack(self, spec: Spec, parameters: Mapping[str, np.ndarray], flat: Array) -> None:
        """Write named `parameters` to `flat`, a resident vector of `size(spec)`."""
        start = 0
        for name, shape in spec.shapes.items():
            flat[start : start + prod(shape)] = parameters[name].ravel()
            start += prod(shape)

    def unpack(self, spec: Spec, flat: Array) -> dict[str, np.ndarray]:
        """The named parameters (or their gradients) in `flat`, as new arrays."""
        parameters, start = {}, 0
        for name, shape in spec.shapes.items():
            parameters[name] = np.array(flat[start : start + prod(shape)]).reshape(shape)
            start += prod(shape)
        return parameters

    def unpacker(self, spec: Spec, flat: Array) -> Callable[[], dict[str, np.ndarray]]:
        """What unpacks `flat`; made while a step is noted, it does so again after each repeat."""
        return partial(self.unpack, spec, flat)

    def weight_of(self, spec: AffineSpec, flat: Array) -> Array:
        """The matrix ``weight`` (output_size, input_size) in the flat vector of an affine map; a copy, or a view."""
        return self.unpack(spec, flat)["weight"]

    def set_weight(self, spec: AffineSpec, flat: Array, weight: Array) -> None:
        """Write the resident matrix ``weight`` to the flat vector of an affine map."""
        self.pack(spec, {"weight": weight, "bias": self.unpack(spec, flat)["bias"]}, flat)

    @abstractmethod
    def prepare(self, spec: Spec, flat: Array, training: bool = False) -> Any:
        """The `weights` for the functions below: a view of `flat`, with values derived from it.

        Without `training` any number of threads may use it, as long as `flat` does not change. With `training` it
        belongs to one caller, who calls `refresh` after each change of `flat`. Its buffers are reused: results of a
        function, tapes too, are valid until the next call of that function with these weights.
        """

    @abstractmethod
    def refresh(self, weights: Any) -> Any:
        """The weights to use, instead of `weights`, now that the flat vector has changed."""

    # Recurrent layers -------------------------------------------------------------------------------------

    @abstractmethod
    def sequence_forward(
        self,
        weights: Any,
        x: Array,
        initial: States,
        outputs: States,
        *,
        lengths: np.ndarray | None = None,
        reverse: bool = False,
        training: bool = False,
        recompute: bool = False,
        noise: Noise | None = None,
        traces: Mapping[str, Array] | None = None,
    ) -> tuple[tuple[Array, ...], Any]:
        """Run a layer over whole sequences.

        Parameters
        ----------
        weights
            From `prepare`.
        x : array, shape (N, T, D)
            Or, where the backend `looks_up`, a `Lookup`, if `training` and the weights are prepared for it; not with a
            `compute_dtype`.
        initial : sequence of array of shape (N, S), or None for zeros
            One for each state of the cell.
        outputs : sequence of array of shape (N, T, S), or None
            One for each state; filled with that state after every step, zeros past a row's length.
        lengths : int64 array of shape (N,), in 1..T; optional
            Steps of each row; all `T` by default.
        reverse : bool
            Start at each row's last step and go back to its first.
        training : bool
            Whether to keep what `sequence_backward` needs.
        recompute : bool
            Whether to keep as little as possible of it, and compute the rest again on the way back.
        noise : Noise, optional
            Where masks come from; without it nothing is dropped, and zoneout mixes.
        traces : mapping of str to array of shape (N, T, H), optional
            Filled with the gates of that name (of ``spec.description.traces``) at every step, zeros past a row's
            length.

        Returns
        -------
        final : tuple of array, shape (N, S)
            Every state after each row's own last step (in the order of computing).
        tape
            Opaque; None unless `training`.
        """

    @abstractmethod
    def sequence_backward(
        self,
        weights: Any,
        tape: Any,
        doutputs: States,
        dfinal: States,
        gradient: Array,
        dx: Array | None = None,
    ) -> tuple[Array, ...]:
        """Back-propagate through time.

        Parameters
        ----------
        weights, tape
            As given to, and by, `sequence_forward`.
        doutputs : sequence of array of shape (N, T, S), or None for zeros
            Gradient with respect to every state at every step; what lies past a row's length is ignored.
        dfinal : sequence of array of shape (N, S), or None for zeros
        gradient : array, shape (size,)
            Overwritten with the gradient of the flat parameter vector; zeros for what the cell does not use.
        dx : array, shape (N, T, D), optional
            Overwritten with the gradient of `x`, zeros past a row's length; of a `Lookup` with that of its table,
            (V, D).

        Returns
        -------
        dinitial : tuple of array, shape (N, S)
        """

    def runner(
        self,
        weights: Any,
        x: Array,
        states: Sequence[Array],
        y: Array | None = None,
        *,
        reverse: bool = False,
        resume: bool = True,
        lengths: np.ndarray | None = None,
    ) -> Callable[[], None]:
        """A function that runs over a sequence, each time it is called, on the same arrays.

        It reads x (N, T, D), and `lengths` (N,) if there are some, and overwrites the `states`, each (N, S). It begins
        with these states if `resume`, else with zeros. It writes the first state at every step to `y` (N, T, S), if
        there is one. One thread at a time may call it.
        """
        none = [None] * len(states)

        def run() -> None:
            start = states if resume else none
            final, _ = self.sequence_forward(weights, x, start, [y, *none[1:]], lengths=lengths, reverse=reverse)
            for state, new in zip(states, final, strict=True):
                state[...] = new

        return run

    def step_runner(
        self, weights: Sequence[Any], x: Array, states: Sequence[Array], y: Array, *, residual: bool
    ) -> Callable[[], None] | None:
        """A function that takes a step of layers on top of one another, each time it is called, on the same arrays.

        It reads x (N, 1, D), begins with the `states` and overwrites them: each is one piece of memory that holds that
        state of all layers, each (N, S). It writes the output of the last layer to `y` (N, 1, S). If `residual`, every
        layer but the first adds its input to its output. None where runners of the layers do it as well.
        """
        return None

    def jit_step(self, weights: Sequence[Any], rows: int, *, residual: bool) -> Any:
        """A step of layers on top of one another for functions that Numba compiles; see `numlstm.layers.Stream`.

        Raises
        ------
        UnsupportedError
            If functions of the host cannot call this backend.
        """
        raise UnsupportedError(f"jit_step needs backend 'cpu', got {self.name!r}: compiled functions run on the CPU")

    # Pooling, affine maps, losses, optimizers -------------------------------------------------------------

    @abstractmethod
    def pool_forward(self, weights: Any, y: Array, lengths: np.ndarray | None) -> tuple[Array, Any]:
        """Pool vectors y (N, T, F) over each row's own steps, 1..T; what lies past a row's length is ignored.

        Returns
        -------
        pooled : array, shape (N, F)
        tape
            For `pool_backward`, with the same `y` and `lengths`; its dtype is the backend's choice. Of a mean, with or
            without attention, it is the weight of each step, (N, T), zeros past a row's length; of a maximum the step
            it was found at, (N, F), the first of equals. NaN is a maximum.
        """

    @abstractmethod
    def pool_backward(
        self, weights: Any, y: Array, lengths: np.ndarray | None, tape: Any, dpooled: Array, gradient: Array
    ) -> Array:
        """Overwrite `gradient` with that of the parameters, and return that of `y`, zeros past a row's length."""

    @abstractmethod
    def activity_loss(
        self, y: Array, lengths: np.ndarray | None, size: float, change: float
    ) -> tuple[float | Any, Array]:
        """Penalty on what a layer gives, y (N, T, F), and its gradient (N, T, F), zeros past a row's length.

        ``size * mean(y[t]²) + change * mean((y[t] - y[t-1])²)`` (Merity et al. 2018, section 4.5): a mean over the F
        units of all steps of all rows, and one over all steps but the first of each row (0 where there is none). The
        penalty is a float, or an object as `loss` returns it.
        """

    @abstractmethod
    def embed(self, weights: Any, tokens: np.ndarray) -> Array:
        """Vectors (M, E) of tokens (M, F), a column for each table; those of negative tokens are zeros.

        Tokens are int64, and less than the tokens of their table.
        """

    @abstractmethod
    def embed_backward(self, weights: Any, tokens: np.ndarray, dy: Array, gradient: Array) -> None:
        """Overwrite `gradient` with that of the tables: sums over M in its order, whatever the threads."""

    @abstractmethod
    def affine_forward(self, weights: Any, x: Array) -> Array:
        """``x @ weight.T + bias``: (N, input_size) to (N, output_size)."""

    @abstractmethod
    def affine_backward(self, weights: Any, x: Array, dy: Array, gradient: Array) -> Array:
        """Overwrite `gradient` with that of the parameters, and return the gradient of `x`."""

    @abstractmethod
    def loss(
        self, spec: LossSpec, scores: Array, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[float | Any, Array]:
        """The sum over rows of ``weights[m] * loss(scores[m], targets[m])``, and its gradient.

        Parameters
        ----------
        spec : LossSpec
        scores : array, shape (M, K)
        targets : NumPy array
            As `spec` says: (M,) int64 class indices, or (M, K) or (M, `spec.numbers`) in the dtype of `scores`.
        weights : float64 NumPy array, shape (M,), not negative
            To average, divide them. Rows of weight 0 are ignored, even if their scores or targets are NaN. In any
            other row, NaN shows in the loss, and in the gradient of that score.

        Returns
        -------
        loss : float
            Computed in float64; or an object that becomes one by ``float``, and in sums and products with numbers. So
            a backend need not wait for the result until it is read.
        gradient : array, shape (M, K)
        """

    @abstractmethod
    def sequence_loss(
        self,
        weights: Any,
        scores: Array,
        lengths: np.ndarray | None,
        targets: np.ndarray,
        row_weights: np.ndarray,
        gradient: Array,
    ) -> tuple[float | Any, Array]:
        """The sum over rows of ``row_weights[n] * loss(scores[n], targets[n])``, and its gradient.

        Parameters
        ----------
        weights
            From `prepare`, of a `SequenceLossSpec`.
        scores : array, shape (N, T, K)
        lengths : int64 array of shape (N,), in 1..T; optional
        targets : int64 NumPy array, shape (N, L)
            Of CTC the labels of each row, none of them the blank, then -1 (L may be 0); of a CRF L is T, a label for
            each step, -1 for any.
        row_weights : float64 NumPy array, shape (N,) or, of a CRF, (N, T), not negative
            Of rows; or of their steps, as `SequenceLossSpec` has them, which are not read past a row's length. Rows
            where all weights are 0 are ignored, whatever their scores and targets are.
        gradient : array, shape (size,)
            Overwritten with the gradient of the flat parameter vector.

        Returns
        -------
        loss : float
            As `loss` gives it. Infinite if no path of a row reads as its labels; that row's gradient is zero. A row
            with a score of NaN or infinity has a loss and a gradient of NaN.
        gradient : array, shape (N, T, K)
            Zeros past a row's length.

        Raises
        ------
        UnsupportedError
            If weights of steps are for CTC.
        """

    @abstractmethod
    def marginals(self, weights: Any, scores: Array, lengths: np.ndarray | None) -> Array:
        """The probability of each label at each step, (N, T, K), by a CRF; zeros past a row's length."""

    @abstractmethod
    def best_paths(self, weights: Any, scores: Array, lengths: np.ndarray | None) -> np.ndarray:
        """The most likely path of each row by a CRF, int64 (N, T); -1 past a row's length."""

    @abstractmethod
    def global_norm(self, vector: Array) -> float:
        """Euclidean norm, in float64."""

    def clip_scale(self, vector: Array, limit: float) -> float | Any:
        """What `scale` of the optimizer steps takes so that the norm of ``scale * vector`` is at most `limit`.

        A number, or a scalar that stays on the backend; 1 where the norm is NaN.
        """
        return clip_scale(self.global_norm(vector), limit)

    # Optimizer steps work in place, on `flat`, of ``g = scale * gradient + decay * flat``; `scale` is a number or from
    # `clip_scale`; `decay`, None or of flat's shape and dtype, is the strength of an L2 penalty on each parameter.
    # `step_and_rate`, float64 (2,) on the host, holds the number of the step, from 1 on, and the learning rate. It is
    # read anew where a step is repeated (`record`); all else is the same then.

    @abstractmethod
    def adam_step(
        self,
        flat: Array,
        gradient: Array,
        moments: tuple[Array, Array],
        *,
        step_and_rate: np.ndarray,
        betas: tuple[float, float],
        epsilon: float,
        scale: float | Any,
        decay: Array | None = None,
        decoupled: bool = False,
    ) -> None:
        """One step of Adam (Kingma & Ba 2015, algorithm 1).

        `moments` are the running means of g and of its square. With `decoupled` (AdamW:
        Loshchilov & Hutter 2019, algorithm 2) `decay` is left out of g. Besides Adam's step,
        ``learning_rate * decay * flat``, of `flat` as it was before, is taken away.
        """

    @abstractmethod
    def sgd_step(
        self,
        flat: Array,
        gradient: Array,
        velocity: Array,
        *,
        step_and_rate: np.ndarray,
        momentum: float,
        nesterov: bool,
        scale: float | Any,
        decay: Array | None = None,
    ) -> None:
        """``v = momentum * v + g; flat -= learning_rate * v``, v being `velocity`.

        With `nesterov`, ``flat -= learning_rate * (g + momentum * v)`` with the new v (Sutskever et al. 2013, as
        PyTorch writes it).
        """

    @abstractmethod
    def rmsprop_step(
        self,
        flat: Array,
        gradient: Array,
        square: Array,
        *,
        step_and_rate: np.ndarray,
        rho: float,
        epsilon: float,
        scale: float | Any,
        decay: Array | None = None,
    ) -> None:
        """``q = rho * q + (1 - rho) * g²; flat -= learning_rate * g / (sqrt(q) + epsilon)``, q being `square`.

        Hinton's lecture 6e, 2012.
        """
