"""A regressor of sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from ..backends.contract import LossSpec
from ..layers.parameters import read_only
from ..training.batches import Sequences
from ..training.progress import Progress
from ..training.targets import StepTargets, Targets
from .base.callbacks import with_callbacks
from .base.estimator import SequenceEstimator
from .base.model import Codec
from .base.parameters import documented
from .data.forms import array_or_list
from .targets.numbers import CheckedNumbers, Numbers, StepPredictions, check_numbers, r_squared, target_scaling


@documented
class LSTMRegressor(RegressorMixin, SequenceEstimator):
    """Predict numbers for sequences, or for each of their steps, with LSTM layers [1]_ and a linear output layer.

    Parameters have the names of `sklearn.neural_network.MLPRegressor` if they have the same meaning.

    Parameters
    ----------
    <<FIRST>>

    <<NETWORK>>

    <<REGULARISATION>>

    <<TRAINING>>
    loss : {"squared_error", "absolute_error", "huber", "pinball"}, default "squared_error"
        The loss of the scaled targets, averaged over sequences, steps and targets: the squared error, the absolute
        error, Huber's loss [5]_, or the pinball loss, which predicts a quantile [6]_.
    delta : float, positive, default 1.0
        Huber's loss is linear for errors above this number, in standard deviations of a target if `scale_targets`.
    quantile : float in (0, 1), default 0.5
        The quantile that the pinball loss predicts.

    <<DATA>>
    scale_targets : bool, default True
        Whether to train on targets with mean 0 and standard deviation 1, each scaled by itself. `predict` undoes the
        scaling; `loss_curve_` has the loss of scaled targets. With `partial_fit`, the first call determines the scale.

    <<TOKENS>>

    <<VARIANTS>>

    <<SYSTEM>>

    Attributes
    ----------
    target_mean_, target_scale_ : array, shape (K,)
        The number that is subtracted from each target in training, and the number it is then divided by.
    <<ATTRIBUTES>>

    See Also
    --------
    LSTMClassifier : Predicts labels.
    LSTM : The layers without an output layer, with gradients.

    Notes
    -----
    After Ctrl-C in `fit`, the regressor keeps the training so far. After an error, it is as it was before `fit`.

    <<THREADS>>

    References
    ----------
    <<REFERENCES>>
    .. [5] P. Huber, "Robust Estimation of a Location Parameter", 1964.
    .. [6] R. Koenker, G. Bassett, "Regression Quantiles", 1978.

    Examples
    --------
    The sum of a sequence, for sequences of unequal length; and the sum so far, at each step.

    >>> import numpy as np
    >>> from numlstm import LSTMRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(rng.integers(4, 9), 1)) for _ in range(300)]
    >>> model = LSTMRegressor(hidden_size=16, random_state=0).fit(X[:200], [x.sum() for x in X[:200]])
    >>> bool(model.score(X[200:], [x.sum() for x in X[200:]]) > 0.9)
    True
    >>> model = LSTMRegressor(hidden_size=16, random_state=0).fit(X[:200], [x[:, 0].cumsum() for x in X[:200]])
    >>> [len(targets) for targets in model.predict([np.ones((5, 1)), np.ones((3, 1))])]
    [5, 3]

    Labels at some steps only.

    >>> y = [np.where(np.arange(len(x)) % 2, x[:, 0].cumsum(), np.nan) for x in X]
    >>> model = LSTMRegressor(hidden_size=16, random_state=0).fit(X[:200], y[:200])
    >>> bool(model.score(X[200:], y[200:]) > 0.9)
    True
    """

    loss: str
    delta: float
    quantile: float
    scale_targets: bool

    def __init__(
        self,
        *,
        hidden_size: int | list[int] = 64,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = False,
        pooling: str = "concat",
        learning_rate_init: float = 0.01,
        max_iter: int | str = "auto",
        batch_size: int | str = "auto",
        early_stopping: bool = False,
        random_state: int | np.random.RandomState | None = None,
        merge: str = "concat",
        residual: bool = False,
        layer_norm: bool = False,
        init: str | tuple[str, int] = "keras",
        forget_bias: float | None = None,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        recurrent_dropout_mode: str = "variational",
        weight_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        activity_regularization: float = 0.0,
        temporal_activity_regularization: float = 0.0,
        alpha: float = 0.0,
        loss: str = "squared_error",
        delta: float = 1.0,
        quantile: float = 0.5,
        solver: str = "adam",
        learning_rate: str = "one_cycle",
        warm_up: float = 0.0,
        n_iter_no_change: int | str | None = "auto",
        tol: float = 1e-4,
        gradient_accumulation_steps: int = 1,
        bptt_steps: int | None = None,
        clip_norm: float | None = 1.0,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        rho: float = 0.9,
        epsilon: float = 1e-8,
        warm_start: bool = False,
        scale_inputs: bool = True,
        scale_targets: bool = True,
        validation_fraction: float = 0.1,
        analyzer: Any = "char",
        lowercase: bool = False,
        min_frequency: int = 1,
        max_vocabulary: int | None = None,
        categorical_features: Any = None,
        embedding_size: int | str = "auto",
        embedding: Any = None,
        freeze_embedding: bool = False,
        embedding_dropout: float = 0.0,
        token_dropout: float = 0.0,
        proj_size: int = 0,
        peepholes: bool = False,
        coupled_gates: bool | str = False,
        input_gate: bool = True,
        forget_gate: bool = True,
        output_gate: bool = True,
        full_gate_recurrence: bool = False,
        recurrent_activation: Any = "sigmoid",
        input_activation: Any = "tanh",
        output_activation: Any = "tanh",
        preactivation_clip: float | None = None,
        cell_clip: float | None = None,
        reset_after: bool = True,
        nonlinearity: Any = "tanh",
        backend: str | None = None,
        dtype: str = "float32",
        compute_dtype: str | None = None,
        recompute: bool = False,
        callback: Callable[[Progress], Any] | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.__dict__.update((name, value) for name, value in locals().items() if name != "self")

    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        static: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        lengths_val: Any = None,
        static_val: Any = None,
    ) -> LSTMRegressor:
        """Train on sequences and their targets.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y : array, shape (n,), (n, K) or (n, T, K); or list of n arrays of shape (T_i,) or (T_i, K)
            One target or K targets for each sequence, or for each step. An array with two axes is always (n, K).
            Numbers past a sequence's length do not matter. NaN marks a step without a label, or without a label for one
            of the K targets: the network reads the step, but it does not count in the loss, nor in the mean and the
            standard deviation of `scale_targets`.
        <<STEP_WEIGHTS>>
        <<VALIDATION>>

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y is not as described. The regressor does not change then.
        FloatingPointError
            If the loss does not stay finite.
        BackendUnavailableError
            If the backend is not available.
        """
        return self._fit(X, y, sample_weight, lengths, static, X_val, y_val, lengths_val, static_val)

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None, static: Any = None
    ) -> LSTMRegressor:
        """Train for one epoch on some sequences. Training continues where the last call ended.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y
            As in `fit`.
        <<STEP_WEIGHTS>>

        Returns
        -------
        self

        Notes
        -----
        `callback` is called; the callbacks of `set_callbacks` are called only by `fit`.

        Raises
        ------
        TypeError, ValueError, FloatingPointError, BackendUnavailableError
            As in `fit`; and if a parameter needs more than one epoch (`early_stopping`, `warm_up`).
        """
        return self._partial_fit(X, y, sample_weight, lengths, static)

    def predict(self, X: Any, *, lengths: Any = None, static: Any = None) -> Any:
        """The targets of each sequence, or of each of its steps.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>

        Returns
        -------
        array, shape (n,) or (n, K)
            The form of y in `fit`. If y had a target for each step: (n, T, K), with zeros past each length; or, if X is
            a list, a list of (T_i,) or (T_i, K) arrays, which NumPy converts to an array of n objects.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or has other features than in `fit`.
        """
        scores, sequences, numbers = self._scores(X, lengths, static)
        values = numbers.decode(scores)
        if not numbers.by_step:
            return values[:, 0] if numbers.form == "one" else values
        X = X if self._model.reading else array_or_list(X)
        if self._model.reading or isinstance(X, list | tuple):
            values = values[:, 0] if numbers.form == "list of one" else values
            return StepPredictions(np.split(values, np.cumsum(sequences.lengths)[:-1]) if len(sequences) else [])
        rows, steps = np.shape(X)[:2]
        padded = np.zeros((rows, steps, numbers.outputs))
        padded[np.arange(steps) < sequences.lengths[:, None]] = values
        return padded

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None, static: Any = None) -> float:
        """The coefficient of determination, R², averaged over targets; for targets of steps, over all labelled steps.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y
            As in `fit`.
        <<STEP_WEIGHTS>>

        Returns
        -------
        float, at most 1

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`.
        """
        scores, sequences, numbers = self._scores(X, lengths, static)
        checked = check_numbers(y, X, sequences)
        _check_form(numbers, checked.form, checked.values.shape[1], "y")
        weights = checked.without_padding(self._check_weights(sample_weight, X, sequences, checked))
        return r_squared(checked.without_padding(checked.values), numbers.decode(scores), weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @property
    def target_mean_(self) -> np.ndarray:
        """The number that is subtracted from each target in training."""
        return read_only(self._numbers("target_mean_").mean)

    @property
    def target_scale_(self) -> np.ndarray:
        """The number that each target is then divided by."""
        return read_only(self._numbers("target_scale_").scale)

    def _numbers(self, attribute: str) -> Numbers:
        codec = self._fitted(attribute).codec
        assert isinstance(codec, Numbers)
        return codec

    def _check_y(self, y: Any, X: Any, sequences: Sequences, name: str = "y") -> CheckedNumbers:
        return check_numbers(y, X, sequences, name)

    def _check_weights(self, sample_weight: Any, X: Any, sequences: Sequences, checked: CheckedNumbers) -> np.ndarray:
        return checked.weigh(sample_weight, X, sequences)

    def _make_codec(self, checked: CheckedNumbers, weights: np.ndarray) -> Numbers:
        kind = {"squared_error": "squared", "absolute_error": "absolute"}.get(self.loss, self.loss)
        parameter = {"huber": self.delta, "pinball": self.quantile}.get(self.loss, 0.0)
        return Numbers(
            checked.form,
            *target_scaling(checked, weights, self.scale_targets),
            LossSpec(kind, parameter),
            self.scale_targets,
        )

    def _encode_targets(
        self, codec: Codec, checked: CheckedNumbers, weights: np.ndarray, name: str = "y"
    ) -> Targets | StepTargets:
        assert isinstance(codec, Numbers)
        if codec.scaled != self.scale_targets:
            raise ValueError(f"scale_targets must be {codec.scaled}, as in the last fit, got {self.scale_targets}")
        _check_form(codec, checked.form, checked.values.shape[1], name)
        return checked.encode(codec, weights, self.dtype, name)

    @staticmethod
    def _decode_scores(codec: Numbers, scores: np.ndarray) -> np.ndarray:
        values = codec.decode(scores)
        return values[:, 0] if codec.form in ("one", "list of one") else values


def _check_form(numbers: Numbers, form: str, outputs: int, name: str) -> None:
    """There must be as many targets as in `fit`, for sequences or for steps as in `fit`."""
    by_step = form not in ("one", "several")
    if by_step != numbers.by_step or outputs != numbers.outputs:
        unit = {True: "step", False: "sequence"}
        raise ValueError(
            f"{name} must hold {numbers.outputs} targets for each {unit[numbers.by_step]}, as in fit, "
            f"got {outputs} for each {unit[by_step]}"
        )
