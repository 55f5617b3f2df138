"""A network with weights on a backend: scores, losses and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..backends.contract import LIKELIHOODS, Array, Backend, Lookup, Noise, Seed, SequenceLossSpec
from ..concurrency import cached_property
from .embedding import FIRST_STREAM, Tape
from .network import CHAIN, POOL, TABLES, Network
from .outputs import HEAD, AdaptiveSoftmax, FullSoftmax, blocks

OUTPUTS_STREAM = FIRST_STREAM - 1  # the layer number of the masks of `output_dropout`
States = list[tuple[Array, ...]]  # of each layer and direction


class Model:
    """A network with weights on a backend.

    Parameters
    ----------
    network : Network
    backend : Backend
    flat : array
        The parameters.
    training : bool
        Whether `flat` will change. After each change, `changed` must be called.
    """

    def __init__(self, network: Network, backend: Backend, flat: Array, *, training: bool) -> None:
        self.network, self.backend, self.flat = network, backend, flat
        stack, others = network.parts(backend, flat)
        if network.tied:
            self._tie(others)
        self._layers = network.stack.prepare(backend, stack, training)
        self._others = {suffix: backend.prepare(network.others[suffix], part, training)
                        for suffix, part in others.items()}  # fmt: skip
        self._stale = False

    def changed(self) -> None:
        """Take note of a change of the flat vector; what is prepared follows when it is next read."""
        self._stale = True
        if self.network.tied:
            self._tie(self.network.parts(self.backend, self.flat)[1])

    @property
    def layers(self) -> list[Any]:
        """The prepared weights of the recurrent layers."""
        if self._stale:
            self._refresh()
        return self._layers

    @property
    def others(self) -> dict[str, Any]:
        """The prepared weights of what else has parameters, by the suffix of their names."""
        if self._stale:
            self._refresh()
        return self._others

    def _refresh(self) -> None:
        refresh = self.backend.refresh
        self._layers = [refresh(weights) for weights in self._layers]
        self._others = {suffix: refresh(weights) for suffix, weights in self._others.items()}
        self._stale = False

    def _tie(self, others: Mapping[str, Array]) -> None:
        """Copy the table of vectors to the weight of the output layer."""
        table = others[TABLES].reshape(self.network.outputs, -1)
        self.backend.set_weight(self.network.head, others[HEAD], table)

    def _tie_gradients(self, others: Mapping[str, Array]) -> None:
        """Move the gradient of the output layer's weight to the table of vectors."""
        backend, head, gradient = self.backend, self.network.head, others[HEAD]
        table = others[TABLES].reshape(self.network.outputs, -1)
        weight = backend.weight_of(head, gradient)
        backend.add(table, weight)
        backend.set_weight(head, gradient, backend.zeros(weight.shape, self.network.stack.dtype))

    @cached_property
    def gradient(self) -> Array:
        """The gradient of the flat vector, which `loss_and_gradient` writes."""
        return self.backend.zeros(self.flat.shape, self.network.stack.dtype)

    @cached_property
    def _gradients(self) -> tuple[list[Array], dict[str, Array]]:
        stack, others = self.network.parts(self.backend, self.gradient)
        return self.network.stack.split(self.backend, stack), others

    def scores(self, x: Array, lengths: np.ndarray | None, static: np.ndarray | None = None) -> Array:
        """Scores of sequences (N, T, D): (N, outputs), or (N · T, outputs) if there are scores for each step.

        `static` (N, F) are the static features.
        """
        x, _ = self.read(x)
        y, final, _ = self.run(x, lengths)
        features = self._with_static(static, self._features(y, final, lengths)[0])
        return self.backend.affine_forward(self.others[HEAD], features)

    def scores_vjp(
        self, x: Array, lengths: np.ndarray | None, static: np.ndarray | None = None
    ) -> tuple[Array, Callable[[Array], tuple[Array, Array | None, list[list[Array | None]]]]]:
        """Scores as from `scores`, and the pullback, which takes the gradient of the scores.

        The pullback returns the gradients of x, of the last layer's outputs at every step (None for zeros), and of the
        final states of each layer and direction. It overwrites `gradient`. There is no dropout.
        """
        backend, network, head = self.backend, self.network, self.others[HEAD]
        x, _ = self.read(x)
        y, final, tapes = self.run(x, lengths, training=True)
        features, tapes_of_pools = self._features(y, final, lengths)
        features = self._with_static(static, features)

        def pullback(dscores: Array) -> tuple[Array, Array | None, list[list[Array | None]]]:
            gradients, others = self._gradients
            dfeatures = backend.affine_backward(head, features, dscores, others[HEAD])
            dy, dfinal = self._features_backward(dfeatures, y, lengths, len(final), tapes_of_pools)
            shape = x.shape[0], x.shape[1]
            dx, _ = network.stack.backward(
                backend, self.layers, tapes, shape, dy, dfinal, gradients, input_shape=x.shape
            )
            return dx, dy, dfinal

        return backend.affine_forward(head, features), pullback

    def attention_weights(self, x: Array, lengths: np.ndarray | None) -> Array:
        """The weights of all steps in the attention pooling, (N, T)."""
        x, _ = self.read(x)
        y, final, _ = self.run(x, lengths)
        return self._features(y, final, lengths)[1][POOL]

    def loss_and_gradient(
        self,
        x: Array,
        lengths: np.ndarray | None,
        targets: np.ndarray,
        weights: np.ndarray,
        rng: np.random.Generator,
        static: np.ndarray | None = None,
        initial: States | None = None,
        seed: Seed | None = None,
    ) -> tuple[float | Any, States]:
        """The weighted sum of the losses of a batch, and the final states; its gradient overwrites `gradient`.

        Targets and weights are as in `loss`, `static` is as in `scores`. `rng` chooses the units that dropout zeroes,
        or `seed` does.
        The sum is a float, or an object whose ``float`` waits for a device. The states begin with `initial`, or with
        zeros; no gradient flows back to them.
        """
        network = self.network
        if network.random and seed is None:
            seed = int(rng.integers(2**64, dtype=np.uint64))
        layers, mask = self.drop_weights(rng) if network.stack.weight_dropout else (self.layers, None)
        x, tape_of_tokens = self.read(x, seed, training=True)
        y, final, tapes = self.run(x, lengths, layers, seed, training=True, initial=initial)
        loss, dy, dfinal = self.loss_of_outputs(y, final, lengths, targets, weights, static, seed)
        self.backward(layers, tapes, tape_of_tokens, (x.shape[0], x.shape[1]), dy, dfinal, seed)
        self.finish_gradient(mask)
        return loss, final

    def loss_of_outputs(
        self,
        y: Array | None,
        final: States,
        lengths: np.ndarray | None,
        targets: np.ndarray,
        weights: np.ndarray,
        static: np.ndarray | None,
        seed: Seed | None,
    ) -> tuple[float | Any, Array | None, list[list[Array | None]]]:
        """The loss, and the gradients of the last layer's outputs and of all final states.

        The gradient of the parameters after the recurrent layers overwrites their part of `gradient`.
        """
        read = self._drop_outputs(y, seed)
        features, tapes_of_pools = self._features(read, final, lengths)
        features = self._with_static(static, features)
        loss, dfeatures = self._loss_of_features(features, targets, weights, lengths)
        dy, dfinal = self._features_backward(dfeatures, read, lengths, len(final), tapes_of_pools)
        dy = self._drop_outputs(dy, seed)
        if self.network.activity:
            _, dy_activity = self.backend.activity_loss(y, lengths, *self.network.activity)
            dy = self._sum(dy, self.backend.multiply(dy_activity, self._share(targets, weights)))
        return loss, dy, dfinal

    def backward(
        self,
        layers: list[Any],
        tapes: list[Any],
        tape_of_tokens: Tape | None,
        shape: tuple[int, int],
        dy: Array | None,
        dfinal: list[list[Array | None]],
        seed: Seed | None,
    ) -> None:
        """Back-propagate through all layers; their part of `gradient`, and that of the tables, is overwritten."""
        stack, (gradients, others) = self.network.stack, self._gradients
        dx, _ = stack.backward(self.backend, layers, tapes, shape, dy, dfinal, gradients, seed=seed,
                               input_shape=tape_of_tokens and tape_of_tokens.input_shape)  # fmt: skip
        if self.network.tokens is not None and tape_of_tokens is not None:
            self.network.tokens.backward(self.backend, self.others[TABLES], tape_of_tokens, dx, others[TABLES])

    def finish_gradient(self, mask: Array | None) -> None:
        """Let `gradient` be that of shared weights, and of weights before dropout, whose mask is `mask`."""
        gradients, others = self._gradients
        if self.network.tied:
            self._tie_gradients(others)
        if mask is not None:
            for gradient, part in zip(gradients, self.network.stack.split(self.backend, mask), strict=True):
                gradient[...] = self.backend.multiply(gradient, part)

    @property
    def early_gradients(self) -> list[Array]:
        """The parts of `gradient` that `backward` overwrites."""
        gradients, others = self._gradients
        return [*gradients, *([others[TABLES]] if TABLES in others else [])]

    def copied(self, states: States) -> States:
        """A copy of states, which the next call may overwrite."""
        return [tuple(self.backend.multiply(state, 1.0) for state in layer) for layer in states]

    def log_probabilities(self, features: Array) -> np.ndarray:
        """Logarithms of the probabilities of all classes, float64 (M, K), from the output layer's input (M, F)."""
        assert self.network.softmax is not None
        return self.network.softmax.log_probabilities(self.backend, self.others, features)

    def outputs(self, x: Array, lengths: np.ndarray | None, initial: States | None = None) -> tuple[Array, States]:
        """The last layer's outputs (N, T, F) and the final states, without dropout."""
        x, _ = self.read(x)
        y, final, _ = self.run(x, lengths, initial=initial)
        return y, final

    def _drop_outputs(self, y: Array | None, seed: Seed | None) -> Array | None:
        """The last layer's outputs with dropped units; on the way back, the same of their gradient."""
        share = self.network.output_dropout
        if not share or y is None:
            return y
        assert seed is not None
        return self.backend.dropout(y, share, Noise(seed, OUTPUTS_STREAM), per_step=False)

    def _loss_of_features(
        self, features: Array, targets: np.ndarray, weights: np.ndarray, lengths: np.ndarray | None
    ) -> tuple[float | Any, Array]:
        """The loss, and the gradient of the output layer's input; that of the parameters overwrites `gradient`."""
        backend, others = self.backend, self._gradients[1]
        if self.network.softmax is not None:
            return self._loss_in_blocks(self.network.softmax, features, targets, weights)
        loss, dscores = self.loss(backend.affine_forward(self.others[HEAD], features), targets, weights, lengths)
        return loss, backend.affine_backward(self.others[HEAD], features, dscores, others[HEAD])

    def _loss_in_blocks(
        self, softmax: FullSoftmax | AdaptiveSoftmax, features: Array, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[float | Any, Array]:
        """The same for some rows at a time, so that there are never scores of all rows."""
        backend, parts = self.backend, {suffix: self._gradients[1][suffix] for suffix in softmax.specs}
        slices = list(blocks(features.shape[0], softmax.outputs))
        if len(slices) == 1:
            return softmax.loss(backend, self.others, features, targets, weights, parts)
        totals = {suffix: backend.zeros(part.shape, softmax.dtype) for suffix, part in parts.items()}
        dfeatures, total = backend.empty(features.shape, softmax.dtype), 0.0
        for rows in slices:
            loss, dfeatures[rows] = softmax.loss(
                backend, self.others, features[rows], targets[rows], weights[rows], parts
            )
            total = total + loss
            for suffix, part in parts.items():
                backend.add(totals[suffix], part)
        for suffix, part in parts.items():
            part[...] = totals[suffix]
        return total, dfeatures

    def read(self, x: Array, seed: Seed | None = None, training: bool = False) -> tuple[Array | Lookup, Tape | None]:
        """The input of the recurrent layers for x (N, T, C); with tokens, also what the gradient of their tables takes.

        Tokens are read from an array of NumPy. With a `seed`, units and tokens are dropped. In training, vectors may be
        looked up by the first layer.
        """
        tokens = self.network.tokens
        if tokens is not None:
            stack = self.network.stack
            looks_up = self.backend.looks_up and not stack.cell.compute_dtype and not stack.input_dropout
            if training and looks_up and tokens.repeat_in(x):
                return tokens.lookup(self.backend, self.network.parts(self.backend, self.flat)[1][TABLES], x)
            return tokens.read(self.backend, self.others[TABLES], x, seed)
        if isinstance(x, np.ndarray):
            x = self.backend.upload(x, self.network.stack.dtype)
        return x, None

    def loss(
        self, scores: Array, targets: np.ndarray, weights: np.ndarray, lengths: np.ndarray | None = None
    ) -> tuple[float | Any, Array]:
        """The weighted sum of the losses of scores (M, K), and its gradient.

        Weights are (M,), one for each row, or (M, targets), one for each target. The latter need a loss that is a sum
        over the targets. A loss over whole sequences takes weights (N,), for N sequences of M / N steps, and `lengths`;
        that of a CRF also weights (N, M / N), one for each step.
        """
        spec = self.network.loss
        if isinstance(spec, SequenceLossSpec):
            rows = scores.reshape(len(weights), -1, spec.outputs)
            gradient = self._gradients[1][CHAIN]
            loss, slopes = self.backend.sequence_loss(self.others[CHAIN], rows, lengths, targets, weights, gradient)
            return loss, slopes.reshape(*scores.shape)
        if weights.ndim == 1 and spec.kind not in LIKELIHOODS:
            return self.backend.loss(spec, scores, targets, weights)
        count = scores.shape[1] // spec.scores
        if weights.ndim == 1:
            weights = self.backend.repeat_rows(weights, count)
        loss, gradient = self.backend.loss(
            spec, scores.reshape(-1, spec.scores), targets.reshape(-1, spec.numbers), weights.ravel()
        )
        return loss, gradient.reshape(*scores.shape)

    def readings(self, scores: Array, lengths: np.ndarray) -> np.ndarray:
        """What is compared with targets: the scores; of a loss over whole sequences the best path of each, (N, T)."""
        spec = self.network.loss
        if not isinstance(spec, SequenceLossSpec):
            return self.backend.to_numpy(scores)
        rows = scores.reshape(len(lengths), -1, spec.outputs)
        if spec.kind == "crf":
            return self.backend.best_paths(self.others[CHAIN], rows, lengths)
        paths = self.backend.to_numpy(rows).argmax(axis=2)
        return np.where(np.arange(paths.shape[1]) < lengths[:, None], paths, -1)

    def _share(self, targets: np.ndarray, weights: np.ndarray) -> float:
        """The share of a step's terms that a batch has."""
        if isinstance(self.network.loss, SequenceLossSpec):
            terms = np.maximum(1, (targets >= 0).sum(axis=1)) if weights.ndim == 1 else 1
            return float((weights * terms).sum())
        return weights.sum() * len(weights) / weights.size

    def drop_weights(self, rng: np.random.Generator) -> tuple[list[Any], Array]:
        """The layers after weight dropout, and the mask that all weights were multiplied with."""
        stack, backend = self.network.stack, self.backend
        flat, mask, layers = self._dropped
        stack.weight_mask(backend, rng, mask)
        flat[...] = backend.multiply(self.network.parts(backend, self.flat)[0], mask)
        layers[:] = [backend.refresh(weights) for weights in layers]
        return layers, mask

    @cached_property
    def _dropped(self) -> tuple[Array, Array, list[Any]]:
        """Memory for the weights after dropout and for their mask, and the layers with these weights."""
        stack, backend = self.network.stack, self.backend
        flat, mask = (backend.zeros((stack.size(backend),), stack.dtype) for _ in range(2))
        return flat, mask, stack.prepare(backend, flat, training=True)

    def run(
        self,
        x: Array,
        lengths: np.ndarray | None,
        layers: Any = None,
        seed: Seed | None = None,
        training: bool = False,
        initial: States | None = None,
    ) -> Any:
        """The last layer's outputs, if something reads them, and the final states and tapes of all layers."""
        network = self.network
        needs_outputs = network.pooling != "last" or (training and bool(network.activity))
        return network.stack.forward(
            self.backend, self.layers if layers is None else layers, x, initial, lengths,
            seed=seed, training=training, last_outputs=needs_outputs,
        )  # fmt: skip

    def _features(
        self, y: Array, final: list[tuple[Array, ...]], lengths: np.ndarray | None
    ) -> tuple[Array, dict[str, Any]]:
        """The input of the output layer without static features, and the tapes of the poolings."""
        network, backend = self.network, self.backend
        if not network.poolings:
            return y.reshape(-1, network.stack.output_size), {}
        features, tapes = [], {}
        for part in network.poolings:
            if part == "last":
                features.append(network.stack.last(backend, final))
            else:
                pooled, tapes[f"_{part}"] = backend.pool_forward(self.others[f"_{part}"], y, lengths)
                features.append(pooled)
        return features[0] if len(features) == 1 else backend.concatenate(features), tapes

    def _features_backward(
        self, dfeatures: Array, y: Array, lengths: np.ndarray | None, count: int, tapes: dict[str, Any]
    ) -> tuple[Array | None, list[list[Array | None]]]:
        """Gradients of the outputs at every step, and of the final states of `count` layers and directions.

        The last columns of `dfeatures` belong to the static features; they are ignored.
        """
        network, backend = self.network, self.backend
        stack, size = network.stack, network.stack.output_size
        dy, dfinal = None, [[None] * stack.states] * count
        single = dfeatures.shape[1] == size
        for k, part in enumerate(network.poolings or ("none",)):
            dpart = dfeatures if single else backend.multiply(dfeatures[:, k * size : (k + 1) * size], 1.0)
            if part == "none":
                return dpart.reshape(*y.shape[:2], -1), dfinal
            if part == "last":
                dfinal = stack.last_gradients(backend, dpart)
                continue
            suffix, gradients = f"_{part}", self._gradients[1]
            dy_part = backend.pool_backward(self.others[suffix], y, lengths, tapes[suffix], dpart, gradients[suffix])
            dy = self._sum(dy, dy_part)
        return dy, dfinal

    def _sum(self, total: Array | None, term: Array) -> Array:
        """The sum of two gradients; the first, which may be None, is overwritten."""
        if total is None:
            return term
        self.backend.add(total, term)
        return total

    def _with_static(self, static: np.ndarray | None, features: Array) -> Array:
        """Features (M, ·) with the static features (N, F) as further columns; if M is N · T, each step gets them."""
        if static is None:
            return features
        if features.shape[0] != len(static):
            static = self.backend.repeat_rows(static, features.shape[0] // len(static))
        return self.backend.concatenate([features, self.backend.to_device(static, self.network.stack.dtype)])
