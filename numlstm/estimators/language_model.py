"""A language model: the next token of a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..backends.dispatch import backend_for
from ..checks import SMALLEST, check_flag, check_integer, check_option, check_real
from ..training.batches import Sequences
from ..training.data import Data
from ..training.labels import StepLabels
from ..training.likelihood import LikelihoodValidation, log_likelihoods, mean_outputs
from ..training.loop import Validation
from ..training.model import Model
from ..training.network import Network
from ..training.progress import Progress
from .base.callbacks import with_callbacks
from .base.model import Codec, Fitted
from .base.parameters import check_parameters
from .base.results import snapshot
from .base.text_documentation import documented
from .base.text_stream import TextStream, chooser
from .base.trainable import TrainableModel, check_same_network, random_generator
from .data import texts
from .data.categories import TokenReading
from .data.tokens import END, Analyzer, Vocabulary
from .targets.next_tokens import NextTokens

CUTOFFS = 2_000, 10_000  # the first rare tokens of "auto": the tails of an adaptive softmax
STREAMS = 32  # that long texts are cut into with batch_size="auto"
LARGE = 20_000  # a vocabulary from this size on has an adaptive softmax by default


@documented
class LSTMLanguageModel(TrainableModel):
    """Predict the next character, byte or word of a text: LSTM layers [1]_ that read tokens, and a softmax over tokens.

    Parameters
    ----------
    **What matters first**

    analyzer : {"char", "byte", "word"} or callable, default "char"
        The tokens of a text: its characters; its bytes in UTF-8; its words and, apart, its punctuation marks; or what
        the callable returns for it.
    hidden_size : int, at least 1, or list of int, default 256
        Number of hidden units of each layer.
    num_layers : int, at least 1, default 1
        Number of layers.
    cell : {"lstm", "gru", "rnn"}, default "lstm"
        The kind of layers: `LSTM`, `GRU` or `RNN`, or a cell from `numlstm.layers.register`.
    learning_rate_init : float, positive, default 0.005
        The learning rate, or its greatest value if it changes.
    max_iter : int, at least 1, or "auto", default 20
        Number of epochs. "auto" takes as many epochs as make 1,000 steps of the optimizer, but at least 20 and at most
        50.
    batch_size : int, at least 1, or "auto", default 32
        Number of streams that are read in parallel. Long texts are cut into as many streams of equal length; a stream
        begins with the state zero. "auto" makes 32 streams, and batches of 8, or more from 128 streams on.
    bptt_steps : int, at least 1, or None, default 80
        Truncated back-propagation [5]_: the optimizer takes a step after so many tokens of all streams of a batch. The
        state goes on from there, but gradients do not flow back. None never cuts.
    early_stopping : bool, default False
        Whether to set some streams aside as a validation set, to monitor their loss instead of the training loss, and
        to keep the weights with the least loss. A set that is passed as `X_val` in `fit` is monitored instead.
    random_state : int, numpy.random.RandomState or None, default None
        Seed of initial parameters, validation split, shuffling and dropout. With an int, results repeat to the bit,
        for any number of threads.

    **Tokens**

    lowercase : bool, default False
        Whether texts are converted to lower case.
    min_frequency : int, at least 1, default 1
        How often a token must occur in X to be known. All others are one unknown token.
    max_vocabulary : int, at least 1, or None, default None
        Greatest number of known tokens: the most frequent ones.
    embedding_size : int, at least 1, or "auto", default "auto"
        Length of the vector that stands for a token. "auto" is 8 times the fourth root of the number of tokens, from 4
        to 256; with `tie_weights` it is the size of the last layer's output.
    embedding : array, shape (tokens + 1, size); mapping of tokens to vectors; or None, default None
        Initial vectors. A row of an array is that of a number in `vocabulary_`, row 0 that of the unknown token.
    freeze_embedding : bool, default False
        Whether vectors stay as they are at the beginning.
    tie_weights : bool, default False
        Whether the output layer's weight is the table of the tokens' vectors [6]_.
    adaptive_softmax : "auto", bool or tuple of int, default "auto"
        Whether rare tokens are in groups, the tails of an adaptive softmax [7]_: faster for large vocabularies. A tuple
        has the number of the first token of each tail. "auto" is (2000, 10000) for vocabularies from 20,000 tokens on,
        without `tie_weights`; True is the same for smaller ones, as far as they go.

    <<NETWORK>>

    <<REGULARISATION>>

    <<TRAINING>>

    <<VARIANTS>>

    <<SYSTEM>>

    Attributes
    ----------
    vocabulary_ : dict
        The number of each token. Number 0 is the unknown token; the empty string is the token at the end of a text.
    embeddings_ : tuple of one array, shape (tokens + 1, embedding_size)
        The vectors of the tokens, read-only.
    <<ATTRIBUTES>>

    See Also
    --------
    LSTMClassifier : Labels of texts.
    LSTMTagger : A label for every token.

    Notes
    -----
    The probability of a text is the product of those of its tokens and of its end, each given all tokens before. All
    measures count the end of each text as a token, but `bits_per_character` divides by characters alone.

    A token that the model does not know counts as the unknown token, in prompts, too. If all tokens of X are known, no
    training text has the unknown token: its probability is then what the untrained score leaves it.

    With `partial_fit` and `warm_start`, the first call determines the vocabulary, `analyzer` and `lowercase`.

    <<THREADS>>

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997.
    .. [2] D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015.
    .. [3] S. Merity, N. Keskar, R. Socher, "Regularizing and Optimizing LSTM Language Models", 2018.
    .. [4] Y. Gal, Z. Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks", 2016.
    .. [5] T. Mikolov et al., "Recurrent Neural Network Based Language Model", 2010.
    .. [6] O. Press, L. Wolf, "Using the Output Embedding to Improve Language Models", 2017.
    .. [7] E. Grave et al., "Efficient Softmax Approximation for GPUs", 2017.

    Examples
    --------
    >>> from numlstm import LSTMLanguageModel
    >>> text = "to be or not to be, that is the question. " * 50
    >>> model = LSTMLanguageModel(hidden_size=32, max_iter=30, bptt_steps=20, random_state=0).fit(text)
    >>> model.bits_per_character("to be or not to be, that is the question.") < 1
    True
    >>> "".join(model.generate("to be or", n=10, temperature=0))
    ' not to be'
    """

    bidirectional, merge, pooling, scale_inputs, categorical_features = False, "concat", "none", False, None
    tie_weights: bool
    adaptive_softmax: Any
    output_dropout: float

    def __init__(
        self,
        *,
        analyzer: Any = "char",
        hidden_size: int | list[int] = 256,
        num_layers: int = 1,
        cell: str = "lstm",
        learning_rate_init: float = 0.005,
        max_iter: int | str = 20,
        batch_size: int | str = 32,
        bptt_steps: int | None = 80,
        early_stopping: bool = False,
        random_state: int | np.random.RandomState | None = None,
        lowercase: bool = False,
        min_frequency: int = 1,
        max_vocabulary: int | None = None,
        embedding_size: int | str = "auto",
        embedding: Any = None,
        freeze_embedding: bool = False,
        tie_weights: bool = False,
        adaptive_softmax: Any = "auto",
        residual: bool = False,
        layer_norm: bool = False,
        init: str | tuple[str, int] = "keras",
        forget_bias: float | None = None,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        token_dropout: float = 0.0,
        output_dropout: float = 0.0,
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
        clip_norm: float | None = 1.0,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        rho: float = 0.9,
        epsilon: float = 1e-8,
        warm_start: bool = False,
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

    # Training ---------------------------------------------------------------------------------------------

    @with_callbacks
    def fit(self, X: Any, y: None = None, *, X_val: Any = None) -> LSTMLanguageModel:
        """Train on texts.

        Parameters
        ----------
        <<TEXTS>>
            Each must have at least two tokens.
        y : None
            Is not read; for scikit-learn's tools.
        X_val : optional
            Texts whose loss is recorded after each epoch.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or X is not as described; the model is unchanged then.
        FloatingPointError
            If the loss does not stay finite.
        BackendUnavailableError
            If the backend asked for is not available.
        """
        return self._fit(X, None, None, None, None, X_val, None, None, None)

    def partial_fit(self, X: Any, y: None = None, *, vocabulary: Any = None) -> LSTMLanguageModel:
        """Train for one epoch on some texts. Training continues where the last call ended.

        Parameters
        ----------
        <<TEXTS>>
        y : None
            Is not read.
        vocabulary : list of str or int, optional
            All tokens of this and later calls, the most frequent first, in the first call; by default those of the
            first X.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, FloatingPointError, BackendUnavailableError
            As `fit` does.
        """
        codec = None
        if vocabulary is not None:
            if isinstance(vocabulary, str | bytes | bytearray):
                raise TypeError(f"vocabulary must be a list of tokens, got {type(vocabulary).__name__}")
            words = texts.listed(vocabulary, "vocabulary", "a list of tokens")
            tokens = texts.tokenized(words, "vocabulary", self.analyzer, bool(self.lowercase))
            if len({*tokens}) < len(tokens):
                raise ValueError("vocabulary must hold each token once")
            codec = NextTokens(Vocabulary((END, *tokens)))
            if hasattr(self, "_model") and codec != self._model.codec:
                raise ValueError("vocabulary must be that of the first call")
        return self._partial_fit(X, None, None, None, None, codec)

    def _prepare(  # type: ignore[override]
        self, fitted: Any, X: Any, y: Any, sample_weight: Any, lengths: Any, static: Any, *,
        previous: Fitted | None = None, codec: Codec | None = None,
    ) -> tuple[Codec, Network, Data]:  # fmt: skip
        """The codec, the network and the streams of X."""
        analyzer, lowercase = self._analysis(previous)
        corpus = texts.corpus(X, "X", analyzer, lowercase)
        if previous is not None:
            fitted._reading = previous.reading
        else:
            words = (
                codec.words
                if isinstance(codec, NextTokens)
                else texts.vocabulary_of(corpus, analyzer, int(self.min_frequency), self.max_vocabulary)
            )
            fitted._reading = TokenReading((words,), (0,), None, analyzer, lowercase)
        fitted._channels = fitted._static = fitted._columns = None
        fitted.n_channels_, fitted.n_features_in_, fitted._lengths_given = 1, 1, False
        next_tokens = NextTokens(fitted._reading.vocabularies[0])
        data = self._streams(corpus, next_tokens.words)
        network = self._network(data.sequences, next_tokens, 0, fitted._reading)
        if previous is not None:
            check_same_network(previous, network)
        return next_tokens, network, data

    def _network(self, sequences: Sequences, codec: Codec, static: int, reading: TokenReading | None) -> Network:
        network = super()._network(sequences, codec, static, reading)
        assert network.tokens is not None
        if self.tie_weights and network.tokens.output_size != network.stack.output_size:
            raise ValueError(
                f"embedding_size must be {network.stack.output_size}, the size of the last layer's output, with "
                f"tie_weights=True, got {network.tokens.output_size}"
            )
        return replace(
            network, cutoffs=self._cutoffs(codec.outputs), tied=bool(self.tie_weights),
            output_dropout=float(self.output_dropout),
        )  # fmt: skip

    def _vector_size(self, words: Vocabulary) -> int:
        if not (self.tie_weights and self.embedding_size == "auto" and self.embedding is None):
            return super()._vector_size(words)
        layer = self._layer_options()
        last = layer["hidden_size"][-1] if isinstance(layer["hidden_size"], list | tuple) else layer["hidden_size"]
        return int(layer.get("proj_size") or last)

    def _cutoffs(self, outputs: int) -> tuple[int, ...]:
        """The tails of the output layer for a vocabulary of so many tokens."""
        choice = self.adaptive_softmax
        if isinstance(choice, str):
            return CUTOFFS if outputs >= LARGE and not self.tie_weights else ()
        if isinstance(choice, tuple | list):
            if choice[-1] >= outputs:
                raise ValueError(
                    f"adaptive_softmax must name tokens below the number of all, {outputs}, got {choice[-1]}"
                )
            return tuple(map(int, choice))
        return tuple(cutoff for cutoff in CUTOFFS if cutoff < outputs) if choice else ()

    def _streams(self, corpus: list[Sequence[Hashable]], words: Vocabulary) -> Data:
        """The streams that are trained on."""
        for i, tokens in enumerate(corpus):
            if len(tokens) < 2:
                raise ValueError(f"X[{i}] must have at least two tokens, got {len(tokens)}")
        rows = STREAMS if self.batch_size == "auto" else int(self.batch_size)
        numbers = [texts.framed(tokens, words) for tokens in corpus]
        return _data(texts.streams(numbers, rows, self.bptt_steps or 1), self.dtype)

    def _validation(
        self, fitted: Any, codec: Codec, training: Sequences, X: Any, y: Any, lengths: Any, static: Any
    ) -> Validation | None:
        if X is None:
            return None
        reading = fitted._reading
        corpus = texts.corpus(X, "X_val", reading.analyzer, reading.lowercase)
        return self._validation_on(_whole(corpus, reading, self.dtype), codec)

    def _validation_on(self, data: Data, codec: Any) -> Validation:
        return LikelihoodValidation(data)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_flag(self.tie_weights, "tie_weights")
        check_real(self.output_dropout, "output_dropout", 0.0, 1.0)
        _check_cutoffs(self.adaptive_softmax)
        if self.tie_weights and self.adaptive_softmax not in ("auto", False):
            raise ValueError("adaptive_softmax must be False or 'auto' with tie_weights=True: tails have own vectors")
        if self.tie_weights and self.freeze_embedding:
            raise ValueError("freeze_embedding must be False with tie_weights=True: the output layer must learn")

    def _analysis(self, fitted: Fitted | None) -> tuple[Analyzer, bool]:
        """How texts become tokens: as a network was trained, if there is one; otherwise as the parameters say."""
        if fitted is None:
            return self.analyzer, bool(self.lowercase)
        assert fitted.reading is not None
        return fitted.reading.analyzer, fitted.reading.lowercase

    # Measures ---------------------------------------------------------------------------------------------

    def score(self, X: Any, y: None = None) -> float:
        """The mean logarithm of the probability of a token, in nats: higher is better.

        Parameters
        ----------
        <<TEXTS>>
        y : None
            Is not read.

        Returns
        -------
        float

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described.
        """
        return float(np.concatenate(self._log_likelihoods(X)).mean())

    def perplexity(self, X: Any) -> float:
        """The exponential of minus `score`: between so many equally likely tokens the model is undecided on average.

        Parameters
        ----------
        <<TEXTS>>

        Returns
        -------
        float, at least 1

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `score` does.
        """
        return math.exp(-self.score(X))

    def bits_per_character(self, X: Any) -> float:
        """The bits that a perfect coder with this model takes for texts, divided by their characters.

        Parameters
        ----------
        X : str, or list of n str
            A text or texts.

        Returns
        -------
        float

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described.
        """
        strings = [X] if isinstance(X, str) else texts.listed(X, "X")
        for i, text in enumerate(strings):
            if not isinstance(text, str):
                raise TypeError(f"X[{i}] must be a string to count its characters, got {type(text).__name__}")
        return -float(self.score_texts(strings).sum()) / math.log(2) / sum(map(len, strings))

    def score_texts(self, X: Any) -> np.ndarray:
        """The logarithm of the probability of each text, in nats.

        Parameters
        ----------
        <<TEXTS>>

        Returns
        -------
        array, shape (n,)

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `score` does.
        """
        return np.array([row.sum() for row in self._log_likelihoods(X)])

    def surprise(self, text: Any) -> np.ndarray:
        """The bits of each token of a text: minus the binary logarithm of its probability, given all tokens before.

        Parameters
        ----------
        text : str, or list of T tokens

        Returns
        -------
        array, shape (T,)
            One number for each token that `tokenize` gives; that of the text's end is left out.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `score` does.
        """
        fitted = self._trained_network()
        tokens = texts.tokenized(text, "text", *self._analysis(fitted))
        model, data = self._model_and_data(fitted, [tokens])
        return -log_likelihoods(model, data)[0][:-1] / math.log(2)

    def tokenize(self, text: Any) -> list[Hashable]:
        """The tokens of a text.

        Parameters
        ----------
        text : str, or list of T tokens

        Returns
        -------
        list of T str or int

        Raises
        ------
        TypeError, ValueError
            If `text` is not as described.
        """
        fitted = getattr(self, "_model", None)
        if fitted is None:
            self._check_parameters()
        return list(texts.tokenized(text, "text", *self._analysis(fitted)))

    def embed(self, X: Any) -> np.ndarray:
        """A vector for each text: the mean of the last layer's outputs over its tokens.

        Parameters
        ----------
        <<TEXTS>>

        Returns
        -------
        array, shape (n, hidden_size)

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `score` does.
        """
        model, data = self._model_and_texts(self._trained_network(), X)
        return mean_outputs(model, data).astype(model.network.stack.dtype)

    def _log_likelihoods(self, X: Any) -> list[np.ndarray]:
        return log_likelihoods(*self._model_and_texts(self._trained_network(), X))

    def _model_and_texts(self, fitted: Fitted, X: Any) -> tuple[Model, Data]:
        """A trained network on a backend, and texts."""
        return self._model_and_data(fitted, texts.corpus(X, "X", *self._analysis(fitted)))

    def _model_and_data(self, fitted: Fitted, corpus: list[Sequence[Hashable]]) -> tuple[Model, Data]:
        """A trained network on a backend, and the tokens of whole texts as numbers."""
        assert fitted.reading is not None
        data = _whole(corpus, fitted.reading, fitted.network.stack.dtype)
        work = fitted.network.stack.operations(1, len(data.sequences.values))
        return fitted.on(backend_for(self.backend, work=work)), data

    def _ready(self, X: Any, lengths: Any) -> tuple[Fitted, Model, Sequences]:
        if lengths is not None:
            raise ValueError(f"lengths must be None for texts, got {type(lengths).__name__}")
        fitted = self._trained_network()
        model, data = self._model_and_texts(fitted, X)
        return fitted, model, data.sequences

    def _trained_network(self) -> Fitted:
        """The trained network now; another thread may replace it later."""
        estimator = snapshot(self)
        check_is_fitted(estimator)
        return estimator._model.computing_in(self.compute_dtype)

    # Writing ----------------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: Any = "",
        n: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        random_state: Any = None,
        stop: Any = None,
    ) -> Iterator[Hashable]:
        """Write a text, token by token.

        Parameters
        ----------
        prompt : str or list of tokens, default ""
            The beginning of the text. A token that the model does not know is read as the unknown token.
        n : int, at least 1, default 200
            Greatest number of tokens.
        temperature : float, at least 0, default 1.0
            Scores are divided by this: below 1 likely tokens become more likely; with 0 the most likely one is taken.
        top_k : int, at least 1, or None, default None
            Take only one of the `top_k` most likely tokens.
        top_p : float in (0, 1], or None, default None
            Take only one of the most likely tokens whose probabilities together reach `top_p` [8]_.
        random_state : int, numpy.random.RandomState or None, default None
            Seed of the choices.
        stop : str, list of str, or None, default None
            The text ends after one of these, or where the model ends it.

        Returns
        -------
        iterator of str, or of int for bytes
            Tokens after the prompt, each as soon as it is chosen; never the unknown token.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If an argument is not as described.

        References
        ----------
        .. [8] A. Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020.
        """
        check_integer(n, "n", 1)
        check_real(temperature, "temperature", 0.0, math.inf)
        if top_k is not None:
            check_integer(top_k, "top_k", 1)
        if top_p is not None and check_real(top_p, "top_p", SMALLEST, 2.0) > 1:
            raise ValueError(f"top_p must be at most 1, got {top_p}")
        check_parameters({"random_state": random_state})
        stops = _checked_stops(stop)
        fitted = self._trained_network()
        stream = self._stream(fitted)
        if not (isinstance(prompt, str | bytes | list | tuple) and len(prompt) == 0):
            for token in texts.tokenized(prompt, "prompt", *self._analysis(fitted)):
                stream.step(token)
        choose = chooser(float(temperature), top_k, top_p, random_generator(random_state))
        return texts.until(stream.generate(choose), int(n), stops, self._analysis(fitted)[0])

    def sample(self, n_samples: int = 1, prompt: Any = "", **options: Any) -> list[str]:
        """Write several texts.

        Parameters
        ----------
        n_samples : int, at least 1, default 1
            Number of texts.
        prompt : str or list of tokens, default ""
            The beginning of each text.
        **options
            ``n``, ``temperature``, ``top_k``, ``top_p``, ``random_state`` and ``stop``, as in `generate`.

        Returns
        -------
        list of n_samples str
            Texts without the prompt; words have spaces between them.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `generate` does.
        """
        check_integer(n_samples, "n_samples", 1)
        check_parameters({"random_state": options.get("random_state")})
        analyzer, _ = self._analysis(self._trained_network())
        rng = random_generator(options.pop("random_state", None))
        seeds = [int(seed) for seed in rng.integers(2**31, size=n_samples)]
        return [texts.joined([*self.generate(prompt, random_state=seed, **options)], analyzer) for seed in seeds]

    def stream(self, batch_size: int = 1, *, static: Any = None) -> TextStream:  # type: ignore[override]
        """Predict the next token while a text arrives.

        Parameters
        ----------
        batch_size : 1
            One text.
        static : None
            There are no static features.

        Returns
        -------
        TextStream
            Its ``step(token)`` gives the probability of each token to come next.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            For several texts, or static features.
        """
        fitted = self._trained_network()
        if batch_size != 1 or static is not None:
            raise ValueError("batch_size must be 1, and static must be None, for a stream of a language model")
        return self._stream(fitted)

    def _stream(self, fitted: Fitted) -> TextStream:
        return TextStream(fitted, self._layer(fitted).stream())


def _whole(corpus: list[Sequence[Hashable]], reading: TokenReading, dtype: str) -> Data:
    """The tokens of whole texts as numbers."""
    return _data([texts.framed(tokens, reading.vocabularies[0]) for tokens in corpus], dtype)


def _data(numbers: list[np.ndarray], dtype: str) -> Data:
    """Streams of tokens (T_i + 1,), and at each step the next token as the target."""
    read = Sequences.from_list([stream[:-1, None] for stream in numbers], dtype)
    following = np.concatenate([stream[1:, None] for stream in numbers])
    weights = np.broadcast_to(1.0, following.shape)  # takes no memory
    return Data(read, StepLabels(replace(read, values=following), weights))


def _checked_stops(stop: Any) -> list[str]:
    """The texts in `stop`."""
    if stop is None:
        return []
    stops = [stop] if isinstance(stop, str) else texts.listed(stop, "stop", "a text or a list of texts")
    for ending in stops:
        if not isinstance(ending, str) or not ending:
            raise ValueError(f"stop must be a text that is not empty, or a list of such, got {ending!r}")
    return stops


def _check_cutoffs(value: Any) -> None:
    """Check `adaptive_softmax`."""
    if isinstance(value, str):
        check_option(value, "adaptive_softmax", ["auto"])
    elif isinstance(value, tuple | list):
        cutoffs = [check_integer(cutoff, f"adaptive_softmax[{k}]", 1) for k, cutoff in enumerate(value)]
        if not cutoffs or sorted({*cutoffs}) != cutoffs:
            raise ValueError(f"adaptive_softmax must hold growing numbers of tokens, got {value!r}")
    elif not isinstance(value, bool | np.bool_):
        raise TypeError(f"adaptive_softmax must be 'auto', a bool or a tuple of integers, got {value!r}")
