"""A trained network behind an estimator: its attributes, and what it predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ...backends.contract import Backend
from ...backends.dispatch import backend_for
from ...concurrency import cached_property
from ...layers import LAYERS
from ...layers.layer import Layer, layer_of, on_backend
from ...layers.options import DEFAULTS, not_defaults
from ...layers.parameters import checked_parameters, read_only
from ...layers.trace import Trace
from ...savable import Savable
from ...training.batches import Sequences, sorted_batches
from ...training.loop import PREDICTED_STEPS, Trainer, predicted
from ...training.network import HEAD, Model, Network
from ...training.progress import History
from ..data.channels import ChannelScale, dtype_to_read
from ..data.inputs import check_some, sequences_of
from ..data.static import StaticFeatures, static_for
from ..targets.classes import Classes
from ..targets.numbers import Numbers
from .layer_options import acting
from .parameters import documented
from .results import results_of, snapshot
from .stream import PredictionStream

Codec = Classes | Numbers
Self = TypeVar("Self", bound="SequenceModel")


READ_ONLY = "{} of a fitted model is for reading: model.set_parameters(mapping) changes its weights"

if TYPE_CHECKING:
    for_reading = property
else:

    class for_reading(property):
        """A property that says to whoever assigns it how weights are changed."""

        def __set__(self, instance: Any, value: Any) -> NoReturn:
            raise AttributeError(READ_ONLY.format(self.fget.__name__))


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network: all that prediction needs, and what has been derived from it.

    What is derived hangs on the weights that it comes from, and never on the estimator, which other threads may fit
    anew.

    Attributes
    ----------
    network : Network
    parameters : mapping of str to array
    codec : Classes or Numbers
        From scores to what users are given.
    shown : mapping of str to object
        Options of the layers that are not at their defaults.
    static : StaticFeatures or None
    channels : ChannelScale or None
        What X is scaled by.
    """

    network: Network
    parameters: dict[str, np.ndarray]
    codec: Codec
    shown: dict[str, Any] = field(default_factory=dict)
    static: StaticFeatures | None = None
    channels: ChannelScale | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}  # nothing that follows from them

    @cached_property
    def models(self) -> dict[str, Model]:
        """The network on each backend that it has predicted on."""
        return {}

    def on(self, backend: Backend) -> Model:
        """Weights as a backend wants them, packed at the first prediction."""
        if backend.name not in self.models:
            flat = self.network.pack(backend, self.parameters)
            self.models[backend.name] = Model(self.network, backend, flat, training=False)
        return self.models[backend.name]

    @cached_property
    def layer(self) -> Layer:
        """The recurrent layers."""
        stack = self.network.stack
        weights = {name: self.parameters[name] for name in stack.shapes}
        hint = READ_ONLY.format("layers_") + "; copy.copy(layer) is a layer of its own"
        return layer_of(LAYERS[stack.cell.cell], stack, weights, self.shown, None, hint)


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


class Layers(tuple[Layer, ...]):
    """The layers of a fitted estimator, for reading."""

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(READ_ONLY.format("layers_"))


class Scores(NamedTuple):
    """What a network says of sequences.

    Attributes
    ----------
    values : array, shape (n, K), or (M, K)
        Of each sequence, or of all their steps.
    sequences : Sequences
    codec : Classes or Numbers
        What makes them what users are given.
    """

    values: np.ndarray
    sequences: Sequences
    codec: Any


class SequenceModel(Savable, BaseEstimator, ABC):
    """What estimators are once they are fitted."""

    cell: str
    pooling: str
    backend: str | None
    _columns: int | None  # T, if X was (n, T) in fit
    _lengths_given: bool  # whether X was a padded array with lengths in fit
    _model: Fitted
    _session: Session
    _static: StaticFeatures | None  # what `fit` has read, until it is kept in `_model`
    _channels: ChannelScale | None  # likewise

    # Results ----------------------------------------------------------------------------------------------

    def _results(
        self, trainer: Trainer, codec: Codec, history: History, before: SequenceModel | None
    ) -> dict[str, Any]:
        """All attributes that training makes; `before` is an estimator that it went on from."""
        return results_of(self) | self._finish(trainer, codec) | self._record(history, before)

    def _finish(self, trainer: Trainer, codec: Codec) -> dict[str, Any]:
        """The attributes that a trained network makes."""
        model = trainer.model
        parameters = model.network.unpack(model.backend, model.flat)
        fitted = Fitted(model.network, parameters, codec, static=self._static, channels=self._channels)
        return self._trained(fitted, not_defaults(self._layer_options()), model.backend.name)

    def _trained(self, fitted: Fitted, shown: dict[str, Any], backend: str) -> dict[str, Any]:
        """The same, of a network that a backend has trained; `shown` are the options of its layers."""
        return {"_model": replace(fitted, shown=shown), "backend_": backend}

    def _layer_options(self) -> dict[str, Any]:
        """The parameters that describe layers, and act on them."""
        names = ("hidden_size", *DEFAULTS)
        return acting(self.cell, {name: getattr(self, name) for name in names if hasattr(self, name)})

    def _record(self, history: History, before: SequenceModel | None) -> dict[str, Any]:
        """The attributes that tell how training went, with what went before."""

        def joined(name: str, new: list[float]) -> list[float]:
            return [*((before and getattr(before, name)) or []), *new]

        losses = joined("loss_curve_", history.losses)
        return {
            "loss_curve_": losses,
            "validation_loss_curve_": joined("validation_loss_curve_", history.validation_losses) or None,
            "validation_scores_": joined("validation_scores_", history.validation_scores) or None,
            "best_loss_": history.kept_loss,
            "stop_reason_": history.stop_reason,
            "n_iter_": len(losses),
        }

    def _without_results(self: Self) -> Self:
        """An estimator with the same parameters, to take results."""
        other = object.__new__(type(self))
        other.__dict__.update(self.get_params(deep=False))
        return other

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # Weights ----------------------------------------------------------------------------------------------

    @for_reading
    def parameters(self) -> Mapping[str, np.ndarray]:
        """All trained parameters by name, read-only; `set_parameters` changes them.

        Those of the recurrent layers have the names that they have in `LSTM`, those of the output layer and of an
        attention pooling end in ``_output`` and ``_attention``.
        """
        fitted = self._fitted("parameters")
        return MappingProxyType({name: read_only(array) for name, array in fitted.parameters.items()})

    def set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Replace all trained parameters: whatever predicts, is shown or is saved from now on has the new ones.

        Streams that have been made keep the old ones; so do predictions that another thread has begun.

        Parameters
        ----------
        parameters : mapping of str to array
            The names and shapes of `parameters`; finite numbers, which are copied.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If names are missing or unknown, a shape is wrong, or a number is not finite; nothing is changed then.
        TypeError
            If it is no mapping, or an array is not numeric.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMRegressor
        >>> X, y = np.random.default_rng(0).normal(size=(20, 5, 2)), np.arange(20)
        >>> model = LSTMRegressor(hidden_size=4, max_iter=2, random_state=0).fit(X, y)
        >>> model.set_parameters({name: np.zeros_like(array) for name, array in model.parameters.items()})
        >>> model.predict(X[:2])
        array([9.5, 9.5])
        """
        check_is_fitted(self)
        fitted = self._model
        shapes, dtype = fitted.network.shapes, fitted.network.stack.dtype
        self._model = replace(fitted, parameters=checked_parameters(parameters, shapes, dtype, finite=True))

    @for_reading
    def layers_(self) -> Layers:
        """The trained recurrent layers, for reading: one stack. With `scale_inputs` they read scaled channels."""
        return Layers([self._fitted("layers_").layer])

    @for_reading
    def coef_(self) -> np.ndarray:
        """Weights of the output layer, read-only, (outputs, features); those of static features, scaled, come last."""
        return read_only(self._fitted("coef_").parameters["weight" + HEAD])

    @for_reading
    def intercept_(self) -> np.ndarray:
        """Bias of the output layer, read-only, (outputs,)."""
        return read_only(self._fitted("intercept_").parameters["bias" + HEAD])

    @property
    def static_mean_(self) -> np.ndarray:
        """What is taken from each static feature."""
        return read_only(self._static_features("static_mean_").mean)

    @property
    def static_scale_(self) -> np.ndarray:
        """What each static feature is then divided by."""
        return read_only(self._static_features("static_scale_").scale)

    @property
    def static_feature_names_in_(self) -> np.ndarray:
        """Names of the static features."""
        names = self._static_features("static_feature_names_in_").names
        if names is None:
            raise AttributeError("static had no names of columns in fit: there are no static_feature_names_in_")
        return read_only(names)

    @property
    def channel_mean_(self) -> np.ndarray:
        """What is taken from each channel."""
        return read_only(self._channel_scale("channel_mean_").mean)

    @property
    def channel_scale_(self) -> np.ndarray:
        """What each channel is then divided by."""
        return read_only(self._channel_scale("channel_scale_").scale)

    def _channel_scale(self, attribute: str) -> ChannelScale:
        channels = self._fitted(attribute).channels
        if channels is None:
            raise AttributeError(f"{type(self).__name__} was fitted without scale_inputs: it has no {attribute}")
        return channels

    def _static_features(self, attribute: str) -> StaticFeatures:
        static = self._fitted(attribute).static
        if static is None:
            raise AttributeError(f"{type(self).__name__} was fitted without static features: it has no {attribute}")
        return static

    def _fitted(self, attribute: str) -> Fitted:
        """What has been fitted; before that, there is no such attribute."""
        if not hasattr(self, "_model"):
            raise AttributeError(f"{type(self).__name__} is not fitted yet: it has no {attribute}")
        return self._model

    # Prediction -------------------------------------------------------------------------------------------

    def _scores(self, X: Any, lengths: Any, static: Any) -> Scores:
        """What the network says of sequences."""
        fitted, model, sequences = self._ready(X, lengths)
        beside = static_for(fitted.static, static, len(sequences), model.network.stack.dtype)
        by_step = model.network.pooling == "none"
        ends = np.cumsum(sequences.lengths) if by_step else np.empty(0)
        count = int(sequences.lengths.sum()) if by_step else len(sequences)
        values = np.empty((count, model.network.outputs), model.network.stack.dtype)
        for rows, part in predicted(model, sequences, beside):
            scores = model.backend.to_numpy(part)
            if not by_step:
                values[rows] = scores
                continue
            padded = scores.reshape(len(rows), -1, scores.shape[1])
            for row, own in zip(rows.tolist(), padded, strict=True):
                length = sequences.lengths[row]
                values[ends[row] - length : ends[row]] = own[:length]
        return Scores(values, sequences, fitted.codec)

    def _ready(self, X: Any, lengths: Any) -> tuple[Fitted, Model, Sequences]:
        """What has been fitted, a model of it that predicts, and checked sequences."""
        known = snapshot(self)
        if not hasattr(known, "_model"):
            check_is_fitted(self)
        fitted = known._model
        stack = fitted.network.stack
        channels = fitted.channels
        dtype = dtype_to_read(X, stack.dtype, channels is not None)
        sequences = sequences_of(known, X, lengths, dtype, reset=False)
        if channels is not None:
            sequences = channels.scaled_sequences(sequences, stack.dtype)
        backend = backend_for(self.backend, work=stack.operations(1, len(sequences.values)))
        return fitted, fitted.on(backend), sequences

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
        _, model, sequences = self._ready(X, lengths)
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
        fitted, _, sequences = self._ready(X, lengths)
        check_some(sequences)
        x, own = sequences.take(np.arange(len(sequences)))
        return self._layer(fitted).trace(x, lengths=own)

    def stream(self, batch_size: int = 1, *, static: Any = None) -> PredictionStream:
        """Predict while a sequence arrives: one step at a time, with the state kept.

        Parameters
        ----------
        batch_size : int, at least 1, default 1
            Streams that advance together.
        static : array, shape (batch_size, F); optional
            Static features of each stream, as in `fit`; after the stream's `reset` they are the same.

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
            If the model is bidirectional: the end of a stream is not known. If `static` is not as in `fit`.

        See Also
        --------
        numlstm.stream : The stream of a Pipeline, ``numlstm.stream(pipeline)``: its transformers come before this.
        """
        check_is_fitted(self)
        fitted = self._model
        if fitted.network.stack.bidirectional:
            raise ValueError("stream() needs bidirectional=False: the last step of a stream is not known")
        stream = self._layer(fitted).stream(batch_size)
        beside = static_for(fitted.static, static, batch_size, fitted.network.stack.dtype)
        return PredictionStream(fitted, stream, partial(self._say, fitted.codec), beside)

    def _layer(self, fitted: Fitted) -> Layer:
        """The trained layer, on the backend that this estimator has now: models move between them."""
        return on_backend(fitted.layer, self.backend)

    @staticmethod
    @abstractmethod
    def _say(codec: Any, scores: np.ndarray) -> np.ndarray:
        """What a stream gives for scores (N, K)."""
