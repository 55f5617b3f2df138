"""The contract between layers and the backends that compute.

Shapes: ``N`` sequences, ``T`` steps, ``D`` inputs, ``H`` hidden units, ``G`` gates. Arrays are resident on
the backend, of dtype float32 or float64; their last axis is contiguous, other axes may have any stride.

- Gradients are of the scalar loss that is returned; they overwrite, callers accumulate.
- Outputs never alias inputs, but a tape refers to the ``x`` it was made from until `sequence_backward`.
- Results of a sequence depend on nothing but that sequence: not on its place in the batch, nor on the
  number of threads. Sums over the batch are taken in the batch's order.
- Callers have checked shapes and values; a backend raises only the two errors below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from .. import cells

Array = Any
States = Sequence[Array | None]


class BackendUnavailableError(RuntimeError):
    """The backend asked for cannot run here; the message says why, and what to do."""


class UnsupportedError(NotImplementedError):
    """The backend has no way to do what an option asks; the message names both."""


@dataclass(frozen=True)
class LayerSpec:
    """One layer in one direction: what a backend must know to lay out its parameters.

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
    """

    cell: str
    input_size: int
    hidden_size: int
    bias: bool = True
    dtype: str = "float32"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, by PyTorch's name; row blocks follow the cell's gates."""
        rows = len(cells.get(self.cell).gates) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, self.hidden_size),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
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
    """One vector for each sequence, made of the vectors of its steps.

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


Spec = LayerSpec | AffineSpec | PoolSpec

LOSSES = ("softmax", "binary", "squared", "absolute", "huber", "pinball")


@dataclass(frozen=True)
class LossSpec:
    """What is lost by scores s (M, K) where targets t are wanted; a row's loss is summed over its K scores.

    Attributes
    ----------
    kind : {"softmax", "binary", "squared", "absolute", "huber", "pinball"}
        - softmax: ``log(sum(exp(s))) - s[t]``, targets (M,) are class indices: the cross-entropy;
        - binary: ``log(1 + exp(s)) - t s``, targets (M, K) in [0, 1]: the cross-entropy of K independent labels;
        - squared: ``(s - t)²``;
        - absolute: ``|s - t|``, with gradient 0 at 0;
        - huber: ``e²/2`` where ``|e| <= parameter``, else ``parameter (|e| - parameter/2)``, with e = s - t;
        - pinball: ``parameter (t - s)`` where ``t > s``, else ``(1 - parameter) (s - t)``, with gradient 0 at s = t:
          least at the quantile of that level.
    parameter : float
        Of Huber's loss and the pinball loss.
    """

    kind: str
    parameter: float = 0.0


class Backend(ABC):
    """What every backend does. The defaults hold wherever resident arrays are NumPy arrays."""

    name: ClassVar[str]

    # Arrays -----------------------------------------------------------------------------------------------

    def to_device(self, array: np.ndarray, dtype: str) -> Array:
        """A resident array with the values of `array`; `array` itself where it will do as it is."""
        if array.dtype != dtype:
            array = array.astype(dtype)
        return array if array.strides[-1:] in ((array.itemsize,), ()) else np.ascontiguousarray(array)

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

    def multiply(self, a: Array, b: Array) -> Array:
        """A new array ``a * b``."""
        return np.multiply(a, b)

    def concatenate(self, arrays: Sequence[Array]) -> Array:
        """A new array, `arrays` side by side along the last axis."""
        return np.concatenate(arrays, axis=-1)

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

    @abstractmethod
    def prepare(self, spec: Spec, flat: Array, training: bool = False) -> Any:
        """What the functions below take as `weights`: a view of `flat`, with what is derived from it.

        Without `training` it serves any number of threads, as long as `flat` is not changed. With it, it
        belongs to one caller, who calls `refresh` after each change of `flat`; its buffers are reused, so
        what a function gives, tapes too, holds until the next call of that function with these weights.
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
    ) -> tuple[tuple[Array, ...], Any]:
        """Run a layer over whole sequences.

        Parameters
        ----------
        weights
            From `prepare`.
        x : array, shape (N, T, D)
        initial : sequence of array of shape (N, H), or None for zeros
            One for each state of the cell.
        outputs : sequence of array of shape (N, T, H), or None
            One for each state; filled with that state after every step, zeros past a row's length.
        lengths : int64 array of shape (N,), in 1..T; optional
            Steps of each row; all `T` by default.
        reverse : bool
            Start at each row's last step and go back to its first.
        training : bool
            Whether to keep what `sequence_backward` needs.

        Returns
        -------
        final : tuple of array, shape (N, H)
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
        doutputs : sequence of array of shape (N, T, H), or None for zeros
            Gradient with respect to every state at every step; what lies past a row's length is ignored.
        dfinal : sequence of array of shape (N, H), or None for zeros
        gradient : array, shape (size,)
            Overwritten with the gradient of the flat parameter vector.
        dx : array, shape (N, T, D), optional
            Overwritten with the gradient of `x`, zeros past a row's length.

        Returns
        -------
        dinitial : tuple of array, shape (N, H)
        """

    def stepper(self, weights: Any, x: Array, states: Sequence[Array]) -> Callable[[], None]:
        """A function that takes one step, each time it is called, on the same arrays.

        It reads x (N, 1, D), and reads and overwrites the `states`, each (N, H). Not for several threads at once.
        """

        def step() -> None:
            final, _ = self.sequence_forward(weights, x, states, [None] * len(states))
            for state, new in zip(states, final, strict=True):
                state[...] = new

        return step

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
    def affine_forward(self, weights: Any, x: Array) -> Array:
        """``x @ weight.T + bias``: (N, input_size) to (N, output_size)."""

    @abstractmethod
    def affine_backward(self, weights: Any, x: Array, dy: Array, gradient: Array) -> Array:
        """Overwrite `gradient` with that of the parameters, and return the gradient of `x`."""

    @abstractmethod
    def loss(self, spec: LossSpec, scores: Array, targets: np.ndarray, weights: np.ndarray) -> tuple[float, Array]:
        """The sum over rows of ``weights[m] * loss(scores[m], targets[m])``, and its gradient.

        Parameters
        ----------
        spec : LossSpec
        scores : array, shape (M, K)
        targets : NumPy array
            As `spec` says: (M,) int64 class indices, or (M, K) in the dtype of `scores`.
        weights : float64 NumPy array, shape (M,), not negative
            Whoever averages divides them. Rows of weight 0 are ignored, whatever their scores and targets are. In any
            other row, NaN shows in the loss, and in the gradient of that score.

        Returns
        -------
        loss : float
            Computed in float64.
        gradient : array, shape (M, K)
        """

    @abstractmethod
    def global_norm(self, vector: Array) -> float:
        """Euclidean norm, in float64."""

    # Optimizer steps work in place, on `flat`, of ``g = scale * gradient + decay * flat``; `decay`, None or of flat's
    # shape and dtype, is the strength of an L2 penalty on each parameter.

    @abstractmethod
    def adam_step(
        self,
        flat: Array,
        gradient: Array,
        moments: tuple[Array, Array],
        *,
        step: int,
        learning_rate: float,
        betas: tuple[float, float],
        epsilon: float,
        scale: float,
        decay: Array | None = None,
        decoupled: bool = False,
    ) -> None:
        """One step of Adam (Kingma & Ba 2015, algorithm 1).

        `moments` are the running means of g and of its square; `step` counts from 1. With `decoupled` (AdamW:
        Loshchilov & Hutter 2019, algorithm 2) `decay` is no part of g: besides Adam's step,
        ``learning_rate * decay * flat``, of `flat` as it was before, is taken away.
        """

    @abstractmethod
    def sgd_step(
        self,
        flat: Array,
        gradient: Array,
        velocity: Array,
        *,
        learning_rate: float,
        momentum: float,
        nesterov: bool,
        scale: float,
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
        learning_rate: float,
        rho: float,
        epsilon: float,
        scale: float,
        decay: Array | None = None,
    ) -> None:
        """``q = rho * q + (1 - rho) * g²; flat -= learning_rate * g / (sqrt(q) + epsilon)``, q being `square`.

        Hinton's lecture 6e, 2012.
        """
