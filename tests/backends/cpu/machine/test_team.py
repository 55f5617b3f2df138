"""Threads that share the units of a step: the same bits, whoever comes, and whenever."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import numlstm
from numlstm.backends.cpu.machine import thread_count, threads
from numlstm.backends.cpu.machine.board import Board
from numlstm.backends.cpu.recurrent import buffers, weights

LAYERS = {
    "lstm": lambda **more: numlstm.LSTM(5, 67, random_state=0, **more),
    "peepholes": lambda **more: numlstm.LSTM(5, 40, peepholes=True, random_state=0, **more),
    "deep": lambda **more: numlstm.LSTM(5, 33, 2, bidirectional=True, random_state=0, **more),
    "gru": lambda **more: numlstm.GRU(5, 67, random_state=0, **more),
    "rnn": lambda **more: numlstm.RNN(5, 260, random_state=0, **more),
}


@pytest.fixture
def team(monkeypatch):
    """Teams of a size, however small the work; the number of calls that had one."""
    calls = []

    def of(parts):
        kept = buffers.Buffers.team_shards

        def counted(self):
            calls.append(self.parts)
            return kept(self)

        monkeypatch.setattr(buffers.Buffers, "team_shards", counted)
        monkeypatch.setattr(
            weights.LayerWeights, "team_of", lambda self, *shape: min(parts, self.packing.phases[0].panels)
        )
        return calls

    return of


def everything(layer, x, lengths):
    y, state, pullback = layer.vjp(x, lengths=lengths)
    dx, dstate, dparameters = pullback(np.cos(y), state)
    return [layer(x, lengths=lengths)[0], y, *_flat(state), dx, *_flat(dstate), *dparameters.values()]


def _flat(state):
    return state if isinstance(state, tuple) else [state]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("name", LAYERS)
def test_bits_are_those_of_one_thread(team, name, rows, dtype):
    x = np.random.default_rng(0).normal(size=(rows, 11, 5)).astype(dtype)
    lengths = None if rows == 1 else np.array([3, 11, 1, 7])
    expected = everything(LAYERS[name](dtype=dtype), x, lengths)
    for parts in (2, 3):
        calls = team(parts)
        with thread_count.limit_threads(parts):
            results = everything(LAYERS[name](dtype=dtype), x, lengths)
        assert calls
        for got, want in zip(results, expected, strict=True):
            np.testing.assert_array_equal(got, want)


def test_nobody_waits_for_who_does_not_come(team, monkeypatch):
    x = np.random.default_rng(0).normal(size=(2, 30, 5)).astype("float32")
    expected = everything(LAYERS["lstm"](), x, None)
    calls = team(3)
    monkeypatch.setattr(threads.ThreadPool, "_hire", lambda self, count: None)  # the caller is alone
    results = everything(LAYERS["lstm"](), x, None)
    assert {*calls} == {3}
    for got, want in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_more_callers_than_cores(team):
    xs = [np.random.default_rng(k).normal(size=(2, 40, 5)).astype("float32") for k in range(12)]
    layer = LAYERS["lstm"]()
    expected = [everything(layer, x, None) for x in xs]
    team(2)
    layer = LAYERS["lstm"]()
    with thread_count.limit_threads(2), ThreadPoolExecutor(6) as callers:
        for results, wants in zip(callers.map(lambda x: everything(layer, x, None), xs), expected, strict=True):
            for got, want in zip(results, wants, strict=True):
                np.testing.assert_array_equal(got, want)


def test_who_comes_late_does_no_harm(team, monkeypatch):
    x = np.random.default_rng(0).normal(size=(2, 400, 5)).astype("float32")
    expected = LAYERS["lstm"]()(x)[0]
    team(2)
    begun, kept = threading.Event(), Board.look

    def late(self, *arguments):
        time.sleep(0.001)
        begun.set()
        return kept(self, *arguments)

    monkeypatch.setattr(Board, "look", late)
    monkeypatch.setattr(threads, "READS", 100)  # after which a worker sleeps, and is woken
    with thread_count.limit_threads(2):
        for _ in range(20):
            np.testing.assert_array_equal(LAYERS["lstm"]()(x)[0], expected)
    assert begun.is_set()


def test_who_has_a_team():
    def parts(layer, rows, steps):
        with thread_count.limit_threads(2):
            return layer._prepared(numlstm.backends.dispatch.backend_for("cpu"))[0].weights.team_of(rows, steps)

    large, small = numlstm.LSTM(64, 512), numlstm.LSTM(16, 64)
    assert parts(large, 1, 100) == 2
    assert parts(large, 64, 100) == 1
    assert parts(small, 1, 100) == 1
    assert parts(large, 1, 1) == 1
    for options in ({"layer_norm": True}, {"proj_size": 8}, {"zoneout": 0.1}, {"recurrent_dropout": 0.1}):
        assert parts(numlstm.LSTM(64, 512, **options), 1, 100) == 1
