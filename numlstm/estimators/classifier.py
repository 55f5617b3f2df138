"""A classifier of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..backends.contract import Backend
from ..backends.dispatch import backend_for, check_name
from ..layers import LSTM
from ..layers.initial import INITIALISERS
from ..layers.sequences import check_flag, check_integer, check_option, check_real
from ..layers.stack import Stack
from ..training.loop import train
from ..training.network import HEAD, Network
from ..training.optimizers import Adam
from .inputs import class_indices, sequences_of

PREDICTED_AT_ONCE = 1024
SMALLEST = float(np.finfo(np.float64).tiny)  # "positive", as a bound


class LSTMClassifier(ClassifierMixin, BaseEstimator):
    """Classify sequences with LSTM layers: softmax of an affine map of the last hidden state.

    Trained with Adam on the cross-entropy.

    Parameters
    ----------
    hidden_size : int, at least 1, default 64
        Hidden units of each layer in one direction.
    num_layers : int, at least 1, default 1
        Layers on top of one another.
    bidirectional : bool, default False
        Whether every layer reads the sequence in both directions.
    dropout : float in [0, 1), default 0.0
        Share of the outputs between layers that is zeroed in training.
    init : {"keras", "torch"}, default "keras"
        Initial parameters, as in `LSTM`.
    batch_size : int, at least 1, default 32
        Sequences in a step of training.
    learning_rate_init : float, positive, default 0.005
        Adam's step size.
    max_iter : int, at least 1, default 30
        Epochs.
    clip_norm : float, positive, or None, default 1.0
        Greatest norm of a gradient; longer ones are scaled down. None leaves them.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
        Decay of Adam's running means.
    epsilon : float, positive, default 1e-8
        Adam's, against division by zero.
    verbose : bool or int, default False
        Whether to show a progress bar with the loss and the rate.
    random_state : int, numpy.random.RandomState or None, default None
        Seed of initial parameters, shuffling and dropout. With an int, results repeat to the bit, for any number of
        threads.
    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        What computes; by default whatever `numlstm.get_backend` says.
    dtype : {"float32", "float64"}, default "float32"
        Of parameters and all arithmetic.

    Attributes
    ----------
    classes_ : array, shape (K,)
        The labels, sorted.
    layers_ : list of LSTM
        The trained recurrent layers: one stack. ``layers_[0].parameters`` holds its weights.
    coef_, intercept_ : array, shape (K, hidden_size · directions) and (K,)
        The affine map from the last hidden state to scores.
    loss_curve_ : list of float
        Mean loss of each epoch.
    best_loss_ : float
        The least of them.
    n_iter_ : int
        Epochs done.
    n_features_in_ : int
        As scikit-learn counts: C, or T where X was (n, T).
    n_channels_ : int
        C, the features of a step.
    backend_ : str
        What computed in `fit`.

    See Also
    --------
    numlstm.LSTM : The layers alone, with gradients.

    Notes
    -----
    After Ctrl-C in `fit` the classifier is as trained so far; after an error it is as before.

    References
    ----------
    .. [1] D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015.
    .. [2] A. Graves, "Supervised Sequence Labelling with Recurrent Neural Networks", 2012.

    Examples
    --------
    Which half of a series is larger? Sequences of unequal length go straight in.

    >>> import numpy as np
    >>> from numlstm import LSTMClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(rng.integers(4, 9), 1)) for _ in range(200)]
    >>> y = ["first" if x[: len(x) // 2].mean() > x[len(x) // 2 :].mean() else "second" for x in X]
    >>> model = LSTMClassifier(hidden_size=16, max_iter=40, random_state=0).fit(X[:150], y[:150])
    >>> bool(model.score(X[150:], y[150:]) > 0.8)
    True
    """

    def __init__(
        self,
        *,
        hidden_size: int = 64,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        init: str = "keras",
        batch_size: int = 32,
        learning_rate_init: float = 0.005,
        max_iter: int = 30,
        clip_norm: float | None = 1.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        verbose: bool | int = False,
        random_state: int | np.random.RandomState | None = None,
        backend: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.init = init
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.clip_norm = clip_norm
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.verbose = verbose
        self.random_state = random_state
        self.backend = backend
        self.dtype = dtype

    def fit(self, X: Any, y: Any, *, lengths: Any = None) -> LSTMClassifier:
        """Train on sequences and their labels.

        Parameters
        ----------
        X : array, shape (n, T, C), or (n, T) for one channel; or list of n arrays of shape (T_i, C) or (T_i,)
            Finite numbers.
        y : array-like, shape (n,)
            A label for each sequence, of any type that sorts.
        lengths : int array, shape (n,), in 1..T; optional
            Steps of each sequence of a padded array; T by default.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y is not as described; the classifier is unchanged then.
        FloatingPointError
            If the loss does not stay finite.
        BackendUnavailableError
            If the backend asked for is not available.
        """
        self._check_parameters()
        fitted = clone(self)  # takes all results; this one changes only at the end
        sequences = sequences_of(fitted, X, lengths, self.dtype, reset=True)
        classes, targets = class_indices(y, len(sequences))
        backend = backend_for(self.backend)
        rng = _generator(self.random_state)
        network = self._network(sequences.x.shape[2], len(classes))
        flat = network.pack(backend, network.initialise(self.init, rng))
        optimizer = Adam(
            backend, flat, learning_rate=self.learning_rate_init, betas=(self.beta_1, self.beta_2),
            epsilon=self.epsilon, clip_norm=self.clip_norm,
        )  # fmt: skip
        curve = train(
            network, backend, flat, sequences, targets, optimizer,
            epochs=self.max_iter, batch_size=self.batch_size, rng=rng, verbose=bool(self.verbose),
        )  # fmt: skip
        fitted._set_weights(network, network.unpack(backend, flat))
        fitted.classes_, fitted.n_channels_ = classes, sequences.x.shape[2]
        fitted.loss_curve_, fitted.n_iter_, fitted.backend_ = curve, len(curve), backend.name
        fitted.best_loss_ = min(curve, default=np.inf)
        self._adopt(fitted)
        return self

    def predict(self, X: Any, *, lengths: Any = None) -> np.ndarray:
        """The most likely label of each sequence.

        Parameters
        ----------
        X, lengths
            As in `fit`.

        Returns
        -------
        array, shape (n,)

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or has other features than in `fit`.
        """
        scores = self._scores(X, lengths)
        return self.classes_[scores.argmax(axis=1)]

    def predict_proba(self, X: Any, *, lengths: Any = None) -> np.ndarray:
        """The probability of each class.

        Parameters
        ----------
        X, lengths
            As in `fit`.

        Returns
        -------
        array, shape (n, K)
            Columns in the order of `classes_`; rows sum to 1.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does.
        """
        return softmax(self._scores(X, lengths), axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_parameters")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_prepared"}

    def _network(self, channels: int, classes: int) -> Network:
        """The network that the parameters describe."""
        stack = Stack(
            "lstm", channels, self.hidden_size, self.num_layers,
            bidirectional=self.bidirectional, dropout=float(self.dropout), dtype=self.dtype,
        )  # fmt: skip
        return Network(stack, classes)

    def _set_weights(self, network: Network, parameters: dict[str, np.ndarray]) -> None:
        """Take a trained network's parameters."""
        stack = network.stack
        layer = LSTM(
            stack.input_size, stack.hidden_size, stack.num_layers, bidirectional=stack.bidirectional,
            dropout=stack.dropout, backend=self.backend, dtype=stack.dtype,
        )  # fmt: skip
        layer.set_parameters({name: parameters[name] for name in stack.shapes})
        self.layers_ = [layer]
        self.coef_, self.intercept_ = parameters["weight" + HEAD], parameters["bias" + HEAD]
        self._trained_network, self._parameters = network, parameters

    def _adopt(self, fitted: LSTMClassifier) -> None:
        """Replace all results by those of `fitted`."""
        kept = self.get_params(deep=False)
        for name in [name for name in vars(self) if name not in kept]:
            delattr(self, name)
        for name, value in vars(fitted).items():
            if name not in kept:
                setattr(self, name, value)

    def _scores(self, X: Any, lengths: Any) -> np.ndarray:
        """Scores (n, K), some sequences at a time."""
        check_is_fitted(self)
        network = self._trained_network
        sequences = sequences_of(self, X, lengths, network.stack.dtype, reset=False)
        backend = backend_for(self.backend)
        weights = self._weights_on(backend)
        parts = []
        for start in range(0, len(sequences), PREDICTED_AT_ONCE):
            part = sequences.take(slice(start, start + PREDICTED_AT_ONCE))
            x = backend.to_device(part.x, network.stack.dtype)
            parts.append(backend.to_numpy(network.scores(backend, weights, x, part.lengths)))
        return np.concatenate(parts)

    def _weights_on(self, backend: Backend) -> Any:
        """Weights as a backend wants them, packed at the first prediction."""
        if not hasattr(self, "_prepared"):
            self._prepared: dict[str, Any] = {}
        prepared = self._prepared
        if backend.name not in prepared:
            flat = self._trained_network.pack(backend, self._parameters)
            prepared[backend.name] = self._trained_network.prepare(backend, flat, training=False)
        return prepared[backend.name]

    def _check_parameters(self) -> None:
        for name in ("hidden_size", "num_layers", "batch_size", "max_iter"):
            check_integer(getattr(self, name), name, 1)
        check_flag(self.bidirectional, "bidirectional")
        for name in ("dropout", "beta_1", "beta_2"):
            check_real(getattr(self, name), name, 0.0, 1.0)
        for name in ("learning_rate_init", "epsilon", "clip_norm"):
            if name != "clip_norm" or self.clip_norm is not None:
                check_real(getattr(self, name), name, SMALLEST, np.inf)
        check_option(self.init, "init", list(INITIALISERS))
        check_option(self.dtype, "dtype", ("float32", "float64"))
        if self.backend is not None:
            check_name(self.backend)


def _generator(random_state: Any) -> np.random.Generator:
    """A generator of this fit's own; None takes fresh entropy, not NumPy's global state."""
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(check_random_state(random_state).randint(2**32, size=4, dtype=np.uint32))
