"""Keras's layers over windows of steps, and attention, compute the same as graphs: every option, against Keras."""

import os
import warnings

import numpy as np
import pytest

from numlstm.io import from_keras

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("h5py")
keras = pytest.importorskip("keras", minversion="3")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask attached to it"),
]
L = keras.layers
STEPS, FEATURES = 7, 4


def with_weights(model, seed=0):
    """A model whose weights are all different."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.normal(0.0, 0.5, weight.shape)
        weight.assign(np.abs(value) + 0.1 if "variance" in weight.path else value.astype(weight.dtype))
    for each in model.layers:
        if isinstance(each, L.Normalization):
            each.finalize_state()
    return model


def inputs_of(model, steps=STEPS, seed=1):
    """Numbers for each input, some steps of which are masked by zeros."""
    rng = np.random.default_rng(seed)
    made = {}
    for tensor in model.inputs:
        shape = (5, *(steps if size is None else size for size in tensor.shape[1:]))
        kept = rng.random(shape[:2]) < 0.7
        made[tensor.name] = (rng.normal(size=shape) * kept.reshape(kept.shape + (1,) * (len(shape) - 2))).astype(
            tensor.dtype
        )
    return made


def check(model, tmp_path, steps=(STEPS,), dtype="float32"):
    """The model computes the same when it comes from a file, for sequences of some lengths."""
    with_weights(model).save(tmp_path / "model.keras")
    graph = from_keras(tmp_path / "model.keras", backend="reference")
    for number in steps:
        inputs = inputs_of(model, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            truth = model([inputs[tensor.name] for tensor in model.inputs], training=False)
        truth = [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(truth)]
        found = graph.run(inputs)
        assert len(found) == len(truth)
        tolerance = 1e-5 if dtype == "float32" else 1e-10
        for result, expected, value in zip(found, truth, graph.outputs, strict=True):
            assert result.dtype == expected.dtype
            assert result.shape == expected.shape
            lengths = zip(value.shape, result.shape, strict=True)
            assert all(known in (None, length) for known, length in lengths)  # what the graph says of it
            np.testing.assert_allclose(result, expected, tolerance, tolerance)
    return graph


def stacked(*layers, steps=STEPS, dtype="float32"):
    return keras.Sequential([keras.Input((steps, FEATURES), dtype=dtype, name="x"), *layers])


# Convolutions and pooling -----------------------------------------------------------------------------------------

CONVOLUTIONS = {
    "plain": {},
    "strides": {"strides": 3},
    "dilation": {"dilation_rate": 2},
    "groups": {"groups": 2},
    "channels by themselves": {"groups": 4, "filters": 8},
    "without bias": {"use_bias": False, "activation": "relu"},
    "activation": {"activation": "gelu"},
    "one step": {"kernel_size": 1, "strides": 2},
    "even": {"kernel_size": 2},
    "even, strides": {"kernel_size": 4, "strides": 2},
}


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, padding, tmp_path):
    options = {"filters": 6, "kernel_size": 3, "padding": padding, **CONVOLUTIONS[name]}
    for steps, lengths in ((STEPS, (STEPS,)), (None, (STEPS, 5, 12))):
        graph = check(stacked(L.Conv1D(**options), steps=steps), tmp_path, lengths)
        assert all(not node.domain for node in graph.nodes)


@pytest.mark.parametrize("kind", ["MaxPooling1D", "AveragePooling1D"])
@pytest.mark.parametrize(
    "options",
    [{"pool_size": 2}, {"pool_size": 3}, {"pool_size": 3, "strides": 1}, {"pool_size": 2, "strides": 3},
     {"pool_size": 4, "strides": 2}, {"data_format": "channels_first", "pool_size": 2},
     {"data_format": "channels_first", "pool_size": 3, "strides": 1}],
)  # fmt: skip
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pooling(kind, options, padding, tmp_path):
    layer = getattr(L, kind)(padding=padding, **options)
    if kind == "AveragePooling1D" and padding == "same" and options.get("pool_size") == 4:
        with pytest.raises(
            ValueError, match=r"padding must be 'valid': with 'same' Keras's backends differ .*, got 'same'"
        ):
            check(stacked(layer), tmp_path)
        return
    check(stacked(layer), tmp_path)


@pytest.mark.parametrize("kind", ["MaxPooling1D", "AveragePooling1D"])
@pytest.mark.parametrize(
    "options",
    [{"pool_size": 2}, {"pool_size": 2, "padding": "same"}, {"padding": "same", "pool_size": 3, "strides": 1}],
)
def test_pooling_of_sequences_of_any_length(kind, options, tmp_path):
    check(stacked(getattr(L, kind)(**options), steps=None), tmp_path, (STEPS, 4, 3))


def test_averages_at_ends_that_backends_make_differently(tmp_path):
    model = stacked(L.AveragePooling1D(3, 2, padding="same"), steps=None)
    with pytest.raises(ValueError, match="padding must be 'valid': with 'same' Keras's backends differ if the ends do"):
        check(model, tmp_path)
    check(stacked(L.AveragePooling1D(3, 2, padding="same"), steps=7), tmp_path)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("steps", [STEPS, None])
def test_up_sampling(size, steps, tmp_path):
    check(stacked(L.UpSampling1D(size), steps=steps), tmp_path)


def test_masks_end_there(tmp_path):
    """As in Keras, whose layers over windows take no mask, and pass none on."""
    for layer in (L.Conv1D(3, 3, padding="same"), L.MaxPooling1D(2), L.AveragePooling1D(2), L.UpSampling1D(2)):
        model = stacked(L.Masking(), layer, L.LSTM(3, return_sequences=True))
        graph = check(model, tmp_path)
        assert all(not node.domain for node in graph.nodes)  # steps are not moved for any mask


def test_convolutions_before_recurrent_layers(tmp_path):
    layers = [L.Conv1D(6, 3, padding="same", activation="relu"), L.MaxPooling1D(2), L.Bidirectional(L.LSTM(3))]
    check(stacked(*layers, L.Dense(2), steps=None), tmp_path, (STEPS, 12))


def test_double_precision(tmp_path):
    layers = [L.Conv1D(6, 3, dtype="float64"), L.AveragePooling1D(2, dtype="float64")]
    check(stacked(*layers, dtype="float64"), tmp_path, dtype="float64")


def test_each_step_of_sequences_of_sequences(tmp_path):
    x = keras.Input((3, STEPS, FEATURES), name="x")
    check(keras.Model(x, L.TimeDistributed(L.Conv1D(2, 3))(x)), tmp_path)


# Attention --------------------------------------------------------------------------------------------------------

PRODUCTS = [
    ((3, 4), (3, 4), 1), ((3, 4), (3, 4), 2), ((3, 4), (3, 4), -1), ((3, 4), (5, 4), 2), ((3, 4), (4, 5), (2, 1)),
    ((4,), (4,), 1), ((4,), (5, 4), (1, 2)), ((5, 4), (4,), (-1, -1)), ((3, 2, 4), (4, 5), (3, 1)),
    ((2, 4), (3, 4, 5), (2, 2)), ((None, 4), (None, 4), (2, 2)),
]  # fmt: skip


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("first", "second", "axes"), PRODUCTS)
def test_products(first, second, axes, normalize, tmp_path):
    x, y = keras.Input(first, name="x"), keras.Input(second, name="y")
    check(keras.Model([x, y], L.Dot(axes, normalize=normalize)([x, y])), tmp_path)


@pytest.mark.parametrize("masked", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("Attention", {}), ("Attention", {"use_scale": True}), ("Attention", {"score_mode": "concat", "dropout": 0.3}),
     ("Attention", {"score_mode": "concat", "use_scale": True}), ("AdditiveAttention", {}),
     ("AdditiveAttention", {"use_scale": False})],
)  # fmt: skip
def test_attention(kind, options, masked, tmp_path):
    inputs = [keras.Input((steps, FEATURES), name=name) for steps, name in ((5, "q"), (STEPS, "v"), (STEPS, "k"))]
    q, v = (L.Masking()(each) if flag else each for each, flag in zip(inputs, masked, strict=False))
    both = getattr(L, kind)(**options)([q, v])
    three = getattr(L, kind)(**options)([q, v, inputs[2]])
    check(keras.Model(inputs, [both, three, L.Dense(2)(both)]), tmp_path)


def test_attention_between_layers(tmp_path):
    x = keras.Input((None, FEATURES), name="x")
    y = L.LSTM(3, return_sequences=True)(L.Conv1D(5, 3, padding="causal")(x))
    check(keras.Model(x, L.GlobalAveragePooling1D()(L.Attention()([y, y]))), tmp_path, (STEPS, 3))


def test_a_layer_under_the_mask_that_attention_leaves(tmp_path):
    """Keras writes that mask as operations, one of which makes a tensor of what is one."""
    x = keras.Input((None, 3), name="x")
    y = L.Masking()(x)
    check(keras.Model(x, L.LSTM(2)(L.Attention()([y, y]))), tmp_path, (STEPS, 3))


@pytest.mark.parametrize("options", [{}, {"axis": None}, {"axis": 1}, {"axis": (1, 2)}, {"invert": True}])
def test_normalization(options, tmp_path):
    check(stacked(L.Normalization(**options)), tmp_path)


# Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: L.Conv1D(2, 3, data_format="channels_first"), r"\(Conv1D\): data_format must be one of"),
        (lambda: L.Normalization(mean=0.5, variance=2.0), "mean must be None, with adapt to find it in data"),
    ],
)
def test_what_is_refused(layer, message, tmp_path):
    stacked(layer()).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=message):
        from_keras(tmp_path / "model.keras")


@pytest.mark.parametrize("options", [{"return_attention_scores": True}, {"use_causal_mask": True}])
def test_attention_is_called_plainly(options, tmp_path):
    x = keras.Input((STEPS, FEATURES), name="x")
    keras.Model(x, keras.tree.flatten(L.Attention()([x, x], **options))).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=f"argument {next(iter(options))!r} must be left out"):
        from_keras(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("layer", "changes", "message"),
    [
        ("conv1d", {"padding": "full"}, "padding must be one of"),
        ("conv1d", {"strides": 0}, "strides must be one number of at least 1"),
        ("conv1d", {"strides": [1, 1]}, "strides must be one number of at least 1"),
        ("conv1d", {"kernel_size": [2]}, r"kernel must have shape \(2, 4, 6\), got \(3, 4, 6\)"),
        ("conv1d", {"dilation_rate": 2, "strides": 2}, "strides must be 1 with a dilation_rate"),
        ("conv1d", {"dilation_rate": 9}, "its windows of 19 steps must fit in its input"),
        ("conv1d", {"groups": 3}, "groups must be a divisor of 4 channels and 6 filters"),
        ("conv1d", {"lora_rank": 2}, "lora_rank must be False: it is not supported"),
        ("conv1d", {"filters": 0}, "filters must be an integer of at least 1"),
        ("conv1d", {"other": 1}, "option 'other' is not supported"),
        ("max_pooling1d", {"pool_size": -1}, "pool_size must be one number of at least 1"),
        ("max_pooling1d", {"strides": 1 << 62}, r"\(MaxPool\): strides must be 1 integers of at least 1"),
        ("max_pooling1d", {"padding": "causal"}, "padding must be one of"),
        ("up_sampling1d", {"size": 0}, "size must be an integer of at least 1"),
        ("up_sampling1d", {"size": 1 << 40}, r"\(Tile\): the result would have"),
        ("attention", {"score_mode": "other"}, "score_mode must be one of"),
        ("dot", {"axes": 0}, "axes must be axes of one length, and not the first"),
        ("dot", {"axes": [1, 2]}, "axes must be axes of one length, and not the first"),
        ("dot", {"axes": [1, 2, 3]}, "axes must be one number or two"),
        ("dot", {"axes": 3}, r"axes must be in \[-3, 2\]"),
    ],
)
def test_options_in_files_are_checked(layer, changes, message, tmp_path):
    keras.utils.clear_session()
    x = keras.Input((STEPS, FEATURES), name="x")
    y = L.UpSampling1D(2)(L.MaxPooling1D(2)(L.Conv1D(6, 3)(x)))
    model = keras.Model(x, L.Dot(2, name="dot")([y, L.Attention(name="attention")([y, y])]))
    model.save_weights(tmp_path / "model.weights.h5")
    config = model.get_config()
    kinds = {"conv1d": "Conv1D", "max_pooling1d": "MaxPooling1D", "up_sampling1d": "UpSampling1D"}
    for each in config["layers"]:
        if each["class_name"] == kinds.get(layer, layer.title()):
            each["config"].update(changes)
    text = {"module": "keras", "class_name": "Functional", "config": config, "registered_name": "Functional"}
    with pytest.raises(ValueError, match=message):
        from_keras(tmp_path / "model.weights.h5", text).run({"x": np.zeros((1, STEPS, FEATURES), "float32")})
