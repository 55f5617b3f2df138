"""The base class of everything that trains a network: the parameters of training, and `fit` from checked data on."""

from __future__ import annotations

import copy
from abc import abstractmethod
from functools import partial
from typing import Any, TypeVar

import numpy as np
from sklearn.utils import check_random_state

from ...backends.contract import Array, Backend, EmbeddingSpec
from ...backends.dispatch import backend_for
from ...layers.options import stack_of
from ...training.batches import Sequences
from ...training.data import Data
from ...training.embedding import TokenChannels
from ...training.loop import EarlyStopping, Trainer, Validation, train
from ...training.model import Model
from ...training.network import Network
from ...training.optimizers import ASGD, SGD, Adam, Optimizer, RMSprop
from ...training.progress import History
from ...training.schedules import Schedule
from ..data.categories import TokenReading, reading_of
from ..data.forms import array_or_list
from ..data.tokens import Vocabulary
from ..data.vectors import replace_vectors, vector_size
from . import automatic
from .callbacks import CallbackSupportMixin, EpochTasks
from .convergence import warn_of_training
from .model import Codec, Fitted, SequenceModel, Session
from .parameters import check_parameters
from .results import adopt, results_of

TRAINED_IN = ("bfloat16",)  # of the types of `compute_dtype`, those that training takes, too

Self = TypeVar("Self", bound="TrainableModel")


class TrainableModel(CallbackSupportMixin, SequenceModel):
    """Base class of estimators: they differ in what they read, and in what a network learns of it."""

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

    @abstractmethod
    def _validation(
        self, fitted: Any, codec: Codec, training: Sequences, X: Any, y: Any, lengths: Any, static: Any
    ) -> Validation | None:
        """The validation set in the arguments of `fit`, or None; `training` are the training sequences."""

    @abstractmethod
    def _validation_on(self, data: Data, codec: Any) -> Validation:
        """A validation set of checked data."""

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
        rng = random_generator(self.random_state)
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
        rng = copy.deepcopy(session.rng) if session else random_generator(self.random_state)
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

    def _user_callbacks(self) -> list[Any]:
        return [] if self.callback is None else [self.callback]

    def _check_parameters(self) -> None:
        check_parameters(self.get_params(deep=False))
        if self.compute_dtype is not None and self.dtype != "float32":
            raise ValueError(f"compute_dtype must be None with dtype={self.dtype!r}, got {self.compute_dtype!r}")
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
        sizes = [self._vector_size(words) for words in reading.vocabularies]
        tables = tuple((words.count, size) for words, size in zip(reading.vocabularies, sizes, strict=True))
        spec = EmbeddingSpec(tables, (bool(self.freeze_embedding),) * len(tables), self.dtype)
        numeric = tuple(k for k in range(channels) if k not in reading.channels)
        return TokenChannels(
            spec, reading.channels, numeric, float(self.embedding_dropout), float(self.token_dropout)
        )  # fmt: skip

    def _vector_size(self, words: Vocabulary) -> int:
        """The size of the vectors of some tokens."""
        return vector_size(self.embedding_size, self.embedding, words)

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
        return data.subset(rows), self._validation_on(data.subset(validation_rows), codec)

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
        network = network.computing_in(self.compute_dtype if self.compute_dtype in TRAINED_IN else None)
        flat = network.pack(backend, parameters)
        return Trainer(
            Model(network, backend, flat, training=True),
            self._optimizer(network, backend, flat, len(data)),
            data,
            batch_size=automatic.batch_size(self.batch_size, len(data)),
            accumulation=int(self.gradient_accumulation_steps),
            rng=rng,
            bptt_steps=None if self.bptt_steps is None else min(self.bptt_steps, int(data.sequences.lengths.max())),
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


def check_same_network(previous: Fitted, network: Network) -> None:
    """Refuse a network with which training cannot continue.

    Raises
    ------
    ValueError
        If it is not that of the last fit.
    """
    if previous.network != network:
        raise ValueError(
            "parameters of the network must be those of the last fit, because training continues from its weights: "
            f"expected {previous.network}, got {network}"
        )


def random_generator(random_state: Any) -> np.random.Generator:
    """A new generator for one fit. None takes new entropy, and does not change NumPy's global state."""
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(check_random_state(random_state).randint(2**32, size=4, dtype=np.uint32))
