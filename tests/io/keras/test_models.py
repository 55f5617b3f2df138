"""Keras's models compute the same as graphs: every layer and option, with masks, against Keras itself."""

import json
import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numlstm.io import from_keras

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("h5py")
keras = pytest.importorskip("keras", minversion="3")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask attached to it"),
]
L = keras.layers

TOLERANCES = {"float32": {"rtol": 1e-5, "atol": 1e-6}, "float64": {"rtol": 1e-10, "atol": 1e-12}}
STEPS, FEATURES, TOKENS = 6, 3, 5
MASKS = np.array(
    [[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1], [1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1],
     [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0]], bool
)  # fmt: skip # at the front, in the middle, at the end, everywhere


def with_weights(model, seed=0, scale=0.7):
    """A model whose weights are all of the size at which activations bend, and all different."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(0.0, scale, weight.shape) for weight in model.weights]
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(np.abs(value) + 0.1 if "variance" in weight.path else value)
    return model


def inputs_for(model, seed=1):
    """An array for each input, where tokens may be masks; and masked steps of numbers."""
    rng, made = np.random.default_rng(seed), {}
    for tensor in model.inputs:
        shape = (len(MASKS), *(STEPS if size is None else size for size in tensor.shape[1:]))
        if "int" in tensor.dtype or tensor.name.startswith("tokens"):
            array = rng.integers(1, TOKENS, shape)
        else:
            array = rng.normal(0.0, 1.0, shape)
        if len(shape) > 1 and shape[1] == STEPS:
            array = np.where(MASKS.reshape(MASKS.shape + (1,) * (len(shape) - 2)), array, 0)
        made[tensor.name] = array.astype(tensor.dtype)
    return made


def by_keras(model, inputs):
    """What the model predicts, as a list."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers that drop masks
        result = model([inputs[tensor.name] for tensor in model.inputs], training=False)
    return [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(result)]


def same(results, wanted, dtype="float32"):
    """As many arrays, of the same shapes, types and numbers."""
    assert len(results) == len(wanted)
    for result, expected in zip(results, wanted, strict=True):
        assert result.shape == expected.shape
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, **TOLERANCES[dtype])


def check(model, tmp_path, dtype="float32", inputs=None, backend="reference"):
    """The model computes the same when it comes from a .keras or .h5 file, and from weights with a configuration.

    The reference has no kernels to compile, for each option anew; its peers are compared elsewhere.
    """
    inputs = inputs_for(model) if inputs is None else inputs
    wanted = by_keras(model, inputs)
    path, older, weights = (tmp_path / f"model{end}" for end in (".keras", ".h5", ".weights.h5"))
    model.save(path)
    model.save(older)
    model.save_weights(weights)
    graph = from_keras(path, backend=backend)
    given = {value.name: inputs[tensor.name] for value, tensor in zip(graph.inputs, model.inputs, strict=True)}
    same(graph.run(given), wanted, dtype)
    again = from_keras(older, backend=backend)
    assert (again.nodes, again.inputs, again.outputs) == (graph.nodes, graph.inputs, graph.outputs)
    same([*again.constants.values()], [*graph.constants.values()], dtype)
    same(from_keras(weights, model.to_json(), backend=backend).run(given), wanted, dtype)
    return graph


def stacked(*layers, shape=(STEPS, FEATURES), dtype="float32", name="x", scale=0.7):
    """Layers on top of one another, with weights."""
    return with_weights(keras.Sequential([keras.Input(shape, dtype=dtype, name=name), *layers]), scale=scale)


def drawn(outputs, *inputs):
    """A functional model, with weights."""
    return with_weights(keras.Model([*inputs] if len(inputs) > 1 else inputs[0], outputs))


def sequence(name="x", features=FEATURES, steps=STEPS):
    return keras.Input((steps, features), name=name)


def tokens(name="tokens", steps=STEPS):
    return keras.Input((steps,), dtype="int32", name=name)


# Recurrent layers -----------------------------------------------------------------------------------------------

OF_CELLS = ("linear", "relu", "leaky_relu", "elu", "sigmoid", "hard_sigmoid", "tanh", "softplus", "softsign")
RECURRENT = ("LSTM", "GRU", "SimpleRNN")
FLAGS = ("return_sequences", "go_backwards", "use_bias", "zero_output_for_mask", "unroll", "reset_after")


def recurrent(kind, units=4, **options):
    """A recurrent layer, without options that it does not have."""
    if kind != "GRU":
        options.pop("reset_after", None)
    if kind == "SimpleRNN":
        options.pop("recurrent_activation", None)
    return getattr(L, kind)(units, **options)


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    "flags", [{}, {"use_bias": False, "reset_after": False}, {"zero_output_for_mask": True, "reset_after": False}]
)
def test_recurrent_layers(kind, masked, sequences, backwards, flags, tmp_path):
    layer = recurrent(kind, return_sequences=sequences, go_backwards=backwards, **flags)
    graph = check(stacked(*([L.Masking()] if masked else []), layer), tmp_path)
    assert any(node.domain for node in graph.nodes) == masked


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("name", OF_CELLS)
def test_activations_of_cells(kind, name, tmp_path):
    chosen = [{"activation": name, "return_sequences": True}]
    if kind != "SimpleRNN":
        chosen += [{"recurrent_activation": name, "reset_after": name < "n"}]
        chosen += [{"activation": "leaky_relu", "recurrent_activation": name}]
    for options in chosen:
        check(stacked(recurrent(kind, **options), scale=0.3), tmp_path)  # gates without bounds multiply


def test_activations_of_cells_that_are_layers(tmp_path):
    check(stacked(L.LSTM(4, activation=L.LeakyReLU(negative_slope=0.4), recurrent_activation="linear")), tmp_path)
    check(stacked(L.GRU(4, recurrent_activation=L.ELU(alpha=0.4))), tmp_path)


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("steps", [STEPS, None])
def test_states_come_out_and_go_in(kind, steps, tmp_path):
    x = sequence(steps=steps)
    first = L.Masking()(x) if steps else x
    _, *state = recurrent(kind, return_state=True)(first)
    y = sequence("y", 2, steps)
    check(drawn(recurrent(kind, return_sequences=True, return_state=True)(y, initial_state=state), x, y), tmp_path)


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("given", [False, True])
def test_masks_beside_initial_states(kind, given, tmp_path):
    x, h = sequence(), [keras.Input((4,), name=name) for name in ("h", "c")[: 2 if kind == "LSTM" else 1]]
    masked = L.Masking()(x)
    options = {"mask": keras.ops.any(keras.ops.not_equal(x, 0), axis=-1)} if given else {}
    y = recurrent(kind, return_sequences=True, return_state=True)(masked, initial_state=h, **options)
    summed = L.GlobalAveragePooling1D()(L.Dense(2)(y[0]))
    check(drawn([*y, summed], x, *h), tmp_path)


@pytest.mark.parametrize("kind", RECURRENT)
def test_options_of_training_change_nothing(kind, tmp_path):
    options = {"dropout": 0.3, "recurrent_dropout": 0.2, "kernel_regularizer": "l2", "bias_constraint": "max_norm"}
    check(stacked(recurrent(kind, **options), L.Dropout(0.5), L.GaussianNoise(1.0)), tmp_path)
    check(stacked(recurrent(kind, unroll=True, return_sequences=True)), tmp_path)
    model = stacked(recurrent(kind, return_sequences=True))
    model.trainable = False
    check(model, tmp_path)


def test_unknown_lengths_and_short_sequences(tmp_path):
    model = stacked(L.LSTM(4, return_sequences=True), L.GRU(2, go_backwards=True), shape=(None, 3))
    graph = check(model, tmp_path)
    for rows, steps in ((1, 1), (3, 9)):
        inputs = {"x": np.random.default_rng(0).normal(size=(rows, steps, 3)).astype("float32")}
        same(graph.run(inputs), by_keras(model, inputs))


@pytest.mark.parametrize("cells", [["LSTM"], ["GRU"], ["SimpleRNN"], ["LSTM", "GRU", "SimpleRNN"], ["GRU", "GRU"]])
@pytest.mark.parametrize("masked", [False, True])
def test_cells(cells, masked, tmp_path):
    x = sequence()
    for options in ({"return_sequences": True, "go_backwards": masked}, {"return_state": True}):
        made = [getattr(L, f"{kind}Cell")(3 + k, dropout=0.2) for k, kind in enumerate(cells)]
        layer = L.RNN(made if len(made) > 1 else made[0], **options)
        outputs = layer(L.Masking()(x) if masked else x)
        check(drawn(keras.tree.flatten(outputs), x), tmp_path)


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_both_directions(merge, sequences, masked, tmp_path):
    for kind in RECURRENT:
        x = sequence()
        layer = L.Bidirectional(recurrent(kind, return_sequences=sequences), merge_mode=merge)
        check(drawn(keras.tree.flatten(layer(L.Masking()(x) if masked else x)), x), tmp_path)


@pytest.mark.parametrize("masked", [False, True])
def test_directions_that_differ(masked, tmp_path):
    x = sequence()
    first = L.Masking()(x) if masked else x
    forward = L.LSTM(3, return_sequences=True, activation="relu")
    backward = L.GRU(2, return_sequences=True, go_backwards=True, use_bias=False)
    check(drawn(L.Bidirectional(forward, backward_layer=backward)(first), x), tmp_path)
    turned = L.LSTM(3, return_sequences=True, go_backwards=True)
    check(drawn(L.Bidirectional(turned, backward_layer=L.SimpleRNN(3, return_sequences=True))(first), x), tmp_path)


@pytest.mark.parametrize("merge", ["concat", None])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_states_of_both_directions(kind, merge, tmp_path):
    x, y = sequence(), sequence("y", 2)
    layer = L.Bidirectional(recurrent(kind, return_state=True, return_sequences=True), merge_mode=merge)
    made = [*layer(L.Masking()(x))]
    state = made[1 if merge else 2 :]
    again = L.Bidirectional(recurrent(kind), merge_mode=merge)(y, initial_state=state)
    check(drawn(keras.tree.flatten([made, again]), x, y), tmp_path)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    kind=st.sampled_from(RECURRENT),
    sizes=st.tuples(*[st.integers(1, 6)] * 4),
    flags=st.fixed_dictionaries({name: st.booleans() for name in FLAGS}),
    activation=st.sampled_from(OF_CELLS),
    recurrent_activation=st.sampled_from(OF_CELLS),
    merge=st.sampled_from(["none", "concat", "sum", "mul", "ave"]),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_recurrent_layer(
    kind, sizes, flags, activation, recurrent_activation, merge, masked, seed, tmp_path_factory
):
    rows, steps, features, units = sizes
    if masked and flags["go_backwards"]:
        flags["unroll"] = False  # PyTorch's backend fails there
    layer = recurrent(kind, units, activation=activation, recurrent_activation=recurrent_activation, **flags)
    if merge != "none":
        layer.go_backwards, layer.unroll = False, False
        layer = L.Bidirectional(layer, merge_mode=merge)
    model = keras.Sequential([keras.Input((steps, features), name="x"), *([L.Masking()] if masked else []), layer])
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, steps, features)) * (rng.random((rows, steps, 1)) < 0.6)
    check(with_weights(model, seed, 0.4), tmp_path_factory.mktemp("any"), inputs={"x": x.astype("float32")})


# Other layers ---------------------------------------------------------------------------------------------------

ACTIVATIONS = (
    *OF_CELLS, "relu6", "celu", "selu", "gelu", "silu", "swish", "hard_silu", "hard_swish", "mish", "log_sigmoid",
    "hard_tanh", "tanh_shrink", "exponential", "softmax", "log_softmax",
)  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, tmp_path):
    check(stacked(L.Dense(4, activation=name), L.Activation(name)), tmp_path)


LAYERS = {
    "dense": lambda: [L.Dense(4)],
    "dense without bias": lambda: [L.Dense(4, use_bias=False, activation=L.LeakyReLU(negative_slope=0.4))],
    "dense on vectors": lambda: [L.LSTM(3), L.Dense(4, activation="relu"), L.Dense(1)],
    "relu": lambda: [L.ReLU()],
    "relu with a bound": lambda: [L.ReLU(max_value=0.5)],
    "relu with a slope": lambda: [L.ReLU(negative_slope=0.2)],
    "relu with a threshold": lambda: [L.ReLU(threshold=0.3)],
    "relu with all": lambda: [L.ReLU(max_value=0.8, negative_slope=0.2, threshold=0.3)],
    "relu with bound and slope": lambda: [L.ReLU(max_value=6, negative_slope=0.2)],
    "leaky relu": lambda: [L.LeakyReLU()],
    "leaky relu with a slope": lambda: [L.LeakyReLU(negative_slope=0.1)],
    "elu": lambda: [L.ELU(alpha=0.7)],
    "prelu": lambda: [L.PReLU()],
    "prelu, shared": lambda: [L.PReLU(shared_axes=[1])],
    "softmax": lambda: [L.Softmax()],
    "softmax of steps": lambda: [L.Softmax(axis=1)],
    "dropouts": lambda: [
        L.Dropout(0.5), L.SpatialDropout1D(0.5), L.GaussianNoise(1.0), L.GaussianDropout(0.5), L.AlphaDropout(0.5),
        L.ActivityRegularization(0.1), L.Identity(), L.Dense(2),
    ],
    "flatten": lambda: [L.Flatten(), L.Dense(2)],
    "reshape": lambda: [L.Reshape((2, -1)), L.LSTM(3)],
    "reshape to a vector": lambda: [L.Reshape((18,))],
    "permute": lambda: [L.Permute((2, 1)), L.LSTM(3)],
    "repeat": lambda: [L.LSTM(3), L.RepeatVector(4), L.LSTM(2, return_sequences=True), L.TimeDistributed(L.Dense(2))],
    "batch normalization": lambda: [L.BatchNormalization()],
    "batch normalization of steps": lambda: [L.BatchNormalization(axis=1, epsilon=0.1)],
    "batch normalization, plain": lambda: [L.BatchNormalization(center=False, scale=False), L.LSTM(2)],
    "batch normalization, scaled": lambda: [L.LSTM(4), L.BatchNormalization(center=False)],
    "batch normalization, centred": lambda: [L.BatchNormalization(scale=False, momentum=0.5)],
    "layer normalization": lambda: [L.LayerNormalization()],
    "layer normalization of all": lambda: [L.LayerNormalization(axis=[1, 2], epsilon=0.1)],
    "layer normalization, plain": lambda: [L.LayerNormalization(center=False, scale=False)],
    "layer normalization, centred": lambda: [L.LayerNormalization(scale=False)],
    "average": lambda: [L.GlobalAveragePooling1D()],
    "average, kept": lambda: [L.GlobalAveragePooling1D(keepdims=True)],
    "average of features": lambda: [L.GlobalAveragePooling1D(data_format="channels_first")],
    "largest": lambda: [L.GlobalMaxPooling1D()],
    "largest, kept": lambda: [L.GlobalMaxPooling1D(keepdims=True), L.LSTM(2)],
    "padding": lambda: [L.ZeroPadding1D(2), L.LSTM(2, return_sequences=True)],
    "padding before": lambda: [L.ZeroPadding1D((2, 1))],
    "cropping": lambda: [L.Cropping1D(1), L.LSTM(2, return_sequences=True)],
    "cropping behind": lambda: [L.Cropping1D((0, 2)), L.Cropping1D((2, 0))],
    "rescaling": lambda: [L.Rescaling(2.0, offset=-1.0), L.LSTM(3)],
    "each step dense": lambda: [L.TimeDistributed(L.Dense(2, activation="relu")), L.LSTM(3)],
    "each step normalised": lambda: [L.TimeDistributed(L.BatchNormalization()), L.TimeDistributed(L.Dropout(0.2))],
    "each step with a model": lambda: [
        L.TimeDistributed(keras.Sequential([keras.Input((FEATURES,)), L.Dense(2), L.Dense(4, activation="tanh")])),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, tmp_path):
    graph = check(stacked(*LAYERS[name]()), tmp_path)
    assert all(not node.domain for node in graph.nodes)  # without masks all is ONNX's own


NEED_A_LENGTH = ("prelu", "reshape", "reshape to a vector", "flatten", "permute", "batch normalization of steps",
                 "layer normalization of all", "average of features")  # fmt: skip


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in NEED_A_LENGTH])
def test_layers_of_sequences_of_any_length(name, tmp_path):
    check(stacked(*LAYERS[name](), shape=(None, FEATURES)), tmp_path)


def test_each_step_of_each_step(tmp_path):
    layers = [L.TimeDistributed(L.LSTM(4)), L.LSTM(2)]
    check(stacked(*layers, shape=(5, 4, 2)), tmp_path)
    check(stacked(L.TimeDistributed(L.Flatten()), L.LSTM(2), shape=(5, 4, 2)), tmp_path)
    check(stacked(L.TimeDistributed(L.TimeDistributed(L.Dense(2))), shape=(5, 4, 2)), tmp_path)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
@pytest.mark.parametrize("masked", [False, True])
def test_embeddings(dtype, masked, tmp_path):
    layers = [L.Embedding(TOKENS, 4, mask_zero=masked), L.LSTM(3, return_sequences=True), L.GRU(2)]
    check(stacked(*layers, shape=(STEPS,), dtype=dtype, name="tokens"), tmp_path)


def test_embeddings_without_an_input_layer(tmp_path):
    model = keras.Sequential([L.Embedding(TOKENS, 4, mask_zero=True), L.LSTM(3)])
    model(np.ones((2, STEPS), "int32"))
    with_weights(model)
    model.save(tmp_path / "model.keras")
    graph = from_keras(tmp_path / "model.keras")
    tokens = np.where(MASKS, 3, 0)
    (value,) = graph.inputs
    wanted = keras.ops.convert_to_numpy(model(tokens.astype(value.dtype)))
    same(graph.run({value.name: tokens.astype(value.dtype)}), [wanted])


def test_masking_values(tmp_path):
    model = stacked(L.Masking(mask_value=0.5), L.LSTM(3, return_sequences=True))
    x = np.random.default_rng(0).normal(size=(len(MASKS), STEPS, FEATURES))
    check(model, tmp_path, inputs={"x": np.where(MASKS[..., None], x, 0.5).astype("float32")})
    model = stacked(L.Masking(mask_value=0.5), L.Dense(3, activation="softmax"))  # which sees zeros there
    check(model, tmp_path, inputs={"x": np.where(MASKS[..., None], x, 0.5).astype("float32")})


PASSING = {
    "dense": lambda: [L.Dense(4)],
    "each step": lambda: [L.TimeDistributed(L.Dense(4))],
    "each step dropped out": lambda: [L.TimeDistributed(L.Dropout(0.3))],
    "dropout": lambda: [L.Dropout(0.5), L.SpatialDropout1D(0.2), L.GaussianNoise(1.0), L.ActivityRegularization()],
    "activation": lambda: [L.Activation("tanh"), L.LeakyReLU(), L.PReLU(), L.ELU(), L.ReLU()],
    "normalization": lambda: [L.BatchNormalization(), L.LayerNormalization(), L.Rescaling(2.0)],
    "recurrent": lambda: [L.LSTM(3, return_sequences=True), L.GRU(3, return_sequences=True, go_backwards=True)],
    "both directions": lambda: [L.Bidirectional(L.SimpleRNN(3, return_sequences=True))],
    "none: reshape": lambda: [L.Reshape((STEPS, FEATURES))],
    "none: permute": lambda: [L.Permute((2, 1))],
    "none: flatten": lambda: [L.Flatten(), L.RepeatVector(3)],
    "none: last": lambda: [L.LSTM(3), L.RepeatVector(STEPS)],
    "none: pooling": lambda: [L.GlobalMaxPooling1D(keepdims=True), L.Dense(2)],
    "none: padding": lambda: [L.ZeroPadding1D(1), L.Cropping1D(1)],
    "a model": lambda: [keras.Sequential([L.Dense(4), L.Dropout(0.1)])],
    "a model with a mask in it": lambda: [keras.Sequential([L.Masking(), L.Dense(4)])],
}


@pytest.mark.parametrize("name", PASSING)
def test_masks_go_from_layer_to_layer(name, tmp_path):
    for end in (L.LSTM(3, return_sequences=True), L.GlobalAveragePooling1D()):
        check(stacked(L.Masking(), *PASSING[name](), end), tmp_path)


def test_the_mean_of_steps_that_count(tmp_path):
    check(stacked(L.Masking(), L.GlobalAveragePooling1D(keepdims=True)), tmp_path)


# Models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
@pytest.mark.parametrize("masked", [(False, False), (True, False), (True, True)])
def test_several_become_one(kind, masked, tmp_path):
    x, y = sequence(), sequence("y")
    a, b = (L.Dense(4)(L.Masking()(each) if flag else each) for each, flag in zip((x, y), masked, strict=True))
    z = getattr(L, kind)()([a, b])
    check(drawn([z, L.LSTM(3, return_sequences=True)(z)], x, y), tmp_path)


def test_steps_after_steps(tmp_path):
    x, y = sequence(), sequence("y")
    for masked in (x, L.Masking()(x)):
        z = L.Concatenate(axis=1)([masked, y])
        check(drawn(L.LSTM(3, return_sequences=True)(z), x, y), tmp_path)


def test_vectors_and_sequences_become_one(tmp_path):
    x = sequence()
    check(drawn(L.Add()([L.LSTM(4)(x), L.Dense(4)(x)]), x), tmp_path)
    check(drawn(L.Average()([L.LSTM(4)(x), L.GRU(4)(x), L.SimpleRNN(4)(x)]), x), tmp_path)


def test_shared_layers(tmp_path):
    x, y = sequence(), sequence("y")
    lstm, dense = L.LSTM(3, return_sequences=True), L.Dense(3)
    a, b = lstm(dense(x)), lstm(dense(L.Masking()(y)))
    check(drawn([lstm(a), L.Add()([a, b]), b], x, y), tmp_path)


def test_models_in_models(tmp_path):
    inner = keras.Sequential([keras.Input((STEPS, 4)), L.LSTM(3, return_sequences=True), L.Dense(2)])
    p, q = keras.Input((STEPS, 2), name="p"), keras.Input((3,), name="q")
    middle = keras.Model([p, q], [L.GRU(3)(p), L.Dense(2)(q)], name="middle")
    x = sequence()
    y = inner(L.Dense(4)(x))
    a, b = middle([y, L.LSTM(3)(x)])
    c, d = middle([y, a])
    check(drawn([a, b, c, L.Add()([b, d]), inner(L.Dense(4)(y))], x), tmp_path)


def test_masks_in_models_in_models(tmp_path):
    p = keras.Input((STEPS, FEATURES))
    inner = keras.Model(p, L.LSTM(3, return_sequences=True)(p))
    q = keras.Input((STEPS, FEATURES))
    masking = keras.Model(q, L.Dense(4)(L.Masking()(q)))
    x = sequence()
    check(drawn([L.GRU(2)(inner(L.Masking()(x))), L.GRU(2, return_sequences=True)(masking(x))], x), tmp_path)


@pytest.mark.parametrize("kind", ["Add", "Multiply", "Maximum", "Concatenate"])
def test_masks_that_come_out_of_models(kind, tmp_path):
    """Where Keras's files do not name masks, as they do between layers of one model."""
    q = keras.Input((STEPS, FEATURES))
    masking = keras.Model(q, L.Dense(4)(L.Masking()(q)))
    x, y = sequence(), sequence("y")
    merged = getattr(L, kind)()([masking(x), masking(keras.ops.flip(y, 1))])
    plain = getattr(L, kind)()([masking(x), L.Dense(4)(y)])
    check(drawn([L.LSTM(2, return_sequences=True)(each) for each in (merged, plain)], x, y), tmp_path)


def test_layers_shared_between_models(tmp_path):
    dense, x = L.Dense(FEATURES), sequence()
    model = drawn([dense(x), L.TimeDistributed(dense)(x)], x)
    inputs = inputs_for(model)
    model.save(tmp_path / "model.keras")
    same(from_keras(tmp_path / "model.keras").run(inputs), by_keras(model, inputs))


def test_several_inputs_and_outputs(tmp_path):
    words, x, still = tokens(), sequence(), keras.Input((4,), name="still")
    y = L.LSTM(3)(L.Embedding(TOKENS, 3, mask_zero=True)(words))
    z = L.Concatenate()([y, L.GRU(2)(x), still])
    graph = check(drawn([L.Dense(2, name="first")(z), L.Dense(1, name="second")(z)], x, words, still), tmp_path)
    assert [value.name for value in graph.inputs] == ["x", "tokens", "still"]
    assert [value.name for value in graph.outputs] == ["first", "second"]


def test_inputs_and_outputs_by_name(tmp_path):
    x, y = sequence("b"), sequence("a")
    model = with_weights(keras.Model({"b": x, "a": y}, {"z": L.LSTM(2)(x), "q": L.GRU(3)(y)}))
    inputs = inputs_for(model)
    model.save(tmp_path / "model.keras")
    graph = from_keras(tmp_path / "model.keras")
    wanted = model(inputs)
    same(graph.run(inputs), [keras.ops.convert_to_numpy(wanted[name]) for name in ("q", "z")])


def test_sequential_models_in_many_forms(tmp_path):
    inner = keras.Sequential([keras.Input((STEPS, FEATURES), name="x"), L.Masking(), L.LSTM(4, return_sequences=True)])
    check(with_weights(keras.Sequential([inner, L.GRU(2)])), tmp_path)
    check(stacked(keras.Sequential([L.LSTM(3, return_sequences=True)]), L.LSTM(2)), tmp_path)
    x = sequence()
    functional = keras.Model(x, L.LSTM(3, return_sequences=True)(x))
    check(stacked(functional, L.LSTM(2)), tmp_path)
    check(stacked(L.Masking(), L.Bidirectional(L.RNN(L.LSTMCell(3), return_sequences=True)), L.Dense(1)), tmp_path)


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_models_that_are_not_built(tmp_path):
    keras.Sequential([L.LSTM(3)]).save(tmp_path / "model.keras")
    with pytest.raises(
        ValueError, match="its input must have a shape, a list of lengths, got None; build the model first"
    ):
        from_keras(tmp_path / "model.keras")


class Subclass(keras.Model):
    def call(self, x):
        return x


def test_code_is_not_run(tmp_path):
    custom = keras.saving.register_keras_serializable("mine")(type("Custom", (L.LSTM,), {}))
    models = {
        "layers of this kind are not supported": stacked(L.Lambda(lambda x: x + 1)),
        "custom objects are code": stacked(custom(3)),
        "one of Keras's own": Subclass(),
        "Conv1D.*not supported": stacked(L.SeparableConv1D(2, 3)),
    }
    for message, model in models.items():
        model(np.zeros((1, STEPS, FEATURES), "float32"))
        model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=message):
            from_keras(tmp_path / "model.keras")


def test_what_is_not_exact_is_refused(tmp_path):
    for layers, message in (
        ([L.LSTM(3, dtype="mixed_float16")], "dtype must be one of"),
        ([L.Masking(), L.Softmax()], "its input must have no mask"),
        ([L.Masking(), L.TimeDistributed(keras.Sequential([L.Dense(2)]))], "without a mask around"),
    ):
        keras.Sequential([keras.Input((STEPS, STEPS)), *layers]).save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=message):
            from_keras(tmp_path / "model.keras")
    model = keras.Sequential([keras.Input((STEPS, 2), batch_size=4), L.LSTM(3, stateful=True)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="stateful must be False"):
        from_keras(tmp_path / "model.keras")


def test_a_model_that_gives_its_input(tmp_path):
    x = sequence()
    check(drawn([x, L.LSTM(2)(x), x], x), tmp_path)


OPERATIONS = {
    "arithmetic": lambda x: [x + 1, 2 - x, x * 0.5, x / 3, -x, x**2, x - x * x],
    "parts": lambda x: [x[:, -1], x[:, 1:4], x[..., 0], x[:, 1:-1:2, None], x[:, 0, 1]],
    "functions": lambda x: [getattr(keras.ops, name)(x) for name in ("exp", "tanh", "sigmoid", "relu", "abs", "square",
                                                                      "silu", "gelu", "softplus", "elu")],
    "reductions": lambda x: [keras.ops.mean(x, axis=1), keras.ops.max(x, axis=-1, keepdims=True),
                             keras.ops.sum(x, axis=(1, 2)), keras.ops.min(x, axis=2)],
    "shapes": lambda x: [keras.ops.expand_dims(x, 1), keras.ops.squeeze(x[:, :1], 1), keras.ops.transpose(x, (0, 2, 1)),
                         keras.ops.reshape(x, (-1, 3, 6)), keras.ops.concatenate([x, x + 1], -1),
                         keras.ops.stack([x, x * 2], 1), keras.ops.stack([x, x * 2], -1), keras.ops.flip(x, 1)],
    "choices": lambda x: [keras.ops.where(x > 0, x, 0.5 * x), keras.ops.maximum(x, 0.1), keras.ops.minimum(x, x * 2),
                          keras.ops.cast(x < 0, "int32"), keras.ops.cast(x, "float64"),
                          keras.ops.ones_like(x), keras.ops.softmax(x, axis=1)],
    "bools": lambda x: [keras.ops.cast(each, "float32") for each in (
        keras.ops.logical_and(x > 0, x < 1), keras.ops.logical_not(x >= 0), keras.ops.any(x > 0, axis=1), x != 0)],
    "products": lambda x: [keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1)))],
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name, tmp_path):
    x = sequence()
    y = L.LSTM(FEATURES, return_sequences=True)(x)
    check(drawn(OPERATIONS[name](y), x), tmp_path)


def test_attention_by_hand(tmp_path):
    x = sequence()
    y = L.Bidirectional(L.LSTM(3, return_sequences=True))(L.Masking()(x))
    scores = L.Softmax(axis=1)(keras.ops.squeeze(L.Dense(1, activation="tanh")(y), -1))
    summed = keras.ops.sum(y * keras.ops.expand_dims(scores, -1), axis=1)
    check(drawn(L.Dense(2)(summed), x), tmp_path)


def test_double_precision(tmp_path):
    layers = [L.Masking(dtype="float64"), L.LSTM(3, return_sequences=True, dtype="float64"), L.GRU(2, dtype="float64")]
    graph = check(stacked(layers[1], dtype="float64"), tmp_path, "float64")
    assert graph.layers[0].dtype == "float64"
    model = stacked(*layers, L.Dense(2, dtype="float64"), dtype="float64")
    model.save(tmp_path / "model.keras")
    result, wanted = from_keras(tmp_path / "model.keras").run(inputs_for(model))[0], by_keras(model, inputs_for(model))
    assert result.dtype == "float64"
    np.testing.assert_allclose(result, wanted[0], **TOLERANCES["float32"])  # as Keras multiplies on PyTorch


def test_precision_that_changes(tmp_path):
    layers = [L.LSTM(3, return_sequences=True, dtype="float64"), L.GRU(2, dtype="float32")]
    check(stacked(*layers), tmp_path)


def test_predictions(tmp_path):
    model = stacked(L.Masking(), L.Bidirectional(L.LSTM(4)), L.Dense(1, activation="sigmoid"))
    model.compile("adam", "mse", metrics=["mae"])  # their state is in the file, too
    inputs = inputs_for(model)
    model.fit(inputs["x"], np.zeros((len(MASKS), 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    same(from_keras(tmp_path / "model.keras").run(inputs), [model.predict(inputs["x"], verbose=0)])


def test_backends(tmp_path):
    model = stacked(L.LSTM(3))
    model.save(tmp_path / "model.keras")
    graph = from_keras(tmp_path / "model.keras", backend="reference")
    assert graph.backend == "reference"
    same(graph.run(inputs_for(model)), by_keras(model, inputs_for(model)))


@pytest.mark.parametrize("form", ["text", "mapping", "path"])
def test_forms_of_configurations(form, tmp_path):
    model = stacked(L.LSTM(3), L.Dense(2))
    model.save_weights(tmp_path / "model.weights.h5")
    text = model.to_json()
    (tmp_path / "model.json").write_text(text)
    config = {"text": text, "mapping": json.loads(text), "path": tmp_path / "model.json"}[form]
    graph = from_keras(str(tmp_path / "model.weights.h5"), config)
    same(graph.run(inputs_for(model)), by_keras(model, inputs_for(model)))
