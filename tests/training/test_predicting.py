"""Predictions for batches whose shape comes again are what was noted of the second: to the same bits."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from numlstm.backends.contract import EmbeddingSpec, LossSpec, SequenceLossSpec
from numlstm.backends.cpu.linear import quantised
from numlstm.backends.dispatch import backend_for
from numlstm.layers.options import stack_of
from numlstm.training import predicting
from numlstm.training.embedding import TokenChannels
from numlstm.training.model import Model
from numlstm.training.network import PARTS, Network
from numlstm.training.predicting import Prediction, Predictor

ROWS, STEPS, INPUTS = 5, 7, 3
TOKENS = TokenChannels(EmbeddingSpec(((7, 4), (9, 3)), (False, True)), (0, 2), (1,))


def model_of(layers=None, *, cell="lstm", pooling="concat", static=0, tokens=None, loss=None, dtype="float32",
             compute_dtype=None, backend="cpu"):  # fmt: skip
    """A model with random weights, not in training."""
    stack = stack_of(cell, tokens.output_size if tokens else INPUTS, dtype, {"hidden_size": 12} | (layers or {}))
    network = Network(
        stack.computing_in(compute_dtype), 4, pooling, loss or LossSpec("softmax"), static=static, tokens=tokens
    )
    backend = backend_for(backend)
    flat = network.pack(backend, network.initialise("keras", np.random.default_rng(0)))
    return Model(network, backend, flat, training=False)


def batch_of(model, seed, unequal=False, rows=ROWS):
    """What `Model.scores` takes."""
    rng, network = np.random.default_rng(seed), model.network
    x = rng.normal(size=(rows, STEPS, INPUTS))
    if network.tokens:
        x[:, :, [0, 2]] = rng.integers(-1, 7, (rows, STEPS, 2))
    lengths = np.append(rng.integers(1, STEPS + 1, rows - 1), STEPS) if unequal else None
    static = rng.normal(size=(rows, network.static)).astype(network.stack.dtype) if network.static else None
    return x.astype(network.stack.dtype), lengths, static


def noted(predictor):
    """How many predictions wait for each shape."""
    return [len(idle) for idle in predictor._idle.values()]


MODELS = {
    "plain": {},
    "deep": {"layers": {"num_layers": 2, "bidirectional": True}},
    "residual, averaged": {"layers": {"num_layers": 2, "bidirectional": True, "merge": "mean", "residual": True}},
    "masks": {"layers": {"zoneout": (0.2, 0.1), "recurrent_dropout": 0.3, "input_dropout": 0.1}},
    "layer norm": {"layers": {"layer_norm": True, "peepholes": True}},
    "gru": {"cell": "gru", "dtype": "float64"},
    "rnn": {"cell": "rnn"},
    "team": {"layers": {"hidden_size": 300}, "pooling": "last"},
    "tokens": {"tokens": TOKENS},
    "static": {"static": 2},
    "static of steps": {"static": 2, "pooling": "none"},
    "crf": {"pooling": "none", "loss": SequenceLossSpec("crf", 4)},
} | {pooling: {"pooling": pooling} for pooling in PARTS}  # fmt: skip


@pytest.mark.parametrize("unequal", [False, True], ids=["equal", "unequal"])
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_repeats_are_the_same(options, unequal):
    model = model_of(**options)
    predictor, known, truths = Predictor(model), [], []
    for seed in range(5):
        batch = batch_of(model, seed, unequal)
        truths.append(np.array(model.scores(*batch)))
        known.append(predictor(*batch))
    np.testing.assert_array_equal(known, truths)  # of all batches, at the end: none overwrites another
    assert noted(predictor) == [1]


def test_products_of_fewer_bits(monkeypatch):
    """Also where the processor has none: kernels then multiply bytes one by one."""
    monkeypatch.setattr(quantised, "supported", lambda: True)
    model = model_of(compute_dtype="int8")
    predictor = Predictor(model)
    for seed in range(4):
        batch = batch_of(model, seed)
        np.testing.assert_array_equal(predictor(*batch), model.scores(*batch))


def test_threads_have_predictions_of_their_own():
    model = model_of({"bidirectional": True})
    predictor, batches = Predictor(model), [batch_of(model, seed, True) for seed in range(8)]
    truths = [np.array(model.scores(*batch)) for batch in batches]

    def check(number):
        for k in range(40):
            which = (number + k) % len(batches)
            np.testing.assert_array_equal(predictor(*batches[which]), truths[which])

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(check, range(6)))
    assert 0 < noted(predictor)[0] <= predicting.CALLS_KEPT


def test_shapes_have_predictions_of_their_own(monkeypatch):
    monkeypatch.setattr(predicting, "SHAPES_KEPT", 3)
    model = model_of()
    predictor = Predictor(model)
    for seed in range(3):
        for rows in (1, 2, 3, 2, 1):
            for unequal in (False, True):
                batch = batch_of(model, seed, unequal, rows)
                np.testing.assert_array_equal(predictor(*batch), model.scores(*batch))
                assert len(predictor._idle) <= 3


def test_what_fails_is_not_kept(monkeypatch):
    model = model_of()
    predictor, batch = Predictor(model), batch_of(model, 0)
    for _ in range(2):
        predictor(*batch)

    def fail(self, *given):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Prediction, "__call__", fail)
        with pytest.raises(MemoryError):
            predictor(*batch)
    assert noted(predictor) == [0]
    np.testing.assert_array_equal(predictor(*batch), model.scores(*batch))


@pytest.mark.parametrize("case", ["large", "reference"])
def test_nothing_is_noted(case, monkeypatch):
    if case == "large":
        monkeypatch.setattr(predicting, "SMALL", ROWS * STEPS * (INPUTS + 12) - 1)
    model = model_of(backend="reference" if case == "reference" else "cpu")
    predictor, batch = Predictor(model), batch_of(model, 0)
    for _ in range(3):
        np.testing.assert_array_equal(predictor(*batch), model.scores(*batch))
    assert not predictor._idle
