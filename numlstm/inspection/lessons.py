"""A fitted estimator with checked sequences and targets: its loss, and the gradients of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..backends.contract import Backend
from ..backends.dispatch import backend_for
from ..estimators.base.estimator import SequenceEstimator
from ..estimators.base.model import Fitted
from ..layers import LAYERS
from ..layers.layer import Layer, layer_of
from ..layers.stack import Stack
from ..training.batches import Sequences
from ..training.data import Data
from ..training.model import Model


@dataclass(frozen=True, eq=False)
class Lesson:
    """Sequences as a network reads them, and their targets.

    Attributes
    ----------
    model : Model
    parameters : mapping of str to array
    backend : str or None
        The backend option of the estimator.
    data : Data
    x : array, shape (N, T, D)
        All sequences as the recurrent layers read them, with vectors for tokens.
    lengths : int array, shape (N,)
    """

    model: Model
    parameters: Mapping[str, np.ndarray]
    backend: str | None
    data: Data
    x: np.ndarray
    lengths: np.ndarray

    @property
    def stack(self) -> Stack:
        """The shape of the recurrent layers."""
        return self.model.network.stack

    def output_gradients(self) -> tuple[float, np.ndarray | None, list[list[Any]]]:
        """The loss, and its gradients by the last layer's outputs and by the final states, as NumPy arrays."""
        backend = self.model.backend
        rows = np.arange(len(self.lengths))
        targets, weights = self.data.targets.take(rows, self.data.targets.count(rows))
        scores, pullback = self.model.scores_vjp(
            backend.to_device(self.x, self.stack.dtype), self.ragged, self.data.static
        )
        loss, dscores = self.model.loss(scores, targets, weights, self.lengths)
        _, dy, dfinal = pullback(dscores)
        dfinal = [[_on_host(backend, state) for state in states] for states in dfinal]
        return float(loss), _on_host(backend, dy), dfinal

    @property
    def ragged(self) -> np.ndarray | None:
        """The lengths, if they differ from T."""
        return None if (self.lengths == self.x.shape[1]).all() else self.lengths

    @property
    def inside(self) -> np.ndarray:
        """Whether each step is within its sequence, (N, T)."""
        return np.arange(self.x.shape[1]) < self.lengths[:, None]

    def layer(self) -> Layer:
        """All recurrent layers."""
        weights = {name: self.parameters[name] for name in self.stack.shapes}
        return layer_of(LAYERS[self.stack.cell.cell], self.stack, weights, {}, self.backend)

    def trace(self) -> dict[str, list[np.ndarray]]:
        """Gates and states of each layer and direction, (N, T, H) each."""
        return {name: list(values) for name, values in self.layer().trace(self.x, lengths=self.lengths).items()}

    def single_layer(self, index: int) -> Layer:
        """One layer in one direction, as a layer that runs forwards."""
        suffix, spec = [*self.stack.specs.items()][index]
        stack = Stack(spec, (spec.hidden_size,))
        weights = {f"{name}_l0": self.parameters[name + suffix] for name in spec.shapes}
        return layer_of(LAYERS[spec.cell], stack, weights, {}, self.backend)


def _on_host(backend: Backend, array: Any) -> np.ndarray | None:
    """A copy in the host's memory; None for None."""
    return None if array is None else np.array(backend.to_numpy(array))


def lesson_of(model: Any, X: Any, y: Any, lengths: Any = None, static: Any = None) -> Lesson:
    """The lesson of a fitted estimator, with X and y in the forms of its `fit`.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        If the model is not an estimator, if it is not fitted, or if `fit` does not take X and y.
    """
    estimator, fitted = estimator_of(model), fitted_model(model)
    read(model, X, lengths)  # raises the errors of predict
    _, network, data = estimator._prepare(estimator._without_results(), X, y, None, lengths, static, previous=fitted)
    sequences = data.sequences
    x, _ = sequences.take(np.arange(len(sequences)))
    x = np.where(np.arange(x.shape[1])[:, None] < sequences.lengths[:, None, None], x, 0).astype(x.dtype)
    backend = backend_for(estimator.backend, work=3 * network.stack.operations(*x.shape[:2]))
    recurrent, tokens = models_of(fitted, backend)
    x = x if tokens is None else backend.to_numpy(tokens.read(x)[0])
    return Lesson(recurrent, fitted.parameters, estimator.backend, data, x, sequences.lengths)


def models_of(fitted: Fitted, backend: Backend) -> tuple[Model, Model | None]:
    """A model from the input of the recurrent layers on; and the whole model, if the network reads tokens."""
    network = fitted.network
    models = [
        Model(part, backend, part.pack(backend, fitted.parameters), training=False)
        for part in (replace(network, tokens=None), network)
    ]
    return models[0], models[1] if network.tokens else None


def read(model: Any, X: Any, lengths: Any = None) -> Sequences:
    """Sequences as a fitted estimator's network reads them.

    Raises
    ------
    TypeError, ValueError
        If its `predict` does not take X.
    """
    return estimator_of(model)._ready(X, lengths)[2]


def fitted_model(model: Any) -> Fitted:
    """The fitted model of an estimator.

    Raises
    ------
    TypeError
        If the model is not an estimator of sequences.
    NotFittedError
        Before `fit`.
    """
    return estimator_of(model)._model


def estimator_of(model: Any) -> SequenceEstimator:
    """The model, which must be a fitted estimator of sequences.

    Raises
    ------
    TypeError
        If it is not an estimator of sequences.
    NotFittedError
        Before `fit`.
    """
    if not isinstance(model, SequenceEstimator):
        raise TypeError(f"model must be a fitted classifier or regressor of numlstm, got {type(model).__name__}")
    check_is_fitted(model)
    return model
