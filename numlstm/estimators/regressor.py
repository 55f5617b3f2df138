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
from .targets.numbers import Numbers, StepPredictions, Wanted, checked_numbers, r_squared, scaling


@documented
class LSTMRegressor(RegressorMixin, SequenceEstimator):
    """Predict numbers from sequences with LSTM layers [1]_ and an affine map: for each sequence, or at each step.

    Words are those of `sklearn.neural_network.MLPRegressor` where the meaning is the same.

    Parameters
    ----------
    <<FIRST>>

    <<NETWORK>>

    <<REGULARISATION>>

    <<TRAINING>>
    loss : {"squared_error", "absolute_error", "huber", "pinball"}, default "squared_error"
        What is made small, of the scaled targets, on average over sequences, steps and targets: the squared error, the
        absolute error, Huber's loss [5]_, or the pinball loss, which is least at a quantile [6]_.
    delta : float, positive, default 1.0
        The error from which on Huber's loss is linear, in standard deviations of a target if `scale_targets`.
    quantile : float in (0, 1), default 0.5
        Which quantile the pinball loss predicts.

    <<DATA>>
    scale_targets : bool, default True
        Whether to train on targets of mean 0 and standard deviation 1, each by itself. `predict` undoes it;
        `loss_curve_` is of the scaled targets. With `partial_fit`, the first call's targets say how.

    <<VARIANTS>>

    <<SYSTEM>>

    Attributes
    ----------
    target_mean_, target_scale_ : array, shape (K,)
        What is taken from each target in training, and what it is then divided by.
    <<ATTRIBUTES>>

    See Also
    --------
    LSTMClassifier : The same for labels.
    LSTM : The layers alone, with gradients.

    Notes
    -----
    After Ctrl-C in `fit` the regressor is as trained so far; after an error it is as before.

    <<THREADS>>

    References
    ----------
    <<REFERENCES>>
    .. [5] P. Huber, "Robust Estimation of a Location Parameter", 1964.
    .. [6] R. Koenker, G. Bassett, "Regression Quantiles", 1978.

    Examples
    --------
    The sum of a sequence, of unequal length; and the sum so far, at each step.

    >>> import numpy as np
    >>> from numlstm import LSTMRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(rng.integers(4, 9), 1)) for _ in range(300)]
    >>> model = LSTMRegressor(hidden_size=16, random_state=0).fit(X[:200], [x.sum() for x in X[:200]])
    >>> bool(model.score(X[200:], [x.sum() for x in X[200:]]) > 0.9)
    True
    >>> model = LSTMRegressor(hidden_size=16, random_state=0).fit(X[:200], [x[:, 0].cumsum() for x in X[:200]])
    >>> [len(each) for each in model.predict([np.ones((5, 1)), np.ones((3, 1))])]
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
            One target for each sequence, or K; or one or K for each of its steps. An array of two axes is always
            (n, K). Past a sequence's length, anything may stand. NaN is for a step without a label, or without one of
            its K: the network reads the step, and nothing is made of the error there; neither is it in the mean and
            deviation of `scale_targets`.
        <<STEP_WEIGHTS>>
        <<VALIDATION>>

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y is not as described; the regressor is unchanged then.
        FloatingPointError
            If the loss does not stay finite.
        BackendUnavailableError
            If the backend asked for is not available.
        """
        return self._fit(X, y, sample_weight, lengths, static, X_val, y_val, lengths_val, static_val)

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None, static: Any = None
    ) -> LSTMRegressor:
        """Train for one epoch on some sequences, going on from where the last call ended.

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
        `callback` is called; those of `set_callbacks` are for `fit` alone.

        Raises
        ------
        TypeError, ValueError, FloatingPointError, BackendUnavailableError
            As `fit` does, and for parameters that need more than one epoch (`early_stopping`,
            `warm_up`).
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
            As y was in `fit`. Where y had a target for each step: (n, T, K), zeros past each length; or, if X is a
            list, a list of (T_i,) or (T_i, K) arrays, which NumPy takes for an array of n objects.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or has other features than in `fit`.
        """
        X = array_or_list(X)
        scores, sequences, numbers = self._scores(X, lengths, static)
        values = numbers.decode(scores)
        if not numbers.by_step:
            return values[:, 0] if numbers.form == "one" else values
        if isinstance(X, list | tuple):
            own = values[:, 0] if numbers.form == "list of one" else values
            return StepPredictions(np.split(own, np.cumsum(sequences.lengths)[:-1]) if len(sequences) else [])
        rows, steps = np.shape(X)[:2]
        padded = np.zeros((rows, steps, numbers.outputs))
        padded[np.arange(steps) < sequences.lengths[:, None]] = values
        return padded

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None, static: Any = None) -> float:
        """The coefficient of determination, R², the mean over targets; over all labelled steps where each has a target.

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
            As `predict` does.
        """
        scores, sequences, numbers = self._scores(X, lengths, static)
        wanted = checked_numbers(y, X, sequences)
        _check_form(numbers, wanted.form, wanted.values.shape[1], "y")
        weights = wanted.own_steps(self._weights(sample_weight, X, sequences, wanted))
        return r_squared(wanted.own_steps(wanted.values), numbers.decode(scores), weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @property
    def target_mean_(self) -> np.ndarray:
        """What was taken from each target for training."""
        return read_only(self._numbers("target_mean_").mean)

    @property
    def target_scale_(self) -> np.ndarray:
        """What each target was then divided by."""
        return read_only(self._numbers("target_scale_").scale)

    def _numbers(self, attribute: str) -> Numbers:
        codec = self._fitted(attribute).codec
        assert isinstance(codec, Numbers)
        return codec

    def _wanted(self, y: Any, X: Any, sequences: Sequences, name: str = "y") -> Wanted:
        return checked_numbers(y, X, sequences, name)

    def _weights(self, sample_weight: Any, X: Any, sequences: Sequences, wanted: Wanted) -> np.ndarray:
        return wanted.weigh(sample_weight, X, sequences)

    def _codec(self, wanted: Wanted, weights: np.ndarray) -> Numbers:
        kind = {"squared_error": "squared", "absolute_error": "absolute"}.get(self.loss, self.loss)
        parameter = {"huber": self.delta, "pinball": self.quantile}.get(self.loss, 0.0)
        return Numbers(
            wanted.form, *scaling(wanted, weights, self.scale_targets), LossSpec(kind, parameter), self.scale_targets
        )

    def _targets(self, codec: Codec, wanted: Wanted, weights: np.ndarray, name: str = "y") -> Targets | StepTargets:
        assert isinstance(codec, Numbers)
        if codec.scaled != self.scale_targets:
            raise ValueError(f"scale_targets must be {codec.scaled}, as in the last fit, got {self.scale_targets}")
        _check_form(codec, wanted.form, wanted.values.shape[1], name)
        return wanted.encoded(codec, weights, self.dtype, name)

    @staticmethod
    def _say(codec: Numbers, scores: np.ndarray) -> np.ndarray:
        values = codec.decode(scores)
        return values[:, 0] if codec.form in ("one", "list of one") else values


def _check_form(numbers: Numbers, form: str, outputs: int, name: str) -> None:
    """Targets must be of the kind that the regressor was fitted with."""
    by_step = form not in ("one", "several")
    if by_step != numbers.by_step or outputs != numbers.outputs:
        each = {True: "step", False: "sequence"}
        raise ValueError(
            f"{name} must hold {numbers.outputs} targets for each {each[numbers.by_step]}, as in fit, "
            f"got {outputs} for each {each[by_step]}"
        )
