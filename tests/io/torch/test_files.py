"""Files with state dicts of PyTorch's, whatever their names are."""

import argparse
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from torch_states import same, write_safetensors

from numlstm import GRU, LSTM
from numlstm.io import from_torch, to_torch

PREFIX = "encoder.rnn."


@pytest.fixture
def state():
    """A state dict of NumPy arrays, in a larger model."""
    made = to_torch(GRU(3, 5, 2, bidirectional=True, random_state=0))
    return {f"{PREFIX}{name}": array for name, array in made.items()} | {"head.weight": np.ones((2, 10))}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("as_string", [False, True])
def test_safetensors_are_read(state, tmp_path, dtype, as_string):
    state = {name: array.astype(dtype) for name, array in state.items()}
    path = write_safetensors(tmp_path / "model.safetensors", state)
    layer = from_torch(str(path) if as_string else path, PREFIX)
    same(to_torch(layer), to_torch(from_torch(state, PREFIX)))


@pytest.mark.parametrize("kind", ["BF16", "F16"])
def test_halves_in_safetensors_become_float32(tmp_path, kind):
    state = to_torch(LSTM(3, 5, random_state=0))
    if kind == "BF16":  # the upper half of a float32
        halves = {name: (array.view("uint32") >> 16).astype("uint16") for name, array in state.items()}
        wanted = {name: (array.astype("uint32") << 16).view("float32") for name, array in halves.items()}
    else:
        halves = {name: array.astype("float16") for name, array in state.items()}
        wanted = {name: array.astype("float32") for name, array in halves.items()}
    path = write_safetensors(tmp_path / "model.safetensors", halves, dict.fromkeys(halves, kind))
    same(to_torch(from_torch(path)), wanted)


def test_files_of_numlstm_are_no_state_dicts(tmp_path):
    """They hold options, too, and without these would be other models."""
    path = tmp_path / "model.safetensors"
    GRU(3, 4, reset_after=False).save(path)
    with pytest.raises(ValueError, match=r"'model.safetensors' was written by numlstm, .*: numlstm.load reads it$"):
        from_torch(path)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_safetensors_of_pytorch_are_read(tmp_path, name):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    state = torch.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2).to(getattr(torch, name)).state_dict()
    save_file(state, tmp_path / "model.safetensors")
    made = to_torch(from_torch(tmp_path / "model.safetensors"))
    same(made, {key: value.float().numpy() for key, value in state.items()})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [10**12, 10**12]}, "'model.safetensors' must be a file of safetensors: "),
        ({"shape": [10**6, 10**6]}, "'model.safetensors' must be a file of safetensors: "),
        ({"data_offsets": [0, 10**15]}, "'model.safetensors' must be a file of safetensors: "),
        ({"data_offsets": [0, -8]}, "'model.safetensors' must be a file of safetensors: "),
        ({"dtype": "F99"}, "'model.safetensors' must be a file of safetensors: "),
    ],
)
def test_safetensors_that_claim_more_than_they_hold_are_refused(tmp_path, changes, words):
    state = to_torch(LSTM(3, 5, random_state=0))
    path = write_safetensors(tmp_path / "model.safetensors", state, weight_ih_l0=changes)
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        from_torch(path)


def test_integers_in_safetensors_are_refused_unless_they_are_elsewhere(tmp_path):
    state = {f"rnn.{name}": array for name, array in to_torch(LSTM(3, 5, random_state=0)).items()}
    state["steps"] = np.ones(2)
    path = write_safetensors(tmp_path / "model.safetensors", state, {"steps": "I64"})
    assert type(from_torch(path, "rnn.")) is LSTM
    path = write_safetensors(tmp_path / "model.safetensors", state, {"rnn.bias_ih_l0": "I32"})
    with pytest.raises(TypeError, match=r"^'rnn.bias_ih_l0' must hold real numbers, .* got I32$"):
        from_torch(path, "rnn.")


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model"])
@pytest.mark.parametrize("content", [b"", b"123", b"\xff" * 64, b"version https://git-lfs", b"\x89HDF\r\n\x1a\n\x00"])
def test_files_of_no_kind_are_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    words = f"'{name}' must be a file of safetensors or of torch.save, got a file that begins with {content[:9]!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        from_torch(path)


@pytest.mark.parametrize("length", [2, 2**40])
def test_files_that_begin_like_safetensors_are_refused(tmp_path, length):
    path = tmp_path / "model.pt"
    path.write_bytes(length.to_bytes(8, "little") + b"{")
    with pytest.raises(ValueError, match=r"^'model.pt' must be a file of safetensors: "):
        from_torch(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of this kind are POSIX's")
def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model")
    with pytest.raises(ValueError, match="must be a regular file"):
        from_torch(tmp_path / "model")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_files_that_are_not_there_are_missed(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        from_torch(tmp_path / f"none{suffix}")


NAMES = [
    "model.pt",
    "model.pth",
    "model.PT",
    "epoch=3.ckpt",
    "pytorch_model.bin",
    "best.pth.tar",
    "model",
    "a.safetensors",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "pickle"])
def test_files_of_pytorch_are_read(tmp_path, name, as_zip):
    torch = pytest.importorskip("torch")
    state = torch.nn.GRU(3, 4, 2).state_dict()
    torch.save(state, tmp_path / name, _use_new_zipfile_serialization=as_zip)
    same(to_torch(from_torch(tmp_path / name)), state)


@pytest.mark.parametrize("name", NAMES)
def test_safetensors_are_read_by_any_name(tmp_path, name):
    state = to_torch(LSTM(3, 5, random_state=0))
    same(to_torch(from_torch(write_safetensors(tmp_path / name, state))), state)


def test_checkpoints_of_lightning_are_read(tmp_path):
    """What its Trainer saves: the state dict, and much else, some with a number for a key."""
    torch = pytest.importorskip("torch")
    module = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(3, 4, 2), "fc": torch.nn.Linear(4, 2)})
    optimizer = torch.optim.Adam(module.parameters())
    module["lstm"](torch.ones(2, 3))[0].sum().backward()
    optimizer.step()
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": module.state_dict(),
        "loops": {"fit_loop": {"epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.3)}},
        "optimizer_states": [optimizer.state_dict()],
        "optimizer": optimizer.state_dict(),
        "hyper_parameters": {"hidden": 4},
    }
    torch.save(content, tmp_path / "last.ckpt")
    for prefix in ("", "lstm.", "state_dict.lstm."):
        same(to_torch(from_torch(tmp_path / "last.ckpt", prefix)), module["lstm"].state_dict())


class Unknown:
    """What no reader can know."""


def saved(torch, kind):
    """What is in a file that only code could read, and the class that says so."""
    return {
        "a whole module": (torch.nn.LSTM(3, 4), "torch.nn.modules.rnn.LSTM"),
        "beside a state dict": (
            {"state_dict": torch.nn.LSTM(3, 4).state_dict(), "arguments": argparse.Namespace(lr=1.0)},
            "argparse.Namespace",
        ),
        "of the user's": ({"weight_ih_l0": Unknown()}, f"{__name__}.Unknown"),
    }[kind]


@pytest.mark.parametrize("kind", ["a whole module", "beside a state dict", "of the user's"])
@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "pickle"])
def test_classes_that_are_not_known_are_named(tmp_path, kind, as_zip):
    torch = pytest.importorskip("torch")
    content, name = saved(torch, kind)
    torch.save(content, tmp_path / "model.ckpt", _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ValueError, match=r"^'model.ckpt' must hold only tensors and plain values") as caught:
        from_torch(tmp_path / "model.ckpt")
    message = str(caught.value)
    assert f"has an object of the class {name}, which cannot be read without running code" in message
    assert message.endswith("torch.save(model.state_dict(), path)")
    assert "weights_only" not in message  # PyTorch's own advice runs what is in the file


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_of_pytorch_that_hold_something_else_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    torch.save([1.0], path)
    with pytest.raises(ValueError, match=r"^'model.pt' must hold a mapping of names to tensors, got list$"):
        from_torch(path)
    torch.save({3: torch.ones(2)}, path)
    with pytest.raises(TypeError, match=r"^state_dict must have strings as keys, got 3$"):
        from_torch(path)
    torch.jit.script(torch.nn.Linear(2, 3)).save(path)
    with pytest.raises(ValueError, match=r"'model.pt' must hold a state dict, but is a program of TorchScript's"):
        from_torch(path)
    for content in (b"PK\x03\x04nothing", b"\x80\x02nothing", pickle.dumps({"weight_ih_l0": 1.0})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^'model.pt' must hold a state dict, as .*, but PyTorch reads none: ."):
            from_torch(path)


WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("no torch here")

sys.meta_path.insert(0, Refuse())
import numpy as np
from numlstm import LSTM
from numlstm.io import from_torch, to_torch

layer = LSTM(3, 5, proj_size=2, bidirectional=True, random_state=0)
state = to_torch(layer)
for given in (state, sys.argv[1]):
    made = to_torch(from_torch(given))
    assert list(made) == list(state)
    assert all(np.array_equal(made[name], state[name]) for name in state)
for path in sys.argv[2:]:
    try:
        from_torch(path)
    except ImportError as error:
        print(error)
print("torch" in sys.modules)
"""


def test_all_but_files_of_pytorch_works_without_it(tmp_path):
    layer = LSTM(3, 5, proj_size=2, bidirectional=True, random_state=0)
    path = write_safetensors(tmp_path / "model.safetensors", to_torch(layer))
    others = [tmp_path / "model.pt", tmp_path / "model.bin"]
    for other, content in zip(others, (b"PK\x03\x04", b"\x80\x02"), strict=True):
        other.write_bytes(content)
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, [path, *others])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "'model.pt' is read by PyTorch: install torch, or save the state dict as .safetensors",
        "'model.bin' is read by PyTorch: install torch, or save the state dict as .safetensors", "False",
    ]  # fmt: skip
