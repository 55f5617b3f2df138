"""Truncated back-propagation: the state goes on from piece to piece, and the gradient does not flow back."""

import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone
from tolerances import assert_close

import numlstm
from numlstm.backends.contract import LossSpec, SequenceLossSpec
from numlstm.backends.dispatch import backend_for
from numlstm.layers.options import stack_of
from numlstm.training.model import Model
from numlstm.training.network import Network
from numlstm.training.truncation import truncated_gradient

RNG = np.random.default_rng(0)
LENGTHS = np.array([7, 3, 10, 4])
X = RNG.normal(size=(4, 10, 2))
STEPS = 4
LIST = [x[:length] for x, length in zip(X, LENGTHS, strict=True)]
STEP_TARGETS = [x.cumsum(axis=0)[:, :1] for x in LIST]
OPTIONS = {"hidden_size": 5, "random_state": 0, "dtype": "float64", "max_iter": 1, "batch_size": 3}
STILL = {"solver": "sgd", "learning_rate": "constant", "learning_rate_init": 1e-300}


def estimators():
    labels = [["ab"[int(step > 0)] for step in x[:, 0]] for x in LIST]
    one_way = OPTIONS | {"bidirectional": False}
    yield "classes", numlstm.LSTMClassifier(**one_way), [0, 1, 1, 0]
    yield "last", numlstm.LSTMClassifier(**one_way, pooling="last"), [0, 1, 1, 0]
    yield "attention", numlstm.LSTMRegressor(**one_way, pooling="attention"), [0.0, 1.0, 2.0, 4.0]
    yield "steps", numlstm.LSTMRegressor(**one_way), STEP_TARGETS
    yield "stacked", numlstm.LSTMRegressor(**one_way, num_layers=2, residual=True, cell="gru"), STEP_TARGETS
    yield "tags", numlstm.LSTMTagger(**one_way, crf=False), labels
    yield "crf", numlstm.LSTMTagger(**one_way), labels
    yield "weighted crf", numlstm.LSTMTagger(**one_way, class_weight={"a": 3.0}), labels
    yield "ctc", numlstm.LSTMTranscriber(**one_way), ["ab", "a", "bab", "b"]


ESTIMATORS = [*estimators()]
NAMES = [name for name, _, _ in ESTIMATORS]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("name", "model", "y"), ESTIMATORS, ids=NAMES)
def test_states_go_on(name, model, y):
    """With weights that stay as they are, the loss is the same with and without pieces."""
    whole, cut = (
        clone(model).set_params(bptt_steps=steps, **STILL).fit(LIST, y).loss_curve_[0] for steps in (None, STEPS)
    )
    assert_close("pieces", "loss", cut, whole)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("name", "model", "y"), ESTIMATORS, ids=NAMES)
def test_pieces_longer_than_sequences_cut_nothing(name, model, y):
    whole, cut = (
        clone(model).set_params(bptt_steps=steps, max_iter=3).fit(LIST, y).parameters for steps in (None, 10**20)
    )
    for parameter in whole:
        assert_close("pieces", parameter, cut[parameter], whole[parameter])
    shorter = clone(model).set_params(bptt_steps=2, max_iter=3).fit(LIST, y).parameters
    assert any(not np.allclose(shorter[parameter], whole[parameter]) for parameter in whole)


def truncated(pooling, loss, outputs, **options):
    """A model, its arguments, and its truncated gradient by name."""
    backend = backend_for("reference", work=1)
    stack = stack_of("lstm", 2, "float64", {"hidden_size": 3} | options)
    network = Network(stack, outputs, pooling, loss, (0.1, 0.2) if pooling == "mean" else None)
    parameters = network.initialise("keras", np.random.default_rng(1))
    if loss.kind == "crf":
        parameters |= {name: np.random.default_rng(2).normal(size=parameters[name].shape) for name in parameters
                       if name.endswith("_crf")}  # fmt: skip
    model = Model(network, backend, network.pack(backend, parameters), training=True)
    targets = np.array([1, 0, 2, 1])
    if isinstance(loss, SequenceLossSpec):
        targets = np.where(np.arange(10) < LENGTHS[:, None], np.arange(40).reshape(4, 10) * 7 % 3, -1)
    weights = np.array([0.5, 0.25, 1.0, 0.125])
    value = truncated_gradient(
        model, X, LENGTHS, targets, weights, np.random.default_rng(0), None, STEPS
    )  # fmt: skip
    return model, parameters, targets, weights, float(value), network.unpack(backend, model.gradient)


def frozen_loss(model, flat, boundary, targets, weights):
    """The loss with all states between pieces held fixed: a piece of each row after another, without truncated.py."""
    backend, network = model.backend, model.network
    changed = Model(network, backend, flat, training=True)
    y = np.zeros((4, 10, network.stack.output_size))
    final = [tuple(np.zeros((4, 3)) for _ in states) for states in boundary[0, 0]]
    for n, length in enumerate(LENGTHS):
        for start in range(0, length, STEPS):
            stop = min(start + STEPS, length)
            out, states, _ = changed.run(X[n : n + 1, start:stop], None, training=True, initial=boundary[n, start])
            if out is not None:
                y[n, start:stop] = out[0]
            for whole, part in zip(final, states, strict=True):
                for state, new in zip(whole, part, strict=True):
                    state[n] = new[0]
    loss = float(changed.loss_of_outputs(y, final, LENGTHS, targets, weights, None, None)[0])
    return loss + weights.sum() * backend.activity_loss(y, LENGTHS, *(network.activity or (0.0, 0.0)))[0]


def boundaries(model):
    """The states before each piece of each row."""
    zeros = [tuple(np.zeros((1, 3)) for _ in range(2))] * len(model.layers)
    states = {(n, 0): zeros for n in range(4)}
    for n, length in enumerate(LENGTHS):
        for start in range(STEPS, length, STEPS):
            states[n, start] = model.run(X[n : n + 1, :start], None, training=True)[1]
            states[n, start] = [tuple(np.array(state) for state in layer) for layer in states[n, start]]
    return states


@pytest.mark.parametrize(
    ("pooling", "loss"),
    [(pooling, LossSpec("softmax")) for pooling in ("last", "mean", "concat", "attention")]
    + [("none", SequenceLossSpec("crf", 3))],
    ids=str,
)
@pytest.mark.parametrize("layers", [1, 2])
def test_gradient_stops_between_pieces(pooling, loss, layers):
    """Finite differences with fixed states between pieces give the truncated gradient."""
    model, parameters, targets, weights, value, gradients = truncated(pooling, loss, 3, num_layers=layers)
    states = boundaries(model)
    if not model.network.activity:
        assert_close("pieces", "loss", frozen_loss(model, model.flat, states, targets, weights), value)
    rng = np.random.default_rng(3)
    got, wanted = [], []
    for name, array in parameters.items():
        direction = rng.normal(size=array.shape)
        flats = [
            model.network.pack(model.backend, parameters | {name: array + step * direction}) for step in (1e-5, -1e-5)
        ]
        above, below = (frozen_loss(model, flat, states, targets, weights) for flat in flats)
        got.append((gradients[name] * direction).sum())
        wanted.append((above - below) / 2e-5)
    assert_close("equation", "gradient", got, wanted)


def test_memory_does_not_grow_with_the_length():
    """Twenty times the steps take more memory for the data alone: less than 100 bytes a step."""

    def peak(steps):
        x = np.zeros((1, steps, 1), np.float32)
        model = numlstm.LSTMRegressor(hidden_size=32, bptt_steps=50, max_iter=1, backend="cpu", scale_inputs=False)
        tracemalloc.start()
        try:
            model.fit(x, x)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1000)
    assert peak(21_000) - peak(1000) < 100 * 20_000


def test_bidirectional_models_cannot_be_cut():
    for model in (numlstm.LSTMClassifier(bptt_steps=5), numlstm.LSTMTagger(bptt_steps=5)):
        with pytest.raises(ValueError, match="bptt_steps must be None with bidirectional=True, got 5"):
            model.fit(LIST, [0, 1, 1, 0])
    for wrong in (0, 2.5, "all"):
        with pytest.raises((TypeError, ValueError), match="bptt_steps"):
            numlstm.LSTMRegressor(bptt_steps=wrong).fit(LIST, STEP_TARGETS)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("option", ["input_dropout", "recurrent_dropout", "weight_dropout", "zoneout"])
def test_masks(option):
    """Training with masks repeats to the bit, with pieces of steps and of sequences."""
    for y in (STEP_TARGETS, [0.0, 1.0, 2.0, 4.0]):
        model = numlstm.LSTMRegressor(**OPTIONS, bptt_steps=STEPS, **{option: 0.5})
        first, second = (model.fit(LIST, y).loss_curve_ for _ in range(2))
        assert first == second
        assert first != model.set_params(**{option: 0.0}).fit(LIST, y).loss_curve_


def test_accumulated_pieces():
    """With weights that stay as they are, pieces of several batches make one step, and have the mean of all terms."""
    model = numlstm.LSTMRegressor(**OPTIONS | STILL | {"batch_size": 1, "max_iter": 1}, bptt_steps=STEPS)
    alone, together = (
        model.set_params(gradient_accumulation_steps=count).fit(LIST, STEP_TARGETS).loss_curve_ for count in (1, 4)
    )
    assert_close("pieces", "loss", together, alone)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pieces_without_labels_take_no_step():
    y = [np.where(np.arange(len(target))[:, None] < 4, np.nan, target) for target in STEP_TARGETS]
    model = numlstm.LSTMRegressor(**OPTIONS, bptt_steps=STEPS)
    losses = model.fit(LIST[:1] + LIST[2:3], y[:1] + y[2:3]).loss_curve_
    assert np.isfinite(losses).all()
    assert losses[0] > 0
