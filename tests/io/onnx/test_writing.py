"""Models as ONNX: what ONNX Runtime makes of them, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
from pairwise import pairwise
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from numlstm import GRU, LSTM, RNN, LSTMClassifier, LSTMRegressor, SequenceEncoder, SequenceImputer, SequenceScaler
from numlstm.graphs.graph import Graph, Node, Value
from numlstm.io import from_keras, from_onnx, to_onnx
from numlstm.io.onnx.exporting import graph_of

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
runtime.set_default_logger_severity(4)

N, T, D = 4, 6, 3
LENGTHS = np.array([6, 1, 4, 6], "int32")
CLOSE = {"rtol": 2e-5, "atol": 2e-6}  # single precision, in another order


def x_of(seed=0, shape=(N, T, D)):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def filled(layer, seed=1):
    """The layer with weights that matter, biases among them."""
    rng = np.random.default_rng(seed)
    layer.set_parameters({name: 0.6 * rng.normal(size=array.shape) for name, array in layer.parameters.items()})
    return layer


def run(model, feeds):
    """What ONNX Runtime makes of it."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def check(model, expected, feeds=None, **options):
    """Outputs in ONNX Runtime, and by the graph here, before it is written and after it is read."""
    feeds = {"x": x_of(), "sequence_lens": LENGTHS} if feeds is None else feeds
    made = to_onnx(model, **options)
    given = {name: value for name, value in options.items() if name in ("state", "lengths")}
    found = [run(made, feeds), from_onnx(made).run(feeds), graph_of(model, **given).run(feeds)]
    for outputs in found:
        assert len(outputs) == len(expected)
        for got, want in zip(outputs, expected, strict=True):
            want = np.asarray(want)
            assert got.shape == want.shape
            if want.dtype.kind == "f":
                assert got.dtype == want.dtype
                np.testing.assert_allclose(got, want, **CLOSE)
            else:
                assert (got == want).all()
    return made


# Layers -----------------------------------------------------------------------------------------------------

COMMON = {
    "num_layers": (1, 2),
    "bidirectional": (False, True),
    "bias": (True, False),
    "merge": ("concat", "sum", "mean"),
    "residual": (False, True),
    "preactivation_clip": (None, 0.7),
}
FACTORS = {
    LSTM: COMMON | {
        "peepholes": (False, True),
        "coupled_gates": (False, True, "input"),
        "input_activation": ("tanh", "softsign", ("elu", 0.7), "identity"),
        "output_activation": ("tanh", ("scaled_tanh", 1.3, 0.8), "relu"),
    },
    GRU: COMMON | {
        "reset_after": (True, False),
        "recurrent_activation": ("sigmoid", ("hard_sigmoid", 0.3, 0.4), "softsign"),
        "input_activation": ("tanh", ("leaky_relu", 0.2), ("affine", 0.5, 0.1)),
    },
    RNN: COMMON | {"nonlinearity": ("tanh", "relu", ("thresholded_relu", 0.3), "softplus")},
}  # fmt: skip


def sensible(options):
    """Without what makes no sense together."""
    options = dict(options)
    if not options["bidirectional"]:
        options.pop("merge")
    if options["num_layers"] == 1:
        options.pop("residual")
    return options


LAYERS = [(kind, sensible(options)) for kind, factors in FACTORS.items() for options in pairwise(factors)]


def states_of(state):
    """Final states as a list."""
    return list(state) if isinstance(state, tuple) else [state]


@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_layers(kind, options):
    layer = filled(kind(D, 5, **options))
    y, state = layer(x_of(), lengths=LENGTHS)
    check(layer, [y, *states_of(state)])


@pytest.mark.parametrize(
    "missing", [["input_gate"], ["forget_gate"], ["output_gate"], ["input_gate", "forget_gate", "output_gate"]]
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("others", [{}, {"bidirectional": True, "preactivation_clip": 60.0}])
def test_gates_that_are_not_there_are_open(missing, bias, others):
    options = dict.fromkeys(missing, False) | others | {"bias": bias, "peepholes": len(missing) < 3}
    layer = filled(LSTM(D, 5, **options))
    before = {name: array.copy() for name, array in layer.parameters.items()}
    y, state = layer(x_of(), lengths=LENGTHS)
    check(layer, [y, *state])
    assert all((layer.parameters[name] == array).all() for name, array in before.items())


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
def test_layers_that_differ_in_size(kind):
    layer = filled(kind(D, [5, 2], bidirectional=True))
    y, state = layer(x_of(), lengths=LENGTHS)
    expected = [np.stack(each[2 * k : 2 * k + 2]) for each in (state if kind is LSTM else [state]) for k in range(2)]
    made = check(layer, [y, *expected])
    names = [value.name for value in made.graph.output]
    assert names == ["y", "h_n_l0", "h_n_l1", "c_n_l0", "c_n_l1"][: len(names)]
    with pytest.raises(ValueError, match=r"state must be False if layers differ in size, got hidden_size=\[5, 2\]"):
        to_onnx(layer, state=True)


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
@pytest.mark.parametrize("layers", [1, 3])
def test_initial_states_as_inputs(kind, layers):
    layer = filled(kind(D, 4, layers, bidirectional=True))
    rng = np.random.default_rng(3)
    initial = [rng.normal(size=(2 * layers, N, 4)).astype("float32") for _ in range(1 + (kind is LSTM))]
    y, state = layer(x_of(), tuple(initial) if kind is LSTM else initial[0], LENGTHS)
    feeds = {"x": x_of(), "sequence_lens": LENGTHS} | dict(zip(("h_0", "c_0"), initial, strict=False))
    check(layer, [y, *states_of(state)], feeds, state=True)


def test_steps_one_by_one():
    """What a service does that keeps the state itself."""
    layer = filled(LSTM(D, 4, 2))
    made, x = to_onnx(layer, state=True), x_of()
    h, c = np.zeros((2, 2, N, 4), "float32")
    for t in range(T):
        feeds = {"x": x[:, t : t + 1], "sequence_lens": np.ones(N, "int32"), "h_0": h, "c_0": c}
        y, h, c = run(made, feeds)
    expected, state = layer(x)
    np.testing.assert_allclose(y[:, 0], expected[:, -1], **CLOSE)
    np.testing.assert_allclose([h, c], state, **CLOSE)


def test_other_sizes_than_those_it_was_written_with():
    layer = filled(GRU(D, 5, 2, bidirectional=True))
    for shape in ((1, 1), (2, 9)):
        x, lengths = x_of(2, (*shape, D)), np.full(shape[0], shape[1], "int32")
        y, h_n = layer(x)
        check(layer, [y, h_n], {"x": x, "sequence_lens": lengths})


def test_fixed_sizes():
    layer = filled(LSTM(D, 5))
    y, state = layer(x_of(), lengths=LENGTHS)
    made = check(layer, [y, *state], dynamic=False, shape=(N, T))
    dimensions = [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim]
    assert dimensions == [N, T, D]
    free = [d.dim_param for d in to_onnx(layer).graph.input[0].type.tensor_type.shape.dim]
    assert free == ["N", "T", ""]
    with pytest.raises(ValueError, match=r"shape must be \(N, T\) with dynamic=False, got None"):
        to_onnx(layer, dynamic=False)
    with pytest.raises(ValueError, match=r"shape must be None with dynamic=True, got \(2, 3\)"):
        to_onnx(layer, shape=(2, 3))
    with pytest.raises(ValueError, match=r"shape\[1\] must be at least 1, got 0"):
        to_onnx(layer, dynamic=False, shape=(2, 0))
    with pytest.raises(TypeError, match="dynamic must be True or False, got 'yes'"):
        to_onnx(layer, dynamic="yes")
    with pytest.raises(TypeError, match="state must be True or False, got 1"):
        to_onnx(layer, state=1)


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
def test_double_precision(kind):
    """ONNX Runtime has no such kernels, but the checker, and the graph, know them."""
    layer = filled(kind(D, 5, 2, bidirectional=True, dtype="float64"))
    x = x_of().astype("float64")
    y, state = layer(x, lengths=LENGTHS)
    outputs = from_onnx(to_onnx(layer)).run({"x": x, "sequence_lens": LENGTHS})
    for got, want in zip(outputs, [y, *states_of(state)], strict=True):
        assert got.dtype == np.float64
        np.testing.assert_array_equal(got, want)


def test_what_matters_in_training_alone_is_left_out():
    options = {"dropout": 0.4, "input_dropout": 0.2, "recurrent_dropout": 0.3, "weight_dropout": 0.1, "recompute": True}
    layer = filled(LSTM(D, 5, 2, **options, coupled_gates=True, init="torch", forget_bias=2.0))
    y, state = layer(x_of(), lengths=LENGTHS)
    check(layer, [y, *state])


REFUSED = [
    (LSTM, {"proj_size": 2}, "only options that ONNX's LSTM has, got proj_size=2"),
    (
        LSTM,
        {"proj_size": 3, "coupled_gates": True},
        "only options that ONNX's LSTM has, got proj_size=3",
    ),
    (
        LSTM,
        {"layer_norm": True, "input_gate": False},
        "only options that ONNX's LSTM has, got layer_norm=True",
    ),
    (LSTM, {"layer_norm": True}, "only options that ONNX's LSTM has, got layer_norm=True"),
    (GRU, {"layer_norm": True}, "only options that ONNX's GRU has, got layer_norm=True"),
    (LSTM, {"cell_clip": 0.5}, "only options that ONNX's LSTM has, got cell_clip=0.5"),
    (
        LSTM,
        {"full_gate_recurrence": True},
        "only options that ONNX's LSTM has, got full_gate_recurrence=True",
    ),
    (RNN, {"zoneout": 0.5}, "only options that ONNX's RNN has, got zoneout=(0.5,)"),
    (
        LSTM,
        {"coupled_gates": True, "recurrent_activation": "relu"},
        "only options that ONNX's LSTM has, got co",
    ),
    (
        LSTM,
        {"input_gate": False, "recurrent_activation": "tanh"},
        "only options that ONNX's LSTM has, got inp",
    ),
    (
        LSTM,
        {"output_gate": False, "preactivation_clip": 2.0},
        "only options that ONNX's LSTM has, got output_",
    ),
]


@pytest.mark.parametrize(("kind", "options", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_options_without_a_place(kind, options, message, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=f"^(layer must have )?{re.escape(message)}"):
        to_onnx(kind(D, 5, **options), path)
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (RNN, {"preactivation_clip": 1e-60}, "clip must be 0 or in the range of float32 to be in ONNX, got 1e-60"),
        (
            LSTM,
            {"input_activation": ("elu", 1e60)},
            "activation_alpha must be 0 or in the range of float32 .* got 1e.60",
        ),
        (
            GRU,
            {"recurrent_activation": ("affine", 1.0, -1e-60)},
            "activation_beta must be 0 or in the range of float32",
        ),
    ],
)
def test_numbers_without_a_place(kind, options, message):
    with pytest.raises(ValueError, match=message):
        to_onnx(kind(D, 5, **options))


def test_a_clip_beyond_all_numbers_is_none():
    layer = filled(LSTM(D, 5, preactivation_clip=1e60))
    y, state = layer(x_of(), lengths=LENGTHS)
    check(layer, [y, *state])


def test_files(tmp_path):
    layer = filled(LSTM(D, 5))
    path = tmp_path / "model.onnx"
    made = to_onnx(layer, path)
    assert path.read_bytes() == made.SerializeToString()
    onnx.checker.check_model(path, full_check=True)
    again = to_onnx(layer, str(path))
    assert again.SerializeToString() == made.SerializeToString()
    with pytest.raises(OSError, match="none"):
        to_onnx(layer, tmp_path / "none" / "model.onnx")
    with pytest.raises(TypeError, match=r"str, bytes or os\.PathLike"):
        to_onnx(layer, 3)


# Estimators -------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
SEQUENCES = [RNG.normal(size=(steps, D)) for steps in RNG.integers(1, T + 1, 40)]
LABELS = {
    "texts": np.array(["low", "middle", "high"])[RNG.integers(0, 3, 40)],
    "objects": np.array(["low", "ä"], object)[RNG.integers(0, 2, 40)],
    "integers": RNG.integers(0, 4, 40) * 7 - 5,
    "bools": RNG.integers(0, 2, 40).astype(bool),
    "reals": RNG.integers(0, 2, 40) * 0.0 + RNG.integers(0, 2, 40),
    "several": RNG.integers(0, 2, (40, 3)),
}


def given():
    """Sequences as estimators take them."""
    return [each[:length] for each, length in zip(x_of(), LENGTHS, strict=True)]


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention", "concat"])
@pytest.mark.parametrize(("labels", "options"), [
    ("texts", {}), ("integers", {"num_layers": 2, "residual": True, "bidirectional": True}),
    ("several", {"num_layers": 2, "bidirectional": True, "merge": "mean", "residual": True}),
    ("bools", {"cell": "gru", "bidirectional": True}), ("objects", {"cell": "rnn"}), ("reals", {"peepholes": True}),
])  # fmt: skip
def test_classifiers(pooling, labels, options):
    model = LSTMClassifier(hidden_size=5, pooling=pooling, max_iter=2, random_state=0, **options)
    model.fit(SEQUENCES, LABELS[labels])
    made = check(model, [model.predict(given()), model.predict_proba(given())])
    assert [value.name for value in made.graph.output] == ["label", "probabilities"]


@pytest.mark.parametrize("pooling", ["last", "attention"])
@pytest.mark.parametrize("targets", [1, 2])
def test_regressors(pooling, targets):
    y = 1000 + RNG.normal(size=(40, targets))
    model = LSTMRegressor(hidden_size=5, pooling=pooling, max_iter=2, random_state=0)
    model.fit(SEQUENCES, y[:, 0] if targets == 1 else y)
    made = check(model, [model.predict(given())])
    assert [value.name for value in made.graph.output] == ["predictions"]


@pytest.mark.parametrize("targets", [None, 1, 2])
def test_targets_for_each_step(targets):
    y = [RNG.normal(size=(len(each), targets) if targets else len(each)) for each in SEQUENCES]
    model = LSTMRegressor(hidden_size=5, bidirectional=True, max_iter=2, random_state=0).fit(SEQUENCES, y)
    expected = np.zeros((N, T, targets or 1))
    for row, own in zip(expected, model.predict(given()), strict=True):
        row[: len(own)] = own.reshape(len(own), -1)
    check(model, [expected])


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_static_features_of_classifiers(pooling):
    static = RNG.normal([50.0, -3.0], [10.0, 0.1], size=(40, 2))
    model = LSTMClassifier(hidden_size=5, pooling=pooling, max_iter=2, random_state=0)
    model.fit(SEQUENCES, LABELS["several"], static=static)
    own = {"static": static[:N]}
    feeds = {"x": x_of(), "sequence_lens": LENGTHS, **own}
    made = check(model, [model.predict(given(), **own), model.predict_proba(given(), **own)], feeds)
    assert [value.name for value in made.graph.input] == ["x", "sequence_lens", "static"]


@pytest.mark.parametrize("lengths", [True, False])
def test_static_features_beside_each_step(lengths):
    static = RNG.normal([50.0, -3.0], [10.0, 0.1], size=(40, 2))
    y = [np.full(len(each), own[0]) for each, own in zip(SEQUENCES, static, strict=True)]
    model = LSTMRegressor(hidden_size=5, max_iter=2, random_state=0).fit(SEQUENCES, y, static=static)
    sequences = given() if lengths else list(x_of())
    expected = np.zeros((N, T, 1))
    for row, own in zip(expected, model.predict(sequences, static=static[:N]), strict=True):
        row[: len(own), 0] = own
    feeds = {"x": x_of(), "static": static[:N]} | ({"sequence_lens": LENGTHS} if lengths else {})
    check(model, [expected], feeds, lengths=lengths)


DOUBLE = {"x": x_of().astype("float64"), "sequence_lens": LENGTHS}


def test_scalers():
    scaler = SequenceScaler().fit(SEQUENCES)
    check(scaler, [scaler.transform(DOUBLE["x"], lengths=LENGTHS)], DOUBLE)


def test_pipelines():
    model = make_pipeline(SequenceScaler(), "passthrough", SequenceScaler(), LSTMClassifier(max_iter=2, random_state=0))
    model.fit([5 + 3 * each for each in SEQUENCES], LABELS["texts"])
    check(model, [model.predict(given()), model.predict_proba(given())], DOUBLE)


@pytest.mark.parametrize("method", ["standard", "robust", "minmax"])
def test_each_method_of_a_scaler(method):
    X = [5 + 3 * each for each in SEQUENCES]
    scaler = SequenceScaler(method).fit(X)
    check(scaler, [scaler.transform(DOUBLE["x"], lengths=LENGTHS)], DOUBLE)
    model = make_pipeline(SequenceScaler(method), LSTMClassifier(max_iter=2, random_state=0)).fit(X, LABELS["texts"])
    check(model, [model.predict(given()), model.predict_proba(given())], DOUBLE)


@pytest.mark.parametrize("transformer", [SequenceImputer(), SequenceEncoder(handle_unknown="ignore")])
def test_transformers_that_onnx_has_no_place_for(transformer):
    name = type(transformer).__name__
    model = make_pipeline(transformer, LSTMClassifier(max_iter=1, hidden_size=3)).fit(SEQUENCES, LABELS["texts"])
    with pytest.raises(TypeError, match=f"only SequenceScalers before its last step, got {name}"):
        to_onnx(model)
    with pytest.raises(TypeError, match=f"model must be .* got {name}"):
        to_onnx(model[0])


def test_small_deviations_from_a_large_mean():
    rng = np.random.default_rng(0)
    X = 1e9 + rng.normal(size=(60, 4, 1))
    model = make_pipeline(SequenceScaler(), LSTMClassifier(hidden_size=4, max_iter=5, random_state=0))
    model.fit(X, X.sum(axis=(1, 2)) > 4e9)
    check(model, [model.predict(X), model.predict_proba(X)], {"x": X, "sequence_lens": np.full(60, 4, "int32")})


@pytest.mark.parametrize("dtype", [">i4", "int8", "uint16", "float16", "U3", "<f8"])
def test_types_of_classes(dtype):
    y = np.array([1, 2, 3]).astype(dtype)[RNG.integers(0, 3, 40)]
    model = LSTMClassifier(hidden_size=4, max_iter=1, random_state=0).fit(SEQUENCES, y)
    check(model, [model.predict(given()), model.predict_proba(given())])


def test_one_channel():
    X = RNG.normal(size=(30, T)).astype("float32")
    model = LSTMRegressor(hidden_size=4, max_iter=2, random_state=0).fit(X, X.sum(axis=1))
    feeds = {"x": X[:5, :, None], "sequence_lens": np.full(5, T, "int32")}
    check(model, [model.predict(X[:5])], feeds)


def test_what_is_no_model():
    with pytest.raises(NotFittedError):
        to_onnx(LSTMClassifier())
    with pytest.raises(NotFittedError):
        to_onnx(make_pipeline(SequenceScaler(), LSTMRegressor()))
    with pytest.raises(TypeError, match=r"model must be an LSTM, a GRU or an RNN, an estimator, .* got int"):
        to_onnx(3)
    from sklearn.preprocessing import StandardScaler

    with pytest.raises(TypeError, match="only SequenceScalers before its last step, got StandardScaler"):
        to_onnx(make_pipeline(StandardScaler(), LSTMClassifier()))
    model = LSTMRegressor(hidden_size=4, max_iter=1).fit(SEQUENCES, np.arange(40.0))
    with pytest.raises(ValueError, match="state must be False for LSTMRegressor"):
        to_onnx(model, state=True)


# Sequences whose steps are all real ---------------------------------------------------------------------------


def check_whole(model, expected, feeds=None, **options):
    """As `check`, without lengths, and with nothing in the model that nobody needs."""
    feeds = {"x": x_of()} if feeds is None else feeds
    made = check(model, expected, feeds, lengths=False, **options)
    assert [value.name for value in made.graph.input] == [*feeds]
    used = {name for node in made.graph.node for name in node.input}
    assert used >= {tensor.name for tensor in made.graph.initializer}
    assert all(node.input[-1] for node in made.graph.node)
    assert not {"Where", "Range", "Less"} & {node.op_type for node in made.graph.node}
    return made


@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_layers_without_lengths(kind, options):
    layer = filled(kind(D, 5, **options))
    y, state = layer(x_of())
    check_whole(layer, [y, *states_of(state)])


@pytest.mark.parametrize("options", [{}, {"peepholes": True}, {"bias": False}, {"peepholes": True, "bias": False}])
def test_initial_states_without_lengths(options):
    layer = filled(LSTM(D, 4, 2, bidirectional=True, **options))
    h, c = np.random.default_rng(3).normal(size=(2, 4, N, 4)).astype("float32")
    y, state = layer(x_of(), (h, c))
    check_whole(layer, [y, *state], {"x": x_of(), "h_0": h, "c_0": c}, state=True)
    check_whole(layer, [y, *state], {"x": x_of(), "h_0": h, "c_0": c}, state=True, dynamic=False, shape=(N, T))


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention", "concat"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_estimators_without_lengths(pooling, bidirectional):
    options = {"hidden_size": 5, "pooling": pooling, "bidirectional": bidirectional, "max_iter": 2, "random_state": 0}
    for labels in ("texts", "several"):
        model = LSTMClassifier(**options).fit(SEQUENCES, LABELS[labels])
        check_whole(model, [model.predict(x_of()), model.predict_proba(x_of())])
    for targets in (1, 2):
        y = 1000 + RNG.normal(size=(40, targets))
        model = LSTMRegressor(**options).fit(SEQUENCES, y[:, 0] if targets == 1 else y)
        check_whole(model, [model.predict(x_of())])


@pytest.mark.parametrize("targets", [1, 2])
def test_targets_for_each_step_without_lengths(targets):
    y = [RNG.normal(size=(len(each), targets)) for each in SEQUENCES]
    model = LSTMRegressor(hidden_size=5, bidirectional=True, max_iter=2, random_state=0).fit(SEQUENCES, y)
    check_whole(model, [np.stack(model.predict([*x_of()]))])


def test_scalers_without_lengths():
    scaler, x = SequenceScaler().fit(SEQUENCES), DOUBLE["x"]
    check_whole(scaler, [scaler.transform(x)], {"x": x})
    for last in (LSTMClassifier(pooling="max", max_iter=2, random_state=0), SequenceScaler()):
        model = make_pipeline(SequenceScaler(), last).fit([5 + 3 * each for each in SEQUENCES], LABELS["texts"])
        results = (
            [model.transform(x)] if last.__class__ is SequenceScaler else [model.predict(x), model.predict_proba(x)]
        )
        check_whole(model, results, {"x": x})


def test_lengths_that_are_asked_for_by_default():
    layer = LSTM(D, 4)
    assert [value.name for value in to_onnx(layer).graph.input] == ["x", "sequence_lens"]
    assert to_onnx(layer, lengths=True).SerializeToString() == to_onnx(layer).SerializeToString()
    with pytest.raises(TypeError, match="lengths must be True or False, got None"):
        to_onnx(layer, lengths=None)


# Graphs -----------------------------------------------------------------------------------------------------


def test_what_a_graph_has_cannot_be_chosen():
    graph = graph_of(LSTM(D, 4))
    for options in ({"dynamic": False, "shape": (2, 3)}, {"state": True}, {"lengths": False}):
        with pytest.raises(ValueError, match=r"dynamic and lengths must be True and state False for a Graph"):
            to_onnx(graph, **options)


def test_graphs_of_loose_types():
    """Integers where ONNX has floats, an output without a shape, an empty list."""
    rng = np.random.default_rng(0)
    constants = {name: rng.normal(size=(1, 8, size)).astype("float32") for name, size in (("W", 3), ("R", 2))}
    lstm = {"hidden_size": 2, "clip": 2, "activations": ("Elu", "Tanh", "Tanh"), "activation_alpha": (1,)}
    nodes = [
        Node("Elu", ("x",), ("e",), {"alpha": 2}),
        Node("LSTM", ("e", "W", "R"), ("y",), lstm | {"activation_beta": ()}),
    ]
    graph = Graph(nodes, [Value("x", "float32", ("T", "N", 3))], [Value("y", "float32")], constants, 17)
    feeds = {"x": x_of()}
    np.testing.assert_allclose(run(to_onnx(graph), feeds)[0], graph.run(feeds)[0], **CLOSE)


def test_graphs_that_the_checker_refuses():
    node = Node("Relu", ("x",), ("y",))
    for inputs, outputs in (
        ([Value("x", "float32")], [Value("y", "float32")]),
        ([Value("x", "float32", (2,))], [Value("y", "float64", (2,))]),
    ):
        with pytest.raises(ValueError, match=r"model must be one that ONNX's checker accepts: "):
            to_onnx(Graph([node], inputs, outputs, {}, 17))


def test_graphs_there_and_back():
    """What was read is written as it was, and runs as before."""
    model = LSTMClassifier(hidden_size=5, pooling="attention", max_iter=1, random_state=0).fit(
        SEQUENCES, LABELS["texts"]
    )
    made = to_onnx(model)
    again = to_onnx(from_onnx(made))
    feeds = {"x": x_of(), "sequence_lens": LENGTHS}
    assert [node.op_type for node in again.graph.node] == [node.op_type for node in made.graph.node]
    for got, want in zip(run(again, feeds), run(made, feeds), strict=True):
        assert (got == want).all()


MASK = np.array([[1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("Compact", {}), *(("Spread", {"zeros": zeros, "reverse": turned}) for zeros in (0, 1) for turned in (0, 1))],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_in_operators_of_onnx(op, attributes, dtype):
    inputs = [Value("x", dtype, ("N", "T", 2)), Value("mask", "bool", ("N", "T"))]
    outputs = [Value("y", dtype, ("N", "T", 2)), Value("lengths", "int32", ("N",))][: 2 - (op == "Spread")]
    names = tuple(value.name for value in outputs)
    graph = Graph([Node(op, ("x", "mask"), names, attributes, domain="numlstm")], inputs, outputs, {}, 17)
    x = np.random.default_rng(0).normal(size=(*MASK.shape, 2)).astype(dtype)
    x[0, 1] = np.nan  # what counts is kept, whatever it is; the last row has no step that counts
    x[3, 3] = np.inf
    feeds = {"x": x, "mask": MASK}
    made = to_onnx(graph)
    assert {node.domain for node in made.graph.node} == {""}
    for got, same, want in zip(run(made, feeds), from_onnx(made).run(feeds), graph.run(feeds), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(same, want)


def test_masks_in_an_opset_that_is_too_old():
    nodes = [Node("Compact", ("x", "mask"), ("y", "lengths"), domain="numlstm")]
    inputs = [Value("x", "float32", ("N", "T", 2)), Value("mask", "bool", ("N", "T"))]
    graph = Graph(nodes, inputs, [Value("y", "float32", ("N", "T", 2))], {}, 14)
    with pytest.raises(ValueError, match=r"node 'y, lengths' \(Compact\): opset must be at least 15 .* got 14"):
        to_onnx(graph)


@pytest.mark.parametrize("name", ["sequential", "functional"])
def test_models_of_keras(name):
    """Keras's own results, by ONNX Runtime: masks, directions, several inputs and outputs."""
    pytest.importorskip("h5py")
    data = Path(__file__).parents[2] / "data"
    with np.load(data / f"keras_v3_{name}.npz") as stored:
        feeds = {key: stored[key] for key in stored if not key.startswith("result")}
        expected = [stored[key] for key in stored if key.startswith("result")]
    for got, want in zip(run(to_onnx(from_keras(data / f"keras_v3_{name}.keras")), feeds), expected, strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)
