"""``python -m numlstm convert`` and ``info``: every format of files into every other."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numlstm
from numlstm import GRU, LSTM, RNN, LSTMClassifier, SequenceScaler
from numlstm.__main__ import main
from numlstm.graphs.graph import Graph
from numlstm.io import to_onnx, to_torch
from numlstm.io.converting import FORMATS, convert, read
from numlstm.io.keras.writing import model_file, weights_file

pytest.importorskip("onnx")
pytest.importorskip("h5py")

X = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
LENGTHS = np.full(3, 5, "int32")


@pytest.fixture(scope="module")
def layer():
    made = LSTM(2, 4, 2, bidirectional=True, random_state=0)
    rng = np.random.default_rng(1)
    halves = {name: rng.normal(size=array.shape) for name, array in made.parameters.items()}
    halves |= {name: 0.0 * array for name, array in halves.items() if name.startswith("bias_hh")}  # Keras has one bias
    made.set_parameters(halves)
    return made


@pytest.fixture(scope="module")
def classifier():
    y = np.array(["down", "up"])[(X[:, -1, 0] > 0).astype(int)]
    return LSTMClassifier(hidden_size=4, max_iter=1, random_state=0).fit(np.tile(X, (3, 1, 1)), np.tile(y, 3))


def outputs_of(model):
    """What a model makes of X."""
    if isinstance(model, Graph):
        feeds = {value.name: LENGTHS if value.dtype == "int32" else X for value in model.inputs}
        return model.run(feeds)[0]
    return model.predict(X) if hasattr(model, "predict") else model(X)[0]


def written(layer, folder):
    """The layer, in a file of every format."""
    import torch
    from safetensors.numpy import save_file

    layer.save(folder / "native.safetensors")
    to_onnx(layer, folder / "model.onnx")
    save_file({f"rnn.{name}": array for name, array in to_torch(layer).items()}, folder / "torch.safetensors")
    tensors = {name: torch.from_numpy(array) for name, array in to_torch(layer).items()}
    torch.save(tensors, folder / "torch.pt")
    torch.save(tensors, folder / "torch.pth")
    (folder / "model.keras").write_bytes(model_file(layer))
    (folder / "model.weights.h5").write_bytes(weights_file(layer))
    (folder / "config.json").write_text(config_of(layer))


def config_of(layer):
    """What Keras's ``model.to_json()`` gives."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(model_file(layer))) as archive:
        return archive.read("config.json").decode()


SOURCES = ["native.safetensors", "model.onnx", "torch.safetensors", "torch.pt", "torch.pth", "model.keras",
           "model.weights.h5"]  # fmt: skip
TARGETS = [("x.safetensors", {}), ("x.safetensors", {"to": "torch"}), ("x.onnx", {}), ("x.pt", {}), ("x.pth", {}),
           ("x.keras", {}), ("x.weights.h5", {})]  # fmt: skip


OF_TORCH = [".pth.tar", ".ckpt", ".bin"]  # the same as .pt by other names


@pytest.fixture(scope="module")
def folder(layer, tmp_path_factory):
    pytest.importorskip("torch")
    made = tmp_path_factory.mktemp("models")
    written(layer, made)
    return made


def test_every_format_is_tried():
    endings = {ending for ending in FORMATS for name in SOURCES if name.endswith(ending)}
    assert endings | {*OF_TORCH} == {*FORMATS}
    assert endings == {ending for ending in FORMATS for name, _ in TARGETS if name.endswith(ending)}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("target", "options"), TARGETS)
def test_every_pair(source, target, options, folder, layer, tmp_path):
    given = dict(options)
    if source == "torch.safetensors":
        given["prefix"] = "rnn."
    if source == "model.weights.h5":
        given["config"] = str(folder / "config.json")
    whole = source in ("native.safetensors", "torch.safetensors", "torch.pt", "torch.pth")
    if not whole and ("to" in options or target.endswith((".pt", ".pth", ".keras", ".h5"))):
        with pytest.raises(ValueError, match=r"model must be a layer for .*, got Graph: choose one of its"):
            convert(folder / source, tmp_path / target, **given)
        assert not [*tmp_path.iterdir()]
        return
    model = convert(folder / source, tmp_path / target, **given)
    np.testing.assert_allclose(outputs_of(model), layer(X)[0], rtol=1e-5, atol=1e-6)
    config = str(folder / "config.json") if target.endswith(".h5") else None
    again = read(tmp_path / target, config=config)
    np.testing.assert_array_equal(outputs_of(again), outputs_of(model))
    assert os.listdir(tmp_path) == [target]


@pytest.mark.parametrize("source", ["model.onnx", "model.keras"])
def test_one_layer_of_a_graph(source, folder, layer, tmp_path):
    suffixes, parameters = ["_l0", "_l1"], {}
    for index, suffix in enumerate(suffixes):
        one = convert(folder / source, tmp_path / "x.safetensors", to="torch", layer=index)
        assert one.num_layers == 1
        parameters |= {name.replace("_l0", suffix): array for name, array in to_torch(one).items()}
    assert parameters.keys() == layer.parameters.keys()
    for name, array in layer.parameters.items():
        np.testing.assert_array_equal(parameters[name], array)
    count = len(suffixes)
    message = f"layer must be below {count}, the number of recurrent layers there, got {count}"
    with pytest.raises(ValueError, match=message):
        convert(folder / source, tmp_path / "x.safetensors", layer=count)


def test_a_layer_that_goes_backwards(tmp_path):
    """Its weights alone would say something else."""
    from numlstm.io import from_onnx

    made = to_onnx(LSTM(2, 3, random_state=0))
    for node in made.graph.node:
        if node.op_type == "LSTM":
            next(each for each in node.attribute if each.name == "direction").s = b"reverse"
    path = tmp_path / "in.onnx"
    path.write_bytes(made.SerializeToString())
    assert from_onnx(path).backwards == (True,)
    with pytest.raises(ValueError, match="layer must not be 0, which reads sequences backwards"):
        convert(path, tmp_path / "out.safetensors", layer=0)


def test_an_estimator(classifier, tmp_path):
    path, out = tmp_path / "in.safetensors", tmp_path / "out.onnx"
    classifier.save(path)
    assert main(["convert", str(path), str(out)]) == 0
    graph = read(out)
    assert outputs_of(graph).tolist() == classifier.predict(X).tolist()
    assert main(["convert", str(out), str(tmp_path / "graph.safetensors")]) == 0
    again = numlstm.load(tmp_path / "graph.safetensors")
    for got, want in zip(again.run({"x": X, "sequence_lens": LENGTHS}),
                         graph.run({"x": X, "sequence_lens": LENGTHS}), strict=True):  # fmt: skip
        assert (got == want).all()
    assert main(["convert", str(path), str(tmp_path / "out.keras")]) == 1
    assert main(["convert", str(path), str(tmp_path / "out.keras"), "--layer", "0"]) == 0


REFUSED = [
    (["in.txt", "out.onnx"], "source must end in one of ['.safetensors', '.onnx', '.keras', '.weights.h5', '.h5'"),
    (
        ["layer.safetensors", "out.h5"],
        "target must end in one of ['.safetensors', '.onnx', '.keras', '.weights.h5', '.pt', "
        "'.pth', '.pth.tar', '.ckpt', '.bin'], got ",
    ),
    (
        ["layer.safetensors", "out.onnx", "--to", "torch"],
        "to must be 'torch', for a .safetensors file, got 'torch' for ",
    ),
    (["layer.safetensors", "out.onnx", "--prefix", "rnn."], "prefix must be left out for "),
    (["layer.safetensors", "out.onnx", "--nonlinearity", "relu"], "nonlinearity must be left out for "),
    (["layer.safetensors", "out.onnx", "--config", "x.json"], "config must be left out for "),
    (["layer.safetensors", "out.pt"], "layer must have only options that torch.nn.LSTM has, got peepholes=True"),
    (["layer.safetensors", "out.keras"], "layer must have only options that Keras's LSTM has, got peepholes=True"),
    (["none.onnx", "out.safetensors"], "No such file or directory"),
    (
        ["scaler.safetensors", "out.keras", "--layer", "0"],
        "layer must be below 0, the number of recurrent layers there",
    ),
    (["bad.onnx", "out.safetensors"], "bad.onnx"),
    (["layer.safetensors", "none/out.onnx"], "No such file or directory"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_converted(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LSTM(2, 3, peepholes=True).save("layer.safetensors")
    SequenceScaler().save("scaler.safetensors")
    (tmp_path / "bad.onnx").write_bytes(b"\x08nothing")
    before = sorted(tmp_path.iterdir())
    assert main(["convert", *arguments]) == 1
    said = capsys.readouterr()
    assert message in said.err
    assert not said.out
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (
            "native.safetensors",
            ["kind LSTM", "written by numlstm", "input 2, hidden 4, output 8", "weight_hh_l1_reverse"],
        ),
        (
            "model.onnx",
            ["kind Graph", "written by ONNX", "inputs x float32(N, T, 2), sequence_lens int32(N)", "2 LSTM"],
        ),
        ("torch.pt", ["kind LSTM", "written by PyTorch", "sizes input 2, hidden 4, output 8"]),
        (
            "model.keras",
            ["kind Graph", "written by Keras", "layers LSTM(2, 4, bidirectional=True), LSTM(8, 4, bidirectional=True)"],
        ),
    ],
)
def test_info(source, wanted, folder, capsys):
    assert main(["info", str(folder / source)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for part in wanted:
        assert part in said
    assert f"file {os.stat(folder / source).st_size:,} bytes" in said


def test_info_refuses_options_for_other_formats(folder, capsys):
    for options in (["--prefix", "rnn."], ["--nonlinearity", "relu"], ["--config", "x"]):
        assert main(["info", str(folder / "native.safetensors"), *options]) == 1
        assert "must be left out for" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of this kind are POSIX's")
@pytest.mark.parametrize("name", ["x.safetensors", "x.onnx", "x.pt", "x.keras", "x.weights.h5", "x.h5"])
def test_pipes_are_not_waited_for(name, tmp_path, capsys):
    os.mkfifo(tmp_path / name)
    assert main(["info", str(tmp_path / name)]) == 1
    assert capsys.readouterr().err
    with pytest.raises(ValueError, match="must be a regular file"):
        numlstm.load(tmp_path / name)


def test_names_that_a_terminal_cannot_show(tmp_path):
    LSTM(2, 3).save(tmp_path / "in.safetensors")
    command = [sys.executable, "-m", "numlstm", "convert", "in.safetensors", "ü.onnx"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert done.stdout.startswith(b"\\xfc.onnx: ")


@pytest.mark.parametrize("ending", OF_TORCH)
def test_files_of_pytorch_by_other_names(ending, folder, layer, tmp_path, capsys):
    path = tmp_path / f"model{ending}"
    convert(folder / "torch.pt", path)
    np.testing.assert_array_equal(outputs_of(read(path)), layer(X)[0])
    assert main(["info", str(path)]) == 0
    assert "written by PyTorch" in " ".join(capsys.readouterr().out.split())


def test_info_of_a_state_dict_with_a_prefix(folder, capsys):
    assert main(["info", str(folder / "torch.safetensors")]) == 0
    assert main(["info", str(folder / "torch.safetensors"), "--prefix", "other."]) == 1
    assert "prefixes of some are ['rnn.']" in capsys.readouterr().err
    assert main(["info", str(folder / "torch.safetensors"), "--prefix", "rnn."]) == 0
    assert main(["info", str(folder / "model.weights.h5"), "--config", str(folder / "config.json")]) == 0


def test_legacy_files_of_keras(tmp_path, capsys):
    data = Path(__file__).parents[1] / "data"
    for name in ("sequential.h5", "weights.h5", "weights.json"):
        (tmp_path / name).write_bytes(gzip.decompress((data / f"keras_v2_{name}.gz").read_bytes()))
    model, weights, config = (str(tmp_path / name) for name in ("sequential.h5", "weights.h5", "weights.json"))
    assert main(["info", model]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "written by Keras " in said
    assert "layers LSTM(2, 3, recurrent_activation='hard_sigmoid'" in said
    assert main(["convert", model, str(tmp_path / "x.onnx")]) == 0
    with np.load(data / "keras_v2_sequential.npz") as stored:
        made = read(tmp_path / "x.onnx").run({"lstm_input": stored["lstm_input"]})
        np.testing.assert_allclose(made[0], stored["result 0"], rtol=1e-5, atol=1e-6)
    assert main(["convert", model, str(tmp_path / "x.keras"), "--layer", "0"]) == 1
    assert "must have activations that Keras has by name" in capsys.readouterr().err
    assert main(["info", weights]) == 1
    assert "config must be given with 'weights.h5'" in capsys.readouterr().err
    assert main(["info", weights, "--config", config]) == 0
    assert main(["info", model, "--config", config]) == 1
    assert "config must be None with 'sequential.h5'" in capsys.readouterr().err


def test_as_a_user_types_it(tmp_path):
    """In a process of its own."""
    layer = GRU(2, 3, random_state=0)
    layer.save(tmp_path / "in.safetensors")
    command = [sys.executable, "-m", "numlstm", "convert", "in.safetensors", "out.onnx"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "out.onnx: GRU(2, 3)\n"
    np.testing.assert_array_equal(outputs_of(read(tmp_path / "out.onnx")), layer(X)[0])
    done = subprocess.run([*command[:3], "convert", "--help"], capture_output=True, text=True, check=True)
    assert re.search(r"--layer K +convert only this", done.stdout)


# Keras's own -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        LSTM(2, [4, 3], random_state=0),
        LSTM(2, 4, 2, bidirectional=True, merge="mean", random_state=0, dtype="float64"),
        LSTM(2, 3, recurrent_activation=("hard_sigmoid", 1 / 6, 0.5), bias=False, random_state=0),
        GRU(2, 3, 2, reset_after=False, random_state=0),
        GRU(2, 3, bidirectional=True, merge="sum", input_activation=("elu", 1.0), random_state=0),
        RNN(2, 3, nonlinearity="identity", random_state=0),
    ],
    ids=repr,
)
def test_files_that_keras_loads(layer, tmp_path):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    layer.set_parameters({name: 0.5 * rng.normal(size=array.shape) for name, array in layer.parameters.items()})
    (tmp_path / "model.keras").write_bytes(model_file(layer))
    (tmp_path / "model.weights.h5").write_bytes(weights_file(layer))
    model = keras.saving.load_model(tmp_path / "model.keras")
    expected = layer(X)[0]
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)
    model.set_weights([0 * array for array in model.get_weights()])
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", [("hard_sigmoid", 0.2, 0.5), ("affine", 0.5, 0.1), ("elu", 0.7)])
def test_activations_that_keras_does_not_have(activation):
    with pytest.raises(ValueError, match=f"layer must have activations that Keras has by name, got .*{activation[0]}"):
        model_file(RNN(2, 3, nonlinearity=activation))
