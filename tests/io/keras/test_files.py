"""Keras's files: what is in them, what is refused, and damaged ones. Keras itself is not needed."""

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from damage import assert_graphs_or_errors, count_graphs, damaged, with_another_value
from keras_configs import CUSTOM, LAMBDA, layer_of
from make_keras_goldens import FOLDER

from numlstm import GRU, LSTM, RNN
from numlstm.io import from_keras

h5py = pytest.importorskip("h5py")

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
MODELS = ("sequential", "functional")
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def same(made, given):
    """Shapes, dtypes and all numbers are the same."""
    assert len(made) == len(given)
    for array, other in zip(made, given, strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


def members(name="sequential"):
    """The parts of a stored file."""
    with zipfile.ZipFile(FOLDER / f"keras_v3_{name}.keras") as archive:
        return {each: archive.read(each) for each in archive.namelist()}


def written(path, parts, method=zipfile.ZIP_STORED):
    """A .keras file of these parts."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", MODELS)
def test_stored_models(name):
    graph = from_keras(FOLDER / f"keras_v3_{name}.keras", backend="reference")
    with np.load(FOLDER / f"keras_v3_{name}.npz") as stored:
        results = graph.run({value.name: stored[value.name] for value in graph.inputs})
        wanted = [stored[f"result {k}"] for k in range(len(results))]
    for result, expected in zip(results, wanted, strict=True):
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, **TOLERANCE)


@pytest.mark.parametrize("name", MODELS)
def test_stored_weights_with_a_configuration(name, tmp_path):
    parts = members(name)
    path = tmp_path / "model.weights.h5"
    path.write_bytes(parts[WEIGHTS])
    graph = from_keras(path, parts[CONFIG].decode(), backend="reference")
    with np.load(FOLDER / f"keras_v3_{name}.npz") as stored:
        result = graph.run({value.name: stored[value.name] for value in graph.inputs})[0]
        np.testing.assert_allclose(result, stored["result 0"], **TOLERANCE)


def test_a_graph_has_onnx_operators_alone_where_there_are_no_masks():
    graph = from_keras(FOLDER / "keras_v3_sequential.keras")
    assert {node.domain for node in graph.nodes} == {""}
    assert graph.opset == 17
    assert [value.name for value in (*graph.inputs, *graph.outputs)] == ["x", "dense"]
    assert [type(layer) for layer in graph.layers] == [LSTM, GRU, RNN]
    graph = from_keras(FOLDER / "keras_v3_functional.keras")
    assert {node.op for node in graph.nodes if node.domain == "numlstm"} == {"Compact", "Spread"}


def edited(tmp_path, edit, name="sequential"):
    """A file with a configuration that is changed by a function."""
    parts = members(name)
    config = json.loads(parts[CONFIG])
    made = edit(config)
    parts[CONFIG] = json.dumps(config if made is None else made).encode()
    return written(tmp_path / "model.keras", parts)


def options_set(kind, **options):
    """An edit of a layer's options."""
    return lambda config: layer_of(config, kind)["config"].update(options)


def entries_set(kind, **entries):
    """An edit of a layer's description."""
    return lambda config: layer_of(config, kind).update(entries)


def inside(kind, edit):
    """An edit of what is in a layer."""
    return lambda config: edit(layer_of(config, kind)["config"])


def refused(tmp_path, edit, message, name="sequential"):
    with pytest.raises(ValueError, match=message):
        from_keras(edited(tmp_path, edit, name))


POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}, "registered_name": None}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (options_set("LSTM", stateful=True), r"layer 'lstm' \(LSTM\): stateful must be False"),
        (options_set("LSTM", activation="gelu"), r"activation must be one of .* in a recurrent layer, got 'gelu'"),
        (options_set("LSTM", recurrent_activation="softmax"), "recurrent_activation must be one of"),
        (options_set("LSTM", recurrent_activation=[]), "recurrent_activation must be one of"),
        (options_set("GRU", activation=CUSTOM), "must be one of Keras's own, got 'Mine' of module 'mine'"),
        (options_set("GRU", activation=LAMBDA), "must be one of Keras's own, got '__lambda__'"),
        (options_set("LSTM", units=4), r"kernel must have shape \(None, 16\), got \(2, 12\)"),
        (options_set("LSTM", units="3"), "units must be an integer of at least 1, got '3'"),
        (options_set("LSTM", units=10**12), "kernel must have shape"),
        (options_set("LSTM", use_bias=False), "there must be 2 arrays in the file"),
        (options_set("LSTM", use_bias=1), "use_bias must be True or False, got 1"),
        (options_set("GRU", reset_after=True), r"bias must have shape \(2, 6\), got \(6,\)"),
        (options_set("LSTM", go_backwards="yes"), "go_backwards must be True or False"),
        (options_set("LSTM", time_major=True), "option 'time_major' is not supported, got True"),
        (options_set("LSTM", dtype=POLICY), r"\(LSTM\): dtype must be one of .* got 'mixed_float16'"),
        (options_set("LSTM", dtype="bfloat16"), "dtype must be one of"),
        (options_set("LSTM", dtype={"class_name": "DTypePolicy", "config": None}), "dtype must be one of"),
        (options_set("LSTM", dtype=[1]), "dtype must be one of"),
        (options_set("Dense", activation="glu"), r"layer 'dense' \(Dense\): activation must be one of"),
        (options_set("Dense", lora_rank=2), "option 'lora_rank' is not supported"),
        (options_set("Dense", units=2), r"kernel must have shape \(2, 2\)"),
        (options_set("Dense", name=3), "must have a text for a name"),
        (options_set("InputLayer", sparse=True), "sparse must be False"),
        (options_set("InputLayer", optional=True), "optional must be False"),
        (options_set("InputLayer", batch_shape=None), "its input must have a shape"),
        (options_set("InputLayer", batch_shape=[None, -1, 2]), "its input must have a shape"),
        (options_set("InputLayer", batch_shape=[None, 2]), r"its input must have axes \(N, T, D\)"),
        (options_set("InputLayer", dtype="string"), "dtype must be one of"),
        (entries_set("LSTM", class_name="ConvLSTM1D"), "layers of this kind are not supported"),
        (entries_set("LSTM", class_name="Lambda"), r"\(Lambda\): layers of this kind are not supported"),
        (entries_set("LSTM", class_name="InputLayer"), "it must not be called|sparse|units"),
        (entries_set("LSTM", class_name=["LSTM"]), "must have a text class_name"),
        (entries_set("LSTM", module="mine.layers"), "custom objects are code"),
        (entries_set("LSTM", registered_name="mine>LSTM"), "custom objects are code"),
        (entries_set("Sequential", class_name="Mine"), "the model must be one of"),
        (entries_set("Sequential", config=None), "an object config"),
        (options_set("Sequential", layers=[]), "layers must be a list of layers"),
        (options_set("Sequential", layers=[7]), r"layers\[0\] must be an object with class_name"),
        (lambda config: [], "must be a JSON object, got list"),
    ],
)  # fmt: skip
def test_what_is_refused(edit, message, tmp_path):
    refused(tmp_path, edit, message)


@pytest.mark.parametrize("zeros", [True, False])
def test_directions_give_zeros_at_masked_steps_whatever_they_say(zeros, tmp_path):
    edit = inside("Bidirectional", options_set("LSTM", zero_output_for_mask=zeros))
    graph = from_keras(edited(tmp_path, edit, "functional"))
    own = [node for node in graph.nodes if node.op == "Spread" and "bidirectional" in node.name]
    assert [node.attributes for node in own] == [{"zeros": 1, "reverse": 0}]


def test_two_directions_are_one_layer_where_they_are_alike(tmp_path):
    graph = from_keras(edited(tmp_path, lambda config: None, "functional"))
    assert repr(graph.layers[0]) == "LSTM(3, 2, bidirectional=True)"
    edit = inside("Bidirectional", options_set("LSTM", activation="relu"))  # of the forward layer alone
    graph = from_keras(edited(tmp_path, edit, "functional"))
    assert [layer.bidirectional for layer in graph.layers[:2]] == [False, False]
    assert graph.backwards[:2] == (False, True)


def node_set(kind, **entries):
    """An edit of the first call of a layer."""
    return lambda config: layer_of(config, kind)["inbound_nodes"][0].update(entries)


TENSOR = {"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}


def tensor(*history):
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [*history]}}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (options_set("Bidirectional", merge_mode="min"), "merge_mode must be one of"),
        (options_set("Bidirectional", layer=None), "layer must be an object"),
        (inside("Bidirectional", options_set("LSTM", go_backwards=True)), "must differ in go_backwards"),
        (inside("Bidirectional", options_set("LSTM", return_state=True)), "not in return_sequences or return_state"),
        (inside("Bidirectional", entries_set("LSTM", class_name="Dense")), "its layers must be of .* got 'Dense'"),
        (options_set("StackedRNNCells", cells=[]), "cells must be a list of cells"),
        (entries_set("GRUCell", class_name="GRU"), "a cell must be one of"),
        (entries_set("GRUCell", class_name="MyCell"), "a cell must be one of"),
        (options_set("LayerNormalization", rms_scaling=True), "rms_scaling must be False"),
        (options_set("LayerNormalization", axis=[1]), "axis must be the last axis"),
        (options_set("LayerNormalization", axis=[7]), "axis must be in"),
        (options_set("BatchNormalization", renorm=True), "renorm must be False"),
        (options_set("BatchNormalization", epsilon="x"), "epsilon must be a number"),
        (options_set("Embedding", input_dim=7), r"embeddings must have shape \(7, 3\)"),
        (options_set("Masking", mask_value={"class_name": "__tensor__"}), "mask_value must be a number"),
        (options_set("Concatenate", axis=3), "axis must be in"),
        (options_set("GlobalAveragePooling1D", data_format="mixed"), "data_format must be one of"),
        (options_set("Masking", name="tokens"), "its layers must have different names"),
        (node_set("Masking", args=[LAMBDA]), "called with an argument that is not supported, '__lambda__'"),
        (node_set("Masking", args=[]), "must be called with results of other layers"),
        (node_set("Masking", args=[TENSOR, TENSOR]), "must be called with one input"),
        (node_set("Masking", args=[tensor("nobody", 0, 0)]), "must exist, and not depend on itself"),
        (node_set("Masking", args=[tensor("x", 0, 3)]), "result 3 of call 0 of 'x' must exist"),
        (node_set("Masking", args=[tensor("x", 0)]), "must be the name of a layer and two integers"),
        (node_set("Masking", args=[tensor("masking", 0, 0)]), "not depend on itself"),
        (node_set("Masking", args=None), "inbound_nodes must be objects with args and kwargs"),
        (node_set("Masking", kwargs={"training": True}), "argument 'training' must be left out"),
        (node_set("Masking", kwargs={"mask": TENSOR}), "mask must be left out"),
        (entries_set("Masking", inbound_nodes=[[["x", 0, 0, {}]]]), "as Keras 3 writes them"),
        (entries_set("Masking", inbound_nodes=3), "inbound_nodes must be a list"),
        (options_set("Functional", input_layers=[]), "it must have outputs, and different inputs"),
        (options_set("Functional", input_layers=[["x", 0, 0], ["x", 0, 0]]), "must have outputs, and different inputs"),
        (options_set("Functional", input_layers=[["masking", 0, 0]]), "a model's input must be an InputLayer"),
        (options_set("Functional", output_layers=[["scores", 1, 0]]), "result 0 of call 1 of 'scores' must exist"),
        (options_set("Functional", output_layers=[["nobody", 0, 0]]), "result 0 of call 0 of 'nobody' must exist"),
        (options_set("Functional", output_layers=7), "output_layers must be lists"),
        (options_set("GetItem", key=3), "option 'key' is not supported"),
        (entries_set("GetItem", class_name="Einsum", registered_name=None), "layers of this kind are not supported"),
        (node_set("GetItem", args=[TENSOR, "text"]), "an index must be an integer"),
    ],
)  # fmt: skip
def test_what_is_refused_in_functional_models(edit, message, tmp_path):
    refused(tmp_path, edit, message, "functional")


def nested(depth, width=1):
    """Models in models, each of them several times in the next, which takes few words."""
    layer = {"module": "keras.layers", "class_name": "Dropout", "config": {"name": "d", "rate": 0.1}}
    for k in range(depth):
        again = [layer | {"config": {"name": layer["config"]["name"]}} for _ in range(width - 1)]
        layer = {
            "module": "keras", "class_name": "Sequential", "shared_object_id": k,
            "config": {"name": f"m{k}", "layers": [layer, *again], "build_input_shape": [None, 2]},
        }  # fmt: skip
    return layer


def test_models_that_are_too_large(tmp_path):
    refused(tmp_path, lambda config: nested(40), "nested at most 32 deep")
    refused(tmp_path, lambda config: nested(300), "nested at most 32 deep|nested too deep")
    refused(tmp_path, lambda config: nested(12, 4), "at most 20000 calls of layers")
    graph = from_keras(edited(tmp_path, lambda config: nested(5, 4)))
    assert len(graph.nodes) == 1


# Files that are none --------------------------------------------------------------------------------------------


def test_paths(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "missing.keras")
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "missing.weights.h5", "{}")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(IsADirectoryError):
        from_keras(tmp_path / "folder.keras")
    for name in ("model.pt", "model"):
        with pytest.raises(ValueError, match=r"source must be a file of one of the kinds \['.keras', '.h5'\]"):
            from_keras(tmp_path / name)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.keras")
        with pytest.raises(ValueError, match="it must be a regular file"):
            from_keras(tmp_path / "pipe.keras")


def test_configurations_that_are_none(tmp_path):
    path, parts = tmp_path / "model.weights.h5", members()
    path.write_bytes(parts[WEIGHTS])
    with pytest.raises(ValueError, match=r"config must be given with 'model.weights.h5'.*model.to_json\(\) gives"):
        from_keras(path)
    with pytest.raises(ValueError, match="config must be None with"):
        from_keras(FOLDER / "keras_v3_sequential.keras", "{}")
    with pytest.raises(TypeError, match="config must be a JSON text, a mapping or a path, got int"):
        from_keras(path, 3)
    with pytest.raises(ValueError, match=r"or the path of a .json file, got 'model.yaml'"):
        from_keras(path, "model.yaml")
    with pytest.raises(FileNotFoundError):
        from_keras(path, tmp_path / "config.json")
    for text, message in (
        ("{", "config: "),
        ("{} {}", "config: "),
        ('{"a": NaN}', "NaN is no JSON"),
        ("{}", "class_name"),
    ):
        with pytest.raises(ValueError, match=message):
            from_keras(path, text)
    with pytest.raises(ValueError, match="nested too deep"):
        from_keras(path, '{"a":' * 100_000)
    (tmp_path / "config.json").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="must be a text in UTF-8"):
        from_keras(path, tmp_path / "config.json")
    with pytest.raises(ValueError, match="config: "):
        from_keras(path, {"config": object()})


def test_options_of_weights_are_no_options_of_files():
    for name, value in {"kind": "lstm", "num_layers": 2, "activation": "relu", "recurrent_activation": "relu",
                        "reset_after": True, "merge_mode": "sum", "dtype": "float64"}.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"{name} must be left out for a file"):
            from_keras(FOLDER / "keras_v3_sequential.keras", **{name: value})


def test_archives_that_are_none(tmp_path):
    path, parts = tmp_path / "model.keras", members()
    for name in parts:
        with pytest.raises(ValueError, match=f"there must be one '{name}' in it, got 0"):
            from_keras(written(path, {other: data for other, data in parts.items() if other != name}))
    for version in ('{"keras_version": "2.15.0"}', "{}", "[]", '{"keras_version": 3}'):
        with pytest.raises(ValueError, match="must be written by Keras 3, got version"):
            from_keras(written(path, parts | {METADATA: version}))
    for data in (b"", b"PK", b"\x89HDF\r\n\x1a\n" + b"\0" * 100):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"must be a .keras file, a zip archive"):
            from_keras(path)
    with pytest.raises(ValueError, match="must be a text in UTF-8"):
        from_keras(written(path, parts | {CONFIG: b"\xff\xfe"}))
    with pytest.raises(ValueError, match="must hold weights in an HDF5 file"):
        from_keras(written(path, parts | {WEIGHTS: b"nothing"}))
    with pytest.raises(ValueError, match="stored plainly or deflated"):
        from_keras(written(path, parts, zipfile.ZIP_LZMA))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_with_a_member_twice(tmp_path):
    path = written(tmp_path / "model.keras", members())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(CONFIG, "{}")
    with pytest.raises(ValueError, match=r"there must be one 'config.json' in it, got 2"):
        from_keras(path)


def test_archives_that_would_fill_the_memory(tmp_path):
    path, parts = tmp_path / "model.keras", members()
    with pytest.raises(ValueError, match="must not be packed by more than 100"):
        from_keras(written(path, parts | {WEIGHTS: bytes(1 << 26)}, zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match=r"'config.json' must have at most 16777216 bytes"):
        from_keras(written(path, parts | {CONFIG: b" " * (1 << 25)}, zipfile.ZIP_DEFLATED))
    data = bytearray(written(path, parts).read_bytes())
    place = data.index(b"PK\x01\x02") + 24  # the size of the first member in the directory
    data[place : place + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"model.keras"):
        from_keras(path)


# Weights that are none ------------------------------------------------------------------------------------------


def with_arrays(tmp_path, edit):
    """A file whose weights are changed by a function of h5py's file."""
    parts = members()
    buffer = io.BytesIO(parts[WEIGHTS])
    with h5py.File(buffer, "r+") as file:
        edit(file)
    return written(tmp_path / "model.keras", parts | {WEIGHTS: buffer.getvalue()})


PLACE = "layers/lstm/cell/vars"


def put(name, **options):
    """An edit that puts another array in the place of one."""

    def edit(file):
        del file[f"{PLACE}/{name}"]
        file[PLACE].create_dataset(name, **options)

    return edit


def linked(link):
    def edit(file):
        del file[f"{PLACE}/0"]
        file[f"{PLACE}/0"] = link

    return edit


def virtual(file):
    layout = h5py.VirtualLayout((2, 12), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "data", (2, 12))
    del file[f"{PLACE}/0"]
    file[PLACE].create_virtual_dataset("0", layout)


def many_times(file):
    del file["layers/gru/cell/vars/0"]
    file["layers/gru/cell/vars/0"] = file[f"{PLACE}/0"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (linked(h5py.SoftLink("/layers/dense/vars/0")), "'0' must be in its group, got a link to another place"),
        (linked(h5py.ExternalLink("/etc/passwd", "/")), "'0' must be in its group, got a link to another place"),
        (virtual, "kernel of layer 'lstm' .* must be an array in this file"),
        (put("0", shape=(2, 12), dtype="f4", external=[("/etc/passwd", 0, 96)]), "must be an array in this file"),
        (put("0", shape=(1 << 20, 1 << 20), dtype="f4", chunks=(64, 64)), "stored in one piece and not packed"),
        (put("0", data=np.zeros((2, 12), "f4"), compression="gzip"), "stored in one piece and not packed"),
        (put("0", shape=(1 << 20, 1 << 20), dtype="f4"), r"must fit in the file, got shape \(1048576, 1048576\)"),
        (put("0", data=np.zeros((2, 12), "c8")), "must hold numbers, got complex64"),
        (put("0", data=[b"text"]), "must hold numbers, got |S4"),
        (put("0", data=["text"]), "must hold numbers, got object"),
        (put("0", data=h5py.Empty("f4")), "or empty"),
        (put("0", data=np.zeros((3, 12), "f4")), "its input must have 3 features, as its kernel tells"),
        (put("0", data=np.zeros((2, 11), "f4")), r"kernel must have shape \(None, 12\), got \(2, 11\)"),
        (put("0", data=np.zeros(24, "f4")), r"kernel must have shape \(None, 12\), got \(24,\)"),
        (lambda file: file[PLACE].create_dataset("3", data=0.0), "there must be 3 arrays in the file"),
        (lambda file: file[PLACE].move("2", "7"), "must have arrays 0 to 2, got other names"),
        (lambda file: file.pop(PLACE), "there must be 3 arrays in the file, .* got 0"),
        (lambda file: file.pop("layers"), "got 0"),
        (linked(0.5), "kernel must have shape"),
        (lambda file: (file.pop(f"{PLACE}/0"), file[PLACE].create_group("0")), "must be an array, got a group"),
        (lambda file: (file.pop("layers/lstm"), file.create_dataset("layers/lstm", data=1.0)), "must be a group|got 0"),
    ],
)  # fmt: skip
def test_arrays_that_are_none(edit, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        from_keras(with_arrays(tmp_path, edit))


def test_arrays_of_other_types_are_read(tmp_path):
    with_doubles = with_arrays(tmp_path, lambda file: put("1", data=file[f"{PLACE}/1"][...].astype(">f8"))(file))
    graph, plain = from_keras(with_doubles), from_keras(FOLDER / "keras_v3_sequential.keras")
    x = {"x": np.ones((2, 3, 2), "float32")}
    same(graph.run(x), plain.run(x))


def test_the_same_array_in_many_places_does_not_fill_the_memory(tmp_path):
    def edit(file):
        large = file.create_dataset("large", data=np.zeros((2, 12 * 500), "f4"))
        for kind in ("lstm", "gru", "simple_rnn"):
            for name in "012":
                del file[f"layers/{kind}/cell/vars/{name}"]
                file[f"layers/{kind}/cell/vars/{name}"] = large

    with pytest.raises(ValueError, match=r"must fit in the file|must have shape"):
        from_keras(with_arrays(tmp_path, edit))


def test_h5py_is_needed(tmp_path):
    code = (
        "import sys; sys.modules['h5py'] = None\n"
        "from numlstm.io import from_keras\n"
        f"from_keras({str(FOLDER / 'keras_v3_sequential.keras')!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: 'keras_v3_sequential.keras' is read by h5py: pip install \"numlstm[keras]\"" in run.stderr


# Damage ---------------------------------------------------------------------------------------------------------

CASES = 400
SECONDS = 120.0


def damaged_file(folder, seed):
    """A file that is damaged in one of several ways, and the configuration to be given with it."""
    rng = random.Random(seed)
    parts, path = members(rng.choice(MODELS)), Path(folder) / "model.keras"
    way = rng.choice(("archive", "weights", "weights", "configuration", "configuration", "text"))
    if way == "configuration":
        parts[CONFIG] = json.dumps(with_another_value(json.loads(parts[CONFIG]), rng)).encode()
    elif way == "text":
        parts[CONFIG] = damaged(parts[CONFIG], rng)
    elif way == "weights":
        parts[WEIGHTS] = damaged(parts[WEIGHTS], rng)
    data = written(path, parts, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))).read_bytes()
    path.write_bytes(damaged(data, rng) if way == "archive" else data)
    return path


def read_damaged_files(folder):
    """Read many damaged files, and print how many of them gave a graph and an error."""
    x = {"x": np.ones((2, 5, 2), "float32"), "tokens": np.ones((2, 5), "int32")}
    count_graphs(
        lambda seed: from_keras(damaged_file(folder, seed), backend="reference"),
        x,
        CASES,
        (ValueError, OSError, TypeError),
    )


def test_damaged_files_are_read_or_refused(tmp_path):
    assert_graphs_or_errors("test_files", [Path(__file__).parent, FOLDER.parent], tmp_path, CASES, SECONDS)
