"""Bad input gives an error that names the parameter, what was expected and what came; nothing changes."""

import re
from collections import deque

import numpy as np
import pytest
from scipy import sparse

from numlstm import LSTM

X = np.ones((2, 4, 3))
STATE = np.zeros((1, 2, 5))
READ_ONLY = np.zeros((2, 5), "float32")
READ_ONLY.flags.writeable = False


class Unconvertible:
    def __array__(self, dtype=None, copy=None):
        raise ValueError


@pytest.fixture
def layer():
    return LSTM(3, 5, backend="reference", random_state=0)


def bad(cases):
    """A test for each of (arguments, error, message)."""
    return pytest.mark.parametrize(
        ("given", "error", "message"),
        [pytest.param(value, error, "^" + re.escape(message), id=message) for value, error, message in cases],
    )


# The constructor --------------------------------------------------------------------------------------------

BACKENDS = "'auto', 'cpu', 'cuda', 'cuda:N' or 'reference'"
SEEDS = "a non-negative integer, a numpy.random.Generator or None"


@bad(
    [
        ({"input_size": -1}, ValueError, "input_size must be at least 1, got -1"),
        ({"input_size": 0}, ValueError, "input_size must be at least 1, got 0"),
        ({"input_size": 3.0}, TypeError, "input_size must be an integer, got float"),
        ({"input_size": "3"}, TypeError, "input_size must be an integer, got str"),
        ({"input_size": None}, TypeError, "input_size must be an integer, got NoneType"),
        ({"input_size": np.array(3)}, TypeError, "input_size must be an integer, got ndarray"),
        ({"hidden_size": 0}, ValueError, "hidden_size must be at least 1, got 0"),
        ({"hidden_size": True}, TypeError, "hidden_size must be an integer, got bool"),
        ({"hidden_size": np.bool_(True)}, TypeError, "hidden_size must be an integer, got bool"),
        ({"hidden_size": float("nan")}, TypeError, "hidden_size must be an integer, got float"),
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1, got 0"),
        ({"num_layers": [1]}, TypeError, "num_layers must be an integer, got list"),
        ({"bias": 1}, TypeError, "bias must be True or False, got 1"),
        ({"bias": "no"}, TypeError, "bias must be True or False, got 'no'"),
        ({"bidirectional": None}, TypeError, "bidirectional must be True or False, got None"),
        ({"dropout": 1.0}, ValueError, "dropout must be in [0.0, 1.0), got 1.0"),
        ({"dropout": -0.1}, ValueError, "dropout must be in [0.0, 1.0), got -0.1"),
        ({"dropout": np.nan}, ValueError, "dropout must be in [0.0, 1.0), got nan"),
        ({"dropout": np.inf}, ValueError, "dropout must be in [0.0, 1.0), got inf"),
        ({"dropout": False}, TypeError, "dropout must be a number, got bool"),
        ({"dropout": "0.5"}, TypeError, "dropout must be a number, got str"),
        ({"dropout": 0.5j}, TypeError, "dropout must be a number, got complex"),
        ({"init": "glorot"}, ValueError, "init must be one of ['keras', 'torch', 'chrono'], got 'glorot'"),
        (
            {"init": np.array(["keras", "torch"])},
            ValueError,
            "init must be one of ['keras', 'torch', 'chrono'], got array(",
        ),
        ({"dtype": "float16"}, ValueError, "dtype must be one of ['float32', 'float64'], got 'float16'"),
        ({"dtype": np.float32}, ValueError, "dtype must be one of ['float32', 'float64'], got <class"),
        ({"dtype": np.dtype("float64")}, ValueError, "dtype must be one of ['float32', 'float64'], got dtype("),
        ({"dtype": None}, ValueError, "dtype must be one of ['float32', 'float64'], got None"),
        ({"backend": "gpu"}, ValueError, f"backend must be {BACKENDS}, got 'gpu'"),
        ({"backend": ""}, ValueError, f"backend must be {BACKENDS}, got ''"),
        ({"backend": "cuda:"}, ValueError, f"backend must be {BACKENDS}, got 'cuda:'"),
        ({"backend": "CPU"}, ValueError, f"backend must be {BACKENDS}, got 'CPU'"),
        ({"backend": 0}, TypeError, "backend must be a string, got int"),
        ({"random_state": -1}, ValueError, f"random_state must be {SEEDS}, got -1"),
        ({"random_state": 1.5}, TypeError, f"random_state must be {SEEDS}, got 1.5"),
        ({"random_state": "a"}, TypeError, f"random_state must be {SEEDS}, got 'a'"),
    ]
)
def test_constructor(given, error, message):
    with pytest.raises(error, match=message):
        LSTM(**{"input_size": 3, "hidden_size": 5} | given)


def test_constructor_takes_numpy_scalars_and_keeps_python_ones():
    layer = LSTM(np.int64(3), np.uint8(5), np.int32(2), bias=np.bool_(True), dropout=np.float32(0.5))
    assert repr(layer) == "LSTM(3, 5, num_layers=2, dropout=0.5)"


# x, lengths, state ------------------------------------------------------------------------------------------

SHAPES = "x must have shape (N, T, 3) or (T, 3), got "
NUMBERS = "must hold real numbers, got "
STEPS = "must have shape (steps, features) with at least one feature, got "


@bad(
    [
        (None, TypeError, f"x {NUMBERS}NoneType"),
        ("abc", TypeError, f"x {NUMBERS}str"),
        ({"x": X}, TypeError, f"x {NUMBERS}dict"),
        ((row for row in X), TypeError, f"x {NUMBERS}generator"),
        (X + 1j, TypeError, f"x {NUMBERS}dtype complex128"),
        (X.astype(object), TypeError, f"x {NUMBERS}dtype object"),
        (X.astype("U"), TypeError, f"x {NUMBERS}dtype <U32"),
        (X.astype("M8[s]"), TypeError, f"x {NUMBERS}dtype datetime64[s]"),
        (np.zeros((4, 3), [("a", "f4")]), TypeError, f"x {NUMBERS}dtype [('a', '<f4')]"),
        (sparse.csr_array(X[0]), TypeError, f"x {NUMBERS}csr_array"),
        (Unconvertible(), ValueError, "x must be a rectangular array of numbers"),
        (1.0, ValueError, f"{SHAPES}()"),
        (np.ones(3), ValueError, f"{SHAPES}(3,)"),
        (np.ones((1, 1, 4, 3)), ValueError, f"{SHAPES}(1, 1, 4, 3)"),
        (np.ones((2, 4, 2)), ValueError, "x must have 3 features (input_size) on its last axis, got 2"),
        (np.ones((4, 1)), ValueError, "x must have 3 features (input_size) on its last axis, got 1"),
        (np.ones((2, 4, 0)), ValueError, "x must have 3 features (input_size) on its last axis, got 0"),
        (np.ones((0, 4, 3)), ValueError, "x must hold at least one sequence, got shape (0, 4, 3)"),
        (np.ones((2, 0, 2)), ValueError, "x must have 3 features (input_size) on its last axis, got 2"),
        ([], ValueError, "x must hold at least one sequence, got none"),
        ([1.0, 2.0, 3.0], ValueError, f"x[0] {STEPS}()"),
        ([[1.0, 2.0, 3.0]], ValueError, f"x[0] {STEPS}(3,)"),
        ([X[0], []], ValueError, f"x[1] {STEPS}(0,)"),
        ([X[0], X[0, :0, :0]], ValueError, f"x[1] {STEPS}(0, 0)"),
        ([X], ValueError, f"x[0] {STEPS}(2, 4, 3)"),
        ([X[0], X[0, :, :2]], ValueError, "x[1] has 2 features, but x[0] has 3; all must agree"),
        ([X[0, :, :2]], ValueError, "x must have 3 features (input_size) on its last axis, got 2"),
        ([X[0], None], TypeError, f"x[1] {NUMBERS}NoneType"),
        ([X[0], X[0] + 1j], TypeError, f"x[1] {NUMBERS}dtype complex128"),
        ([X[0], sparse.csr_array(X[0])], TypeError, f"x[1] {NUMBERS}csr_array"),
        ([[[10**30, 1, 2]]], TypeError, f"x[0] {NUMBERS}dtype object"),
        ([[[1, 2, 3], [1, 2]]], ValueError, "x[0] must be a rectangular array of numbers, got rows of unequal length"),
        (deque([X[0], X[0, :2]]), ValueError, "x must be a rectangular array of numbers, got rows of unequal length"),
    ]
)
def test_x(layer, given, error, message):
    for run in (layer, layer.vjp):
        with pytest.raises(error, match=message):
            run(given)


@bad(
    [
        ([4, -3], ValueError, "lengths must be in 0..4, the steps of x, got -3 for sequence 1"),
        ([5, 4], ValueError, "lengths must be in 0..4, the steps of x, got 5 for sequence 0"),
        ([2**62, 1], ValueError, "lengths must be in 0..4, the steps of x, got 4611686018427387904"),
        (
            np.array([2**64 - 1, 1], "u8"),
            ValueError,
            "lengths must be in 0..4, the steps of x, got 18446744073709551615",
        ),
        ([10**30, 1], TypeError, f"lengths {NUMBERS}dtype object"),
        ([1.0, 2.0], TypeError, "lengths must hold integers, got dtype float64"),
        ([np.nan, 2], TypeError, "lengths must hold integers, got dtype float64"),
        ([], TypeError, "lengths must hold integers, got dtype float64"),
        ([True, True], TypeError, "lengths must hold integers, got dtype bool"),
        ([None, 2], TypeError, f"lengths {NUMBERS}dtype object"),
        ("24", TypeError, f"lengths {NUMBERS}str"),
        ({2, 4}, TypeError, f"lengths {NUMBERS}set"),
        ([[1], [1, 2]], ValueError, "lengths must be a rectangular array of numbers, got rows of unequal length"),
        (3, ValueError, "lengths must have shape (2,), one for each sequence, got ()"),
        ([3], ValueError, "lengths must have shape (2,), one for each sequence, got (1,)"),
        ([1, 2, 3], ValueError, "lengths must have shape (2,), one for each sequence, got (3,)"),
        ([[1], [2]], ValueError, "lengths must have shape (2,), one for each sequence, got (2, 1)"),
    ]
)
def test_lengths(layer, given, error, message):
    for run in (layer, layer.vjp):
        with pytest.raises(error, match=message):
            run(X, lengths=given)


def test_lengths_beside_a_list(layer):
    with pytest.raises(ValueError, match=r"^lengths must be None when x is a list"):
        layer(list(X), lengths=[4, 4])


def test_lengths_of_one_sequence(layer):
    with pytest.raises(ValueError, match=r"^lengths must have shape \(1,\), one for each sequence, got \(\)"):
        layer(X[0], lengths=3)
    assert not layer(X[0], lengths=[3])[0][3:].any()


PAIR = "state must be a tuple (h_0, c_0), got "


@bad(
    [
        (STATE, TypeError, f"{PAIR}ndarray"),
        (np.stack([STATE, STATE]), TypeError, f"{PAIR}ndarray"),
        ({"h": STATE, "c": STATE}, TypeError, f"{PAIR}dict"),
        ("hc", TypeError, f"{PAIR}str"),
        (0, TypeError, f"{PAIR}int"),
        ((STATE,), ValueError, f"{PAIR}length 1"),
        ((STATE, STATE, STATE), ValueError, f"{PAIR}length 3"),
        ((None, STATE), TypeError, f"state: h_0 {NUMBERS}NoneType"),
        ((STATE, STATE + 1j), TypeError, f"state: c_0 {NUMBERS}dtype complex128"),
        ((STATE[0], STATE), ValueError, "state: h_0 must have shape (1, 2, 5), got (2, 5)"),
        ((STATE, STATE[:, :1]), ValueError, "state: c_0 must have shape (1, 2, 5), got (1, 1, 5)"),
        ((0.0, 0.0), ValueError, "state: h_0 must have shape (1, 2, 5), got ()"),
        (([[1], [2, 3]], STATE), ValueError, "state: h_0 must be a rectangular array of numbers"),
    ]
)
def test_state(layer, given, error, message):
    for run in (layer, layer.vjp):
        with pytest.raises(error, match=message):
            run(X, given)


def test_state_of_one_sequence_has_no_batch_axis(layer):
    with pytest.raises(ValueError, match=r"^state: h_0 must have shape \(1, 5\), got \(1, 2, 5\)"):
        layer(X[0], (STATE, STATE))


# vjp and pullback -------------------------------------------------------------------------------------------


def test_training_must_be_a_flag(layer):
    with pytest.raises(TypeError, match=r"^training must be True or False, got 1"):
        layer.vjp(X, training=1)


def test_rng_must_be_a_seed_or_generator():
    layer = LSTM(3, 5, 2, dropout=0.5, backend="reference")
    with pytest.raises(TypeError, match=re.escape(f"rng must be {SEEDS}, got 'a'")):
        layer.vjp(X, training=True, rng="a")


Y = np.ones((2, 4, 5))
GRADIENTS = "dstate must be a tuple (dh_n, dc_n), got "


@bad(
    [
        ((Y[:1],), ValueError, "dy must have shape (2, 4, 5), got (1, 4, 5)"),
        ((Y[..., :1],), ValueError, "dy must have shape (2, 4, 5), got (2, 4, 1)"),
        ((1.0,), ValueError, "dy must have shape (2, 4, 5), got ()"),
        ((Y + 1j,), TypeError, f"dy {NUMBERS}dtype complex128"),
        ((Y.astype(object),), TypeError, f"dy {NUMBERS}dtype object"),
        (("dy",), TypeError, f"dy {NUMBERS}str"),
        ((Y, STATE), TypeError, f"{GRADIENTS}ndarray"),
        ((Y, (STATE,)), ValueError, f"{GRADIENTS}length 1"),
        ((Y, (STATE[0], None)), ValueError, "dstate: dh_n must have shape (1, 2, 5), got (2, 5)"),
        ((Y, (None, STATE[..., :4])), ValueError, "dstate: dc_n must have shape (1, 2, 5), got (1, 2, 4)"),
        ((Y, (None, "dc")), TypeError, f"dstate: dc_n {NUMBERS}str"),
    ]
)
def test_pullback(layer, given, error, message):
    _, _, pullback = layer.vjp(X)
    with pytest.raises(error, match=message):
        pullback(*given)
    dx, *_ = pullback(Y)  # still works
    assert dx.shape == X.shape


# set_parameters ---------------------------------------------------------------------------------------------


@bad(
    [
        ({"bias_ih_l0": np.zeros(3)}, ValueError, "bias_ih_l0 must have shape (20,), got (3,)"),
        ({"weight_hh_l0": np.zeros((5, 20))}, ValueError, "weight_hh_l0 must have shape (20, 5), got (5, 20)"),
        ({"weight_hh_l0": 0.0}, ValueError, "weight_hh_l0 must have shape (20, 5), got ()"),
        ({"weight_hh_l0": [[1], [2, 3]]}, ValueError, "weight_hh_l0 must be a rectangular array of numbers"),
        ({"bias_hh_l0": None}, TypeError, f"bias_hh_l0 {NUMBERS}NoneType"),
        ({"bias_hh_l0": np.zeros(20) + 1j}, TypeError, f"bias_hh_l0 {NUMBERS}dtype complex128"),
        ({"bias_hh_l1": np.zeros(20)}, ValueError, "parameters must be among ['weight_ih_l0', 'weight_hh_l0', "),
        ({3: 1, "a": 2}, ValueError, "parameters must be among ['weight_ih_l0', 'weight_hh_l0', "),
    ]
)
def test_set_parameters(layer, given, error, message):
    before = dict(layer.parameters)
    changed = {name: np.zeros_like(value) for name, value in before.items()}
    with pytest.raises(error, match=message):
        layer.set_parameters(changed | given)
    for name, value in before.items():
        assert layer.parameters[name] is value


def test_set_parameters_names_what_is_missing(layer):
    some = {name: value for name, value in layer.parameters.items() if "weight" in name}
    with pytest.raises(
        ValueError, match=re.escape("parameters must hold ['bias_hh_l0', 'bias_ih_l0'], which are miss")
    ):
        layer.set_parameters(some)


@pytest.mark.parametrize("given", [None, [1, 2], "weights"])
def test_set_parameters_takes_a_mapping(layer, given):
    with pytest.raises(TypeError, match=r"^parameters must be a mapping of names to arrays, got "):
        layer.set_parameters(given)


# Streams ----------------------------------------------------------------------------------------------------


@bad(
    [
        (0, ValueError, "batch_size must be at least 1, got 0"),
        (1.5, TypeError, "batch_size must be an integer, got float"),
        (True, TypeError, "batch_size must be an integer, got bool"),
        (None, TypeError, "batch_size must be an integer, got NoneType"),
    ]
)
def test_stream(layer, given, error, message):
    with pytest.raises(error, match=message):
        layer.stream(given)


def test_stream_of_a_bidirectional_layer():
    with pytest.raises(ValueError, match=re.escape("stream() needs bidirectional=False")):
        LSTM(3, 5, bidirectional=True).stream()


OUT = "out must have shape (2, 5) and dtype float32, got "


@bad(
    [
        ((None,), TypeError, f"x_t {NUMBERS}NoneType"),
        ((X[:, 0] + 1j,), TypeError, f"x_t {NUMBERS}dtype complex128"),
        ((sparse.csr_array(X[:, 0]),), TypeError, f"x_t {NUMBERS}csr_array"),
        (([[1, 2, 3], [1]],), ValueError, "x_t must be a rectangular array of numbers"),
        ((X[0, 0],), ValueError, "x_t must have shape (2, 3), got (3,)"),
        ((X[0],), ValueError, "x_t must have shape (2, 3), got (4, 3)"),
        ((X[:, 0, :2],), ValueError, "x_t must have shape (2, 3), got (2, 2)"),
        ((X[:, :1],), ValueError, "x_t must have shape (2, 3), got (2, 1, 3)"),
        ((X[:, 0], np.zeros((2, 5))), ValueError, f"{OUT}(2, 5) and float64"),
        ((X[:, 0], np.zeros((2, 4), "f4")), ValueError, f"{OUT}(2, 4) and float32"),
        ((X[:, 0], np.zeros((2, 5), ">f4")), ValueError, f"{OUT}(2, 5) and >f4"),
        ((X[:, 0], [[0.0] * 5] * 2), TypeError, "out must be a NumPy array, got list"),
        ((X[:, 0], READ_ONLY), ValueError, "out must be writeable, got a read-only array"),
    ]
)
def test_step(layer, given, error, message):
    stream = layer.stream(2)
    stream.step(X[:, 0])
    before = stream.state
    with pytest.raises(error, match=message):
        stream.step(*given)
    np.testing.assert_array_equal(stream.state, before)


STREAM_PAIR = "state must be a tuple (h, c), got "


@bad(
    [
        (None, TypeError, f"{STREAM_PAIR}NoneType"),
        (np.stack([STATE, STATE]), TypeError, f"{STREAM_PAIR}ndarray"),
        ((STATE,), ValueError, f"{STREAM_PAIR}length 1"),
        ((STATE[0], STATE), ValueError, "state: h must have shape (1, 2, 5), got (2, 5)"),
        ((STATE, STATE + 1j), TypeError, f"state: c {NUMBERS}dtype complex128"),
    ]
)
def test_state_of_a_stream(layer, given, error, message):
    stream = layer.stream(2)
    stream.step(X[:, 0])
    before = stream.state
    with pytest.raises(error, match=message):
        stream.state = given
    np.testing.assert_array_equal(stream.state, before)


# What looks odd, and is none the less good ------------------------------------------------------------------


def test_containers_of_numbers_are_as_good_as_arrays(layer):
    expected, _ = layer(X)
    for x in (X.tolist(), tuple(X), deque(X), [row.tolist() for row in X]):
        np.testing.assert_array_equal(layer(x)[0], expected)
    for lengths in ((3, 2), np.array([3, 2], "u1"), np.array([3, 2], ">i8")):
        np.testing.assert_array_equal(layer(X, lengths=lengths)[0], layer(X, lengths=[3, 2])[0])


def test_data_frames_are_sequences(layer):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[0])
    np.testing.assert_array_equal(layer(frame)[0], layer(X[0])[0])
    np.testing.assert_array_equal(layer([frame, frame[:2]])[0], layer([X[0], X[0, :2]])[0])
    with pytest.raises(TypeError, match=f"^x {NUMBERS}dtype object"):
        layer(frame.astype(str))
