"""A classifier of sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ..layers.parameters import read_only
from ..training.batches import Sequences
from ..training.data import Data
from ..training.progress import Progress
from ..training.targets import Targets
from .base.callbacks import with_callbacks
from .base.estimator import SequenceEstimator
from .base.model import Codec
from .base.parameters import documented
from .data.weights import sample_weights
from .targets.classes import CheckedLabels, Classes, check_labels, kind_of, warn_if_labels_of_steps


@documented
class LSTMClassifier(ClassifierMixin, SequenceEstimator):
    """Classify sequences with LSTM layers [1]_ and a linear output layer.

    If each sequence has one of several classes, the loss is the cross-entropy of a softmax. If each has several labels,
    the loss is the cross-entropy of one sigmoid for each label. Parameters have the names of
    `sklearn.neural_network.MLPClassifier` if they have the same meaning.

    Parameters
    ----------
    <<FIRST>>

    <<NETWORK>>

    <<REGULARISATION>>

    <<TRAINING>>

    <<DATA>>
    class_weight : dict, list of dict, "balanced" or None, default None
        Weight of each class, by its label. "balanced" gives all classes the same sum of weights.

    <<TOKENS>>

    <<VARIANTS>>

    <<SYSTEM>>

    Attributes
    ----------
    classes_ : array, shape (K,)
        The labels, sorted; if sequences have several labels, the numbers of the columns of y.
    <<ATTRIBUTES>>

    See Also
    --------
    LSTMRegressor : Predicts numbers.
    LSTM : The layers without an output layer, with gradients.

    Notes
    -----
    After Ctrl-C in `fit`, the classifier keeps the training so far. After an error, it is as it was before `fit`.

    <<THREADS>>

    References
    ----------
    <<REFERENCES>>

    Examples
    --------
    Which half of a series is larger? `fit` takes sequences of unequal length.

    >>> import numpy as np
    >>> from numlstm import LSTMClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(rng.integers(4, 9), 1)) for _ in range(200)]
    >>> y = ["first" if x[: len(x) // 2].mean() > x[len(x) // 2 :].mean() else "second" for x in X]
    >>> model = LSTMClassifier(hidden_size=16, random_state=0).fit(X[:150], y[:150])
    >>> bool(model.score(X[150:], y[150:]) > 0.8)
    True
    """

    class_weight: Any

    def __init__(
        self,
        *,
        hidden_size: int | list[int] = 64,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = True,
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
        class_weight: Any = None,
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
    ) -> LSTMClassifier:
        """Train on sequences and their labels.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y : array-like, shape (n,), or (n, K) of 0 and 1
            One label for each sequence, of any type that can be sorted; or a row of K labels, 1 for those that it has.
        <<WEIGHTS>>
        <<VALIDATION>>

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y is not as described. The classifier does not change then.
        FloatingPointError
            If the loss does not stay finite.
        BackendUnavailableError
            If the backend is not available.
        """
        return self._fit(X, y, sample_weight, lengths, static, X_val, y_val, lengths_val, static_val)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None, *, lengths: Any = None, static: Any = None
    ) -> LSTMClassifier:
        """Train for one epoch on some sequences. Training continues where the last call ended.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y
            As in `fit`.
        classes : array-like, shape (K,)
            All labels that will ever occur. Required in the first call, optional later.
        <<WEIGHTS>>

        Returns
        -------
        self

        Notes
        -----
        `callback` is called; the callbacks of `set_callbacks` are called only by `fit`.

        Raises
        ------
        TypeError, ValueError, FloatingPointError, BackendUnavailableError
            As in `fit`; and if a label is not in `classes`, if a parameter needs more than one epoch (`early_stopping`,
            `warm_up`) or all labels (``class_weight="balanced"``), or if `classes` is missing in the first call.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight must not be 'balanced' for partial_fit, which does not see all labels at once"
            )
        return self._partial_fit(X, y, sample_weight, lengths, static, self._check_classes(classes, y))

    def predict(self, X: Any, *, lengths: Any = None, static: Any = None) -> np.ndarray:
        """The most likely label of each sequence, or all labels with a probability above 1/2.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>

        Returns
        -------
        array, shape (n,), or (n, K) of 0 and 1

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or has other features than in `fit`.
        """
        scores, _, classes = self._scores(X, lengths, static)
        return classes.decode(scores)

    def predict_proba(self, X: Any, *, lengths: Any = None, static: Any = None) -> np.ndarray:
        """The probability of each class, or of each label.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>

        Returns
        -------
        array, shape (n, K)
            Columns are in the order of `classes_`. Rows sum to 1, except if sequences have several labels.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`.
        """
        scores, _, classes = self._scores(X, lengths, static)
        return classes.probabilities(scores)

    def predict_log_proba(self, X: Any, *, lengths: Any = None, static: Any = None) -> np.ndarray:
        """The logarithm of `predict_proba`, finite also for very small probabilities.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>

        Returns
        -------
        array, shape (n, K)

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`.
        """
        scores, _, classes = self._scores(X, lengths, static)
        return classes.log_probabilities(scores)

    def decision_function(self, X: Any, *, lengths: Any = None, static: Any = None) -> np.ndarray:
        """The scores that determine the labels in `predict`.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>

        Returns
        -------
        array, shape (n, K); (n,) with two classes
            The scores before the softmax. With two classes, the score of the second class minus that of the first: the
            log-odds of the second class. With several labels, the log-odds of each label.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`.
        """
        scores, _, classes = self._scores(X, lengths, static)
        if classes.multilabel or len(classes.classes) > 2:
            return scores
        return scores[:, 1] - scores[:, 0]

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None, static: Any = None) -> float:
        """The accuracy; with several labels, the fraction of sequences whose labels are all correct.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y
            As in `fit`.
        <<WEIGHTS>>

        Returns
        -------
        float in [0, 1]

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`.
        """
        from sklearn.metrics import accuracy_score

        predicted = self.predict(X, lengths=lengths, static=static)
        weights = None if sample_weight is None else sample_weights(sample_weight, len(predicted))
        return float(accuracy_score(y, predicted, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @property
    def classes_(self) -> np.ndarray:
        """The labels, sorted; if sequences have several labels, the numbers of the columns of y."""
        codec = self._fitted("classes_").codec
        assert isinstance(codec, Classes)
        return read_only(codec.classes)

    def _check_y(self, y: Any, X: Any, sequences: Sequences, name: str = "y") -> CheckedLabels:
        labels = check_labels(y, X, sequences, name)
        if name == "y":
            warn_if_labels_of_steps(labels, X, sequences)
        return labels

    def _make_codec(self, checked: CheckedLabels, weights: np.ndarray) -> Classes:
        return Classes.among(checked)

    def _check_classes(self, classes: Any, y: Any) -> Classes | None:
        """The argument `classes` of `partial_fit`; None if the model has classes already.

        Raises
        ------
        ValueError
            If the first call has no classes or fewer than two, or a later call has other classes.
        """
        known: Any = self._model.codec if hasattr(self, "_model") else None
        if classes is None:
            if known is None:
                raise ValueError("classes must be passed in the first call of partial_fit, got None")
            return None
        labels = _sorted_labels(classes)
        if known is not None and not np.array_equal(labels, known.classes):
            expected = known.classes.tolist()
            raise ValueError(f"classes must be those of the first call, {expected}, got {labels.tolist()}")
        if len(labels) < 2:
            raise ValueError(f"classes must hold at least two labels, got {labels.tolist()}")
        return Classes(labels, known.multilabel if known else kind_of(y) == "multilabel-indicator")

    def _encode_targets(self, codec: Codec, checked: CheckedLabels, weights: np.ndarray, name: str = "y") -> Targets:
        assert isinstance(codec, Classes)
        values = codec.encode(checked, name)
        return Targets(values.astype(self.dtype) if codec.multilabel else values, weights)

    def _weights_of_classes(self, codec: Codec, checked: CheckedLabels) -> Any:
        if self.class_weight is None:
            return 1.0
        assert isinstance(codec, Classes)
        return codec.weigh(self.class_weight, checked)

    def _strata(self, data: Data) -> np.ndarray | None:
        assert isinstance(data.targets, Targets)
        return data.targets.values if data.targets.values.ndim == 1 else None

    @staticmethod
    def _decode_scores(codec: Classes, scores: np.ndarray) -> np.ndarray:
        return codec.probabilities(scores)


def _sorted_labels(classes: Any) -> np.ndarray:
    """The labels in `classes`, sorted.

    Raises
    ------
    ValueError
        If `classes` is not an array of labels with one axis.
    """
    try:
        labels = np.unique(column_or_1d(np.asarray(classes)))
        check_classification_targets(labels)
    except (TypeError, ValueError) as error:
        raise ValueError(f"classes must be an array of labels, got {classes!r}") from error
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"classes must be an array of labels, got NaN in {classes!r}")
    return labels
