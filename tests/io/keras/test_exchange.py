"""Keras's weights as layers, and layers as weights."""

import os

import numpy as np
import pytest

from numlstm import GRU, LSTM, RNN
from numlstm.io import from_keras, to_keras_weights

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
KINDS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
BLOCKS = {"lstm": 4, "gru": 3, "rnn": 1}


def same(made, given):
    """Shapes, dtypes and all numbers are the same."""
    assert len(made) == len(given)
    for array, other in zip(made, given, strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


# Weights --------------------------------------------------------------------------------------------------------


def weights_of(kind, features=3, units=5, bias=True, after=True, directions=1, dtype="float32"):
    """Random arrays in the shapes of Keras's."""
    rng, columns = np.random.default_rng(0), BLOCKS[kind] * units
    both = kind == "gru" and after
    shapes = [(features, columns), (units, columns), *([(2, columns) if both else (columns,)] if bias else [])]
    return [rng.normal(0.0, 0.5, shape).astype(dtype) for shape in shapes * directions]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_equations(kind, weights, x, after=True):
    """Outputs by Keras's equations."""
    kernel, recurrent, *bias = [array.astype("float64") for array in weights]
    units = len(recurrent)
    first, second = bias[0] if bias and bias[0].ndim == 2 else (bias[0] if bias else 0.0, 0.0)
    h = c = np.zeros((len(x), units))
    steps = []
    for x_t in x.astype("float64").transpose(1, 0, 2):
        a, b = x_t @ kernel + first, h @ recurrent + second
        if kind == "lstm":
            i, f, g, o = np.split(a + b, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif kind == "gru":
            z, r = sigmoid((a + b)[:, :units]), sigmoid((a + b)[:, units : 2 * units])
            inner = r * b[:, 2 * units :] if after else (r * h) @ recurrent[:, 2 * units :]
            h = z * h + (1 - z) * np.tanh(a[:, 2 * units :] + inner)
        else:
            h = np.tanh(a + b)
        steps.append(h)
    return np.stack(steps, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_layers_follow_the_equations_of_keras(kind, bias, after):
    x = np.random.default_rng(1).normal(size=(2, 6, 3))
    weights = weights_of(kind, bias=bias, after=after, dtype="float64")
    layer = from_keras(weights, reset_after=after if kind == "gru" else None, backend="reference")
    assert type(layer) is KINDS[kind]
    np.testing.assert_allclose(layer(x)[0], by_equations(kind, weights, x, after), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_come_back_as_they_were(kind, bias, after, directions, dtype):
    weights = weights_of(kind, bias=bias, after=after, directions=directions, dtype=dtype)
    layer = from_keras(weights, kind=kind, reset_after=after if kind == "gru" else None)
    assert (layer.input_size, layer.hidden_size, layer.bidirectional) == (3, 5, directions == 2)
    same(to_keras_weights(layer), weights)
    assert layer.dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {}, {"num_layers": 3}, {"bidirectional": True, "num_layers": 2}, {"bias": False, "num_layers": 3},
        {"hidden_size": [4, 2]}, {"dtype": "float64"}, {"bidirectional": True, "bias": False},
        {"num_layers": 2, "dropout": 0.2, "input_dropout": 0.2, "recurrent_dropout": 0.2, "weight_dropout": 0.1},
        {"bidirectional": True, "merge": "mean"}, {"bidirectional": True, "merge": "sum", "num_layers": 2},
    ],
)  # fmt: skip
def test_layers_come_back(kind, options):
    layer = KINDS[kind](**{"input_size": 3, "hidden_size": 5, "random_state": 0, "init": "torch"} | options)
    merge = {"sum": "sum", "mean": "ave"}.get(options.get("merge"), "concat")
    again = from_keras(to_keras_weights(layer), num_layers=layer.num_layers, merge_mode=merge)
    assert type(again) is type(layer)
    assert (again.input_size, again.hidden_size, again.dtype) == (layer.input_size, layer.hidden_size, layer.dtype)
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    np.testing.assert_allclose(again(x)[0], layer(x)[0], rtol=1e-6, atol=1e-6)  # biases were added
    same(to_keras_weights(again), to_keras_weights(layer))


def test_what_weights_do_not_hold_is_given():
    layer = from_keras(weights_of("lstm"), activation="relu", recurrent_activation="hard_sigmoid", backend="cpu")
    assert repr(layer) == (
        f"LSTM(3, 5, recurrent_activation=('hard_sigmoid', {1 / 6}, 0.5), input_activation='relu', "
        "output_activation='relu')"
    )
    assert layer.backend == "cpu"
    layer = from_keras(
        weights_of("gru", bias=False), activation="linear", recurrent_activation="elu", reset_after=False
    )
    assert repr(layer) == (
        "GRU(3, 5, bias=False, reset_after=False, recurrent_activation=('elu', 1.0), input_activation='identity')"
    )
    assert repr(from_keras(weights_of("rnn"), activation="leaky_relu")) == "RNN(3, 5, nonlinearity=('leaky_relu', 0.2))"
    both = from_keras(weights_of("rnn", directions=2), merge_mode="ave", dtype="float64")
    assert repr(both) == "RNN(3, 5, bidirectional=True, merge='mean', dtype='float64')"


def test_nothing_is_shared():
    weights = weights_of("gru")
    layer = from_keras(weights)
    kept = [array.copy() for array in weights]
    made = to_keras_weights(layer)
    for array in (*weights, *made):
        array[...] = 7.0
    same(to_keras_weights(layer), kept)


def test_half_precision_is_widened():
    weights = weights_of("lstm", dtype="float16")
    layer = from_keras(weights)
    assert layer.dtype == "float32"
    same(to_keras_weights(layer), [array.astype("float32") for array in weights])


def changed(place, array):
    """Weights of an LSTM with another array in one place."""
    return [array if k == place else each for k, each in enumerate(weights_of("lstm"))]


@pytest.mark.parametrize(
    ("weights", "options", "error", "message"),
    [
        (changed(0, np.zeros(3, "float32")), {}, ValueError, r"source\[0\], a kernel, must have two axes"),
        (changed(1, np.zeros((5, 19), "float32")), {}, ValueError, "20 columns of LSTM or 15 columns of GRU or"),
        (changed(0, np.zeros((3, 19), "float32")), {}, ValueError, r"source\[0\] must have shape \(3, 20\)"),
        (changed(2, np.zeros(19, "float32")), {}, ValueError, r"source\[2\] must have shape \(20,\)"),
        (changed(2, np.zeros(20)), {}, ValueError, r"source\[2\] must be float32, as source\[0\] is, got float64"),
        (changed(2, np.zeros(20, int)), {}, TypeError, r"source\[2\] must hold real numbers"),
        (changed(2, "text"), {}, TypeError, r"source\[2\] must hold real numbers"),
        (np.zeros(3), {}, TypeError, "source must be a path or a list of arrays, got ndarray"),
        ([], {}, ValueError, "each direction of 1 layer, got 0 arrays"),
        (weights_of("lstm") * 2, {"num_layers": 4}, ValueError, "each direction of 4 layers, got 6 arrays"),
        (weights_of("lstm")[:1], {}, ValueError, "got 1 arrays"),
        (weights_of("lstm"), {"kind": "gru"}, ValueError, "must have 15 columns of GRU"),
        (weights_of("lstm"), {"kind": "cnn"}, ValueError, "kind must be one of"),
        (weights_of("lstm"), {"num_layers": 0}, ValueError, "num_layers must be"),
        (weights_of("lstm"), {"activation": "gelu"}, ValueError, "activation must be one of"),
        (weights_of("lstm"), {"recurrent_activation": "nothing"}, ValueError, "recurrent_activation must be one of"),
        (weights_of("lstm"), {"reset_after": True}, ValueError, "reset_after must be None with weights of kind 'lstm'"),
        (weights_of("gru"), {"reset_after": False}, ValueError, "reset_after must be True, to fit the shape"),
        (weights_of("gru"), {"reset_after": 1}, TypeError, "reset_after"),
        (weights_of("lstm"), {"merge_mode": "mul"}, ValueError, "merge_mode must be one of"),
        (weights_of("lstm"), {"merge_mode": "sum"}, ValueError, "merge='sum' and bidirectional=False"),
        (weights_of("lstm"), {"dtype": "float16"}, ValueError, "dtype must be one of"),
        (weights_of("lstm"), {"backend": "tpu"}, ValueError, "backend"),
        (weights_of("lstm"), {"config": "{}"}, ValueError, "config must be None with weights"),
    ],
)  # fmt: skip
def test_weights_that_are_none(weights, options, error, message):
    with pytest.raises(error, match=message):
        from_keras(weights, **options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (LSTM, {"proj_size": 2}), (LSTM, {"peepholes": True}), (LSTM, {"coupled_gates": True}),
        (LSTM, {"input_gate": False}), (LSTM, {"forget_gate": False}), (LSTM, {"output_gate": False}),
        (LSTM, {"full_gate_recurrence": True}), (LSTM, {"cell_clip": 1.0}), (LSTM, {"preactivation_clip": 1.0}),
        (GRU, {"preactivation_clip": 1.0}), (RNN, {"preactivation_clip": 1.0}), (GRU, {"zoneout": 0.1}),
        (LSTM, {"input_activation": "relu"}), (LSTM, {"output_activation": "relu"}), (LSTM, {"layer_norm": True}),
        (RNN, {"layer_norm": True}), (GRU, {"residual": True, "num_layers": 2}), (LSTM, {"zoneout": (0.0, 0.1)}),
    ],
)  # fmt: skip
def test_layers_that_keras_does_not_have(kind, options):
    layer = kind(3, 5, **options, random_state=0)
    with pytest.raises(ValueError, match=f"only options that Keras's .* has, got .*{next(iter(options))}="):
        to_keras_weights(layer)


def test_what_is_no_layer():
    with pytest.raises(TypeError, match="layer must be an LSTM, a GRU or an RNN, got list"):
        to_keras_weights([])


# Against Keras --------------------------------------------------------------------------------------------------

ACTIVATIONS = {"identity": "linear", "tanh": "tanh", "relu": "relu", "softsign": "softsign"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"bidirectional": True}, {"bidirectional": True, "merge": "mean"}]
)
def test_keras_computes_what_a_layer_does(kind, activation, options):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", minversion="3")
    own = {"lstm": ("input_activation", "output_activation"), "gru": ("input_activation",), "rnn": ("nonlinearity",)}
    chosen = dict.fromkeys(own[kind], activation)
    theirs = {"units": 5, "activation": ACTIVATIONS[activation], "use_bias": options.get("bias", True)}
    theirs["return_sequences"] = True
    if kind != "rnn":
        chosen["recurrent_activation"], theirs["recurrent_activation"] = ("hard_sigmoid", 1 / 6, 0.5), "hard_sigmoid"
    if kind == "gru":
        chosen["reset_after"] = theirs["reset_after"] = "merge" not in options
    layer = KINDS[kind](3, 5, **options, **chosen, init="torch", random_state=0, backend="reference")
    other = getattr(keras.layers, "SimpleRNN" if kind == "rnn" else kind.upper())(**theirs)
    if "bidirectional" in options:
        other = keras.layers.Bidirectional(other, merge_mode="ave" if "merge" in options else "concat")
    other.build((None, None, 3))
    other.set_weights(to_keras_weights(layer))
    x = np.random.default_rng(1).normal(size=(3, 6, 3)).astype("float32")
    wanted = keras.ops.convert_to_numpy(other(x))
    np.testing.assert_allclose(layer(x)[0], wanted, **TOLERANCE)
    again = from_keras(
        other.get_weights(), reset_after=chosen.get("reset_after"), activation=theirs["activation"],
        recurrent_activation="hard_sigmoid", merge_mode="ave" if "merge" in options else "concat", backend="reference",
    )  # fmt: skip
    np.testing.assert_allclose(again(x)[0], wanted, **TOLERANCE)


def test_keras_takes_the_weights_of_several_layers():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", minversion="3")
    layer = GRU(3, [5, 4], bidirectional=True, random_state=0, init="torch", backend="reference")
    both = [keras.layers.Bidirectional(keras.layers.GRU(units, return_sequences=True)) for units in (5, 4)]
    model = keras.Sequential([keras.Input((None, 3)), *both])
    model.set_weights(to_keras_weights(layer))
    x = np.random.default_rng(1).normal(size=(3, 6, 3)).astype("float32")
    np.testing.assert_allclose(layer(x)[0], model.predict(x, verbose=0), **TOLERANCE)
    same(to_keras_weights(from_keras(model.get_weights(), num_layers=2)), model.get_weights())
