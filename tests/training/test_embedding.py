"""Tokens that come more often than a table has rows are looked up by the first layer, with the same gradients."""

import numpy as np
import pytest
from tolerances import assert_close

from numlstm.backends.contract import EmbeddingSpec, Lookup, LossSpec
from numlstm.backends.cpu.backend import CpuBackend
from numlstm.layers.options import stack_of
from numlstm.training.embedding import TokenChannels
from numlstm.training.model import Model
from numlstm.training.network import Network
from numlstm.training.truncation import truncated_gradient

TOKENS = 6
ONE_TABLE = TokenChannels(EmbeddingSpec(((TOKENS, 4),), (False,), "float64"), (0,))


def network_of(tokens=ONE_TABLE, pooling="none", **options):
    stack = stack_of("lstm", tokens.output_size, "float64", {"hidden_size": 3} | options)
    return Network(stack, 5, pooling, LossSpec("softmax"), tokens=tokens)


def model_of(network, backend):
    parameters = network.initialise("torch", np.random.default_rng(0))
    return Model(network, backend, network.pack(backend, parameters), training=True)


def batch(network, rows=3, steps=5):
    """Tokens, lengths, targets and weights."""
    rng = np.random.default_rng(2)
    x = rng.integers(TOKENS, size=(rows, steps, len(network.tokens.channels) + len(network.tokens.numeric)))
    count = rows * steps if network.pooling == "none" else rows
    lengths = rng.permutation([steps, *rng.integers(1, steps, rows - 1)])
    return x.astype("float64"), lengths, rng.integers(5, size=count), rng.uniform(size=count)


@pytest.fixture
def backends():
    """One that looks rows up, and one that does not."""
    others = CpuBackend()
    others.looks_up = False
    return CpuBackend(), others


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True, "residual": True, "dropout": 0.3},
        {"weight_dropout": 0.4, "recurrent_dropout": 0.3, "bidirectional": True, "merge": "mean"},
    ],
    ids=str,
)
@pytest.mark.parametrize("pooling", ["none", "mean", "last"])
def test_gradients_are_those_of_vectors(backends, options, pooling):
    network = network_of(pooling=pooling, **options)
    results = []
    for backend in backends:
        model = model_of(network, backend)
        for _ in range(2):
            loss, _ = model.loss_and_gradient(*batch(network), np.random.default_rng(1))
        results.append({"loss": np.asarray(loss)} | network.unpack(backend, model.gradient))
    for name, value in results[1].items():
        assert_close("gradient", name, results[0][name], value)
    assert np.abs(results[0]["embedding_0"]).max() > 0


def test_gradients_of_pieces_are_those_of_vectors(backends):
    network = network_of(pooling="mean")
    results = []
    for backend in backends:
        model = model_of(network, backend)
        truncated_gradient(model, *batch(network, 4, 11), np.random.default_rng(1), None, steps=4)
        results.append(network.unpack(backend, model.gradient))
    for name, value in results[1].items():
        assert_close("gradient", name, results[0][name], value)


def test_a_frozen_table_has_no_gradient(backends):
    frozen = TokenChannels(EmbeddingSpec(((TOKENS, 4),), (True,), "float64"), (0,))
    for backend in backends:
        model = model_of(network_of(frozen), backend)
        model.gradient[...] = np.nan
        model.loss_and_gradient(*batch(model.network), np.random.default_rng(1))
        gradients = model.network.unpack(backend, model.gradient)
        assert not gradients["embedding_0"].any()
        assert np.isfinite(gradients["weight_ih_l0"]).all()


SPEC = ONE_TABLE.spec
TWO_TABLES = EmbeddingSpec(((TOKENS, 4), (TOKENS, 2)), (False, False), "float64")


@pytest.mark.parametrize(
    ("tokens", "options", "rows", "looked_up"),
    [
        (ONE_TABLE, {}, 3, True),
        (ONE_TABLE, {"dropout": 0.3, "num_layers": 2}, 3, True),
        (ONE_TABLE, {}, 1, False),  # fewer tokens than the table has rows
        (ONE_TABLE, {"input_dropout": 0.3}, 3, False),
        (TokenChannels(SPEC, (0,), embedding_dropout=0.3), {}, 3, False),
        (TokenChannels(SPEC, (0,), token_dropout=0.3), {}, 3, False),
        (TokenChannels(SPEC, (1,), numeric=(0,)), {}, 3, False),
        (TokenChannels(TWO_TABLES, (0, 1)), {}, 3, False),
    ],
)
def test_when_rows_are_looked_up(tokens, options, rows, looked_up):
    network = network_of(tokens, **options)
    model, x = model_of(network, CpuBackend()), batch(network, rows)[0]
    assert isinstance(model.read(x, 7, training=True)[0], Lookup) == looked_up
    assert not isinstance(model.read(x)[0], Lookup)
