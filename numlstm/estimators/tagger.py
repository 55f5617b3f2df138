"""A tagger: a label for every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.contract import Array
from ..layers.parameters import read_only
from ..training.batches import Sequences
from ..training.data import Data
from ..training.labels import LabelRows, StepLabels
from ..training.model import Model
from ..training.network import CHAIN, Network
from ..training.progress import Progress
from .base.callbacks import with_callbacks
from .base.labelling import SequenceLabeller, documented, shares
from .base.model import Codec
from .data.weights import step_weights
from .targets.checks import padded_steps
from .targets.rows import RowPredictions, Rows, checked_step_rows, classes_of
from .targets.tags import FORBIDDEN, Tags


@documented
class LSTMTagger(SequenceLabeller):
    """Label every step of sequences: LSTM layers [1]_, an affine map to scores, and a CRF [5]_ [6]_ on top.

    The names are those of sklearn-crfsuite's ``CRF`` where the meaning is the same.

    Parameters
    ----------
    <<FIRST>>
    crf : bool, default True
        Whether the model predicts the labels of a sequence together: a linear-chain conditional random field learns
        which labels follow each other. Otherwise each step has a separate softmax.

    <<NETWORK>>

    <<REGULARISATION>>

    <<TRAINING>>

    <<DATA>>
    class_weight : dict, "balanced" or None, default None
        Weight of the steps of each label; "balanced" gives all labels the same sum of weights.
    ignore_label : str, int or None, default None
        A label that means "no label", as None and NaN always do. The model reads such steps, but their labels do not
        count.
    forbid_unseen_transitions : bool, default False
        With `crf`, whether a label must never follow another label if it never does so in y.

    <<TOKENS>>

    <<VARIANTS>>

    <<SYSTEM>>

    Attributes
    ----------
    classes_ : array, shape (K,)
        The labels, sorted.
    transitions_ : array, shape (K, K)
        The scores of the CRF, read-only: entry (i, j) is added to the score of a path where label j follows label i.
        The names of the parameters of the CRF end in ``_crf``.
    <<ATTRIBUTES>>

    See Also
    --------
    LSTMClassifier : A label for each sequence.
    LSTMTranscriber : Fewer labels than steps, at unknown steps.
    numlstm.metrics : `flat_accuracy`, `flat_f1` and `sequence_accuracy` for rows of labels, and their scorers.

    Notes
    -----
    The loss is the mean over all steps that have a label. With a CRF it is the negative logarithm of the probability of
    all labels of a sequence together, summed over the sequences and divided by the number of labelled steps. If some
    steps have no label, the probability is the sum over all paths that agree with the other labels. By the chain rule
    it is the product of p(y_t | y_1, ..., y_(t-1)) over the steps; `class_weight`, and `sample_weight` of steps, weigh
    the logarithms of these factors. So a step without a weight still tells the steps after it what its label is; a step
    without a label does not.

    <<THREADS>>

    References
    ----------
    <<REFERENCES>>
    .. [5] J. Lafferty, A. McCallum, F. Pereira, "Conditional Random Fields: Probabilistic Models for Segmenting and
       Labeling Sequence Data", 2001.
    .. [6] R. Collobert et al., "Natural Language Processing (Almost) from Scratch", 2011, section 3.3.2.

    Examples
    --------
    Is a step higher than the step before it?

    >>> import numpy as np
    >>> from numlstm import LSTMTagger
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(rng.integers(4, 9), 1)) for _ in range(200)]
    >>> y = [["up" if step > 0 else "down" for step in np.diff(x[:, 0], prepend=0)] for x in X]
    >>> tagger = LSTMTagger(hidden_size=16, max_iter=10, random_state=0).fit(X[:150], y[:150])
    >>> bool(tagger.score(X[150:], y[150:]) > 0.9)
    True
    >>> tagger.predict_single([[0.1], [1.0], [-1.0]])
    ['up', 'up', 'down']
    """

    crf: bool
    class_weight: Any
    ignore_label: Any
    forbid_unseen_transitions: bool

    def __init__(
        self,
        *,
        hidden_size: int | list[int] = 64,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = True,
        crf: bool = True,
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
        ignore_label: Any = None,
        forbid_unseen_transitions: bool = False,
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
        X_dev: Any = None,
        y_dev: Any = None,
        *,
        sample_weight: Any = None,
        lengths: Any = None,
        static: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        lengths_val: Any = None,
        static_val: Any = None,
    ) -> LSTMTagger:
        """Train on sequences and the labels of their steps.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y : list of n lists of T_i labels, or array, shape (n, T)
            Texts or numbers; None, NaN or `ignore_label` for steps without a label. In an array, labels past `lengths`
            are not read.
        X_dev, y_dev : optional
            Other names of `X_val` and `y_val`.
        sample_weight : array, shape (n,) or (n, T), not negative, or list of n arrays of shape (T_i,); optional
            Weight of each sequence or of each step. By default all weights are equal. Only their ratios matter.
        <<VALIDATION>>

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y is not as described; the tagger is unchanged then.
        FloatingPointError
            If the loss does not stay finite.
        BackendUnavailableError
            If the backend asked for is not available.
        """
        for name, dev, val in (("X", X_dev, X_val), ("y", y_dev, y_val)):
            if dev is not None and val is not None:
                raise ValueError(f"{name}_dev and {name}_val are the same: one of them must be None")
        X_val, y_val = (X_dev if X_val is None else X_val), (y_dev if y_val is None else y_val)
        return self._fit(X, y, sample_weight, lengths, static, X_val, y_val, lengths_val, static_val)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, *, sample_weight: Any = None, lengths: Any = None, static: Any = None
    ) -> LSTMTagger:
        """Train for one epoch on some sequences. Training continues where the last call ended.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y
            As in `fit`.
        classes : array-like, shape (K,)
            All labels of this and later calls, in the first call; by default those of the first y.
        sample_weight
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, FloatingPointError, BackendUnavailableError
            As `fit` does; and for labels that are not among `classes`.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight must not be 'balanced' for partial_fit, which does not see all labels at once"
            )
        if self.forbid_unseen_transitions:
            raise ValueError(
                "forbid_unseen_transitions must be False for partial_fit, which does not see all labels at once"
            )
        codec = None if classes is None else Tags(classes_of(np.asarray(classes).tolist(), "classes", 2), self.crf)
        if codec and hasattr(self, "_model") and not np.array_equal(codec.classes, self.classes_):
            raise ValueError(
                f"classes must be those of the first call, {self.classes_.tolist()}, got {codec.classes.tolist()}"
            )
        return self._partial_fit(X, y, sample_weight, lengths, static, codec)

    def predict(self, X: Any, *, lengths: Any = None, static: Any = None) -> list[list[Any]]:
        """Predict the labels of all steps: the most likely path, or without a CRF the most likely label of each step.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>

        Returns
        -------
        list of n lists of T_i labels

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or has other features than in `fit`.
        """
        paths, tags = self._by_row(X, lengths, static, _best_paths)
        labels = tags.classes.tolist()
        return RowPredictions([labels[k] for k in path] for path in paths)

    def predict_single(self, x: Any, *, static: Any = None) -> list[Any]:
        """Predict the labels of one sequence.

        Parameters
        ----------
        x : array, shape (T, C), or (T,) for one channel
        static : array, shape (F,); optional
            Its static features.

        Returns
        -------
        list of T labels

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does.
        """
        return self.predict([x], static=None if static is None else [static])[0]

    def predict_proba(self, X: Any, *, lengths: Any = None, static: Any = None) -> list[np.ndarray]:
        """Predict the probability of each label at each step; with a CRF the marginals, which are sums over all paths.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>

        Returns
        -------
        list of n arrays, shape (T_i, K)
            Columns in the order of `classes_`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does.
        """
        return RowPredictions(self._by_row(X, lengths, static, _marginals)[0])

    def predict_marginals(self, X: Any, *, lengths: Any = None, static: Any = None) -> list[list[dict[Any, float]]]:
        """`predict_proba` in the form of sklearn-crfsuite.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>

        Returns
        -------
        list of n lists of T_i dicts
            Probabilities by label.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does.
        """
        rows, tags = self._by_row(X, lengths, static, _marginals)
        labels = tags.classes.tolist()
        return [[dict(zip(labels, step, strict=True)) for step in row.tolist()] for row in rows]

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None, static: Any = None) -> float:
        """The share of labelled steps whose prediction is correct.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y
            As in `fit`.
        <<STEP_WEIGHTS>>

        Returns
        -------
        float in [0, 1]

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does.
        """
        _, _, sequences = self._ready(X, lengths)
        rows = checked_step_rows(y, X, sequences, "y", self.ignore_label)
        weights = step_weights(sample_weight, sequences.lengths, padded_steps(X, sequences))
        predicted = [label for row in self.predict(X, lengths=lengths, static=static) for label in row]
        true = [label for row in rows.labels for label in row]
        weights = np.array([label is not None for label in true]) * weights
        return float(np.average([a == b for a, b in zip(predicted, true, strict=True)], weights=weights))

    def stream(self, batch_size: int = 1, *, static: Any = None) -> Any:  # type: ignore[override]
        """Label the steps of a sequence while they arrive: one at a time, with the state kept.

        Parameters
        ----------
        batch_size : int, at least 1, default 1
            Number of streams that advance together.
        static : array, shape (batch_size, F); optional
            Static features of each stream, as in `fit`. The stream's `reset` does not change them.

        Returns
        -------
        PredictionStream
            A snapshot of the trained tagger. Its ``step(x_t)`` gives the probability of each label.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the tagger is bidirectional or has a CRF: both need the whole sequence for a prediction.
        """
        stream = super().stream(batch_size, static=static)
        if self._model.codec.chain:  # type: ignore[union-attr]
            raise ValueError("stream() needs crf=False: a CRF needs all later steps to predict a label")
        return stream

    @property
    def transitions_(self) -> np.ndarray:
        """The score (K, K) that a path gets where label j follows label i."""
        name = "transitions" + CHAIN
        parameters = self._fitted("transitions_").parameters
        if name not in parameters:
            raise AttributeError("LSTMTagger was fitted with crf=False: it has no transitions_")
        return read_only(parameters[name])

    def _check_y(self, y: Any, X: Any, sequences: Sequences, name: str = "y") -> Rows:
        return checked_step_rows(y, X, sequences, name, self.ignore_label)

    def _make_codec(self, checked: Rows, weights: np.ndarray) -> Tags:
        known: Any = self._model.codec if self.warm_start and hasattr(self, "_model") else None
        return known or Tags.among(checked, self.crf, forbid=self.forbid_unseen_transitions)

    def _check_weights(self, sample_weight: Any, X: Any, sequences: Sequences, checked: Rows) -> np.ndarray:
        weights = step_weights(sample_weight, sequences.lengths, padded_steps(X, sequences))
        labelled = [label is not None for row in checked.labels for label in row]
        return (weights * labelled)[:, None]

    def _weights_of_classes(self, codec: Codec, checked: Rows) -> Any:
        if self.class_weight is None:
            return 1.0
        assert isinstance(codec, Tags)
        return codec.weigh(self.class_weight, checked)[:, None]

    def _encode_targets(
        self, codec: Codec, checked: Rows, weights: np.ndarray, name: str = "y"
    ) -> LabelRows | StepLabels:
        assert isinstance(codec, Tags)
        values = checked.numbers(codec.classes, name)
        if codec.chain:
            return LabelRows.of_steps(values, checked.starts, checked.lengths, weights[:, 0])
        return StepLabels(Sequences(values.clip(0)[:, None], checked.starts, checked.lengths), weights)

    def _initial_parameters(
        self, fitted: Any, codec: Codec, network: Network, data: Data, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        parameters = super()._initial_parameters(fitted, codec, network, data, rng)
        if isinstance(codec, Tags) and codec.unseen is not None:
            parameters["transitions" + CHAIN][codec.unseen] = FORBIDDEN
        return parameters

    @staticmethod
    def _decode_scores(codec: Tags, scores: np.ndarray) -> np.ndarray:
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)


def _best_paths(model: Model, scores: Array, lengths: np.ndarray) -> np.ndarray:
    if CHAIN in model.others:
        return model.backend.best_paths(model.others[CHAIN], scores, lengths)
    return model.backend.to_numpy(scores).argmax(axis=2)


def _marginals(model: Model, scores: Array, lengths: np.ndarray) -> np.ndarray:
    if CHAIN in model.others:
        return model.backend.to_numpy(model.backend.marginals(model.others[CHAIN], scores, lengths))
    return shares(model, scores, lengths)
