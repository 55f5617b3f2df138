"""Streams: one step at a time, with the state kept. That they equal the whole is in test_properties."""

import copy
import pickle

import numpy as np
import pytest

from numlstm import LSTM

X = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
pytestmark = pytest.mark.parametrize("backend", ["cpu", "reference"])


@pytest.fixture
def layer(backend):
    return LSTM(3, 5, 2, backend=backend, random_state=0)


def test_one_stream_takes_vectors_or_rows(layer):
    one, other = layer.stream(), layer.stream()
    y, row = one.step(X[0, 0]), other.step(X[0, :1])
    assert (y.shape, row.shape) == ((5,), (1, 5))
    np.testing.assert_array_equal(y, row[0])
    assert y.dtype == np.float32


def test_out_is_filled_and_returned(layer):
    expected = layer.stream(2).step(X[:, 0])
    for out in (np.empty((2, 5), "f4"), np.empty((5, 2), "f4").T, np.empty((2, 10), "f4")[:, ::-2]):
        assert layer.stream(2).step(X[:, 0], out) is out
        np.testing.assert_array_equal(out, expected)


def test_out_may_be_the_input(backend):
    layer = LSTM(5, 5, backend=backend, random_state=0)
    x, stream = np.ones(5, "f4"), layer.stream()
    stream.step(x, out=x)
    np.testing.assert_array_equal(x, layer.stream().step(np.ones(5)))
    np.testing.assert_array_equal(stream.state[0][0, 0], x)


def test_earlier_outputs_and_inputs_stay(layer):
    stream, x = layer.stream(2), X.copy()
    y = stream.step(x[:, 0])
    kept = y.copy()
    stream.step(x[:, 1])
    np.testing.assert_array_equal(y, kept)
    np.testing.assert_array_equal(x, X)


def test_output_is_no_door_to_the_state(layer):
    stream = layer.stream(2)
    stream.step(X[:, 0])[...] = np.nan
    stream.state[0][...] = np.nan
    assert np.isfinite(stream.step(X[:, 1])).all()


def test_state_is_copied_when_set(layer):
    stream, given = layer.stream(2), [np.ones((2, 2, 5)), np.ones((2, 2, 5))]
    stream.state = given
    given[0][...] = np.nan
    assert np.isfinite(stream.step(X[:, 0])).all()
    np.testing.assert_array_equal(given[1], 1)


def test_reset_forgets(layer):
    stream = layer.stream(2)
    first = stream.step(X[:, 0])
    assert (stream.step(X[:, 0]) != first).any()
    stream.reset()
    np.testing.assert_array_equal(stream.state, np.zeros((2, 2, 2, 5)))
    np.testing.assert_array_equal(stream.step(X[:, 0]), first)


def test_state_moves_between_streams(layer):
    one, other = layer.stream(2), layer.stream(2)
    one.step(X[:, 0])
    other.state = one.state
    np.testing.assert_array_equal(one.step(X[:, 1]), other.step(X[:, 1]))


def test_stream_goes_on_with_the_state_of_a_call(layer):
    stream = layer.stream(2)
    _, stream.state = layer(X[:, :3])
    y, _ = layer(X)
    np.testing.assert_allclose(stream.step(X[:, 3]), y[:, 3], rtol=1e-5, atol=1e-7)


def test_streams_share_nothing_but_weights(layer):
    one, other = layer.stream(2), layer.stream(2)
    expected = one.step(X[:, 0])
    one.step(X[:, 1])
    np.testing.assert_array_equal(other.step(X[:, 0]), expected)


def test_stream_is_a_snapshot(layer):
    stream, expected = layer.stream(2), layer.stream(2).step(X[:, 0])
    layer.set_parameters({name: np.zeros_like(value) for name, value in layer.parameters.items()})
    layer(X)
    np.testing.assert_array_equal(stream.step(X[:, 0]), expected)
    assert not layer.stream(2).step(X[:, 0]).any()


def test_stream_outlives_its_layer(backend):
    stream = LSTM(3, 5, backend=backend, random_state=0).stream(2)
    again = LSTM(3, 5, backend=backend, random_state=0)
    np.testing.assert_array_equal(stream.step(X[:, 0]), again.stream(2).step(X[:, 0]))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_stream_refuses_to_be_copied(layer, duplicate):
    with pytest.raises(TypeError, match="a Stream cannot be pickled or copied"):
        duplicate(layer.stream())


def test_stream_of_a_layer_with_dropout_drops_nothing(backend):
    layer, plain = (LSTM(3, 5, 2, dropout=dropout, backend=backend, random_state=0) for dropout in (0.9, 0.0))
    np.testing.assert_array_equal(layer.stream(2).step(X[:, 0]), plain.stream(2).step(X[:, 0]))
