"""The parameters that all estimators share: what they mean, and what they may be."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ...backends.dispatch import check_name
from ...checks import SMALLEST, check_flag, check_integer, check_option, check_real
from ...documenting import sharing
from ...layers import LAYERS
from ...layers.options import CHECKS as OPTION_CHECKS
from ...training.schedules import SHAPES

FIRST = """
    **What matters first**

    hidden_size : int, at least 1, or list of int, default 64
        Hidden units of each layer in one direction; a list has one number for each layer.
    num_layers : int, at least 1, default 1
        Layers on top of one another.
    cell : {"lstm", "gru", "rnn"}, default "lstm"
        What the layers are: `LSTM`, `GRU` or `RNN`, or what `numlstm.layers.register` has made known. An option of one
        of them is only used with that one.
    bidirectional : bool, default True of the classifier, False of the regressor
        Whether every layer reads the sequence in both directions. What is said at a step, or in a stream, must not know
        what comes later: there it is False.
    pooling : {"last", "mean", "max", "attention", "concat"}, default "concat"
        What the output layer reads: the last hidden state, or the mean, the maximum or a mean with learnt weights [3]_
        of the hidden states at all steps; "concat" is the last state, maximum and mean side by side [4]_. Where every
        step has a target, it reads each step's state, whatever this says.
    learning_rate_init : float, positive, default 0.01
        The step size, or its greatest value.
    max_iter : int, at least 1, or "auto", default "auto"
        The most epochs. "auto": those that make 1,000 steps of the optimizer, but not below 20 or above 50.
    batch_size : int, at least 1, or "auto", default "auto"
        Sequences that gradients are computed of at once. Those of like length are taken together. "auto": 32, of fewer
        than 256 sequences 16, of fewer than 128 sequences 8.
    early_stopping : bool, default False
        Whether to set some sequences aside, to watch their loss instead of the training loss, and to keep the weights
        that it was least with. They are drawn at random: of windows of one series, pass later ones as `X_val` in
        `fit`. Those are watched then, and none is set aside.
    random_state : int, numpy.random.RandomState or None, default None
        Seed of initial parameters, validation split, shuffling and dropout. With an int, results repeat to the bit,
        for any number of threads."""

NETWORK = """
    **Network**

    merge : {"concat", "sum", "mean"}, default "concat"
        What becomes of the outputs of two directions. Only used with `bidirectional`.
    residual : bool, default False
        Whether every layer but the first adds its input to its output. Only used with several layers.
    layer_norm : bool, default False
        Whether pre-activations are normalised at each step, as in `LSTM`.
    init : {"keras", "torch", "chrono"} or ("chrono", steps), default "keras"
        Initial parameters, as in `LSTM`; "chrono" takes the length of the longest sequence.
    forget_bias : float or None, default None
        Bias of the LSTM's forget gate at first; None leaves it to `init`."""

REGULARISATION = """
    **Regularisation**

    dropout : float in [0, 1), default 0.0
        Share of the outputs between layers that is zeroed in training. Only used with several layers.
    input_dropout, recurrent_dropout, weight_dropout : float in [0, 1), default 0.0
        Shares that are zeroed in training of the input, of the state that the recurrent weights read (one mask for a
        whole sequence each), and of the recurrent weights (one mask for a batch), as in `LSTM`.
    recurrent_dropout_mode : {"variational", "candidate"}, default "variational"
        As in `LSTM`. Only used with `recurrent_dropout`.
    zoneout : float in [0, 1), or tuple (p_h, p_c), default 0.0
        Share of the units that keep their old state at a step of training, as in `LSTM`.
    activity_regularization, temporal_activity_regularization : float, at least 0, default 0.0
        Strength of penalties on the mean square of the last layer's outputs, and on that of their change from step to
        step (AR and TAR: Merity et al. 2018); no part of the losses that are reported.
    alpha : float, at least 0, default 0.0
        Strength of an L2 penalty, ``alpha / 2`` times the sum of squares of all weights, biases apart, divided by the
        sequences of a step as in scikit-learn; it is no part of the losses that are reported. With "adamw" the weights
        decay by ``learning rate * alpha`` of themselves at each step instead."""

TRAINING = """
    **Training**

    solver : {"adam", "adamw", "sgd", "rmsprop"}, default "adam"
        The optimizer.
    learning_rate : {"constant", "cosine", "one_cycle", "reduce_on_plateau"}, default "one_cycle"
        How the step size changes in `fit`; in `partial_fit` it does not. Cosine: down to 0 at `max_iter`. One cycle: up
        from 1/25, then down to almost 0. Reduce on plateau: divided by 5 whenever the loss has not fallen by `tol` for
        half of `n_iter_no_change` epochs, or 5.
    warm_up : float in [0, 1), default 0.0
        Share of all steps in which the step size rises from 0. Only used when `learning_rate` is not "one_cycle", which
        has its own.
    n_iter_no_change : int, at least 1, None or "auto", default "auto"
        Epochs after which training ends if the loss that is watched, of training or of validation, has not improved;
        None for never. "auto": 10 with a "constant" `learning_rate` or "reduce_on_plateau"; never with "cosine" and
        "one_cycle", which come to an end by themselves.
    tol : float, at least 0, default 1e-4
        By how much the loss must fall to count as improved.
    gradient_accumulation_steps : int, at least 1, default 1
        Batches whose gradients make one step of the optimizer.
    clip_norm : float, positive, or None, default 1.0
        Greatest norm of a gradient; longer ones are scaled down. None leaves them.
    momentum : float in [0, 1), default 0.9
        Of "sgd".
    nesterovs_momentum : bool, default True
        Whether "sgd" looks ahead.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
        Decay of the running means of "adam" and "adamw".
    rho : float in [0, 1), default 0.9
        Decay of the running mean of "rmsprop".
    epsilon : float, positive, default 1e-8
        Against division by zero in "adam", "adamw" and "rmsprop".
    warm_start : bool, default False
        Whether `fit` goes on from the weights of the last `fit`, with a fresh optimizer."""

DATA = """
    **Data**

    scale_inputs : bool, default True
        Whether to train on channels of mean 0 and standard deviation 1 over all steps of all sequences, each channel by
        itself; the scale of a constant is 1. Whatever predicts scales X alike: `predict`, streams, files and ONNX
        models take X as it is; `layers_` alone read ``(X - channel_mean_) / channel_scale_``. Scaling what a scaler has
        scaled before changes nothing. With `partial_fit` and `warm_start`, the first call's X says how.
    validation_fraction : float in (0, 1), default 0.1
        Share of the sequences that `early_stopping` sets aside."""

VARIANTS = """
    **Variants of the cell**

    proj_size : int, at least 0 and below `hidden_size`, default 0
        Of the LSTM: length of a projection of the hidden state.
    peepholes, full_gate_recurrence : bool, default False
        Of the LSTM: variants, as in `LSTM`.
    coupled_gates : bool or "input", default False
        Likewise.
    input_gate, forget_gate, output_gate : bool, default True
        Of the LSTM: whether the gate exists.
    recurrent_activation, input_activation, output_activation : str or tuple, default "sigmoid", "tanh" and "tanh"
        Of the LSTM: of gates, cell input and output, as in `LSTM`; the first two of the GRU, too.
    preactivation_clip, cell_clip : float, positive, or None, default None
        Bounds of what goes into activations, of any cell, and of the cell state.
    reset_after : bool, default True
        Of the GRU, as in `GRU`.
    nonlinearity : str or tuple, default "tanh"
        Of the plain RNN, as in `RNN`."""

SYSTEM = """
    **System**

    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        What computes; by default whatever `numlstm.get_backend` says. "auto" weighs `fit` by one training step on a
        full batch, and predictions by all sequences.
    dtype : {"float32", "float64"}, default "float32"
        Of parameters and all arithmetic.
    recompute : bool, default False
        Whether training keeps the states of every √T-th step only, and computes the steps between again, as in `LSTM`.
    callback : callable or None, default None
        Called with a `numlstm.training.progress.Progress` after each epoch; what is true ends the training.
    verbose : bool or int, default False
        1 shows losses, the score and the rate on standard error: beside a progress bar in terminals, and in notebooks
        that have ipywidgets; elsewhere, as in a log, in a line for the first and the last epoch, and in between at
        most one every 5 seconds. 2 or more writes a line for every epoch, anywhere."""

ATTRIBUTES = """
    parameters : mapping of str to array
        All trained parameters, read-only; `set_parameters` changes them.
    layers_ : tuple of LSTM, GRU or RNN
        The trained recurrent layers: one stack, to be read and called, with scaled channels if `scale_inputs`.
        ``copy.copy(layers_[0])`` is a layer of its own.
    coef_, intercept_ : array, shape (outputs, features) and (outputs,)
        The affine map from what `pooling` gives to scores, read-only; "concat" gives 3 · hidden_size · directions.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_loss_curve_, validation_scores_ : list of float, or None
        Loss of the validation set after each epoch, and its accuracy or R²; None without a validation set.
    best_loss_ : float
        The loss that was watched, of the weights that are kept: with `early_stopping` the least, else the last.
    stop_reason_ : {"max_iter", "no_improvement", "callback", "interrupted"}
        What ended training: its last epoch, `n_iter_no_change`, a callback, or Ctrl-C.
    n_iter_ : int
        Epochs done; with `warm_start` and `partial_fit`, of all calls.
    n_features_in_ : int
        As scikit-learn counts: C, or T where X was (n, T).
    feature_names_in_ : array of str, shape (n_features_in_,)
        The names of the columns of DataFrames, if X was some and all of these are strings.
    n_channels_ : int
        C, the features of a step.
    channel_mean_, channel_scale_ : array, shape (C,)
        What is taken from each channel, and what it is then divided by, with `scale_inputs`.
    backend_ : str
        What computed in `fit`.
    static_mean_, static_scale_ : array, shape (F,)
        What is taken from each static feature, and what it is then divided by; if there were any in `fit`.
    static_feature_names_in_ : array of str, shape (F,)
        Their names, if they came in a DataFrame."""

THREADS = """
    Predictions serve several threads at once, also while another one fits: each is made by one model, the old or the
    new. Of fits at once, each trains on its own, and the last one to end is kept; so it is with `partial_fit`."""

REFERENCES = """
    .. [1] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997.
    .. [2] D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015.
    .. [3] C. Raffel, D. Ellis, "Feed-Forward Networks with Attention Can Solve Some Long-Term Memory Problems",
       2015.
    .. [4] J. Howard, S. Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018."""

SEQUENCES = """
        X : array, shape (n, T, C), or (n, T) for one channel; or list of n arrays of shape (T_i, C) or (T_i,)
            Finite numbers, on any scale: see `scale_inputs`. Of DataFrames (pandas, polars), a list has one for each
            sequence, with a row for each step and the same columns, in the same order, whenever X comes again. In a
            DataFrame or Series of pandas with an index of two levels, (sequence, time), rows are steps too, and
            sequences come in the order in which they begin; in any other DataFrame each row is a sequence of one
            channel. Axes with names, as xarray has them, are put in order where their names tell it (sequence, series,
            case, sample, instance, example, trial, subject, batch; step, time, timestep, time_step, timepoint, date;
            channel, variable, feature; or these with an s), and stay as they are where none is known; labels along them
            are not looked at. A ``PackedSequence`` of PyTorch's is a list. After `fit`, X may be empty. What is in a
            GPU's memory (CuPy's arrays, PyTorch's tensors, Numba's) is copied to the host's, whatever the backend:
            batches are made there. Layers take such arrays as they are.
        lengths : int array, shape (n,), in 1..T; optional
            Steps of each sequence of a padded array; T by default. An estimator that was fitted with lengths asks for
            them with every array: without them it would read padding. `GridSearchCV` and its kin predict without them,
            unless they are routed as metadata: pass lists there."""

STATIC = """
        static : array or DataFrame, shape (n, F); optional
            Finite numbers that are known of each whole sequence. The output layer reads them beside what it is given of
            the sequence, at each step the same, on the scale of mean 0 and standard deviation 1 over the sequences of
            `fit` (of the first `partial_fit`, or before a warm start). An estimator that was fitted with them asks for
            them ever after, with columns of the same names; one that was not refuses them."""

WEIGHTS = """
        sample_weight : array, shape (n,), not negative; optional
            Weight of each sequence; all the same by default. Only their ratios matter."""

STEP_WEIGHTS = """
        sample_weight : array, shape (n,) or (n, T), not negative, or list of n arrays of shape (T_i,); optional
            Weight of each sequence; or, where y has a target for each step, of each step. All the same by default.
            Only their ratios matter."""

VALIDATION = """
        X_val, y_val : optional
            A validation set, in the forms of X and y; its loss and score are recorded after each epoch. A Pipeline
            leaves it as it is, unless made with ``transform_input=["X_val"]`` while metadata routing is on. A median of
            a channel that is more than ten standard deviations of X from that of X gives a warning.
        lengths_val : int array, optional
            As `lengths`, for `X_val`.
        static_val : array or DataFrame, optional
            As `static`, for `X_val`."""

NAMES = ("FIRST", "NETWORK", "REGULARISATION", "TRAINING", "DATA", "VARIANTS", "SYSTEM", "ATTRIBUTES", "THREADS",
         "REFERENCES", "SEQUENCES", "STATIC", "WEIGHTS", "STEP_WEIGHTS", "VALIDATION")  # fmt: skip
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
    "solver": _option("adam", "adamw", "sgd", "rmsprop"),
    "alpha": _real(0.0),
    "batch_size": _or_auto(_integer(1), "an integer"),
    "gradient_accumulation_steps": _integer(1),
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
    "callback": _or_none(_callable),
    "verbose": _verbosity,
    "random_state": _seed,
    "backend": _or_none(lambda value, name: check_name(value)),
    "dtype": _option("float32", "float64"),
    # Of some estimators only:
    "loss": _option("squared_error", "absolute_error", "huber", "pinball"),
    "delta": _real(SMALLEST),
    "quantile": _real(SMALLEST, 1.0),
    "scale_targets": check_flag,
}


def check_parameters(parameters: dict[str, Any]) -> None:
    """Look at all parameters of an estimator, by name.

    Raises
    ------
    TypeError, ValueError
        Naming the first that is of the wrong type or out of range.
    """
    for name, value in parameters.items():
        if name in CHECKS:
            CHECKS[name](value, name)
