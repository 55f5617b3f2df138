"""The base class of fitted estimators: a trained network, its attributes and its predictions."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
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
from ...training.loop import Trainer
from ...training.model import Model
from ...training.network import Network
from ...training.outputs import HEAD
from ...training.predicting import PREDICTED_STEPS, Predictor, predict_scores
from ...training.progress import History
from ..data.categories import TokenReading
from ..data.channels import ChannelScale, input_dtype
from ..data.inputs import check_not_empty, check_sequences
from ..data.static import StaticFeatures, scaled_static
from ..targets.alphabet import Alphabet
from ..targets.classes import Classes
from ..targets.next_tokens import NextTokens
from ..targets.numbers import Numbers
from ..targets.tags import Tags
from .layer_options import effective_options
from .parameters import documented
from .results import results_of, snapshot

Codec = Classes | Numbers | Tags | Alphabet | NextTokens
Self = TypeVar("Self", bound="SequenceModel")


READ_ONLY = "{} of a fitted model is read-only: model.set_parameters(mapping) changes its weights"

if TYPE_CHECKING:
    read_only_property = property
else:

    class read_only_property(property):
        """A property whose error on assignment tells how to change weights."""

        def __set__(self, instance: Any, value: Any) -> NoReturn:
            raise AttributeError(READ_ONLY.format(self.fget.__name__))


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network with all that predictions need.

    Cached values belong to the weights that they were computed from, and so are kept here. They are not kept in the
    estimator, because another thread may fit it again.

    Attributes
    ----------
    network : Network
    parameters : mapping of str to array
    codec : Classes, Numbers, Tags, Alphabet or NextTokens
        Converts scores to predictions.
    shown : mapping of str to object
        Options of the layers that differ from their defaults; the layers show them in their `repr`.
    static : StaticFeatures or None
        The scale of static features.
    channels : ChannelScale or None
        The scale of X.
    reading : TokenReading or None
        How tokens in X are read.
    """

    network: Network
    parameters: dict[str, np.ndarray]
    codec: Codec
    shown: dict[str, Any] = field(default_factory=dict)
    static: StaticFeatures | None = None
    channels: ChannelScale | None = None
    reading: TokenReading | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # cached properties are left out

    @cached_property
    def models(self) -> dict[str, Model]:
        """The models that have been prepared, by the name of the backend."""
        return {}

    def computing_in(self, compute_dtype: Any) -> Fitted:
        """The same with recurrent layers whose products are of another type; it is made once.

        Raises
        ------
        ValueError
            If there is no such type, or if the network computes in float64.
        """
        if compute_dtype is None:
            return self
        network = self.network.computing_in(compute_dtype)
        if compute_dtype not in self.computing:
            self.computing[compute_dtype] = replace(self, network=network)
        return self.computing[compute_dtype]

    @cached_property
    def computing(self) -> dict[Any, Fitted]:
        """What `computing_in` has made."""
        return {}

    def on(self, backend: Backend) -> Model:
        """The model on a backend; it is prepared at the first prediction."""
        if backend.name not in self.models:
            flat = self.network.pack(backend, self.parameters)
            self.models[backend.name] = Model(self.network, backend, flat, training=False)
        return self.models[backend.name]

    @cached_property
    def predictors(self) -> dict[str, Predictor]:
        """What `scores_of` has made, by the name of the backend."""
        return {}

    def scores_of(self, model: Model) -> Predictor:
        """The scores of a model from `on`."""
        return self.predictors.setdefault(model.backend.name, Predictor(model))

    @cached_property
    def layer(self) -> Layer:
        """The recurrent layers."""
        stack = self.network.stack
        weights = {name: self.parameters[name] for name in stack.shapes}
        hint = READ_ONLY.format("layers_") + "; copy.copy(layer) is a layer of its own"
        return layer_of(LAYERS[stack.cell.cell], stack, weights, self.shown, None, hint)


@dataclass(frozen=True)
class Session:
    """The state of training, besides the weights, with which `partial_fit` continues.

    Attributes
    ----------
    rng : numpy.random.Generator
    solver : str
    steps : int
        Number of steps that the optimizer has taken.
    state : list of mapping of str to array
        The state of the optimizer, by the names of the parameters.
    """

    rng: np.random.Generator
    solver: str
    steps: int
    state: list[dict[str, np.ndarray]]


class Layers(tuple[Layer, ...]):
    """The layers of a fitted estimator, read-only."""

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(READ_ONLY.format("layers_"))


class Scores(NamedTuple):
    """The scores of sequences.

    Attributes
    ----------
    values : array, shape (n, K), or (M, K)
        The scores of each sequence, or of all steps.
    sequences : Sequences
    codec : Classes or Numbers
        Converts the scores to predictions.
    """

    values: np.ndarray
    sequences: Sequences
    codec: Any


class SequenceModel(Savable, BaseEstimator, ABC):
    """Base class of fitted estimators: attributes, predictions, traces and streams."""

    cell: str
    pooling: str
    backend: str | None
    compute_dtype: str | None
    _columns: int | None  # T, if X was (n, T) in fit
    _lengths_given: bool  # whether X was a padded array with lengths in fit
    _model: Fitted
    _session: Session
    _static: StaticFeatures | None  # during `fit`, before `_model` exists
    _channels: ChannelScale | None  # likewise
    _reading: TokenReading | None  # likewise

    # Results ----------------------------------------------------------------------------------------------

    def _results(
        self, trainer: Trainer, codec: Codec, history: History, previous: SequenceModel | None
    ) -> dict[str, Any]:
        """All attributes that training sets; `previous` is the estimator that training continued from."""
        return results_of(self) | self._finish(trainer, codec) | self._record(history, previous)

    def _finish(self, trainer: Trainer, codec: Codec) -> dict[str, Any]:
        """The attributes that hold the trained network."""
        model = trainer.model
        parameters = model.network.unpack(model.backend, model.flat)
        network = model.network.computing_in(None)  # that of predictions may be set later
        fitted = Fitted(
            network, parameters, codec, static=self._static, channels=self._channels, reading=self._reading
        )  # fmt: skip
        return self._trained(fitted, not_defaults(self._layer_options()), model.backend.name)

    def _trained(self, fitted: Fitted, shown: dict[str, Any], backend: str) -> dict[str, Any]:
        """The attributes that hold a network which a backend has trained; `shown` is as in `Fitted`."""
        return {"_model": replace(fitted, shown=shown), "backend_": backend}

    def _layer_options(self) -> dict[str, Any]:
        """The options of the layers, without those that have no effect."""
        names = ("hidden_size", *DEFAULTS)
        return effective_options(self.cell, {name: getattr(self, name) for name in names if hasattr(self, name)})

    def _record(self, history: History, previous: SequenceModel | None) -> dict[str, Any]:
        """The attributes that record the course of training, and of the training that it continued."""

        def continued(name: str, values: list[float]) -> list[float]:
            return [*((previous and getattr(previous, name)) or []), *values]

        losses = continued("loss_curve_", history.losses)
        return {
            "loss_curve_": losses,
            "validation_loss_curve_": continued("validation_loss_curve_", history.validation_losses) or None,
            "validation_scores_": continued("validation_scores_", history.validation_scores) or None,
            "best_loss_": history.kept_loss,
            "stop_reason_": history.stop_reason,
            "n_iter_": len(losses),
        }

    def _without_results(self: Self) -> Self:
        """A new estimator with the same parameters, but without results."""
        estimator = object.__new__(type(self))
        estimator.__dict__.update(self.get_params(deep=False))
        return estimator

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # Weights ----------------------------------------------------------------------------------------------

    @read_only_property
    def parameters(self) -> Mapping[str, np.ndarray]:
        """All trained parameters by name, read-only; `set_parameters` changes them.

        Parameters of the recurrent layers have the same names as in `LSTM`. The names of the output layer's parameters
        end with ``_output``, those of the attention pooling with ``_attention``.
        """
        fitted = self._fitted("parameters")
        return MappingProxyType({name: read_only(array) for name, array in fitted.parameters.items()})

    def set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Replace all trained parameters. All later predictions, attributes and files use the new parameters.

        Existing streams keep the old parameters; so do predictions that another thread has begun.

        Parameters
        ----------
        parameters : mapping of str to array
            Finite numbers, with the names and shapes of `parameters`. They are copied.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If names are missing or unknown, a shape is wrong, or a number is not finite. The model does not change
            then.
        TypeError
            If `parameters` is not a mapping, or an array is not numeric.

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

    @read_only_property
    def layers_(self) -> Layers:
        """The trained recurrent layers, read-only: one stack. With `scale_inputs` they read scaled channels."""
        return Layers([self._fitted("layers_").layer])

    @read_only_property
    def coef_(self) -> np.ndarray:
        """Weights of the output layer, read-only, (outputs, features); the static features are the last ones."""
        return read_only(self._fitted("coef_").parameters["weight" + HEAD])

    @read_only_property
    def intercept_(self) -> np.ndarray:
        """Bias of the output layer, read-only, (outputs,)."""
        return read_only(self._fitted("intercept_").parameters["bias" + HEAD])

    @property
    def static_mean_(self) -> np.ndarray:
        """The number that is subtracted from each static feature."""
        return read_only(self._static_features("static_mean_").mean)

    @property
    def static_scale_(self) -> np.ndarray:
        """The number that each static feature is then divided by."""
        return read_only(self._static_features("static_scale_").scale)

    @property
    def static_feature_names_in_(self) -> np.ndarray:
        """Names of the static features."""
        names = self._static_features("static_feature_names_in_").names
        if names is None:
            raise AttributeError("static had no column names in fit, so there is no static_feature_names_in_")
        return read_only(names)

    @property
    def channel_mean_(self) -> np.ndarray:
        """The number that is subtracted from each channel."""
        return read_only(self._channel_scale("channel_mean_").mean)

    @property
    def channel_scale_(self) -> np.ndarray:
        """The number that each channel is then divided by."""
        return read_only(self._channel_scale("channel_scale_").scale)

    @property
    def vocabulary_(self) -> dict[Any, int]:
        """The number of each known token, if X held texts; numbers count from 1, 0 is for unknown tokens."""
        reading = self._token_reading_of("vocabulary_")
        if not reading.text:
            raise AttributeError("X had several channels in fit, so there are vocabularies_, by channel")
        return dict(reading.vocabularies[0].numbers)

    @property
    def vocabularies_(self) -> dict[Any, dict[Any, int]]:
        """The numbers of known categories, for each categorical channel."""
        reading = self._token_reading_of("vocabularies_")
        names = [0] if reading.names is None else [reading.names[k] for k in reading.channels]
        return {name: dict(words.numbers) for name, words in zip(names, reading.vocabularies, strict=True)}

    @property
    def embeddings_(self) -> tuple[np.ndarray, ...]:
        """The vectors of the tokens of each categorical channel, read-only; row 0 is that of unknown tokens."""
        reading, parameters = self._token_reading_of("embeddings_"), self._model.parameters
        return tuple(read_only(parameters[f"embedding_{k}"]) for k in range(len(reading.channels)))

    @available_if(lambda self: getattr(self, "_model", None) is not None and self._model.reading is not None)
    def get_feature_names_out(self, input_features: None = None) -> np.ndarray:
        """The tokens of `vocabulary_` in the order of their numbers, "<unknown>" first; only if X held tokens.

        Parameters
        ----------
        input_features : None
            Is not read; for scikit-learn's tools.

        Returns
        -------
        array of object, shape (tokens + 1,)
            With several categorical channels, the names of each begin with that of the channel.
        """
        assert self._model.reading is not None
        return np.array(self._model.reading.feature_names, object)

    def _token_reading_of(self, attribute: str) -> TokenReading:
        reading = self._fitted(attribute).reading
        if reading is None:
            raise AttributeError(f"{type(self).__name__} was fitted with numbers alone, so it has no {attribute}")
        return reading

    def _channel_scale(self, attribute: str) -> ChannelScale:
        channels = self._fitted(attribute).channels
        if channels is None:
            raise AttributeError(f"{type(self).__name__} was fitted without scale_inputs, so it has no {attribute}")
        return channels

    def _static_features(self, attribute: str) -> StaticFeatures:
        static = self._fitted(attribute).static
        if static is None:
            raise AttributeError(f"{type(self).__name__} was fitted without static features, so it has no {attribute}")
        return static

    def _fitted(self, attribute: str) -> Fitted:
        """The trained network. Before `fit`, the attribute does not exist."""
        if not hasattr(self, "_model"):
            raise AttributeError(f"{type(self).__name__} is not fitted yet, so it has no {attribute}")
        return self._model

    # Prediction -------------------------------------------------------------------------------------------

    def _scores(self, X: Any, lengths: Any, static: Any) -> Scores:
        """The scores of sequences."""
        fitted, model, sequences = self._ready(X, lengths)
        static_values = scaled_static(fitted.static, static, len(sequences), model.network.stack.dtype)
        by_step = model.network.pooling == "none"
        ends = np.cumsum(sequences.lengths) if by_step else np.empty(0)
        count = int(sequences.lengths.sum()) if by_step else len(sequences)
        values = np.empty((count, model.network.outputs), model.network.stack.dtype)
        for rows, device_scores in predict_scores(fitted.scores_of(model), sequences, static_values):
            scores = model.backend.to_numpy(device_scores)
            if not by_step:
                values[rows] = scores
                continue
            padded = scores.reshape(len(rows), -1, scores.shape[1])
            for row, sequence_scores in zip(rows.tolist(), padded, strict=True):
                length = sequences.lengths[row]
                values[ends[row] - length : ends[row]] = sequence_scores[:length]
        return Scores(values, sequences, fitted.codec)

    def _ready(self, X: Any, lengths: Any) -> tuple[Fitted, Model, Sequences]:
        """The trained network, a model that predicts with it, and checked sequences."""
        estimator = snapshot(self)
        if not hasattr(estimator, "_model"):
            check_is_fitted(self)
        fitted = estimator._model.computing_in(self.compute_dtype)
        stack = fitted.network.stack
        channels = fitted.channels
        if fitted.reading is not None:
            X = fitted.reading.encode(X, "X")
        dtype = input_dtype(X, stack.dtype, channels is not None)
        sequences = check_sequences(estimator, X, lengths, dtype, reset=False)
        if channels is not None:
            sequences = channels.scaled_sequences(sequences, stack.dtype)
        sequences = self._framed(sequences, fitted.codec)
        backend = backend_for(self.backend, work=stack.operations(1, len(sequences.values)))
        return fitted, fitted.on(backend), sequences

    def _framed(self, sequences: Sequences, codec: Codec) -> Sequences:
        """The steps that the network reads, from scaled sequences."""
        return sequences

    @available_if(lambda self: (self._model.network if hasattr(self, "_model") else self).pooling == "attention")
    @documented
    def attention_weights(self, X: Any, *, lengths: Any = None) -> list[np.ndarray]:
        """The weight of each step in the attention pooling; only with ``pooling="attention"``.

        Parameters
        ----------
        <<SEQUENCES>>

        Returns
        -------
        list of array, shape (T_i,)
            Positive weights of the steps of each sequence; their sum is 1.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`.
        """
        _, model, sequences = self._ready(X, lengths)
        weights: list[Any] = [None] * len(sequences)
        for rows in sorted_batches(sequences.lengths, PREDICTED_STEPS):
            x, batch_lengths = sequences.take(rows)
            batch_weights = model.backend.to_numpy(model.attention_weights(x, batch_lengths))
            for row, padded in zip(rows.tolist(), batch_weights, strict=True):
                weights[row] = padded[: sequences.lengths[row]].copy()
        return weights

    @documented
    def trace(self, X: Any, *, lengths: Any = None) -> Trace:
        """The gates and states of all layers at every step.

        Parameters
        ----------
        <<SEQUENCES>>

        Returns
        -------
        Trace
            Gates and states by name: arrays (layers · directions, n, T, hidden_size), with zeros past each length.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`.
        """
        fitted, model, sequences = self._ready(X, lengths)
        check_not_empty(sequences)
        x, batch_lengths = sequences.take(np.arange(len(sequences)))
        if fitted.reading is not None:
            x = model.backend.to_numpy(model.read(x)[0])
        return self._layer(fitted).trace(x, lengths=batch_lengths)

    def _layer(self, fitted: Fitted) -> Layer:
        """The trained layer, on the backend that the estimator is set to now."""
        return on_backend(fitted.layer, self.backend)
