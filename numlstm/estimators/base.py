"""What all estimators share: from X and y to a trained network, and from there to scores."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..backends.contract import Array, Backend
from ..backends.dispatch import backend_for, check_name
from ..layers import LSTM
from ..layers.sequences import as_numbers, check_integer, check_real
from ..layers.stack import Stack
from ..training.batches import Sequences
from ..training.loop import Data, Stopper, Trainer, Validation, predicted, train
from ..training.network import HEAD, Model, Network
from ..training.optimizers import SGD, Adam, Optimizer, RMSprop
from ..training.progress import History
from ..training.range_test import LearningRateTest, range_test
from ..training.schedules import Schedule
from ..training.targets import StepTargets
from .callbacks import CallbackSupportMixin, EpochTasks
from .inputs import sequences_of
from .parameters import SMALLEST, check_parameters, documented
from .stream import PredictionStream
from .targets import Classes, Numbers

Codec = Classes | Numbers
Self = TypeVar("Self", bound="SequenceEstimator")


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


class SequenceEstimator(CallbackSupportMixin, BaseEstimator, ABC):
    """Base of all estimators of sequences."""

    hidden_size: int
    num_layers: int
    bidirectional: bool
    dropout: float
    pooling: str
    init: str
    solver: str
    alpha: float
    batch_size: int
    gradient_accumulation_steps: int
    learning_rate: str
    learning_rate_init: float
    warm_up: float
    max_iter: int
    tol: float
    n_iter_no_change: int | None
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
    callback: Any
    verbose: bool | int
    random_state: Any
    backend: str | None
    dtype: str
    _columns: int | None  # T, if X was (n, T) in fit
    _model: Fitted
    _prepared: dict[str, Model]  # the model on each backend that it has predicted on
    _session: Session

    # What a kind of estimator has of its own --------------------------------------------------------------

    @abstractmethod
    def _codec(self, y: Any, X: Any, sequences: Sequences, weights: np.ndarray) -> Codec:
        """What there is to know of targets before training."""

    @abstractmethod
    def _data(self, codec: Codec, y: Any, X: Any, sequences: Sequences, weights: np.ndarray, name: str = "y") -> Data:
        """Checked data for training or validation."""

    @abstractmethod
    def _describe(self, codec: Codec) -> dict[str, Any]:
        """Attributes that follow from the codec."""

    def _class_weights(self, codec: Codec, y: Any) -> Any:
        """What sample weights are multiplied with."""
        return 1.0

    def _strata(self, data: Data) -> np.ndarray | None:
        """What a validation split keeps the proportions of."""
        return None

    # Training ---------------------------------------------------------------------------------------------

    def _fit(
        self: Self, X: Any, y: Any, sample_weight: Any, lengths: Any, X_val: Any, y_val: Any, lengths_val: Any
    ) -> Self:
        """Train; this estimator changes only at the end."""
        self._check_parameters()
        fitted = self._without_results()
        before = self._model if self.warm_start and hasattr(self, "_model") else None
        codec, network, data = self._read(fitted, X, y, sample_weight, lengths, before=before)
        rng = _generator(self.random_state)
        validation = self._validation(fitted, codec, X_val, y_val, lengths_val)
        if validation is None and self.early_stopping:
            data, validation = self._split(data, codec, rng)
        backend = backend_for(self.backend)
        parameters = network.initialise(self.init, rng) if before is None else before.parameters
        trainer = self._trainer(network, backend, parameters, data, rng)
        history = History()
        results = partial(fitted._results, trainer, codec, history, self if before is not None else None)
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        shown = X if lengths is None else [x[:length] for x, length in zip(X, lengths, strict=True)]
        tasks = EpochTasks(self, self.max_iter, shown, y, metadata, results)
        train(
            trainer, self._schedule(trainer), self._stopper(validation), epochs=self.max_iter, validation=validation,
            history=history, verbose=int(self.verbose), before_epoch=[tasks.begin],
            callbacks=[tasks.end, *self._own_callbacks()],
        )  # fmt: skip
        fitted.__dict__.update(results())
        tasks.end_of_fit()
        self._adopt(fitted)
        return self

    def _partial_fit(self: Self, X: Any, y: Any, sample_weight: Any, lengths: Any, codec: Codec | None = None) -> Self:
        """Train for one epoch, going on from where the last call ended."""
        self._check_parameters()
        for name, needed in (("early_stopping", False), ("learning_rate", "constant"), ("warm_up", 0.0)):
            if getattr(self, name) != needed:
                raise ValueError(f"{name} must be {needed!r} for partial_fit, got {getattr(self, name)!r}")
        first = not hasattr(self, "_model")
        fitted = self._without_results()
        if not first:
            fitted._adopt(self)
        before = None if first else self._model
        codec = codec if before is None else before.codec
        codec, network, data = self._read(fitted, X, y, sample_weight, lengths, before=before, codec=codec)
        session = getattr(self, "_session", None)
        rng = copy.deepcopy(session.rng) if session else _generator(self.random_state)
        parameters = network.initialise(self.init, rng) if before is None else before.parameters
        backend = backend_for(self.backend)
        trainer = self._trainer(network, backend, parameters, data, rng)
        optimizer = trainer.optimizer
        if session:
            if session.solver != self.solver:
                raise ValueError(f"solver must be {session.solver!r}, as in the last partial_fit, got {self.solver!r}")
            optimizer.steps = session.steps
            for state, named in zip(optimizer.state, session.state, strict=True):
                state[...] = network.pack(backend, named)
        history = train(
            trainer, self._schedule(trainer), self._stopper(None), epochs=1, verbose=int(self.verbose),
            callbacks=self._own_callbacks(),
        )  # fmt: skip
        fitted.__dict__.update(fitted._results(trainer, codec, history, None if first else self))
        state = [network.unpack(backend, each) for each in optimizer.state]
        fitted._session = Session(rng, self.solver, optimizer.steps, state)
        self._adopt(fitted)
        return self

    @documented
    def learning_rate_range_test(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        lowest: float = 1e-5,
        highest: float = 1.0,
        steps: int = 100,
    ) -> LearningRateTest:
        """Try growing learning rates, step by step, on fresh weights; the estimator does not change.

        Parameters
        ----------
        <<SEQUENCES>>
        y
            As in `fit`.
        <<WEIGHTS>>
        lowest, highest : float, positive
            The first learning rate, and the last, which is not reached if training diverges before.
        steps : int, at least 2, default 100
            Steps of the optimizer.

        Returns
        -------
        LearningRateTest
            Learning rates, losses, and a suggestion for `learning_rate_init`.

        Raises
        ------
        TypeError, ValueError, FloatingPointError
            As `fit` does.

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
        _, network, data = self._read(self._without_results(), X, y, sample_weight, lengths)
        rng = _generator(copy.deepcopy(self.random_state))
        trainer = self._trainer(network, backend_for(self.backend), network.initialise(self.init, rng), data, rng)
        return range_test(trainer, lowest, highest, steps)

    def _read(
        self,
        fitted: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        lengths: Any,
        *,
        before: Fitted | None = None,
        codec: Codec | None = None,
    ) -> tuple[Codec, Network, Data]:
        """Checked data, what there is to know of targets, and the network for them.

        They must fit the network that there was `before`, if there is one; `fitted` takes what is known of X.
        """
        sequences = sequences_of(fitted, X, lengths, self.dtype, reset=not hasattr(fitted, "_model"))
        weights = sample_weights(sample_weight, len(sequences))
        codec = codec or self._codec(y, X, sequences, weights)
        network = self._network(sequences.channels, codec)
        if before is not None:
            codec = _same(before, codec, network)
        weights = weights * self._class_weights(codec, y)
        return codec, network, self._weighted(self._data(codec, y, X, sequences, weights))

    def _own_callbacks(self) -> list[Any]:
        return [] if self.callback is None else [self.callback]

    def _check_parameters(self) -> None:
        check_parameters(self.get_params(deep=False))

    def _network(self, channels: int, codec: Codec) -> Network:
        """The network that the parameters describe."""
        stack = Stack(
            "lstm", channels, int(self.hidden_size), int(self.num_layers),
            bidirectional=bool(self.bidirectional), dropout=float(self.dropout), dtype=self.dtype,
        )  # fmt: skip
        pooling = self.pooling
        if isinstance(codec, Numbers) and codec.by_step:
            if pooling != "last":
                raise ValueError(f"pooling must be 'last' where every step has a target of its own, got {pooling!r}")
            pooling = "none"
        return Network(stack, codec.outputs, pooling, codec.loss)

    def _weighted(self, data: Data) -> Data:
        """Without sequences of weight 0, and with a mean weight of 1."""
        weights = data.targets.weights
        if not weights.any():
            raise ValueError("sample_weight and class_weight must leave a sequence with a weight above 0, got none")
        data = data if weights.all() else data.subset(np.flatnonzero(weights))
        counts = data.sequences.lengths if isinstance(data.targets, StepTargets) else None
        data.targets.weights[...] /= np.average(data.targets.weights, weights=counts)
        return data

    def _validation(self, fitted: Any, codec: Codec, X: Any, y: Any, lengths: Any) -> Validation | None:
        """The validation set that `fit` was given."""
        if X is None and y is None and lengths is None:
            return None
        if X is None or y is None:
            given = [
                name for name, value in (("X_val", X), ("y_val", y), ("lengths_val", lengths)) if value is not None
            ]
            raise ValueError(f"X_val and y_val must be given together, got only {' and '.join(given)}")
        sequences = sequences_of(fitted, X, lengths, self.dtype, reset=False, name="X_val")
        return Validation(self._data(codec, y, X, sequences, np.ones(len(sequences)), "y_val"), codec.score)

    def _split(self, data: Data, codec: Codec, rng: np.random.Generator) -> tuple[Data, Validation]:
        """Data to train on, and data set aside."""
        from sklearn.model_selection import train_test_split

        strata, size = self._strata(data), self.validation_fraction
        try:
            rows, aside = train_test_split(
                np.arange(len(data)), test_size=size, stratify=strata, random_state=int(rng.integers(2**31))
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping sets aside validation_fraction={size} of {len(data)} sequences, which cannot be "
                f"done: {error} Pass more sequences, another validation_fraction, or X_val and y_val."
            ) from None
        return data.subset(rows), Validation(data.subset(aside), codec.score)

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
            Model(network, backend, flat, training=True), self._optimizer(network, backend, flat, len(data)), data,
            batch_size=int(self.batch_size), accumulation=int(self.gradient_accumulation_steps), rng=rng,
        )  # fmt: skip

    def _optimizer(self, network: Network, backend: Backend, flat: Array, count: int) -> Optimizer:
        """The optimizer that the parameters describe, for `count` sequences."""
        decay, decoupled = None, self.solver == "adamw"
        if self.alpha:
            of_a_step = min(count, int(self.batch_size) * int(self.gradient_accumulation_steps))
            strength = self.alpha / (1 if decoupled else of_a_step)
            strengths = {
                name: np.full(shape, strength if name.startswith("weight") else 0.0, self.dtype)
                for name, shape in network.shapes.items()
            }
            decay = network.pack(backend, strengths)
        common = {"clip_norm": self.clip_norm, "decay": decay}
        if self.solver == "sgd":
            return SGD(backend, flat, momentum=self.momentum, nesterov=self.nesterovs_momentum, **common)
        if self.solver == "rmsprop":
            return RMSprop(backend, flat, rho=self.rho, epsilon=self.epsilon, **common)
        betas = self.beta_1, self.beta_2
        return Adam(backend, flat, betas=betas, epsilon=self.epsilon, decoupled=decoupled, **common)

    def _schedule(self, trainer: Trainer) -> Schedule:
        patience = 5 if self.n_iter_no_change is None else max(1, self.n_iter_no_change // 2)
        return Schedule(
            self.learning_rate, self.learning_rate_init, self.max_iter * trainer.steps,
            warm_up=self.warm_up, patience=patience,
        )  # fmt: skip

    def _stopper(self, validation: Validation | None) -> Stopper:
        keeps_best = self.early_stopping and validation is not None
        return Stopper(self.tol, self.n_iter_no_change, keeps_best=keeps_best)

    # Results ----------------------------------------------------------------------------------------------

    def _results(
        self, trainer: Trainer, codec: Codec, history: History, before: SequenceEstimator | None
    ) -> dict[str, Any]:
        """All attributes that training makes; `before` is an estimator that it went on from."""
        known = {name: value for name, value in vars(self).items() if _is_result(name)}
        return known | self._finish(trainer, codec) | self._record(history, before)

    def _finish(self, trainer: Trainer, codec: Codec) -> dict[str, Any]:
        """The attributes that a trained network makes."""
        model = trainer.model
        network, backend = model.network, model.backend
        parameters, stack = network.unpack(backend, model.flat), network.stack
        layer = LSTM.from_stack(stack, {name: parameters[name] for name in stack.shapes}, self.backend)
        return {
            "_model": Fitted(network, parameters, codec),
            "_prepared": {},
            "layers_": [layer],
            "coef_": _read_only(parameters["weight" + HEAD]),
            "intercept_": _read_only(parameters["bias" + HEAD]),
            "backend_": backend.name,
        } | self._describe(codec)

    def _record(self, history: History, before: SequenceEstimator | None) -> dict[str, Any]:
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

    def _adopt(self, fitted: SequenceEstimator) -> None:
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
        network, values = model.network, None
        if network.pooling == "none":
            starts = np.cumsum(sequences.lengths) - sequences.lengths
            values = np.empty((int(sequences.lengths.sum()), network.outputs), network.stack.dtype)
        for rows, part in predicted(model, sequences):
            scores = model.backend.to_numpy(part)
            if len(rows) == len(sequences) == 1:
                return scores, sequences
            if values is None:
                values = np.empty((len(sequences), network.outputs), scores.dtype)
            if network.pooling != "none":
                values[rows] = scores
                continue
            for row, own in zip(rows.tolist(), scores.reshape(len(rows), -1, network.outputs), strict=True):
                length = int(sequences.lengths[row])
                values[starts[row] : starts[row] + length] = own[:length]
        assert values is not None
        return values, sequences

    def _ready(self, X: Any, lengths: Any) -> tuple[Model, Sequences]:
        """A model that predicts, and checked sequences."""
        if not hasattr(self, "_model"):
            check_is_fitted(self)
        if self.backend is not None:
            check_name(self.backend)
        sequences = sequences_of(self, X, lengths, self._model.network.stack.dtype, reset=False)
        return self._model_on(backend_for(self.backend)), sequences

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
        for index in range(len(sequences)):
            x, _ = sequences.take(np.array([index]))
            shares = model.shares(model.backend.to_device(x, model.network.stack.dtype), None)
            found[index] = model.backend.to_numpy(shares)[0]
        return found

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
        """
        check_is_fitted(self)
        if self.layers_[0].bidirectional:
            raise ValueError("stream() needs bidirectional=False: the last step of a stream is not known")
        return PredictionStream(self._model, self.layers_[0].stream(batch_size), partial(self._say, self._model.codec))

    @staticmethod
    @abstractmethod
    def _say(codec: Any, scores: np.ndarray) -> np.ndarray:
        """What a stream gives for scores (N, K)."""


def _is_result(name: str) -> bool:
    return (name.endswith("_") and not name.startswith("_")) or name in ("_columns", "_model", "_prepared", "_session")


def _same(before: Fitted, codec: Codec, network: Network) -> Codec:
    """The codec of a fit that goes on, if what it learns fits the weights that are there.

    Raises
    ------
    ValueError
        If classes, targets or the network have changed.
    """
    if isinstance(before.codec, Classes) and isinstance(codec, Classes):
        old, new = before.codec.classes, codec.classes
        if before.codec.multilabel != codec.multilabel or not np.array_equal(old, new):
            raise ValueError(f"y must hold the classes of the last fit, {old.tolist()}, got {new.tolist()}")
    for part, what, had, has in [
        ("X", "features", before.network.stack.input_size, network.stack.input_size),
        ("y", "targets", before.network.outputs, network.outputs),
    ]:
        if had != has:
            raise ValueError(f"{part} must be as in the last fit, with {had} {what}, got {has}")
    if before.network != network:
        raise ValueError(
            f"parameters of the network must be those of the last fit to go on from its weights: {before.network}, "
            f"got {network}"
        )
    if isinstance(before.codec, Numbers) and isinstance(codec, Numbers):
        return replace(before.codec, form=codec.form)
    return before.codec


def sample_weights(sample_weight: Any, count: int) -> np.ndarray:
    """Checked weights, one for each sequence."""
    if sample_weight is None:
        return np.ones(count)
    weights = as_numbers(sample_weight, "sample_weight", "float64")
    weights = np.full(count, weights) if weights.ndim == 0 else weights
    if weights.shape != (count,):
        raise ValueError(f"sample_weight must have shape ({count},), one for each sequence, got {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        wrong = weights[~(weights >= 0) | np.isinf(weights)][0]
        raise ValueError(f"sample_weight must be finite and not negative, got {wrong}")
    if not weights.any():
        raise ValueError("sample_weight must have a weight above 0, got only zeros")
    return weights / weights.max()


def _read_only(array: np.ndarray) -> np.ndarray:
    """A copy that cannot be taken for the weights that predictions are made with."""
    array = array.copy()
    array.flags.writeable = False
    return array


def _generator(random_state: Any) -> np.random.Generator:
    """A generator of this fit's own; None takes fresh entropy, not NumPy's global state."""
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(check_random_state(random_state).randint(2**32, size=4, dtype=np.uint32))
