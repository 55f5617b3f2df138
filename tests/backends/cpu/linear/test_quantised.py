"""Products of numbers quantised to 8 bits: run with several instructions where the processor has not the one."""

import numpy as np
import pytest
from tolerances import assert_close

import numlstm
from numlstm import GRU, LSTM, RNN
from numlstm.backends.cpu.linear import quantised
from numlstm.backends.cpu.machine import thread_count
from numlstm.backends.cpu.machine.target import target
from numlstm.backends.cpu.recurrent import weights
from numlstm.backends.reference.quantised import quantised_weights

ONE_PHASE = {  # vectors of a step are quantised as they come
    "lstm": lambda **more: LSTM(5, 37, random_state=0, **more),
    "wide": lambda **more: LSTM(130, 70, random_state=0, **more),
    "peepholes": lambda **more: LSTM(3, 16, bidirectional=True, peepholes=True, random_state=0, **more),
    "layer norm": lambda **more: LSTM(4, 9, layer_norm=True, random_state=0, **more),
    "gru": lambda **more: GRU(7, 33, random_state=0, **more),
    "rnn": lambda **more: RNN(1, 8, random_state=0, **more),
}
LAYERS = ONE_PHASE | {
    "deep": lambda **more: LSTM(3, 16, 2, bidirectional=True, random_state=0, **more),
    "projection": lambda **more: LSTM(4, 9, proj_size=3, random_state=0, **more),
    "full gate recurrence": lambda **more: LSTM(4, 9, full_gate_recurrence=True, random_state=0, **more),
    "reset before": lambda **more: GRU(7, 33, reset_after=False, random_state=0, **more),
}


@pytest.fixture(autouse=True)
def everywhere(request, monkeypatch):
    if "supported" not in request.node.name:
        monkeypatch.setattr(quantised, "supported", lambda: True)


def with_int8(name, **more):
    return LAYERS[name](compute_dtype="int8", **more)


def inputs(layer, rows, steps=11):
    """x, and an initial state that is not zero."""
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, steps, layer.input_size)).astype("float32")
    _, state = layer(x[:, :1])
    parts = state if isinstance(state, tuple) else (state,)
    drawn = tuple(rng.uniform(-0.9, 0.9, part.shape).astype("float32") for part in parts)
    return x, drawn if isinstance(state, tuple) else drawn[0]


@pytest.mark.parametrize("rows", [1, 2, 4, 31])
@pytest.mark.parametrize("name", ONE_PHASE)
def test_a_step_is_that_of_the_reference(name, rows):
    layer = with_int8(name)
    x, state = inputs(layer, rows, steps=1)
    got, wanted = layer(x, state), with_int8(name, backend="reference")(x, state)
    assert_close("state", "y", got[0], wanted[0])
    for ours, theirs in zip(got[1], wanted[1], strict=True):
        assert_close("state", "state", ours, theirs)


@pytest.mark.parametrize("name", LAYERS)
def test_sequences_are_those_of_the_reference(name):
    layer = with_int8(name)
    x, state = inputs(layer, 7)
    lengths = [11, 3, 8, 1, 11, 5, 2]
    got, wanted = layer(x, state, lengths), with_int8(name, backend="reference")(x, state, lengths)
    assert_close("int8", "y", got[0], wanted[0])


@pytest.mark.parametrize("name", LAYERS)
def test_close_to_float32_but_not_the_same(name):
    layer = with_int8(name)
    x, _ = inputs(layer, 30)
    y, expected = layer(x)[0], LAYERS[name]()(x)[0]
    assert np.linalg.norm(y - expected) < 0.02 * np.linalg.norm(expected)
    assert not np.array_equal(y, expected)


@pytest.mark.parametrize("rows", [1, 5])
def test_zeros_stay_zeros(rows):
    zeros = np.zeros((rows, 1, 5), "float32")
    np.testing.assert_array_equal(with_int8("lstm")(zeros)[0], LAYERS["lstm"]()(zeros)[0])


def test_weights_that_were_quantised_before_lose_nothing():
    plain, layer = LAYERS["lstm"](), with_int8("lstm")
    rng = np.random.default_rng(0)
    parameters = {name: value.copy() for name, value in plain.parameters.items()}
    grid = 0.013 * rng.integers(-90, 91, parameters["weight_ih_l0"].shape)
    grid[:40] = 0.013 * rng.integers(-5, 6, grid[:40].shape)  # the largest is a small multiple of the step
    parameters["weight_ih_l0"] = grid
    for twin in (plain, layer):
        twin.set_parameters(parameters)
    one_hot = np.eye(5, dtype="float32")[:, None]
    assert_close("state", "y", layer(one_hot)[0], plain(one_hot)[0])


def test_columns_are_rounded_as_in_the_reference():
    columns = np.random.default_rng(0).normal(size=(40, 9)).astype("float32")
    columns[:, 0] = 0
    columns[:, 1] = 0.25 * np.rint(columns[:, 1])
    columns[3, 2] = np.nan
    columns[4, 3] = np.inf
    numbers, steps = quantised.quantised(columns)
    assert numbers.min() == -127
    assert numbers.max() == 127
    for k in range(9):
        np.testing.assert_allclose(numbers[:, k] * steps[k], quantised_weights(columns[:, k]), rtol=1e-6)
    np.testing.assert_allclose(numbers[:, 1] * steps[1], columns[:, 1], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_makes_its_row_nan(bad):
    for backend in ("cpu", "reference"):
        layer = with_int8("lstm", backend=backend)
        x, _ = inputs(layer, 4)
        x[2, 3, 4] = bad
        y = layer(x)[0]
        assert np.isnan(y[2, 3:]).all()
        assert np.isfinite(y[2, :3]).all()
        assert np.isfinite(np.delete(y, 2, axis=0)).all()


def test_numbers_of_any_size_give_nan_or_what_they_should():
    layer = with_int8("rnn")
    x = np.array([[[3e38]], [[-3e38]], [[1e-38]], [[1e-45]]], "float32")
    np.testing.assert_allclose(layer(x)[0], LAYERS["rnn"]()(x)[0], rtol=1e-6, atol=1e-30)
    wide = with_int8("lstm")
    x = np.zeros((2, 1, 5), "float32")
    x[0, 0, :2] = -3e38, 3e38  # the range is no float32
    y = wide(x)[0]
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()


def test_the_longest_vector_does_not_overflow():
    count = quantised.LONGEST
    layer = RNN(count, 1, compute_dtype="int8", random_state=0)
    parameters = {name: np.zeros_like(value) for name, value in layer.parameters.items()}
    parameters["weight_ih_l0"][...] = 1 / count
    layer.set_parameters(parameters)
    np.testing.assert_allclose(layer(np.full((1, 1, count), 0.5, "float32"))[0], np.tanh(0.5), rtol=1e-5)
    np.testing.assert_allclose(layer(np.full((1, 1, count), -0.5, "float32"))[0], np.tanh(-0.5), rtol=1e-5)


def test_longer_vectors_are_refused():
    with pytest.raises(numlstm.UnsupportedError, match="for vectors of more than 65536 numbers, got 65537"):
        RNN(quantised.LONGEST + 1, 1, compute_dtype="int8")(np.zeros((1, 1, quantised.LONGEST + 1)))


@pytest.mark.parametrize("name", LAYERS)
def test_rows_threads_streams_and_lengths_agree_to_the_bit(name, monkeypatch):
    layer = with_int8(name)
    x, _ = inputs(layer, 13)
    y = layer(x)[0]
    for rows in (slice(3, 4), slice(0, 5)):
        np.testing.assert_array_equal(layer(x[rows])[0], y[rows])
    np.testing.assert_array_equal(layer(x, lengths=[*range(1, 12), 4, 7])[0][4, :1], layer(x[4:5, :5])[0][0, :1])
    with thread_count.limit_threads(2):
        np.testing.assert_array_equal(layer(x)[0], y)
        monkeypatch.setattr(weights.LayerWeights, "team_of", lambda self, *shape: 2 if self.shares_steps else 1)
        np.testing.assert_array_equal(with_int8(name)(x)[0], y)
    if not layer.bidirectional:
        stream = layer.stream(13)
        np.testing.assert_array_equal(np.stack([stream.step(x[:, t]) for t in range(11)], axis=1), y)


def test_a_compiled_step_is_that_of_the_stream():
    layer = with_int8("lstm")
    x, _ = inputs(layer, 3)
    stream, step = layer.stream(3), layer.stream(3).jit_step
    h, c, y = np.zeros((1, 3, 37), "float32"), np.zeros((1, 3, 37), "float32"), np.empty((3, 37), "float32")
    for t in range(4):
        step(np.ascontiguousarray(x[:, t]), (h, c), y)
        np.testing.assert_array_equal(y, stream.step(x[:, t]))


def test_new_parameters_are_quantised():
    layer, other = with_int8("lstm"), LSTM(5, 37, random_state=1, compute_dtype="int8")
    x, _ = inputs(layer, 3)
    layer(x)
    layer.set_parameters(other.parameters)
    np.testing.assert_array_equal(layer(x)[0], other(x)[0])


def test_it_can_be_compiled_ahead():
    numlstm.warm_up(with_int8("lstm"))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_gradients_are_refused(backend):
    with pytest.raises(numlstm.UnsupportedError, match=f"compute_dtype='int8' has no gradients on backend '{backend}'"):
        with_int8("lstm", backend=backend).vjp(np.zeros((2, 4, 5)))


def test_elsewhere_it_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(quantised, "supported", lambda: False)
    with pytest.raises(
        numlstm.UnsupportedError, match=r"'int8' is not supported by .*'cpu' .* no AVX-512 VNNI or AVX-VNNI"
    ):
        with_int8("lstm")(np.zeros((2, 4, 5)))


def test_what_is_supported_is_what_the_processor_has():
    assert quantised.supported() == target().vnni
