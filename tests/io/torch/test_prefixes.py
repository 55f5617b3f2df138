"""Which module of a state dict is meant: by its prefix, by the end of it, or because there is no other."""

import re

import numpy as np
import pytest
from torch_states import same, write_safetensors

from numlstm import GRU, LSTM
from numlstm.io import from_torch, to_torch

STATE = to_torch(LSTM(3, 5, random_state=0))
OTHER = to_torch(GRU(3, 4, random_state=1))


def at(prefix, state=STATE):
    """A state dict as part of a larger one."""
    return {prefix + name: array for name, array in state.items()}


HEAD = {"fc.weight": np.ones((2, 5)), "fc.bias": np.ones(2)}
STEPS = {"state": {0: {"exp_avg": np.ones(3), "step": 3}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
FOUND = {
    "alone": (at("lstm.") | HEAD, ["", "lstm."]),
    "deep": (at("model.encoder.lstm."), ["", "lstm.", "encoder.lstm.", "model.encoder.lstm."]),
    "of DataParallel": (at("module.lstm.") | {"module.fc.weight": np.ones(2)}, ["", "lstm.", "module.lstm."]),
    "in DataParallel": (at("lstm.module."), ["", "lstm.", "lstm.module.", "module."]),
    "compiled": (at("_orig_mod.lstm."), ["", "lstm.", "_orig_mod.lstm."]),
    "in a checkpoint": (
        {"state_dict": at("lstm.") | HEAD, "epoch": 3, "optimizer": STEPS},
        ["", "lstm.", "state_dict.lstm."],
    ),
    "plain in a checkpoint": ({"model": STATE, "epoch": 3}, ["", "model."]),
    "in mappings in mappings": ({"a": {"b": {"c": {"lstm": STATE}}}}, ["", "lstm.", "c.lstm.", "a.b.c.lstm."]),
    "beside another": (at("lstm.") | at("gru.", OTHER), ["lstm."]),
    "its own name before longer ones": (at("lstm.") | at("a.lstm.", OTHER), ["lstm."]),
    "an end that another has without a dot": (at("a.lstm.") | at("a.bilstm.", OTHER), ["lstm.", "a.lstm."]),
    "without a dot": (at("lstm_") | HEAD, ["", "lstm_"]),
    "nothing before it": (STATE, [""]),
}


@pytest.mark.parametrize(("state", "prefixes"), FOUND.values(), ids=FOUND)
def test_modules_are_found(state, prefixes):
    for prefix in prefixes:
        same(to_torch(from_torch(state, prefix)), STATE)


def test_modules_in_files_are_found(tmp_path):
    path = write_safetensors(tmp_path / "model.safetensors", at("model.lstm.") | HEAD)
    for prefix in ("", "lstm.", "model.lstm."):
        same(to_torch(from_torch(path, prefix)), STATE)


TWO = {"model": at("lstm."), "ema": at("lstm.", OTHER)}
AMBIGUOUS = {
    "two modules": (at("lstm.") | at("gru.", OTHER), "", ["gru.", "lstm."]),
    "two copies": (TWO, "", ["ema.lstm.", "model.lstm."]),
    "two copies, by the end": (TWO | at("gru."), "lstm.", ["ema.lstm.", "model.lstm."]),
    "another name": (TWO, "gru.", ["ema.lstm.", "model.lstm."]),
    "a part of a name": (at("bilstm."), "lstm.", ["bilstm."]),
    "the beginning alone": (at("encoder.lstm."), "encoder.", ["encoder.lstm."]),
    "no dot": (at("lstm."), "lstm", ["lstm."]),
}


@pytest.mark.parametrize(("state", "prefix", "listed"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_prefixes_that_fit_no_module_or_several_are_refused(state, prefix, listed):
    words = f"prefix must be that of one LSTM, GRU or RNN, got {prefix!r}; prefixes of some are {listed}"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        from_torch(state, prefix)


def test_other_names_beside_a_module_that_was_found_are_refused():
    state = {"model": at("lstm.") | {"lstm.scale": np.ones(3)}}
    with pytest.raises(ValueError, match=r"nothing else under prefix='model.lstm.', got \['model.lstm.scale'\]$"):
        from_torch(state)


def test_other_kinds_of_modules_are_named_wherever_they_are():
    words = "state_dict must hold plain parameters, but 'model.cell.weight_ih' is of an LSTMCell, GRUCell or RNNCell"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        from_torch({"model": {"cell.weight_ih": np.ones((20, 3)), "cell.weight_hh": np.ones((20, 5))}})


def test_names_that_are_there_twice_are_refused():
    with pytest.raises(ValueError, match=r"^state_dict must hold each name once, but 'a.weight_ih_l0' is there twice$"):
        from_torch(at("a.") | {"a": STATE})


def test_mappings_that_hold_themselves_are_refused():
    state = {"weight_ih_l0": np.ones(3)}
    state["again"] = state["more"] = state
    with pytest.raises(
        ValueError, match=r"^state_dict must have at most 1048576 entries, in mappings at most 32 deep$"
    ):
        from_torch(state)
