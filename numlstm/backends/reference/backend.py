"""The reference backend: the contract in few lines that are easy to check.

It computes each row of a batch separately, so that neither other rows nor the steps past its length can change it. It
computes in float64, and rounds results once, when it stores them in narrower arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..contract import (
    STREAMS,
    AffineSpec,
    Array,
    Backend,
    EmbeddingSpec,
    LayerSpec,
    LossSpec,
    Noise,
    PoolSpec,
    SequenceLossSpec,
    Spec,
    States,
    UnsupportedError,
    check_row_weights,
)
from . import crf, ctc, embedding, optimizers
from .activity import activity
from .distributions import LIKELIHOODS
from .losses import LOSSES
from .masks import dropped, make_masks, zone_out, zone_out_backward
from .pooling import POOLINGS
from .quantised import QuantisedProducts, quantised_weights
from .rounded import RoundedProducts, rounded
from .twin import Twin, get_twin

# Infinity and NaN pass through without a warning, as they do through compiled kernels.
_quiet = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class AffineWeights:
    """An affine map, ready to compute: parameters in float64."""

    spec: AffineSpec
    flat: Array
    parameters: dict[str, np.ndarray]


@dataclass(frozen=True)
class LayerWeights:
    """A recurrent layer, ready to compute: parameters in float64, as a `Twin` takes them, always with biases."""

    spec: LayerSpec
    flat: Array
    parameters: dict[str, np.ndarray]
    twin: Twin


@dataclass(frozen=True)
class PoolWeights:
    """A pooling, ready to compute: parameters in float64."""

    spec: PoolSpec
    flat: Array
    parameters: dict[str, np.ndarray]


@dataclass(frozen=True)
class EmbeddingWeights:
    """Tables of vectors, ready to compute: parameters in float64."""

    spec: EmbeddingSpec
    flat: Array
    parameters: dict[str, np.ndarray]


@dataclass(frozen=True)
class SequenceLossWeights:
    """A loss over whole sequences, ready to compute: parameters in float64."""

    spec: SequenceLossSpec
    flat: Array
    parameters: dict[str, np.ndarray]


Weights = AffineWeights | LayerWeights | PoolWeights | EmbeddingWeights | SequenceLossWeights


class ReferenceBackend(Backend):
    """A backend in NumPy and float64, for arrays of any dtype. It is slow, but easy to read.

    It supports cells that have a `Twin`. Resident arrays are NumPy arrays. Flat parameter vectors are in the order of
    `Spec.shapes`.
    """

    name = "reference"
    compute_dtypes = ("bfloat16", "int8")

    @_quiet
    def dropout(self, x: Array, probability: float, noise: Noise, *, per_step: bool) -> Array:
        """Drop units of x, row by row and step by step; see `Backend`."""
        y = self.zeros(x.shape, str(x.dtype))
        n_rows, n_steps, n_units = x.shape
        for n in range(n_rows):
            for t in range(n_steps):
                drop = dropped(noise, STREAMS["dropout"], t if per_step else 0, n, n_units, probability)[0]
                y[n, t, ~drop] = _float64(x[n, t])[~drop] / (1.0 - probability)
        return y

    def prepare(self, spec: Spec, flat: Array, training: bool = False) -> Weights:
        """The parameters in `flat`, by name and in float64.

        Raises
        ------
        UnsupportedError
            If the cell has no twin, or if `compute_dtype` is not supported.
        """
        if isinstance(spec, LayerSpec) and spec.compute_dtype not in (None, *self.compute_dtypes):
            raise UnsupportedError(
                f"compute_dtype={spec.compute_dtype!r} is not supported by backend 'reference': set None, "
                f"{' or '.join(map(repr, self.compute_dtypes))}"
            )
        parameters = {name: _float64(value) for name, value in self.unpack(spec, flat).items()}
        if isinstance(spec, AffineSpec):
            return AffineWeights(spec, flat, parameters)
        if isinstance(spec, PoolSpec):
            return PoolWeights(spec, flat, parameters)
        if isinstance(spec, EmbeddingSpec):
            return EmbeddingWeights(spec, flat, parameters)
        if isinstance(spec, SequenceLossSpec):
            return SequenceLossWeights(spec, flat, parameters)
        try:
            twin = get_twin(spec.cell)
        except ValueError as error:
            raise UnsupportedError(f"backend 'reference': {error}") from None
        if spec.compute_dtype:
            for parameter in (parameter for parameter in spec.description.parameters if parameter.columns):
                value = parameters[parameter.name]
                parameters[parameter.name] = _narrow(spec.compute_dtype, value, parameter.column_blocks)
        return LayerWeights(spec, flat, _in_blocks(spec, parameters), twin)

    def refresh(self, weights: Weights) -> Weights:
        """The parameters as they are now."""
        return self.prepare(weights.spec, weights.flat)

    # Recurrent layers -------------------------------------------------------------------------------------

    @_quiet
    def sequence_forward(
        self,
        weights: LayerWeights,
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
        """Run a layer over whole sequences, row by row; see `Backend`.

        The tape holds for each row the masks and the twin's saved values at each step, in the order of computation;
        with `recompute` it is a function that returns such a tape.
        """
        if training and weights.spec.compute_dtype == "int8":
            raise UnsupportedError("compute_dtype='int8' has no gradients on backend 'reference': it is for inference")
        if training and recompute:
            start = [None if state is None else state.copy() for state in initial]
            options: dict[str, Any] = {"lengths": lengths, "reverse": reverse, "noise": noise}
            record = partial(self.sequence_forward, weights, x, start, [None] * len(start), training=True, **options)
            final, _ = self.sequence_forward(weights, x, initial, outputs, traces=traces, **options)
            return final, lambda: record()[1]
        spec, step, traces = weights.spec, weights.twin.step, dict(traces or {})
        n_rows, n_steps, _ = x.shape
        final = tuple(self.empty((n_rows, size), spec.dtype) for size in spec.state_sizes)
        tape = []
        for n in range(n_rows):
            length = n_steps if lengths is None else int(lengths[n])
            inputs, states, saved = _float64(x[n, :length]), _row(initial, n, spec.state_sizes), {}
            for t in reversed(range(length)) if reverse else range(length):
                masks = make_masks(spec, noise, t, n)
                new, of_twin, gates = step(spec, weights.parameters, inputs[t : t + 1], states, masks)
                states, saved[t] = zone_out(masks, states, new), (masks, of_twin)
                _store(outputs, (n, t), states)
                _store(list(traces.values()), (n, t), [gates[name] for name in traces])
            _clear([*outputs, *traces.values()], n, length)
            _store(final, n, states)
            tape.append(saved)
        return final, tape if training else None

    @_quiet
    def sequence_backward(
        self,
        weights: LayerWeights,
        tape: list[dict[int, Any]] | Callable[[], list[dict[int, Any]]],
        doutputs: States,
        dfinal: States,
        gradient: Array,
        dx: Array | None = None,
    ) -> tuple[Array, ...]:
        """Back-propagate through time, row by row; see `Backend`."""
        spec, step_backward = weights.spec, weights.twin.step_backward
        if callable(tape):
            tape = tape()
        dinitial = tuple(self.empty((len(tape), size), spec.dtype) for size in spec.state_sizes)
        total = {name: np.zeros(value.shape) for name, value in weights.parameters.items()}
        for n, saved in enumerate(tape):
            dstates = _row(dfinal, n, spec.state_sizes)
            for t in reversed(saved):
                masks, of_twin = saved[t]
                dstates = _sums(dstates, _row(doutputs, (n, t), spec.state_sizes))
                dold, dnew = zone_out_backward(masks, dstates)
                dx_t, dprev = step_backward(spec, weights.parameters, of_twin, dnew, masks, total)
                dstates = _sums(dprev, dold)
                _store([dx], (n, t), [dx_t])
            _clear([dx], n, len(saved))
            _store(dinitial, n, dstates)
        self.pack(spec, total, gradient)
        return dinitial

    # Pooling, affine maps, losses, optimizers -------------------------------------------------------------

    @_quiet
    def pool_forward(self, weights: PoolWeights, y: Array, lengths: np.ndarray | None) -> tuple[Array, np.ndarray]:
        """Pool each row's own steps, row by row; see `Backend`. Weights on the tape are in float64."""
        spec, (n_rows, n_steps, _) = weights.spec, y.shape
        pooled = self.empty((n_rows, spec.features), spec.dtype)
        tape = np.zeros((n_rows, spec.features), np.int64) if spec.kind == "max" else np.zeros((n_rows, n_steps))
        for n in range(n_rows):
            steps = y[n] if lengths is None else y[n, : lengths[n]]
            pooled[n], trace = POOLINGS[spec.kind].forward(weights.parameters, _float64(steps))
            tape[n, : len(trace)] = trace
        return pooled, tape

    @_quiet
    def pool_backward(
        self,
        weights: PoolWeights,
        y: Array,
        lengths: np.ndarray | None,
        tape: np.ndarray,
        dpooled: Array,
        gradient: Array,
    ) -> Array:
        """Overwrite `gradient`, and return the gradient of `y`; see `Backend`."""
        spec = weights.spec
        dy = self.zeros(y.shape, spec.dtype)
        total = {name: np.zeros(shape) for name, shape in spec.shapes.items()}
        for n in range(len(y)):
            length = y.shape[1] if lengths is None else int(lengths[n])
            trace = tape[n] if spec.kind == "max" else tape[n, :length]
            dy[n, :length], dparameters = POOLINGS[spec.kind].backward(
                weights.parameters, _float64(y[n, :length]), trace, _float64(dpooled[n])
            )
            for name in total:
                total[name] += dparameters[name]
        self.pack(spec, total, gradient)
        return dy

    @_quiet
    def activity_loss(
        self, y: Array, lengths: np.ndarray | None, size: float, change: float
    ) -> tuple[float, Array]:  # fmt: skip
        """The penalty on each row's own steps, and its gradient; see `Backend`."""
        rows = [_float64(y[n] if lengths is None else y[n, : lengths[n]]) for n in range(len(y))]
        loss, gradients = activity(rows, size, change)
        dy = self.zeros(y.shape, str(y.dtype))
        for n, gradient in enumerate(gradients):
            dy[n, : len(gradient)] = gradient
        return loss, dy

    @_quiet
    def embed(self, weights: EmbeddingWeights, tokens: np.ndarray) -> Array:
        """Vectors of tokens; see `Backend`."""
        spec = weights.spec
        return self.to_device(embedding.forward(spec, weights.parameters, tokens).astype(spec.dtype), spec.dtype)

    @_quiet
    def embed_backward(self, weights: EmbeddingWeights, tokens: np.ndarray, dy: Array, gradient: Array) -> None:
        """The gradient of tables; see `Backend`."""
        self.pack(weights.spec, embedding.backward(weights.spec, tokens, _float64(dy)), gradient)

    @_quiet
    def affine_forward(self, weights: AffineWeights, x: Array) -> Array:
        """``x @ weight.T + bias``, row by row; see `Backend`."""
        y = self.empty((len(x), weights.spec.output_size), weights.spec.dtype)
        for n, row in enumerate(_float64(x)):
            y[n] = weights.parameters["weight"] @ row + weights.parameters["bias"]
        return y

    @_quiet
    def affine_backward(self, weights: AffineWeights, x: Array, dy: Array, gradient: Array) -> Array:
        """Overwrite `gradient`, and return the gradient of `x`; see `Backend`."""
        dx = self.empty(x.shape, weights.spec.dtype)
        total = {name: np.zeros(shape) for name, shape in weights.spec.shapes.items()}
        for n, (x_row, dy_row) in enumerate(zip(_float64(x), _float64(dy), strict=True)):
            dx[n] = dy_row @ weights.parameters["weight"]
            total["weight"] += np.outer(dy_row, x_row)
            total["bias"] += dy_row
        self.pack(weights.spec, total, gradient)
        return dx

    @_quiet
    def loss(self, spec: LossSpec, scores: Array, targets: np.ndarray, weights: np.ndarray) -> tuple[float, Array]:
        """Sum of the rows' weighted losses, and its gradient, row by row; see `Backend`."""
        loss, gradient = 0.0, self.zeros(scores.shape, str(scores.dtype))
        targets = targets if spec.kind == "softmax" else _float64(targets)
        row_loss = (LOSSES | LIKELIHOODS)[spec.kind]
        for m, weight in enumerate(weights):
            if weight > 0.0:  # 0 times NaN would be NaN
                value, dscores = row_loss(_float64(scores[m]), targets[m], spec.levels or spec.parameter)
                loss += weight * value
                gradient[m] = weight * dscores
        return float(loss), gradient

    @_quiet
    def sequence_loss(
        self,
        weights: SequenceLossWeights,
        scores: Array,
        lengths: np.ndarray | None,
        targets: np.ndarray,
        row_weights: np.ndarray,
        gradient: Array,
    ) -> tuple[float, Array]:
        """Sum of the rows' weighted losses, and its gradient, row by row; see `Backend`."""
        spec, loss, dscores = weights.spec, 0.0, self.zeros(scores.shape, str(scores.dtype))
        check_row_weights(spec, row_weights)
        total = {name: np.zeros(shape) for name, shape in spec.shapes.items()}
        for n, labels in enumerate(targets):
            row = _float64(scores[n, : _length(lengths, n, scores)])
            weight: Any = row_weights[n] if row_weights.ndim == 1 else row_weights[n, : len(row)]
            if np.any(weight):
                dparameters: dict[str, np.ndarray] = {}
                if spec.kind == "ctc":
                    value, slope = (weight * part for part in ctc.ctc(row, labels[labels >= 0], spec.blank))
                else:
                    weight = np.broadcast_to(weight, (len(row),))
                    value, slope, dparameters = crf.crf(row, labels[: len(row)], weight, weights.parameters)
                loss += value
                dscores[n, : len(row)] = slope
                for name, dparameter in dparameters.items():
                    total[name] += dparameter
        self.pack(spec, total, gradient)
        return float(loss), dscores

    @_quiet
    def marginals(self, weights: SequenceLossWeights, scores: Array, lengths: np.ndarray | None) -> Array:
        """The probability of each label at each step, row by row; see `Backend`."""
        shares = self.zeros(scores.shape, str(scores.dtype))
        for n in range(len(scores)):
            row = _float64(scores[n, : _length(lengths, n, scores)])
            shares[n, : len(row)] = crf.expectations(row, weights.parameters)[1]
        return shares

    @_quiet
    def best_paths(self, weights: SequenceLossWeights, scores: Array, lengths: np.ndarray | None) -> np.ndarray:
        """The most likely path of each row; see `Backend`."""
        paths = np.full(scores.shape[:2], -1)
        for n in range(len(scores)):
            row = _float64(scores[n, : _length(lengths, n, scores)])
            paths[n, : len(row)] = crf.best_path(row, weights.parameters)
        return paths

    @_quiet
    def global_norm(self, vector: Array) -> float:
        """Euclidean norm; see `Backend`."""
        return float(np.linalg.norm(_float64(vector)))

    @_quiet
    def adam_step(
        self,
        flat: Array,
        gradient: Array,
        moments: tuple[Array, Array],
        *,
        step_and_rate: np.ndarray,
        betas: tuple[float, float],
        epsilon: float,
        scale: float,
        decay: Array | None = None,
        decoupled: bool = False,
    ) -> None:
        """Adam, or AdamW with `decoupled`; see `Backend` and `optimizers.adam`.

        References
        ----------
        .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
        """
        (step, learning_rate), theta, pull = step_and_rate, _float64(flat), _pull(flat, decay)
        g = scale * _float64(gradient) + (0.0 if decoupled else pull)
        flat[:], moments[0][:], moments[1][:] = optimizers.adam(
            theta - learning_rate * pull if decoupled else theta, g, _float64(moments[0]), _float64(moments[1]),
            step=int(step), learning_rate=learning_rate, betas=betas, epsilon=epsilon,
        )  # fmt: skip

    @_quiet
    def sgd_step(
        self,
        flat: Array,
        gradient: Array,
        velocity: Array,
        *,
        step_and_rate: np.ndarray,
        momentum: float,
        nesterov: bool,
        scale: float,
        decay: Array | None = None,
    ) -> None:
        """Gradient descent with momentum; see `Backend` and `optimizers.sgd`."""
        g = scale * _float64(gradient) + _pull(flat, decay)
        flat[:], velocity[:] = optimizers.sgd(
            _float64(flat), g, _float64(velocity), learning_rate=step_and_rate[1], momentum=momentum, nesterov=nesterov
        )

    @_quiet
    def rmsprop_step(
        self,
        flat: Array,
        gradient: Array,
        square: Array,
        *,
        step_and_rate: np.ndarray,
        rho: float,
        epsilon: float,
        scale: float,
        decay: Array | None = None,
    ) -> None:
        """RMSprop; see `Backend` and `optimizers.rmsprop`."""
        g = scale * _float64(gradient) + _pull(flat, decay)
        flat[:], square[:] = optimizers.rmsprop(
            _float64(flat), g, _float64(square), learning_rate=step_and_rate[1], rho=rho, epsilon=epsilon
        )


def _pull(flat: Array, decay: Array | None) -> np.ndarray:
    """The gradient of the L2 penalty."""
    return np.zeros(len(flat)) if decay is None else _float64(decay) * _float64(flat)


def _length(lengths: np.ndarray | None, n: int, scores: Array) -> int:
    """Number of steps of a row."""
    return scores.shape[1] if lengths is None else int(lengths[n])


def _float64(array: Array) -> np.ndarray:
    """A float64 copy in C order, so that results depend only on values, not on strides."""
    return np.array(array, np.float64, order="C")


def _narrow(kind: str, W: np.ndarray, sources: int) -> np.ndarray:
    """A matrix with a block of columns for each source, whose products are of numbers of fewer bits."""
    if kind == "bfloat16":
        return rounded(W).view(RoundedProducts)
    return quantised_weights(W.reshape(len(W), sources, -1)).reshape(W.shape).view(QuantisedProducts)


def _in_blocks(spec: LayerSpec, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters with an axis of blocks in front; zeros for absent biases."""
    blocks = {}
    for parameter in spec.description.parameters:
        absent = np.zeros(parameter.blocks * spec.hidden_size)
        value = parameters.get(parameter.name, absent) if parameter.optional else parameters[parameter.name]
        blocks[parameter.name] = value.reshape(parameter.blocks, len(value) // parameter.blocks, *value.shape[1:])
    return blocks


def _sums(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The sums of the arrays of two sequences."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _row(arrays: States, index: Any, sizes: Sequence[int]) -> tuple[np.ndarray, ...]:
    """A batch of one row from each array; zeros of the same size for None."""
    return tuple(
        np.zeros((1, size)) if a is None else _float64(a[index])[np.newaxis]
        for a, size in zip(arrays, sizes, strict=True)
    )


def _store(arrays: States, index: Any, batches: Sequence[np.ndarray]) -> None:
    """Write a batch of one row to each array that is not None."""
    for array, batch in zip(arrays, batches, strict=True):
        if array is not None:
            array[index] = batch[0]


def _clear(arrays: States, n: int, length: int) -> None:
    """Set the steps past the length of row `n` to 0 in each array that is not None."""
    for array in arrays:
        if array is not None:
            array[n, length:] = 0.0
