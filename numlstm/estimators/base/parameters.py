"""The parameters that all estimators share: their documentation and their checks."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ...backends.contract import COMPUTE_DTYPES
from ...backends.dispatch import check_name
from ...checks import SMALLEST, check_flag, check_integer, check_option, check_real
from ...documenting import sharing
from ...layers import LAYERS
from ...layers.options import CHECKS as OPTION_CHECKS
from ...training.schedules import SHAPES
from ..data.tokens import ANALYZERS

FIRST = """
    **What matters first**

    hidden_size : int, at least 1, or list of int, default 64
        Number of hidden units of each layer in one direction. A list has one number for each layer.
    num_layers : int, at least 1, default 1
        Number of layers.
    cell : {"lstm", "gru", "rnn"}, default "lstm"
        The kind of layers: `LSTM`, `GRU` or `RNN`, or a cell from `numlstm.layers.register`. An option of one cell has
        no effect with the others.
    bidirectional : bool, default True of the classifier, False of the regressor
        Whether every layer reads the sequence in both directions. Set it to False for predictions at each step that
        must not use later steps, and for streams.
    pooling : {"last", "mean", "max", "attention", "concat"}, default "concat"
        What the output layer reads: the last hidden state; or the mean, the maximum or an attention-weighted mean [3]_
        of the hidden states at all steps; or, with "concat", last state, maximum and mean side by side [4]_. If every
        step has a target, the output layer reads the hidden state of each step, and `pooling` has no effect.
    learning_rate_init : float, positive, default 0.01
        The learning rate, or its greatest value if it changes.
    max_iter : int, at least 1, or "auto", default "auto"
        Greatest number of epochs. "auto" takes as many epochs as make 1,000 steps of the optimizer, but at least 20 and
        at most 50.
    batch_size : int, at least 1, or "auto", default "auto"
        Number of sequences in a batch. Batches hold sequences of similar length. "auto" is 32, or 16 for fewer than 256
        sequences, or 8 for fewer than 128 sequences.
    early_stopping : bool, default False
        Whether to set some sequences aside as a validation set, to monitor their loss instead of the training loss, and
        to keep the weights with the least loss. The sequences are drawn at random. For windows of one series, pass
        later windows as `X_val` in `fit`; then these are monitored, and no sequences are set aside.
    random_state : int, numpy.random.RandomState or None, default None
        Seed of initial parameters, validation split, shuffling and dropout. With an int, results repeat to the bit,
        for any number of threads."""

NETWORK = """
    **Network**

    merge : {"concat", "sum", "mean"}, default "concat"
        How the outputs of the two directions are combined. It has an effect only with `bidirectional`.
    residual : bool, default False
        Whether every layer except the first adds its input to its output. It has an effect only with several layers.
    layer_norm : bool, default False
        Whether pre-activations are normalised at each step, as in `LSTM`.
    init : {"keras", "torch", "chrono"} or ("chrono", steps), default "keras"
        Initial parameters, as in `LSTM`. "chrono" takes the length of the longest sequence as the number of steps.
    forget_bias : float or None, default None
        Initial bias of the LSTM's forget gate. With None, `init` determines it."""

REGULARISATION = """
    **Regularisation**

    dropout : float in [0, 1), default 0.0
        Fraction of the outputs between layers that is zeroed in training. It has an effect only with several layers.
    input_dropout, recurrent_dropout, weight_dropout : float in [0, 1), default 0.0
        Fractions that are zeroed in training: of the input, of the state that the recurrent weights read (both with one
        mask for a whole sequence), and of the recurrent weights (one mask for a batch), as in `LSTM`.
    recurrent_dropout_mode : {"variational", "candidate"}, default "variational"
        The state that `recurrent_dropout` zeroes, as in `LSTM`. It has an effect only with `recurrent_dropout`.
    zoneout : float in [0, 1), or tuple (p_h, p_c), default 0.0
        Fraction of the units that keep their old state at a step of training, as in `LSTM`.
    activity_regularization, temporal_activity_regularization : float, at least 0, default 0.0
        Strengths of two penalties: on the mean square of the last layer's outputs, and on the mean square of their
        change from step to step (AR and TAR: Merity et al. 2018). Reported losses do not contain them.
    alpha : float, at least 0, default 0.0
        Strength of an L2 penalty, ``alpha / 2`` times the sum of squares of all weights without biases, divided by the
        number of sequences in a step, as in scikit-learn. Reported losses do not contain it. With "adamw" each step
        multiplies the weights by ``1 - learning rate * alpha`` instead."""

TRAINING = """
    **Training**

    solver : {"adam", "adamw", "sgd", "asgd", "rmsprop"}, default "adam"
        The optimizer. "asgd" is plain gradient descent that begins to average the weights of all steps when the
        monitored loss has not improved for five epochs; it needs a large constant `learning_rate`.
    learning_rate : {"constant", "cosine", "one_cycle", "reduce_on_plateau"}, default "one_cycle"
        The schedule of the learning rate in `fit`; in `partial_fit` the learning rate is constant. "cosine" falls to 0
        at `max_iter`. "one_cycle" rises from 1/25 of the greatest value, and then falls to almost 0.
        "reduce_on_plateau" divides by 5 whenever the loss has not fallen by `tol` for half of `n_iter_no_change`
        epochs, or for 5 epochs if that is None.
    warm_up : float in [0, 1), default 0.0
        Fraction of all steps in which the learning rate rises from 0. It has no effect with "one_cycle", which has its
        own warm-up.
    n_iter_no_change : int, at least 1, None or "auto", default "auto"
        Number of epochs without an improvement of the monitored loss, of training or of validation, after which
        training ends; None for never. "auto" is 10 with a `learning_rate` "constant" or "reduce_on_plateau", and None
        with "cosine" and "one_cycle", which end by themselves.
    tol : float, at least 0, default 1e-4
        The loss improves if it falls by more than this.
    gradient_accumulation_steps : int, at least 1, default 1
        Number of batches whose gradients are added for one step of the optimizer.
    bptt_steps : int, at least 1, or None, default None
        Truncated back-propagation: sequences are cut into pieces of so many steps. The state goes on from piece to
        piece, and gradients end at the first step of a piece. If each step has a target, the optimizer takes a step
        after each piece, and memory does not grow with the length of the sequences. Otherwise it takes one step for a
        batch; then the last layer's outputs are kept for all steps (not with ``pooling="last"``), but all else only
        for one piece. Masks of dropout are drawn anew for each piece. None cuts nothing. It needs
        ``bidirectional=False``.
    clip_norm : float, positive, or None, default 1.0
        Greatest norm of a gradient; a longer gradient is scaled down. None does not clip.
    momentum : float in [0, 1), default 0.9
        Momentum of "sgd".
    nesterovs_momentum : bool, default True
        Whether "sgd" uses Nesterov's momentum.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
        Decay rates of the running means of "adam" and "adamw".
    rho : float in [0, 1), default 0.9
        Decay rate of the running mean of "rmsprop".
    epsilon : float, positive, default 1e-8
        Number that prevents a division by zero in "adam", "adamw" and "rmsprop".
    warm_start : bool, default False
        Whether `fit` continues from the weights of the last `fit`, with a new optimizer."""

DATA = """
    **Data**

    scale_inputs : bool, default True
        Whether to train on channels with mean 0 and standard deviation 1 over all steps of all sequences. Each channel
        is scaled by itself; a constant channel has the scale 1. Predictions scale X in the same way: `predict`,
        streams, files and ONNX models take X without scaling. Only `layers_` read ``(X - channel_mean_) /
        channel_scale_``. It does no harm if a scaler has scaled X before. With `partial_fit` and `warm_start`, the
        first call determines the scale.
    validation_fraction : float in (0, 1), default 0.1
        Fraction of the sequences that `early_stopping` sets aside."""

TOKENS = """
    **Text and categories**

    analyzer : {"char", "byte", "word"} or callable, default "char"
        What the strings in X are split into, as in `sklearn.feature_extraction.text.CountVectorizer`: characters, words
        of two letters or more, or what a callable returns for a string. It has an effect only if X holds strings.
    lowercase : bool, default False
        Whether tokens are converted to lower case.
    min_frequency : int, at least 1, default 1
        How often a token must occur in X to be known. All others are one unknown token.
    max_vocabulary : int, at least 1, or None, default None
        Greatest number of known tokens: the most frequent ones.
    categorical_features : list of int or str, or None, default None
        The channels that hold categories, by number or name. Channels of strings in DataFrames, structured arrays and
        dicts are always categorical.
    embedding_size : int, at least 1, or "auto", default "auto"
        Length of the vector that stands for a token. "auto" is 8 times the fourth root of the number of tokens, from 4
        to 256, but not more than that number.
    embedding : array, shape (tokens + 1, size); mapping of tokens to vectors; or None, default None
        Initial vectors. A row of an array is that of a number in `vocabulary_`, row 0 that of the unknown token. Tokens
        that a mapping lacks begin with random vectors.
    freeze_embedding : bool, default False
        Whether vectors stay as they are at the beginning.
    embedding_dropout, token_dropout : float in [0, 1), default 0.0
        Fractions that are zeroed in training: of the units of all vectors, the same at each step of a sequence; and of
        the tokens, at each place where they occur in a sequence [4]_."""

VARIANTS = """
    **Variants of the cell**

    proj_size : int, at least 0 and below `hidden_size`, default 0
        LSTM only: size of a projection of the hidden state; 0 for none.
    peepholes, full_gate_recurrence : bool, default False
        LSTM only: variants of the gates, as in `LSTM`.
    coupled_gates : bool or "input", default False
        LSTM only: whether input gate and forget gate are coupled, as in `LSTM`.
    input_gate, forget_gate, output_gate : bool, default True
        LSTM only: whether the gate exists.
    recurrent_activation, input_activation, output_activation : str or tuple, default "sigmoid", "tanh" and "tanh"
        Activations of the gates, the cell input and the output, as in `LSTM`. The GRU has the first two.
    preactivation_clip, cell_clip : float, positive, or None, default None
        Bounds of the pre-activations, for any cell, and of the cell state.
    reset_after : bool, default True
        GRU only: where the reset gate acts, as in `GRU`.
    nonlinearity : str or tuple, default "tanh"
        Plain RNN only: the activation, as in `RNN`."""

SYSTEM = """
    **System**

    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        The backend that computes. The default is the one that `numlstm.get_backend` returns. "auto" chooses by the work
        of one training step on a full batch in `fit`, and by the work for all sequences in predictions.
    dtype : {"float32", "float64"}, default "float32"
        The dtype of parameters and of all arithmetic.
    compute_dtype : {"tf32", "float16", "bfloat16", "int8"} or None, default None
        The type that products of the recurrent layers are computed in by all that predicts, also by streams, as in
        `LSTM`; it may be set after `fit`. With ``"bfloat16"`` training computes in it, too: forward and back, but
        parameters, gradients and the optimizer stay in `dtype`. To train without it, set it after `fit`; to predict
        without it, set None then. With another type training computes in `dtype`. Gradients of a trained model always
        do.
    recompute : bool, default False
        Whether training keeps only the states of every √T-th step, and computes the steps between them again, as in
        `LSTM`. This saves memory, and takes time.
    callback : callable or None, default None
        Called with a `numlstm.training.progress.Progress` after each epoch. If it returns a true value, training ends.
    verbose : bool or int, default False
        With 1, losses, score and learning speed are written to standard error: with a progress bar in terminals, and in
        notebooks that have ipywidgets; elsewhere, as in a log, with a line for the first and the last epoch, and at
        most one line every 5 seconds between them. With 2 or more, there is a line for every epoch."""

ATTRIBUTES = """
    parameters : mapping of str to array
        All trained parameters, read-only; `set_parameters` changes them.
    layers_ : tuple of LSTM, GRU or RNN
        The trained recurrent layers, read-only: one stack. With `scale_inputs` it reads scaled channels.
        ``copy.copy(layers_[0])`` is an independent layer.
    coef_, intercept_ : array, shape (outputs, features) and (outputs,)
        Weights and bias of the output layer, read-only. With "concat" there are 3 · hidden_size · directions features.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_loss_curve_, validation_scores_ : list of float, or None
        Loss of the validation set after each epoch, and its accuracy or R²; None without a validation set.
    best_loss_ : float
        The monitored loss of the weights that the model keeps: the least loss with `early_stopping`, else the last one.
    stop_reason_ : {"max_iter", "no_improvement", "callback", "interrupted"}
        Why training ended: after the last epoch, by `n_iter_no_change`, by a callback, or by Ctrl-C.
    n_iter_ : int
        Number of epochs; with `warm_start` and `partial_fit`, of all calls together.
    n_features_in_ : int
        Number of features as scikit-learn counts them: C, or T if X was (n, T).
    feature_names_in_ : array of str, one for each column
        Names of the columns, if X was in DataFrames and all names are strings.
    n_channels_ : int
        C, the number of features at each step.
    channel_mean_, channel_scale_ : array, shape (C,)
        With `scale_inputs`: the number that is subtracted from each channel, and the number it is then divided by.
    backend_ : str
        The backend that `fit` has used.
    vocabulary_ : dict
        If X held texts: the number of each known token. ``vocabularies_`` has such a dict for each categorical channel.
    embeddings_ : tuple of array, shape (tokens + 1, embedding_size)
        If X held tokens: their vectors, read-only, for each categorical channel.
    static_mean_, static_scale_ : array, shape (F,)
        If `fit` had static features: the number that is subtracted from each, and the number it is then divided by.
    static_feature_names_in_ : array of str, shape (F,)
        Names of the static features, if they came in a DataFrame."""

THREADS = """
    Several threads may predict at the same time, also while another thread fits: each prediction uses one model, the
    old one or the new one. If several threads call `fit` or `partial_fit` at the same time, each trains separately,
    and the last one to end determines the model."""

REFERENCES = """
    .. [1] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997.
    .. [2] D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015.
    .. [3] C. Raffel, D. Ellis, "Feed-Forward Networks with Attention Can Solve Some Long-Term Memory Problems",
       2015.
    .. [4] J. Howard, S. Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018."""

SEQUENCES = """
        X : array, shape (n, T, C), or (n, T) for one channel; or list of n arrays of shape (T_i, C) or (T_i,)
            Finite numbers on any scale; see `scale_inputs`. A list of DataFrames (pandas, polars) has one DataFrame for
            each sequence, with a row for each step; all must have the same columns in the same order, also in later
            calls. In a DataFrame or Series of pandas whose index has two levels, (sequence, time), rows are steps, and
            sequences are in the order of their first rows. In any other DataFrame each row is a sequence of one
            channel. Named axes, as xarray has them, are transposed if their names are known (sequence, series, case,
            sample, instance, example, trial, subject, batch; step, time, timestep, time_step, timepoint, date; channel,
            variable, feature; all also with an s); labels along axes are ignored. A ``PackedSequence`` of PyTorch
            counts as a list. After `fit`, X may be empty. Arrays in a GPU's memory (of CuPy, PyTorch or Numba) are
            copied to the host's memory with every backend, because batches are made there; layers use such arrays
            without a copy. Or texts: a list of n strings, or of n lists of tokens; or sequences with categories:
            DataFrames with columns of strings, structured arrays, or lists of dicts, one for each step. A dict may lack
            features: a missing string is a category of its own, a missing number is 0.
        lengths : int array, shape (n,), in 1..T; optional
            Number of steps of each sequence in a padded array; T by default. An estimator that was fitted with lengths
            needs them with every array, because without them it would read padding. `GridSearchCV` and similar tools
            predict without lengths unless they are routed as metadata; pass lists there."""

STATIC = """
        static : array or DataFrame, shape (n, F); optional
            Finite numbers that describe whole sequences. The output layer reads them together with the hidden states,
            at each step the same numbers, scaled to mean 0 and standard deviation 1 over the sequences of `fit` (of the
            first `partial_fit`, or of the first `fit` with a warm start). An estimator that was fitted with static
            features always needs them, with the same column names; an estimator that was fitted without them refuses
            them."""

WEIGHTS = """
        sample_weight : array, shape (n,), not negative; optional
            Weight of each sequence. By default all weights are equal. Only their ratios matter."""

STEP_WEIGHTS = """
        sample_weight : array, shape (n,) or (n, T), not negative, or list of n arrays of shape (T_i,); optional
            Weight of each sequence or, if y has a target for each step, of each step. By default all weights are equal.
            Only their ratios matter."""

VALIDATION = """
        X_val, y_val : optional
            A validation set, in the forms of X and y. Its loss and score are recorded after each epoch. A Pipeline does
            not transform X_val, unless it was created with ``transform_input=["X_val"]`` and metadata routing is on.
            There is a warning if the median of a channel in X_val differs from that in X by more than ten standard
            deviations of X.
        lengths_val : int array, optional
            Like `lengths`, for `X_val`.
        static_val : array or DataFrame, optional
            Like `static`, for `X_val`."""

NAMES = ("FIRST", "NETWORK", "REGULARISATION", "TRAINING", "DATA", "TOKENS", "VARIANTS", "SYSTEM", "ATTRIBUTES",
         "THREADS", "REFERENCES", "SEQUENCES", "STATIC", "WEIGHTS", "STEP_WEIGHTS", "VALIDATION")  # fmt: skip
documented = sharing({name: globals()[name] for name in NAMES})


def _integer(least: int) -> Callable[[Any, str], Any]:
    return lambda value, name: check_integer(value, name, least)


def _real(low: float, high: float = math.inf) -> Callable[[Any, str], Any]:
    return lambda value, name: check_real(value, name, low, high)


def _option(*options: str) -> Callable[[Any, str], Any]:
    return lambda value, name: check_option(value, name, options)


def _or_none(check: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    return lambda value, name: None if value is None else check(value, name)


def _or_auto(check: Callable[[Any, str], Any], expected: str) -> Callable[[Any, str], Any]:
    def checked(value: Any, name: str) -> None:
        if isinstance(value, str) and value == "auto":
            return
        try:
            check(value, name)
        except TypeError:
            raise TypeError(f"{name} must be {expected} or 'auto', got {value!r}") from None

    return checked


def _callable(value: Any, name: str) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {type(value).__name__}")


def _analyzer(value: Any, name: str) -> None:
    if not callable(value):
        check_option(value, name, ANALYZERS)


def _features(value: Any, name: str) -> None:
    if value is not None and not isinstance(value, list | tuple | np.ndarray):
        raise TypeError(f"{name} must be a list of channels or None, got {type(value).__name__}")


def _verbosity(value: Any, name: str) -> None:
    if not isinstance(value, numbers.Integral | bool | np.bool_):
        raise TypeError(f"{name} must be True, False or an integer of at least 0, got {value!r}")
    if value < 0:
        raise ValueError(f"{name} must be at least 0, got {value}")


def _seed(value: Any, name: str) -> None:
    try:
        check_random_state(value)
    except (TypeError, ValueError) as error:
        expected = "an integer from 0 to 2**32 - 1, a numpy.random.RandomState or None"
        raise ValueError(f"{name} must be {expected}, got {value!r}") from error


CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "cell": lambda value, name: check_option(value, name, [*LAYERS]),
    **{name: check for name, check in OPTION_CHECKS.items() if name != "bias"},
    "activity_regularization": _real(0.0),
    "temporal_activity_regularization": _real(0.0),
    "pooling": _option("last", "mean", "max", "attention", "concat"),
    "solver": _option("adam", "adamw", "sgd", "asgd", "rmsprop"),
    "alpha": _real(0.0),
    "batch_size": _or_auto(_integer(1), "an integer"),
    "gradient_accumulation_steps": _integer(1),
    "bptt_steps": _or_none(_integer(1)),
    "learning_rate": _option(*SHAPES),
    "learning_rate_init": _real(SMALLEST),
    "warm_up": _real(0.0, 1.0),
    "max_iter": _or_auto(_integer(1), "an integer"),
    "tol": _real(0.0),
    "n_iter_no_change": _or_auto(_or_none(_integer(1)), "an integer, None"),
    "early_stopping": check_flag,
    "validation_fraction": _real(SMALLEST, 1.0),
    "clip_norm": _or_none(_real(SMALLEST)),
    "momentum": _real(0.0, 1.0),
    "nesterovs_momentum": check_flag,
    "beta_1": _real(0.0, 1.0),
    "beta_2": _real(0.0, 1.0),
    "rho": _real(0.0, 1.0),
    "epsilon": _real(SMALLEST),
    "warm_start": check_flag,
    "scale_inputs": check_flag,
    "analyzer": _analyzer,
    "lowercase": check_flag,
    "min_frequency": _integer(1),
    "max_vocabulary": _or_none(_integer(1)),
    "categorical_features": _features,
    "embedding_size": _or_auto(_integer(1), "an integer"),
    "freeze_embedding": check_flag,
    "embedding_dropout": _real(0.0, 1.0),
    "token_dropout": _real(0.0, 1.0),
    "callback": _or_none(_callable),
    "verbose": _verbosity,
    "random_state": _seed,
    "backend": _or_none(lambda value, name: check_name(value)),
    "dtype": _option("float32", "float64"),
    "compute_dtype": _or_none(_option(*COMPUTE_DTYPES)),
    # Only some estimators have these:
    "loss": _option("squared_error", "absolute_error", "huber", "pinball"),
    "delta": _real(SMALLEST),
    "quantile": _real(SMALLEST, 1.0),
    "scale_targets": check_flag,
    "crf": check_flag,
    "forbid_unseen_transitions": check_flag,
    "subsample": _integer(1),
}


def check_parameters(parameters: dict[str, Any]) -> None:
    """Check all parameters of an estimator, by name.

    Raises
    ------
    TypeError, ValueError
        If a parameter has the wrong type or is out of range; the message names the first one.
    """
    for name, value in parameters.items():
        if name in CHECKS:
            CHECKS[name](value, name)
