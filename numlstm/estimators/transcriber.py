"""A transcriber: short texts from long sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..backends.contract import Array
from ..checks import check_integer
from ..distances import edits
from ..training.batches import Sequences
from ..training.labels import LabelRows
from ..training.model import Model
from ..training.progress import Progress
from .base.callbacks import with_callbacks
from .base.label_stream import LabelStream
from .base.labelling import SequenceLabeller, documented, shares
from .base.model import Codec
from .data.inputs import check_sequences
from .data.static import scaled_static
from .data.weights import sample_weights
from .targets.alphabet import Alphabet, Texts, check_room, collapsed
from .targets.decoding import LanguageModel, align, beam_search
from .targets.rows import RowPredictions, checked_rows, classes_of, some


@documented
class LSTMTranscriber(SequenceLabeller):
    """Read texts from long sequences, as from speech or handwriting: LSTM layers [1]_ and CTC [5]_.

    y holds the text of each sequence, but not the steps of its labels: connectionist temporal classification sums over
    all possible steps. Texts may have any length up to that of their sequence.

    Parameters
    ----------
    <<FIRST>>
    subsample : int, at least 1, default 1
        Steps that the network reads as one, side by side: pixels and frames of sound are often much finer than labels.
        Zeros, the mean of scaled channels, complete the last group.

    <<NETWORK>>

    <<REGULARISATION>>

    <<TRAINING>>

    <<DATA>>

    <<VARIANTS>>

    <<SYSTEM>>

    Attributes
    ----------
    classes_ : array, shape (K,)
        The labels, sorted.
    <<ATTRIBUTES>>

    See Also
    --------
    LSTMTagger : A label for every step.
    numlstm.metrics : `character_error_rate`, `word_error_rate` and `edit_distance`.

    Notes
    -----
    At every step, or at every `subsample` steps, the network predicts a label or a blank. A path becomes a text in two
    steps: repetitions are removed, then blanks. The loss is the negative logarithm of the probability of all paths that
    become y, summed over the sequences and divided by the number of labels (a sequence without labels counts as 1).

    <<THREADS>>

    References
    ----------
    <<REFERENCES>>
    .. [5] A. Graves, S. Fernández, F. Gomez, J. Schmidhuber, "Connectionist Temporal Classification: Labelling
       Unsegmented Sequence Data with Recurrent Neural Networks", 2006.
    .. [6] A. Graves, "Supervised Sequence Labelling with Recurrent Neural Networks", 2012, section 7.5.

    Examples
    --------
    The letters of a text are bumps up and down, of any width and at any step.

    >>> import numpy as np
    >>> from numlstm import LSTMTranscriber
    >>> rng = np.random.default_rng(0)
    >>> def write(text):
    ...     parts = [np.zeros(rng.integers(1, 4))]
    ...     for letter in text:
    ...         parts += [np.full(rng.integers(2, 5), 1.0 if letter == "u" else -1.0), np.zeros(rng.integers(1, 4))]
    ...     return np.concatenate(parts)[:, None]
    >>> y = ["".join(rng.choice(list("ud"), size=rng.integers(1, 5))) for _ in range(200)]
    >>> X = [write(text) for text in y]
    >>> model = LSTMTranscriber(hidden_size=16, max_iter=15, random_state=0).fit(X[:150], y[:150])
    >>> bool(model.score(X[150:], y[150:]) > 0.9)
    True
    """

    subsample: int

    def __init__(
        self,
        *,
        hidden_size: int | list[int] = 64,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = True,
        subsample: int = 1,
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
    ) -> LSTMTranscriber:
        """Train on sequences and their texts.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y : list of n str, or of n lists of labels
            The text of each sequence, or its labels, which are texts or numbers; it may be empty.
        <<WEIGHTS>>
        <<VALIDATION>>

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y is not as described, or if a text has too many labels for its sequence (two equal
            neighbours need a step between them); the transcriber is unchanged then.
        FloatingPointError
            If the loss does not stay finite.
        BackendUnavailableError
            If the backend asked for is not available.
        """
        return self._fit(X, y, sample_weight, lengths, static, X_val, y_val, lengths_val, static_val)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None, *, lengths: Any = None, static: Any = None
    ) -> LSTMTranscriber:
        """Train for one epoch on some sequences. Training continues where the last call ended.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y
            As in `fit`.
        classes : array-like, shape (K,), or str
            All labels of this and later calls, in the first call; by default those of the first y.
        <<WEIGHTS>>

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, FloatingPointError, BackendUnavailableError
            As `fit` does; and for labels that are not among `classes`.
        """
        codec = None
        if classes is not None:
            labels = list(classes) if isinstance(classes, str) else np.asarray(classes).tolist()
            texts = not hasattr(y, "tolist") and all(isinstance(row, str) for row in y)
            codec = Alphabet(classes_of(labels, "classes", 1), texts, int(self.subsample))
            if hasattr(self, "_model") and not np.array_equal(codec.classes, self.classes_):
                raise ValueError(
                    f"classes must be those of the first call, {some(self.classes_)}, got {some(codec.classes)}"
                )
        return self._partial_fit(X, y, sample_weight, lengths, static, codec)

    def predict(
        self,
        X: Any,
        *,
        lengths: Any = None,
        static: Any = None,
        beam_size: int | None = None,
        language_model: Callable[[Any], Any] | None = None,
    ) -> list[Any]:
        """Predict the text of each sequence.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        beam_size, language_model
            As in `predict_n_best`. Without both, the text is that of the best path: the most likely label of each step.

        Returns
        -------
        list of n str, or of n lists of labels
            In the form of y in `fit`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or has other features than in `fit`.
        """
        if beam_size is not None or language_model is not None:
            candidates = self.predict_n_best(
                X,
                lengths=lengths,
                static=static,
                beam_size=10 if beam_size is None else beam_size,
                language_model=language_model,
            )
            return RowPredictions([best[0][0] for best in candidates])
        paths, alphabet = self._by_row(X, lengths, static, _best_paths)
        return RowPredictions([alphabet.decode(collapsed(path)) for path in paths])

    def predict_n_best(
        self,
        X: Any,
        n_best: int | None = None,
        *,
        lengths: Any = None,
        static: Any = None,
        beam_size: int = 10,
        language_model: Callable[[Any], Any] | None = None,
    ) -> list[list[tuple[Any, float]]]:
        """Predict the most probable texts of each sequence with a beam search over prefixes (Graves 2012).

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        n_best : int, at least 1; optional
            Texts of each sequence; by default all prefixes in the last beam.
        beam_size : int, at least 1, default 10
            Prefixes that the search keeps after each step.
        language_model : callable, optional
            ``language_model(prefix)`` returns K numbers in the order of `classes_` for `prefix`, a str or a tuple of
            labels. They are added to the score if that label follows `prefix`. They are logarithms of probabilities,
            perhaps times a weight; -inf forbids a label.

        Returns
        -------
        list of n lists of (text, score)
            The best comes first. The score is the logarithm of the probability of the paths in the beam that become
            this text, plus the numbers of the language model.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does; and if the language model returns something else.
        """
        check_integer(beam_size, "beam_size", 1)
        if n_best is not None:
            check_integer(n_best, "n_best", 1)
        if language_model is not None and not callable(language_model):
            raise TypeError(f"language_model must be callable, got {type(language_model).__name__}")
        rows, alphabet = self._by_row(X, lengths, static, _log_shares)
        model = None if language_model is None else _of_numbers(language_model, alphabet)
        candidates = [beam_search(row, int(beam_size), model)[:n_best] for row in rows]
        return [[(alphabet.decode(numbers), score) for numbers, score in best] for best in candidates]

    def predict_proba(self, X: Any, *, lengths: Any = None, static: Any = None) -> list[np.ndarray]:
        """Predict the probability of the blank and of each label at each step, or at every `subsample` steps.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>

        Returns
        -------
        list of n arrays, shape (ceil(T_i / subsample), 1 + K)
            The first column is that of the blank; the others are in the order of `classes_`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does.
        """
        return RowPredictions(self._by_row(X, lengths, static, shares)[0])

    def predict_alignment(
        self, X: Any, y: Any = None, *, lengths: Any = None, static: Any = None
    ) -> list[list[tuple[Any, int, int]]]:
        """Find the steps of each label: those on the most probable path that becomes the text.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y : list of n str, or of n lists of labels; optional
            The texts; by default those that `predict` returns.

        Returns
        -------
        list of n lists of (label, first, last)
            First and last step of X, counted from 0. CTC learns labels, but not how long they last: most have only a
            few steps.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does; and if a text has unknown labels, or too many labels for its sequence.
        """
        check_is_fitted(self)
        sequences = check_sequences(self, X, lengths, "float64", reset=False)
        rows, alphabet = self._by_row(X, lengths, static, _log_shares)
        if y is None:
            numbers = [collapsed(row.argmax(axis=1)) for row in rows]
        else:
            checked = checked_rows(y, X, sequences, "y")
            check_room(checked, np.array([alphabet.subsample * len(row) for row in rows]), alphabet, "y")
            flat = alphabet.encode(checked, "y")
            numbers = [part.tolist() for part in np.split(flat, checked.starts[1:])] if len(rows) else []
        labels, size, steps = alphabet.classes.tolist(), alphabet.subsample, sequences.lengths.tolist()
        return [
            [
                (labels[k - 1], size * first, min(size * (last + 1), end) - 1)
                for k, (first, last) in zip(text, align(row, text), strict=True)
            ]
            for row, text, end in zip(rows, numbers, steps, strict=True)
        ]

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None, static: Any = None) -> float:
        """1 minus the character error rate: the edits from `predict` to y, divided by the number of labels of y.

        Parameters
        ----------
        <<SEQUENCES>>
        <<STATIC>>
        y
            As in `fit`.
        <<WEIGHTS>>

        Returns
        -------
        float, at most 1

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does; and if y has no label.
        """
        predicted = self.predict(X, lengths=lengths, static=static)
        sequences = check_sequences(self, X, lengths, "float64", reset=False)
        true = checked_rows(y, X, sequences, "y").labels
        weights = sample_weights(sample_weight, len(true))
        total = float(weights @ [len(row) for row in true])
        if not total:
            raise ValueError("y must hold at least one label, got empty texts")
        return 1.0 - float(weights @ [edits(a, [*b]) for a, b in zip(true, predicted, strict=True)]) / total

    def stream(self, batch_size: int = 1, *, static: Any = None) -> LabelStream:  # type: ignore[override]
        """Transcribe a sequence while it arrives: the new labels of the best path at each step.

        Parameters
        ----------
        batch_size : int, at least 1, default 1
            Number of streams that advance together.
        static : array, shape (batch_size, F); optional
            Static features of each stream, as in `fit`. The stream's `reset` does not change them.

        Returns
        -------
        LabelStream
            A snapshot of the trained transcriber. Its ``step(x_t)`` returns the new labels.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the transcriber is bidirectional: the last step of a stream is not known.
        """
        check_is_fitted(self)
        fitted = self._model.computing_in(self.compute_dtype)
        if fitted.network.stack.bidirectional:
            raise ValueError("stream() needs bidirectional=False: the last step of a stream is not known")
        stream = self._layer(fitted).stream(batch_size)
        return LabelStream(stream, fitted, scaled_static(fitted.static, static, batch_size, fitted.network.stack.dtype))

    def _check_y(self, y: Any, X: Any, sequences: Sequences, name: str = "y") -> Texts:
        rows = checked_rows(y, X, sequences, name)
        for i, row in enumerate(rows.labels):
            if None in row:
                raise ValueError(f"{name}[{i}] must hold labels, got None or NaN among them")
        return Texts(rows.labels, rows.texts, sequences.lengths)

    def _make_codec(self, checked: Texts, weights: np.ndarray) -> Alphabet:
        known: Any = self._model.codec if self.warm_start and hasattr(self, "_model") else None
        return known or Alphabet.among(checked, int(self.subsample))

    def _encode_targets(self, codec: Codec, checked: Texts, weights: np.ndarray, name: str = "y") -> LabelRows:
        assert isinstance(codec, Alphabet)
        check_room(checked, checked.steps, codec, name)
        values = codec.encode(checked, name)
        return LabelRows(values, checked.starts, checked.lengths, weights, least=1)

    def _token_reading(self, X: Any) -> None:
        """X holds numbers."""

    def _framed(self, sequences: Sequences, codec: Codec) -> Sequences:
        assert isinstance(codec, Alphabet)
        return sequences.framed(codec.subsample)

    @staticmethod
    def _decode_scores(codec: Alphabet, scores: np.ndarray) -> np.ndarray:
        return scores.argmax(axis=1)


def _best_paths(model: Model, scores: Array, lengths: np.ndarray) -> np.ndarray:
    return model.backend.to_numpy(scores).argmax(axis=2)


def _log_shares(model: Model, scores: Array, lengths: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(shares(model, scores, lengths))


def _of_numbers(language_model: Callable[[Any], Any], alphabet: Alphabet) -> LanguageModel:
    """The language model as a function of the numbers of labels."""

    def model(prefix: tuple[int, ...]) -> np.ndarray:
        labels = alphabet.decode(prefix)
        scores = np.asarray(language_model(labels if alphabet.texts else tuple(labels)), np.float64)
        if scores.shape != (len(alphabet.classes),) or np.isnan(scores).any() or (scores == np.inf).any():
            raise ValueError(
                f"language_model must give {len(alphabet.classes)} logarithms of probabilities, one for each of "
                f"classes_, got shape {scores.shape} for {labels!r}"
            )
        return scores

    return model
