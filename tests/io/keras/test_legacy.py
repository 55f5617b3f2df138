"""Keras 2's .h5 files: what is in them, what is refused, and damaged ones. Keras itself is not needed."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from damage import assert_graphs_or_errors, count_graphs, damaged, with_another_value
from keras_configs import CUSTOM, LAMBDA, layer_of
from make_keras2_goldens import FOLDER

from numlstm import GRU, LSTM, RNN
from numlstm.io import from_keras

h5py = pytest.importorskip("h5py")

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
MODEL = "model_config"
CONFIGURATION = gzip.decompress((FOLDER / "keras_v2_weights.json.gz").read_bytes()).decode()


def stored(folder, name="sequential"):
    """A stored file, unpacked."""
    path = Path(folder) / "model.h5"
    path.write_bytes(gzip.decompress((FOLDER / f"keras_v2_{name}.h5.gz").read_bytes()))
    return path


def predicted(graph, name="sequential"):
    """What a graph makes of the stored inputs, and what Keras did."""
    with np.load(FOLDER / f"keras_v2_{name}.npz") as arrays:
        feeds = [arrays[key] for key in arrays if not key.startswith("result")]
        wanted = [arrays[key] for key in arrays if key.startswith("result")]
    return graph.run({value.name: feed for value, feed in zip(graph.inputs, feeds, strict=True)}), wanted


def check(graph, name="sequential"):
    """The graph computes what Keras did."""
    results, wanted = predicted(graph, name)
    assert len(results) == len(wanted)
    for result, expected in zip(results, wanted, strict=True):
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, **TOLERANCE)


def with_file(folder, edit, name="sequential"):
    """A stored file that is changed by a function of h5py's file."""
    path = stored(folder, name)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def with_config(folder, edit, name="sequential"):
    """A stored file whose configuration is changed by a function."""

    def edit_file(file):
        config = json.loads(file.attrs[MODEL])
        made = edit(config)
        file.attrs[MODEL] = json.dumps(config if made is None else made)

    return with_file(folder, edit_file, name)


@pytest.mark.parametrize("name", ["sequential", "functional"])
def test_stored_models(name, tmp_path):
    check(from_keras(stored(tmp_path, name), backend="reference"), name)


def test_stored_weights_with_a_configuration(tmp_path):
    path = stored(tmp_path, "weights")
    assert "registered_name" in CONFIGURATION  # which is in another form than that in a model's file
    check(from_keras(path, CONFIGURATION, backend="reference"), "functional")
    check(from_keras(path.rename(tmp_path / "any.weights.h5"), json.loads(CONFIGURATION)), "functional")


def test_a_graph_has_layers_and_names_of_the_model(tmp_path):
    graph = from_keras(stored(tmp_path))
    assert [type(layer) for layer in graph.layers] == [LSTM, GRU, RNN]
    assert [value.name for value in (*graph.inputs, *graph.outputs)] == ["lstm_input", "dense"]
    assert graph.inputs[0].shape == (None, None, 2)


# Forms of older versions --------------------------------------------------------------------------------------


def as_keras_2_1(config):
    """As the first ones had it: a list of layers, the first of which says what it is given."""
    first, *layers = config["config"]["layers"]
    layers[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]
    del layer_of(layers, "GRU")["config"]["reset_after"]
    layer_of(layers, "BatchNormalization")["config"]["axis"] = -1
    return {"class_name": "Sequential", "config": layers}


def as_keras_2_2(config):
    """Functional models were of class Model."""
    text = json.dumps(config).replace('"Functional"', '"Model"')
    return json.loads(text)


def with_policies(config):
    """Types as mixed precision writes them."""
    text = json.dumps(config).replace(
        '"dtype": "float32"', '"dtype": {"class_name": "Policy", "config": {"name": "float32"}}'
    )
    config = json.loads(text)
    layer_of(config, "InputLayer")["config"]["dtype"] = "float32"
    return config


@pytest.mark.parametrize(
    ("edit", "name"), [(as_keras_2_1, "sequential"), (as_keras_2_2, "functional"), (with_policies, "sequential")]
)
def test_older_configurations(edit, name, tmp_path):
    check(from_keras(with_config(tmp_path, edit, name), backend="reference"), name)


def texts_as(make):
    """An edit that writes all lists of names in another way."""

    def edit(file):
        for group in (file["model_weights"], *file["model_weights"].values()):
            for name in ("layer_names", "weight_names"):
                if name in group.attrs:
                    values = [*group.attrs.pop(name)]
                    make(group.attrs, name, values)

    return edit


def in_bytes(attributes, name, values):
    attributes[name] = np.array([value.encode() for value in values])


def in_pieces(attributes, name, values):
    for k, value in enumerate(values):
        attributes[f"{name}{k}"] = [value]


@pytest.mark.parametrize("make", [in_bytes, in_pieces])
def test_lists_of_names(make, tmp_path):
    check(from_keras(with_file(tmp_path, texts_as(make), "functional"), backend="reference"), "functional")
    path = stored(tmp_path, "weights")
    with h5py.File(path, "r+") as file:
        values = [*file.attrs.pop("layer_names")]
        make(file.attrs, "layer_names", values)
    check(from_keras(path, CONFIGURATION, backend="reference"), "functional")


def test_configurations_in_bytes(tmp_path):
    def edit(file):
        for name in (MODEL, "keras_version"):
            file.attrs[name] = np.bytes_(file.attrs.pop(name).encode())

    check(from_keras(with_file(tmp_path, edit), backend="reference"))


def test_optimizers_are_of_no_matter(tmp_path):
    def edit(file):
        file.attrs["training_config"] = json.dumps({"loss": CUSTOM})
        file.create_group("optimizer_weights").attrs["weight_names"] = [b"nothing"]

    check(from_keras(with_file(tmp_path, edit), backend="reference"))


def test_what_both_versions_call_hard_sigmoid(tmp_path):
    path = with_file(tmp_path, lambda file: file.attrs.modify("keras_version", "3.0.0"))
    results, wanted = predicted(from_keras(path, backend="reference"))
    assert np.abs(results[0] - wanted[0]).max() > 1e-3


# What is refused ----------------------------------------------------------------------------------------------


def options_set(kind, **options):
    return lambda config: layer_of(config, kind)["config"].update(options)


def entries_set(kind, **entries):
    return lambda config: layer_of(config, kind).update(entries)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (options_set("LSTM", stateful=True), r"layer 'lstm' \(LSTM\): stateful must be False"),
        (options_set("LSTM", time_major=True), "option 'time_major' is not supported, got True"),
        (options_set("LSTM", units=4), r"kernel must have shape \(None, 16\), got \(2, 12\)"),
        (options_set("LSTM", use_bias=False), r"there must be 2 arrays in the file in '/model_weights/lstm', got 3"),
        (options_set("LSTM", use_bias=1), "use_bias must be True or False, got 1"),
        (options_set("LSTM", name="other"), "there must be weights of layer 'other' in it"),
        (options_set("LSTM", dtype={"class_name": "Policy", "config": {"name": "mixed_float16"}}), "'mixed_float16'"),
        (options_set("LSTM", activation=LAMBDA), "activation must be one of .* got .*__lambda__"),
        (options_set("LSTM", batch_input_shape=None), None),
        (options_set("GRU", reset_after=True), r"bias must have shape \(2, 6\), got \(6,\)"),
        (options_set("BatchNormalization", axis=[1, 2]), r"axis must be an integer, got \[1, 2\]"),
        (options_set("InputLayer", batch_input_shape="x"), "its input must have a shape, a list of lengths"),
        (options_set("InputLayer", ragged=True), "ragged must be False"),
        (entries_set("LSTM", class_name="Lambda"), r"layer 'lstm' \(Lambda\): layers of this kind are not supported"),
        (entries_set("LSTM", class_name="Mine"), r"layer 'lstm' \(Mine\): .* custom layers are code"),
        (entries_set("LSTM", class_name="my>Mine"), "must be one of Keras's own, got 'my>Mine'"),
        (entries_set("LSTM", module=None), "must be one of Keras's own, got 'LSTM' of module None"),
        (entries_set("LSTM", class_name=3), "must have a text class_name"),
        (entries_set("LSTM", config=3), "an object config"),
        (entries_set("Sequential", class_name="Mine"), r"the model must be one of .*, got 'Mine'"),
        (entries_set("Sequential", config=[]), "layers must be a list of layers"),
        (lambda config: [], "must be a JSON object, got list"),
        (lambda config: {}, "class_name"),
    ],
)  # fmt: skip
def test_what_is_refused(edit, message, tmp_path):
    path = with_config(tmp_path, edit)
    if message is None:
        check(from_keras(path, backend="reference"))
        return
    with pytest.raises(ValueError, match=message):
        from_keras(path)


def node_set(kind, *nodes):
    return lambda config: layer_of(config, kind).update(inbound_nodes=[*nodes])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (node_set("Masking", [["x", 0, 1, {}]]), "result 1 of call 0 of 'x' must exist"),
        (node_set("Masking", [["nowhere", 0, 0, {}]]), "must exist, and not depend on itself"),
        (node_set("Masking", [["masking", 0, 0, {}]]), "not depend on itself"),
        (node_set("Masking", [["x", 0]]), "must be called with results of other layers"),
        (node_set("Masking"), "must exist, and not depend on itself"),
        (node_set("Masking", []), "inbound_nodes must be objects with args and kwargs"),
        (node_set("Masking", 3), "inbound_nodes must be objects with args and kwargs"),
        (node_set("Masking", [["x", 0, 0, {"training": True}]]), "argument 'training' must be left out"),
        (node_set("Multiply", [["_CONSTANT_VALUE", -1, 2.0, {}]]), "'multiply' in it must be called with results of"),
        (lambda config: config["config"].update(input_layers=3), "input_layers must be lists of a layer"),
        (lambda config: config["config"].update(layers=[3]), "must be an object with class_name"),
    ],
)
def test_what_is_refused_in_functional_models(edit, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        from_keras(with_config(tmp_path, edit, "functional"))


def test_operations_of_keras_2_are_refused_by_name(tmp_path):
    options = {"name": "tf.mean", "function": "math.reduce_mean"}
    edit = entries_set("Masking", class_name="TFOpLambda", config=options, module="keras.src.layers.core")
    with pytest.raises(ValueError, match=r"layer 'tf.mean' \(TFOpLambda\): layers of this kind are not"):
        from_keras(with_config(tmp_path, edit, "functional"))


def test_configurations_are_given_where_they_are_missing(tmp_path):
    with pytest.raises(ValueError, match=r"config must be None with 'model.h5', which holds"):
        from_keras(stored(tmp_path), CONFIGURATION)
    path = stored(tmp_path, "weights")
    with pytest.raises(ValueError, match=r"config must be given with 'model.h5', .* model.to_json\(\) gives"):
        from_keras(path)
    with pytest.raises(ValueError, match="there must be weights of layer 'other' in it: check that configuration"):
        from_keras(path, CONFIGURATION.replace("bidirectional", "other"))
    with pytest.raises(ValueError, match=r"must be written by Keras 2 or 3, got version '1.2.2'"):
        from_keras(path, json.loads(CONFIGURATION) | {"keras_version": "1.2.2"})


# Files that are none ------------------------------------------------------------------------------------------

KERNEL = "model_weights/lstm/lstm/lstm_cell/kernel:0"


def attribute_set(where, name, value):
    return lambda file: file[where].attrs.__setitem__(name, value)


def attribute_gone(where, name):
    return lambda file: file[where].attrs.pop(name)


def replaced(value):
    def edit(file):
        del file[KERNEL]
        file[KERNEL] = value

    return edit


LSTM_GROUP = "model_weights/lstm"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (attribute_gone("/", MODEL), r"config must be given with 'model.h5'"),
        (attribute_gone("/", "keras_version"), "there must be an attribute 'keras_version' in it"),
        (attribute_set("/", "keras_version", "1.2.2"), r"must be written by Keras 2 or 3, got version '1.2.2'"),
        (attribute_set("/", MODEL, "{"), "the configuration in 'model.h5': "),
        (attribute_set("/", MODEL, 3), "attribute 'model_config' must have 1 texts, got"),
        (attribute_set("/", MODEL, ["{}", "{}"]), "attribute 'model_config' must have 1 texts, got"),
        (attribute_set("/", MODEL, h5py.Empty("f4")), "attribute 'model_config' must have 1 texts, got"),
        (attribute_set("/", MODEL, b"\xff\xfe"), "must hold weights in an HDF5 file|the configuration"),
        (attribute_set("/", MODEL, '{"a": NaN}'), "NaN is no JSON"),
        (attribute_set("/", MODEL, " " * (1 << 25)), "must have at most 16777216 characters"),
        (attribute_set("/", MODEL, '{"class_name": "Sequential", "config": ' * 100_000), "nested too deep"),
        (lambda file: file.pop("model_weights"), "there must be a group 'model_weights' in it"),
        (attribute_gone(LSTM_GROUP, "weight_names"), r"there must be 3 arrays in the file in .*, got 0"),
        (attribute_set(LSTM_GROUP, "weight_names", [b"a", b"b"]), r"there must be 3 arrays in the file .*, got 2"),
        (attribute_set(LSTM_GROUP, "weight_names", [1.0, 2.0, 3.0]), "must have 3 texts, got float64"),
        (attribute_set(LSTM_GROUP, "weight_names", [b"a", b"b", b"c"]), "there must be all arrays"),
        (attribute_set(LSTM_GROUP, "weight_names", ["", "/", ".."]), "must be|HDF5"),
        (attribute_set(LSTM_GROUP, "weight_names", ["lstm", "lstm", "lstm"]), "'lstm' must be an array"),
        (attribute_set(LSTM_GROUP, "weight_names", np.array([b"\xff"] * 3)), "HDF5 file"),
        (lambda file: file.pop(LSTM_GROUP), "there must be weights of layer 'lstm' in it"),
        (replaced(h5py.SoftLink("/model_weights/dense/dense/kernel:0")), "must be in its group, got a link"),
        (replaced(h5py.ExternalLink("/etc/passwd", "/")), "must be in its group, got a link to another place"),
        (replaced(np.zeros((3, 12), "f4")), "its input must have 3 features, as its kernel tells"),
        (replaced(np.zeros((2, 11), "f4")), r"kernel must have shape \(None, 12\), got \(2, 11\)"),
        (replaced(np.zeros((2, 12), "c8")), "must hold numbers, got complex64"),
        (replaced(h5py.Empty("f4")), "or empty"),
    ],
)  # fmt: skip
def test_files_that_are_none(edit, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        from_keras(with_file(tmp_path, edit))


def test_a_list_of_names_that_would_fill_the_memory(tmp_path):
    """A text that is in the file once can stand in all places of a list."""
    count = 300

    def many(config):
        cells = [layer_of(config, "LSTM") | {"shared_object_id": k} for k in range(count // 3)]
        model = {"class_name": "Sequential", "config": {"name": "lstm", "layers": cells}}
        return {"class_name": "Sequential", "config": {"name": "outer", "layers": [model]}}

    path = with_config(tmp_path, many)
    with h5py.File(path, "r+") as file:
        file["large"] = np.zeros(1 << 19)
        del file[LSTM_GROUP].attrs["weight_names"]
        file[LSTM_GROUP].attrs["weight_names"] = ["name"] * count
    with pytest.raises(ValueError, match=f"must be of a sane size, got {count} texts; .* as a .keras file"):
        from_keras(path)


def test_files_of_something_else(tmp_path):
    path = tmp_path / "model.h5"
    for data in (b"", b"PK", stored(tmp_path).read_bytes()[:4000]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"'model.h5' must hold weights in an HDF5 file"):
            from_keras(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1.0
    with pytest.raises(ValueError, match="config must be given"):
        from_keras(path)
    with pytest.raises(ValueError, match=r"there must be 1 arrays in the file, .*, got 0"):
        from_keras(path, {"keras_version": "2.15.0"} | json.loads(CONFIGURATION))


# Damage -------------------------------------------------------------------------------------------------------

CASES = 150
SECONDS = 120.0


def damaged_file(folder, seed):
    """A file with other bytes, or another configuration."""
    rng = random.Random(seed)
    name = rng.choice(("sequential", "functional"))
    if rng.random() < 0.6:
        return with_config(folder, lambda config: with_another_value(config, rng), name)
    path = stored(folder, name)
    path.write_bytes(damaged(path.read_bytes(), rng))
    return path


def read_damaged_files(folder):
    """Read many damaged files, and print how many of them gave a graph and an error."""
    x = {name: np.ones((2, 5, 2), "float32") for name in ("x", "lstm_input")} | {"tokens": np.ones((2, 5), "int32")}
    count_graphs(
        lambda seed: from_keras(damaged_file(folder, seed), backend="reference"), x, CASES, (ValueError, OSError)
    )


def test_damaged_files_are_read_or_refused(tmp_path):
    assert_graphs_or_errors("test_legacy", [Path(__file__).parent, FOLDER.parent], tmp_path, CASES, SECONDS)
