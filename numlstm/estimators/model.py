"""A trained network behind an estimator: its attributes, and what it predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..backends.contract import Backend
from ..backends.dispatch import backend_for
from ..io.saving import Savable
from ..layers import LAYERS
from ..layers.layer import layer_of, on_backend
from ..layers.options import DEFAULTS, not_defaults
from ..layers.trace import Trace
from ..training.batches import Sequences, sorted_batches
from ..training.loop import PREDICTED_STEPS, Trainer, predicted
from ..training.network import HEAD, Model, Network
from ..training.progress import History
from .classes import Classes
from .inputs import sequences_of
from .numeric import Numbers
from .parameters import documented
from .stream import PredictionStream

Codec = Classes | Numbers
Self = TypeVar("Self", bound="SequenceModel")


@dataclass(frozen=True)
class Fitted:
    """What prediction needs.

    Attributes
    ----------
    network : Network
    parameters : mapping of str to array
    codec : Classes or Numbers
        From scores to what users are given.
    """

    network: Network
    parameters: dict[str, np.ndarray]
    codec: Codec


@dataclass(frozen=True)
class Session:
    """What `partial_fit` goes on from, besides the weights.

    Attributes
    ----------
    rng : numpy.random.Generator
    solver : str
    steps : int
        Steps that the optimizer has taken.
    state : list of mapping of str to array
        What the optimizer remembers, by the names of the parameters.
    """

    rng: np.random.Generator
    solver: str
    steps: int
    state: list[dict[str, np.ndarray]]


class SequenceModel(Savable, BaseEstimator, ABC):
    """What estimators are once they are fitted."""

    pooling: str
    backend: str | None
    _columns: int | None  # T, if X was (n, T) in fit
    _model: Fitted
    _prepared: dict[str, Model]  # the model on each backend that it has predicted on
    _session: Session

    # Results ----------------------------------------------------------------------------------------------

    def _results(
        self, trainer: Trainer, codec: Codec, history: History, before: SequenceModel | None
    ) -> dict[str, Any]:
        """All attributes that training makes; `before` is an estimator that it went on from."""
        known = {name: value for name, value in vars(self).items() if _is_result(name)}
        return known | self._finish(trainer, codec) | self._record(history, before)

    def _finish(self, trainer: Trainer, codec: Codec) -> dict[str, Any]:
        """The attributes that a trained network makes."""
        model = trainer.model
        parameters = model.network.unpack(model.backend, model.flat)
        shown = not_defaults(self._layer_options())
        return self._trained(Fitted(model.network, parameters, codec), shown, model.backend.name)

    def _trained(self, fitted: Fitted, shown: dict[str, Any], backend: str) -> dict[str, Any]:
        """The same, of a network that a backend has trained; `shown` are the options of its layers."""
        parameters, stack = fitted.parameters, fitted.network.stack
        weights = {name: parameters[name] for name in stack.shapes}
        layer = layer_of(LAYERS[stack.cell.cell], stack, weights, shown, None)
        return {
            "_model": fitted,
            "_prepared": {},
            "layers_": [layer],
            "coef_": _read_only(parameters["weight" + HEAD]),
            "intercept_": _read_only(parameters["bias" + HEAD]),
            "backend_": backend,
        } | self._describe(fitted.codec)

    def _layer_options(self) -> dict[str, Any]:
        """The parameters that describe layers."""
        names = ("hidden_size", *DEFAULTS)
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def _record(self, history: History, before: SequenceModel | None) -> dict[str, Any]:
        """The attributes that tell how training went, with what went before."""

        def joined(name: str, new: list[float]) -> list[float]:
            return [*((before and getattr(before, name)) or []), *new]

        losses = joined("loss_curve_", history.losses)
        watched = history.watched if before is None else [before.best_loss_, *history.watched]
        return {
            "loss_curve_": losses,
            "validation_loss_curve_": joined("validation_loss_curve_", history.validation_losses) or None,
            "validation_scores_": joined("validation_scores_", history.validation_scores) or None,
            "best_loss_": min(watched, default=np.inf),
            "n_iter_": len(losses),
        }

    def _without_results(self: Self) -> Self:
        """An estimator with the same parameters, to take results."""
        other = object.__new__(type(self))
        other.__dict__.update(self.get_params(deep=False))
        return other

    def _adopt(self, fitted: SequenceModel) -> None:
        """Replace all results by those of `fitted`."""
        for name in [name for name in vars(self) if _is_result(name)]:
            delattr(self, name)
        self.__dict__.update({name: value for name, value in vars(fitted).items() if _is_result(name)})

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return state | {"_prepared": {}} if "_prepared" in state else state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # Prediction -------------------------------------------------------------------------------------------

    def _scores(self, X: Any, lengths: Any) -> tuple[np.ndarray, Sequences]:
        """Scores (n, K) of sequences, or (M, K) of all their steps, and the sequences."""
        model, sequences = self._ready(X, lengths)
        by_step = model.network.pooling == "none"
        ends = np.cumsum(sequences.lengths) if by_step else np.empty(0)
        count = int(ends[-1]) if by_step else len(sequences)
        values = np.empty((count, model.network.outputs), model.network.stack.dtype)
        for rows, part in predicted(model, sequences):
            scores = model.backend.to_numpy(part)
            if not by_step:
                values[rows] = scores
                continue
            padded = scores.reshape(len(rows), -1, scores.shape[1])
            for row, own in zip(rows.tolist(), padded, strict=True):
                length = sequences.lengths[row]
                values[ends[row] - length : ends[row]] = own[:length]
        return values, sequences

    def _ready(self, X: Any, lengths: Any) -> tuple[Model, Sequences]:
        """A model that predicts, and checked sequences."""
        if not hasattr(self, "_model"):
            check_is_fitted(self)
        stack = self._model.network.stack
        sequences = sequences_of(self, X, lengths, stack.dtype, reset=False)
        return self._model_on(backend_for(self.backend, work=stack.operations(1, len(sequences.values)))), sequences

    def _model_on(self, backend: Backend) -> Model:
        """Weights as a backend wants them, packed at the first prediction."""
        if backend.name not in self._prepared:
            network, parameters = self._model.network, self._model.parameters
            flat = network.pack(backend, parameters)
            self._prepared[backend.name] = Model(network, backend, flat, training=False)
        return self._prepared[backend.name]

    @available_if(lambda self: (self._model.network if hasattr(self, "_model") else self).pooling == "attention")
    @documented
    def attention_weights(self, X: Any, *, lengths: Any = None) -> list[np.ndarray]:
        """What part each step has in a prediction; with ``pooling="attention"``.

        Parameters
        ----------
        <<SEQUENCES>>

        Returns
        -------
        list of array, shape (T_i,)
            Positive weights, which sum to 1, of the steps of each sequence.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does.
        """
        model, sequences = self._ready(X, lengths)
        found: list[Any] = [None] * len(sequences)
        for rows in sorted_batches(sequences.lengths, PREDICTED_STEPS):
            x, own = sequences.take(rows)
            shares = model.backend.to_numpy(model.shares(model.backend.to_device(x, model.network.stack.dtype), own))
            for row, each in zip(rows.tolist(), shares, strict=True):
                found[row] = each[: sequences.lengths[row]].copy()
        return found

    @documented
    def trace(self, X: Any, *, lengths: Any = None) -> Trace:
        """What the gates of every layer let in, kept and gave out, at every step.

        Parameters
        ----------
        <<SEQUENCES>>

        Returns
        -------
        Trace
            Gates and states by name: arrays (layers · directions, n, T, hidden_size), zeros past each length.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does.
        """
        _, sequences = self._ready(X, lengths)
        x, own = sequences.take(np.arange(len(sequences)))
        return self._layer().trace(x, lengths=own)

    def stream(self, batch_size: int = 1) -> PredictionStream:
        """Predict while a sequence arrives: one step at a time, with the state kept.

        Parameters
        ----------
        batch_size : int, at least 1, default 1
            Streams that advance together.

        Returns
        -------
        PredictionStream
            A snapshot of the trained model. Its ``step(x_t)`` gives what the whole sequence so far would be given:
            probabilities of a classifier, targets of a regressor.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the model is bidirectional: the end of a stream is not known.

        See Also
        --------
        numlstm.stream : The stream of a Pipeline, ``numlstm.stream(pipeline)``: its transformers come before this.
        """
        check_is_fitted(self)
        if self.layers_[0].bidirectional:
            raise ValueError("stream() needs bidirectional=False: the last step of a stream is not known")
        return PredictionStream(self._model, self._layer().stream(batch_size), partial(self._say, self._model.codec))

    def _layer(self) -> Any:
        """The trained layer, on the backend that this estimator has now: models move between them."""
        return on_backend(self.layers_[0], self.backend)

    @staticmethod
    @abstractmethod
    def _say(codec: Any, scores: np.ndarray) -> np.ndarray:
        """What a stream gives for scores (N, K)."""

    @abstractmethod
    def _describe(self, codec: Codec) -> dict[str, Any]:
        """Attributes that follow from the codec."""


def _is_result(name: str) -> bool:
    return (name.endswith("_") and not name.startswith("_")) or name in ("_columns", "_model", "_prepared", "_session")


def _read_only(array: np.ndarray) -> np.ndarray:
    """A copy that cannot be taken for the weights that predictions are made with."""
    array = array.copy()
    array.flags.writeable = False
    return array
