"""Traces as projects of LSTMVis."""

import builtins
import re

import h5py
import numpy as np
import pytest

from numlstm import GRU, LSTM

X = [np.random.default_rng(k).normal(size=(length, 2)) for k, length in enumerate((4, 2, 3))]


def read(folder):
    """What LSTMVis reads: states by type, and words."""
    config = (folder / "lstm.yml").read_text()
    files = dict(re.findall(r"^  (\w+): (\S+\.(?:h5|dict))$", config, re.MULTILINE))
    assert set(files) == {"states", "words", "dictionary"}
    sequence = re.search(r"word_sequence:\n  file: (\w+)\n  path: (\w+)\n  dict_file: (\w+)\n", config)
    words = dict(reversed(line.split()) for line in (folder / files[sequence[3]]).read_text().splitlines())
    with h5py.File(folder / files[sequence[1]]) as file:
        spoken = [words[str(k)] for k in file[sequence[2]][:]]
    types = re.findall(r"\{type: (\w+), layer: (\d+), path: (\w+)((?:, \w+: \w+)*)\}", config)
    with h5py.File(folder / files[re.search(r"states:\n  file: (\w+)", config)[1]]) as file:
        states = {path: (kind, int(layer), options, file[path][:]) for kind, layer, path, options in types}
    return config, states, spoken


def test_project(tmp_path):
    trace = LSTM(2, 3, num_layers=2, random_state=0).trace(X)
    trace.save(tmp_path / "deep" / "my model", words=[["to", "be", "or", "not"], ["to", "be"], ["that", "is", "it"]])
    config, states, spoken = read(tmp_path / "deep" / "my model")
    assert config.startswith('name: "my model"\n')
    assert spoken == ["to", "be", "or", "not", "to", "be", "that", "is", "it"]
    assert len(states) == 12
    for name, values in trace.items():
        for k in (1, 2):
            kind, layer, options, stored = states[f"{name}_{k}"]
            assert (kind, layer) == ("output" if name == "hidden_state" else "state", k)
            assert ("transform: none" in options) == (name != "cell_state")
            assert ("unsigned: true" in options) == name.endswith("gate")
            np.testing.assert_array_equal(stored, np.concatenate([values[k - 1, i, : len(x)] for i, x in enumerate(X)]))


def test_one_sequence(tmp_path):
    trace = GRU(2, [3, 4], random_state=0).trace(X[0])
    trace.save(tmp_path)
    _, states, spoken = read(tmp_path)
    assert spoken == ["0", "1", "2", "3"]
    assert states["hidden_state_2"][3].shape == (4, 4)
    np.testing.assert_array_equal(states["update_gate_1"][3], trace.update_gate[0])
    trace.save(tmp_path, words=list("abca"))
    assert (tmp_path / "words.dict").read_text() == "a 0\nb 1\nc 2\n"


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([["a"] * 4, ["a"] * 2, ["a"] * 2], ValueError, r"one for each step, \[4, 2, 3\] .* got \[4, 2, 2\]"),
        ([["a"] * 4, ["a b"] * 2, ["a"] * 3], ValueError, "no spaces and not be empty, got 'a b'"),
        ("abc", TypeError, "words must be a list with one for each step of each sequence, got str"),
    ],
)
def test_words_that_do_not_fit(tmp_path, words, error, message):
    with pytest.raises(error, match=message):
        LSTM(2, 3, random_state=0).trace(X).save(tmp_path / "new", words)
    assert not (tmp_path / "new").exists()


def test_without_h5py(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **options):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *args, **options)

    trace = LSTM(2, 3, random_state=0).trace(X)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r'pip install "numlstm\[keras\]"'):
        trace.save(tmp_path)
