"""The base class of estimators: from X and y to a trained network."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ...checks import SMALLEST, check_integer, check_real
from ...training.batches import Sequences
from ...training.data import Data
from ...training.labels import LabelRows
from ...training.loop import Validation
from ...training.network import Network
from ...training.range_test import LearningRateTest, range_test
from ...training.targets import StepTargets, Targets
from ..data.channels import ChannelScale, input_dtype
from ..data.inputs import check_not_empty, check_sequences, warn_if_scaled_differently
from ..data.static import StaticFeatures, check_static, scaled_static
from ..data.weights import sample_weights, with_mean_weight_one
from ..targets.classes import Classes
from ..targets.numbers import Numbers
from .model import Codec, Fitted
from .parameters import documented
from .stream import PredictionStream
from .trainable import TrainableModel, check_same_network, random_generator

Self = TypeVar("Self", bound="SequenceEstimator")


class SequenceEstimator(TrainableModel):
    """Base class of all estimators of sequences and their targets."""

    # Methods that subclasses define -----------------------------------------------------------------------

    @abstractmethod
    def _check_y(self, y: Any, X: Any, sequences: Sequences, name: str = "y") -> Any:
        """Check y, and return it in the form that the next methods take as `checked`."""

    @abstractmethod
    def _make_codec(self, checked: Any, weights: np.ndarray) -> Codec:
        """The codec, which converts targets for training, and scores to predictions."""

    @abstractmethod
    def _encode_targets(
        self, codec: Codec, checked: Any, weights: np.ndarray, name: str = "y"
    ) -> Targets | StepTargets | LabelRows:
        """Targets for training or validation."""

    def _check_weights(self, sample_weight: Any, X: Any, sequences: Sequences, checked: Any) -> np.ndarray:
        """Checked sample weights."""
        return sample_weights(sample_weight, len(sequences))

    def _weights_of_classes(self, codec: Codec, checked: Any) -> Any:
        """The factors of sample weights that come from `class_weight`."""
        return 1.0

    # Training ---------------------------------------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def _decode_scores(codec: Any, scores: np.ndarray) -> np.ndarray:
        """The prediction that a stream returns for scores (N, K)."""

    def stream(self, batch_size: int = 1, *, static: Any = None) -> PredictionStream:
        """Predict while a sequence arrives: the stream takes one step at a time, and keeps the state.

        Parameters
        ----------
        batch_size : int, at least 1, default 1
            Number of sequences that arrive together.
        static : array, shape (batch_size, F); optional
            Static features of each sequence, as in `fit`. The stream's `reset` does not change them.

        Returns
        -------
        PredictionStream
            A copy of the trained model. Its ``step(x_t)`` returns the prediction for the sequence so far: the
            probabilities of a classifier, or the targets of a regressor.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the model is bidirectional, because the end of a stream is not known; or if `static` is not as in `fit`.

        See Also
        --------
        numlstm.stream : The stream of a Pipeline, with its transformers: ``numlstm.stream(pipeline)``.
        """
        check_is_fitted(self)
        fitted = self._model.computing_in(self.compute_dtype)
        stream = self._layer(fitted).stream(batch_size)
        static_values = scaled_static(fitted.static, static, batch_size, fitted.network.stack.dtype)
        return PredictionStream(fitted, stream, partial(self._decode_scores, fitted.codec), static_values)

    @documented
    def learning_rate_range_test(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        static: Any = None,
        lowest: float = 1e-5,
        highest: float = 1.0,
        steps: int = 100,
    ) -> LearningRateTest:
        """Train new weights with a learning rate that grows from step to step; the estimator does not change.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y
            As in `fit`.
        <<WEIGHTS>>
        lowest, highest : float, positive
            The first learning rate and the last one. If training diverges, the test ends earlier.
        steps : int, at least 2, default 100
            Number of steps of the optimizer.

        Returns
        -------
        LearningRateTest
            Learning rates, losses, and a suggestion for `learning_rate_init`.

        Raises
        ------
        TypeError, ValueError, FloatingPointError
            As in `fit`.

        References
        ----------
        .. [1] L. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMClassifier
        >>> X = np.random.default_rng(0).normal(size=(64, 5, 2))
        >>> test = LSTMClassifier(random_state=0).learning_rate_range_test(X, X[:, -1, 0] > 0)
        >>> bool(1e-5 <= test.suggestion <= 1.0)
        True
        """
        self._check_parameters()
        check_real(lowest, "lowest", SMALLEST, np.inf)
        check_real(highest, "highest", lowest, np.inf)
        check_integer(steps, "steps", 2)
        fitted = self._without_results()
        codec, network, data = self._prepare(fitted, X, y, sample_weight, lengths, static)
        rng = random_generator(copy.deepcopy(self.random_state))
        backend = self._backend_to_train(network, data)
        trainer = self._trainer(
            network, backend, self._initial_parameters(fitted, codec, network, data, rng), data, rng
        )
        return range_test(trainer, lowest, highest, steps)

    def _prepare(
        self,
        fitted: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        lengths: Any,
        static: Any,
        *,
        previous: Fitted | None = None,
        codec: Codec | None = None,
    ) -> tuple[Codec, Network, Data]:
        """The codec, the network and the checked data for training.

        If training continues from a `previous` network, they must suit that network. Attributes that describe X are set
        in `fitted`.
        """
        if previous is not None:
            fitted._lengths_given = self._lengths_given
        scale = self.scale_inputs if previous is None else previous.channels is not None
        fitted._reading = self._token_reading(X) if previous is None else previous.reading
        if fitted._reading is not None:
            X = fitted._reading.encode(X, "X")
        dtype = input_dtype(X, self.dtype, bool(scale))
        sequences = check_sequences(fitted, X, lengths, dtype, reset=not hasattr(fitted, "_model"))
        check_not_empty(sequences)
        fitted._lengths_given = lengths is not None or getattr(fitted, "_lengths_given", False)
        checked = self._check_y(y, X, sequences)
        weights = self._check_weights(sample_weight, X, sequences, checked)
        codec = codec or self._make_codec(checked, weights)
        static_values, names = None, None
        if previous is not None:
            static_values = scaled_static(previous.static, static, len(sequences), self.dtype)
        elif static is not None:
            static_values, names = check_static(static, len(sequences), "static")
        static_size = 0 if static_values is None else static_values.shape[1]
        network = self._network(self._framed(sequences, codec), codec, static_size, fitted._reading)
        if previous is not None:
            codec = _check_continuation(previous, codec, network)
        weights = weights * self._weights_of_classes(codec, checked)
        data = with_mean_weight_one(Data(sequences, self._encode_targets(codec, checked, weights), static_values))
        if previous is not None:
            fitted._channels, fitted._static = previous.channels, previous.static
        else:
            fitted._channels = ChannelScale.of_numbers(data.sequences, fitted._reading) if scale else None
            fitted._static = None if data.static is None else StaticFeatures.of(data.static, names)
            if data.static is not None:
                data = replace(data, static=fitted._static.scaled(data.static, self.dtype, "static"))
        if fitted._channels is not None:
            data = replace(data, sequences=fitted._channels.scaled_sequences(data.sequences, self.dtype))
        return codec, network, replace(data, sequences=self._framed(data.sequences, codec))

    def _validation(
        self, fitted: Any, codec: Codec, training: Sequences, X: Any, y: Any, lengths: Any, static: Any
    ) -> Validation | None:
        """The validation set in the arguments of `fit`, or None; `training` are the training sequences."""
        arguments = {"X_val": X, "y_val": y, "lengths_val": lengths, "static_val": static}
        passed = [name for name, value in arguments.items() if value is not None]
        if not passed:
            return None
        if X is None or y is None:
            raise ValueError(f"X_val and y_val must be given together, got only {' and '.join(passed)}")
        channels = fitted._channels
        if fitted._reading is not None:
            X = fitted._reading.encode(X, "X_val")
        dtype = input_dtype(X, self.dtype, channels is not None)
        sequences = check_sequences(fitted, X, lengths, dtype, reset=False, name="X_val")
        check_not_empty(sequences, "X_val")
        if fitted._reading is None:
            training = training.unframed(sequences.channels)
            warn_if_scaled_differently(sequences, training, None if channels is None else channels.unscaled)
        if channels is not None:
            sequences = channels.scaled_sequences(sequences, self.dtype, "X_val")
        checked = self._check_y(y, X, sequences, "y_val")
        targets = self._encode_targets(codec, checked, self._check_weights(None, X, sequences, checked), "y_val")
        static_values = scaled_static(fitted._static, static, len(sequences), self.dtype, "static_val")
        return self._validation_on(Data(self._framed(sequences, codec), targets, static_values), codec)

    def _validation_on(self, data: Data, codec: Any) -> Validation:
        return Validation(data, codec.score)


def _check_continuation(previous: Fitted, codec: Codec, network: Network) -> Codec:
    """The codec of a fit that continues from a previous one; classes, targets and network must be the same.

    Raises
    ------
    ValueError
        If classes, targets or the network have changed.
    """
    if isinstance(previous.codec, Classes) and isinstance(codec, Classes):
        old, new = previous.codec.classes, codec.classes
        if previous.codec.multilabel != codec.multilabel or not np.array_equal(old, new):
            raise ValueError(f"y must hold the classes of the last fit, {old.tolist()}, got {new.tolist()}")
    for name, unit, expected, got in [
        ("X", "features", previous.network.stack.input_size, network.stack.input_size),
        ("y", "targets", previous.network.outputs, network.outputs),
    ]:
        if expected != got:
            raise ValueError(f"{name} must have {expected} {unit}, as in the last fit, got {got}")
    check_same_network(previous, network)
    if isinstance(previous.codec, Numbers) and isinstance(codec, Numbers):
        return replace(previous.codec, form=codec.form)
    return previous.codec
