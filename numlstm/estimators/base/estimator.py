"""The base class of estimators: from X and y to a trained network."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from sklearn.utils import check_random_state

from ...backends.contract import Array, Backend, EmbeddingSpec
from ...backends.dispatch import backend_for
from ...checks import SMALLEST, check_integer, check_real
from ...layers.options import stack_of
from ...training.batches import Sequences
from ...training.data import Data
from ...training.embedding import TokenChannels
from ...training.labels import LabelRows
from ...training.loop import EarlyStopping, Trainer, Validation, train
from ...training.network import Model, Network
from ...training.optimizers import ASGD, SGD, Adam, Optimizer, RMSprop
from ...training.progress import History
from ...training.range_test import LearningRateTest, range_test
from ...training.schedules import Schedule
from ...training.targets import StepTargets, Targets
from ..data.categories import TokenReading, reading_of
from ..data.channels import ChannelScale, input_dtype
from ..data.forms import array_or_list
from ..data.inputs import check_not_empty, check_sequences, warn_if_scaled_differently
from ..data.static import StaticFeatures, check_static, scaled_static
from ..data.vectors import replace_vectors, vector_size
from ..data.weights import sample_weights, with_mean_weight_one
from ..targets.classes import Classes
from ..targets.numbers import Numbers
from . import automatic
from .callbacks import CallbackSupportMixin, EpochTasks
from .convergence import warn_of_training
from .model import Codec, Fitted, SequenceModel, Session
from .parameters import check_parameters, documented
from .results import adopt, results_of

Self = TypeVar("Self", bound="SequenceEstimator")


class SequenceEstimator(CallbackSupportMixin, SequenceModel):
    """Base class of all estimators of sequences."""

    bidirectional: bool
    activity_regularization: float
    temporal_activity_regularization: float
    solver: str
    alpha: float
    batch_size: int | str
    gradient_accumulation_steps: int
    bptt_steps: int | None
    learning_rate: str
    learning_rate_init: float
    warm_up: float
    max_iter: int | str
    tol: float
    n_iter_no_change: int | str | None
    early_stopping: bool
    validation_fraction: float
    clip_norm: float | None
    momentum: float
    nesterovs_momentum: bool
    beta_1: float
    beta_2: float
    rho: float
    epsilon: float
    warm_start: bool
    scale_inputs: bool
    analyzer: Any
    lowercase: bool
    min_frequency: int
    max_vocabulary: int | None
    categorical_features: Any
    embedding_size: int | str
    embedding: Any
    freeze_embedding: bool
    embedding_dropout: float
    token_dropout: float
    callback: Any
    verbose: bool | int
    random_state: Any
    dtype: str

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

    def _strata(self, data: Data) -> np.ndarray | None:
        """The classes whose proportions a validation split keeps, or None."""
        return None

    # Training ---------------------------------------------------------------------------------------------

    def _fit(
        self: Self,
        X: Any,
        y: Any,
        sample_weight: Any,
        lengths: Any,
        static: Any,
        X_val: Any,
        y_val: Any,
        lengths_val: Any,
        static_val: Any,
    ) -> Self:
        """Train. This estimator changes only at the end."""
        self._check_parameters()
        fitted = self._without_results()
        previous = self._model if self.warm_start and hasattr(self, "_model") else None
        codec, network, data = self._prepare(fitted, X, y, sample_weight, lengths, static, previous=previous)
        rng = _random_generator(self.random_state)
        validation = self._validation(fitted, codec, data.sequences, X_val, y_val, lengths_val, static_val)
        if validation is None and self.early_stopping:
            data, validation = self._split_validation(data, codec, rng)
        backend = self._backend_to_train(network, data)
        parameters = (
            self._initial_parameters(fitted, codec, network, data, rng) if previous is None else previous.parameters
        )
        trainer = self._trainer(network, backend, parameters, data, rng)
        epochs, history = automatic.epochs(self.max_iter, trainer.steps), History()
        results = partial(fitted._results, trainer, codec, history, None if previous is None else self)
        metadata = {"sample_weight": sample_weight, "static": static}
        metadata = {name: value for name, value in metadata.items() if value is not None}
        unpadded = X if lengths is None else [x[:length] for x, length in zip(array_or_list(X), lengths, strict=True)]
        tasks = EpochTasks(self, epochs, unpadded, y, metadata, results)
        train(
            trainer, self._schedule(trainer, epochs), self._early_stopping(validation),
            epochs=epochs, validation=validation, history=history, verbose=int(self.verbose),
            before_epoch=[tasks.begin], callbacks=[tasks.end, *self._user_callbacks()],
        )  # fmt: skip
        fitted.__dict__.update(results())
        tasks.end_of_fit()
        warn_of_training(history, trainer.model, data, codec)
        adopt(self, results_of(fitted))
        return self

    def _partial_fit(
        self: Self, X: Any, y: Any, sample_weight: Any, lengths: Any, static: Any, codec: Codec | None = None
    ) -> Self:
        """Train for one epoch. Training continues where the last call ended."""
        self._check_parameters()
        if self.solver == "asgd":
            raise ValueError("solver must not be 'asgd' for partial_fit, which does not see when the loss stalls")
        for name, required in (("early_stopping", False), ("warm_up", 0.0)):
            if getattr(self, name) != required:
                raise ValueError(f"{name} must be {required!r} for partial_fit, got {getattr(self, name)!r}")
        first_call = not hasattr(self, "_model")
        fitted = self._without_results()
        if not first_call:
            adopt(fitted, results_of(self))
        previous = None if first_call else self._model
        codec = codec if previous is None else previous.codec
        codec, network, data = self._prepare(
            fitted, X, y, sample_weight, lengths, static, previous=previous, codec=codec
        )
        session = getattr(self, "_session", None)
        rng = copy.deepcopy(session.rng) if session else _random_generator(self.random_state)
        parameters = (
            self._initial_parameters(fitted, codec, network, data, rng) if previous is None else previous.parameters
        )
        backend = self._backend_to_train(network, data)
        trainer = self._trainer(network, backend, parameters, data, rng)
        optimizer = trainer.optimizer
        if session:
            if session.solver != self.solver:
                raise ValueError(f"solver must be {session.solver!r}, as in the last partial_fit, got {self.solver!r}")
            optimizer.steps = session.steps
            for state, named in zip(optimizer.state, session.state, strict=True):
                state[...] = network.pack(backend, named)
        schedule = Schedule("constant", self.learning_rate_init, trainer.steps)
        history = train(
            trainer, schedule, self._early_stopping(), epochs=1, verbose=int(self.verbose),
            callbacks=self._user_callbacks(),
        )  # fmt: skip
        fitted.__dict__.update(fitted._results(trainer, codec, history, None if first_call else self))
        state = [network.unpack(backend, flat) for flat in optimizer.state]
        fitted._session = Session(rng, self.solver, optimizer.steps, state)
        adopt(self, results_of(fitted))
        return self

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
        rng = _random_generator(copy.deepcopy(self.random_state))
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

    def _user_callbacks(self) -> list[Any]:
        return [] if self.callback is None else [self.callback]

    def _check_parameters(self) -> None:
        check_parameters(self.get_params(deep=False))
        if self.bptt_steps is not None and self.bidirectional:
            raise ValueError(
                f"bptt_steps must be None with bidirectional=True, got {self.bptt_steps}: the state of the direction "
                "that begins at the end cannot go on from piece to piece; set bidirectional=False"
            )

    def _network(self, sequences: Sequences, codec: Codec, static: int, reading: TokenReading | None) -> Network:
        """The network that the parameters describe."""
        tokens = None if reading is None else self._token_channels(reading, sequences.channels)
        stack = stack_of(
            self.cell, sequences.channels if tokens is None else tokens.output_size, self.dtype,
            self._layer_options() | {"init": self._init(sequences)},
        )  # fmt: skip
        pooling = "none" if codec.by_step else self.pooling
        activity = float(self.activity_regularization), float(self.temporal_activity_regularization)
        return Network(stack, codec.outputs, pooling, codec.loss, activity if any(activity) else None, static, tokens)

    def _token_reading(self, X: Any) -> TokenReading | None:
        """How tokens in X are read; None if it holds numbers alone."""
        return reading_of(
            X, "X", self.analyzer, self.lowercase, int(self.min_frequency), self.max_vocabulary,
            self.categorical_features,
        )  # fmt: skip

    def _token_channels(self, reading: TokenReading, channels: int) -> TokenChannels:
        """The tables of vectors that the parameters describe."""
        sizes = [vector_size(self.embedding_size, self.embedding, words) for words in reading.vocabularies]
        tables = tuple((words.count, size) for words, size in zip(reading.vocabularies, sizes, strict=True))
        spec = EmbeddingSpec(tables, (bool(self.freeze_embedding),) * len(tables), self.dtype)
        numeric = tuple(k for k in range(channels) if k not in reading.channels)
        return TokenChannels(
            spec, reading.channels, numeric, float(self.embedding_dropout), float(self.token_dropout)
        )  # fmt: skip

    def _init(self, sequences: Sequences) -> Any:
        """The option `init`, with the number of steps that "chrono" needs."""
        init = self._layer_options()["init"]
        return ("chrono", max(3, int(sequences.lengths.max()))) if init == "chrono" else init

    def _initial_parameters(
        self, fitted: Any, codec: Codec, network: Network, data: Data, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """New initial parameters; vectors of tokens are those of `embedding`, if it is set."""
        parameters = network.initialise(self._init(data.sequences), rng, self._layer_options().get("forget_bias"))
        if fitted._reading is not None and self.embedding is not None:
            replace_vectors(parameters, self.embedding, fitted._reading)
        return parameters

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
        return Validation(Data(self._framed(sequences, codec), targets, static_values), codec.score)

    def _split_validation(self, data: Data, codec: Codec, rng: np.random.Generator) -> tuple[Data, Validation]:
        """The data to train on, and a validation set that is set aside."""
        from sklearn.model_selection import train_test_split

        strata, size = self._strata(data), self.validation_fraction
        try:
            rows, validation_rows = train_test_split(
                np.arange(len(data)), test_size=size, stratify=strata, random_state=int(rng.integers(2**31))
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping cannot set aside validation_fraction={size} of {len(data)} sequences: {error} Pass "
                "more sequences, another validation_fraction, or X_val and y_val."
            ) from None
        return data.subset(rows), Validation(data.subset(validation_rows), codec.score)

    def _backend_to_train(self, network: Network, data: Data) -> Backend:
        """The backend for training; "auto" decides by the work of one step on a full batch."""
        rows = automatic.batch_size(self.batch_size, len(data))
        return backend_for(self.backend, work=3 * network.stack.operations(rows, data.sequences.lengths.mean()))

    def _trainer(
        self,
        network: Network,
        backend: Backend,
        parameters: dict[str, np.ndarray],
        data: Data,
        rng: np.random.Generator,
    ) -> Trainer:
        flat = network.pack(backend, parameters)
        return Trainer(
            Model(network, backend, flat, training=True),
            self._optimizer(network, backend, flat, len(data)),
            data,
            batch_size=automatic.batch_size(self.batch_size, len(data)),
            accumulation=int(self.gradient_accumulation_steps),
            rng=rng,
            bptt_steps=self.bptt_steps,
        )

    def _optimizer(self, network: Network, backend: Backend, flat: Array, count: int) -> Optimizer:
        """The optimizer that the parameters describe, for `count` sequences."""
        decay, decoupled = None, self.solver == "adamw"
        if self.alpha:
            batch_size = automatic.batch_size(self.batch_size, count)
            sequences_per_step = min(count, batch_size * int(self.gradient_accumulation_steps))
            strength = self.alpha / (1 if decoupled else sequences_per_step)
            strengths = {
                name: (strength * used if name.startswith(("weight", "peephole")) else 0.0 * used).astype(self.dtype)
                for name, used in network.used.items()
            }
            decay = network.pack(backend, strengths)
        common = {"clip_norm": self.clip_norm, "decay": decay}
        if self.solver == "sgd":
            return SGD(backend, flat, momentum=self.momentum, nesterov=self.nesterovs_momentum, **common)
        if self.solver == "asgd":
            return ASGD(backend, flat, **common)
        if self.solver == "rmsprop":
            return RMSprop(backend, flat, rho=self.rho, epsilon=self.epsilon, **common)
        betas = self.beta_1, self.beta_2
        return Adam(backend, flat, betas=betas, epsilon=self.epsilon, decoupled=decoupled, **common)

    def _schedule(self, trainer: Trainer, epochs: int) -> Schedule:
        patience = self._patience
        return Schedule(
            self.learning_rate, self.learning_rate_init, epochs * trainer.steps,
            warm_up=0.0 if self.learning_rate == "one_cycle" else self.warm_up,
            patience=5 if patience is None else max(1, patience // 2),
        )  # fmt: skip

    @property
    def _patience(self) -> int | None:
        return automatic.patience(self.n_iter_no_change, self.learning_rate)

    def _early_stopping(self, validation: Validation | None = None) -> EarlyStopping:
        keeps_best = self.early_stopping and validation is not None
        return EarlyStopping(self.tol, self._patience, keeps_best=keeps_best)


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
    if previous.network != network:
        raise ValueError(
            "parameters of the network must be those of the last fit, because training continues from its weights: "
            f"expected {previous.network}, got {network}"
        )
    if isinstance(previous.codec, Numbers) and isinstance(codec, Numbers):
        return replace(previous.codec, form=codec.form)
    return previous.codec


def _random_generator(random_state: Any) -> np.random.Generator:
    """A new generator for one fit. None takes new entropy, and does not change NumPy's global state."""
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(check_random_state(random_state).randint(2**32, size=4, dtype=np.uint32))
