"""A step of a stream inside of functions that Numba compiles, and from C."""

import copy
import ctypes
import pickle
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from numlstm import GRU, LSTM, RNN
from numlstm.backends.contract import UnsupportedError

RNG = np.random.default_rng(0)
STEPS = 5


@numba.njit
def run(step, x, state, y):
    for t in range(len(x)):
        step(x[t], state, y[t])


def zeros(state):
    """The arrays of such a state: all layers one after the other."""
    arrays = [np.zeros_like(array) for array in joined(state)]
    return tuple(arrays) if isinstance(state, tuple) else arrays[0]


def joined(state):
    """The numbers of a state as one vector for each array."""
    arrays = state if isinstance(state, tuple) else (state,)
    return [np.concatenate([np.ravel(part) for part in array]) for array in arrays]


@pytest.mark.parametrize("rows", [1, 7, 40])
@pytest.mark.parametrize(
    ("kind", "hidden", "options"),
    [
        (LSTM, 5, {}),
        (LSTM, 64, {"dtype": "float64"}),
        (LSTM, 9, {"num_layers": 3, "residual": True}),
        (LSTM, [9, 20, 4], {"num_layers": 3}),
        (LSTM, 9, {"proj_size": 4, "num_layers": 2}),
        (LSTM, 9, {"peepholes": True, "layer_norm": True}),
        (GRU, 17, {"num_layers": 2}),
        (GRU, 6, {"reset_after": False, "layer_norm": True}),
        (RNN, 6, {"num_layers": 2}),
    ],
)
def test_it_equals_the_steps_of_the_stream_to_the_bit(kind, hidden, options, rows):
    layer = kind(3, hidden, random_state=0, backend="cpu", **options)
    x = RNG.normal(size=(STEPS, rows, 3)).astype(layer.dtype)
    stream = layer.stream(rows)
    state = zeros(stream.state)
    expected = np.array([stream.step(x_t) for x_t in x])
    y = np.full_like(expected, np.nan)
    run(layer.stream(rows).jit_step, x, state, y)
    assert y.tobytes() == expected.tobytes()
    np.testing.assert_allclose(y.swapaxes(0, 1), layer(x.swapaxes(0, 1))[0], rtol=1e-4, atol=1e-6)
    for ours, wanted in zip(state if kind is LSTM else [state], joined(stream.state), strict=True):
        assert ours.tobytes() == wanted.tobytes()


def test_it_goes_on_with_the_state_given_and_leaves_that_of_the_stream():
    layer = LSTM(3, 5, 2, random_state=0, backend="cpu")
    x = RNG.normal(size=(2 * STEPS, 1, 3)).astype("f4")
    stream, other = layer.stream(), layer.stream()
    for x_t in x[:STEPS]:
        stream.step(x_t)
    state, y = stream.state, np.empty((STEPS, 1, 5), "f4")
    run(other.jit_step, x[STEPS:], state, y)
    np.testing.assert_array_equal(y, [stream.step(x_t) for x_t in x[STEPS:]])
    np.testing.assert_array_equal(state, stream.state)
    assert not np.any(other.state)


def test_a_compiled_function_may_find_it_outside():
    step = LSTM(3, 5, random_state=0, backend="cpu").stream().jit_step

    @numba.njit
    def closed(x, state, y):
        for t in range(len(x)):
            step(x[t], state, y[t])

    x, results = RNG.normal(size=(STEPS, 3)).astype("f4"), []
    for function in (lambda *arguments: run(step, *arguments), closed):
        results.append(np.empty((STEPS, 5), "f4"))
        function(x, (np.zeros(5, "f4"), np.zeros(5, "f4")), results[-1])
    assert results[0].tobytes() == results[1].tobytes()


CACHED = """
import warnings, numba, numpy as np
from numlstm import LSTM
step = LSTM(3, 5, random_state=0, backend="cpu").stream().jit_step
@numba.njit(cache=True)
def outside(x, h, c, y):
    step(x, (h, c), y)
@numba.njit(cache=True)
def given(step, x, h, c, y):
    step(x, (h, c), y)
arrays = np.ones(3, "f4"), np.zeros(5, "f4"), np.zeros(5, "f4"), np.empty(5, "f4")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    outside(*arrays)
given(step, *arrays)
print(len(caught), sum(outside.stats.cache_hits.values()), sum(given.stats.cache_hits.values()))
"""


def test_machine_code_with_its_address_is_not_kept_on_disk(tmp_path):
    source = tmp_path / "cached_step.py"
    source.write_text(CACHED)
    runs = [subprocess.run([sys.executable, source], capture_output=True, text=True, check=True) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["1", "0", "0"], ["1", "0", "1"]]


@numba.njit(parallel=True)
def run_many(step, x, h, c, y):
    for n in numba.prange(len(x)):
        for t in range(x.shape[1]):
            step(x[n, t], (h[n], c[n]), y[n, t])


@pytest.mark.parametrize(("units", "rows"), [(5, 16), (2000, 3)])  # 2000: memory that the stack has no room for
def test_steps_run_side_by_side(units, rows):
    layer = LSTM(3, units, random_state=0, backend="cpu")
    x = RNG.normal(size=(rows, STEPS, 3)).astype("f4")
    h, c = np.zeros((2, rows, units), "f4")
    y = np.empty((rows, STEPS, units), "f4")
    run_many(layer.stream().jit_step, x, h, c, y)
    for n in range(rows):
        stream = layer.stream()
        assert y[n].tobytes() == np.array([stream.step(x_t) for x_t in x[n]]).tobytes()


def test_c_calls_it():
    layer = LSTM(3, 5, random_state=0, backend="cpu")
    step, stream = layer.stream().jit_step, layer.stream()
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(step.address)
    h, c, y, x = *np.zeros((2, 5), "f4"), np.empty(5, "f4"), RNG.normal(size=(STEPS, 3)).astype("f4")
    state = (ctypes.c_void_p * 2)(h.ctypes.data, c.ctypes.data)
    for x_t in x:
        function(step.plan, x_t.ctypes.data, state, y.ctypes.data)
        assert y.tobytes() == stream.step(x_t).tobytes()
    assert c.tobytes() == stream.state[1].tobytes()


def test_python_calls_it():
    layer = GRU(3, 5, random_state=0, backend="cpu")
    h, y, x = np.zeros(5, "f4"), np.empty(5, "f4"), np.ones(3, "f4")
    layer.stream().jit_step(x, h, y)
    assert y.tobytes() == h.tobytes() == layer.stream().step(x).tobytes()


def test_it_outlives_its_stream():
    step = LSTM(3, 5, random_state=0, backend="cpu").stream().jit_step
    others = [LSTM(3, 5, random_state=k, backend="cpu").stream() for k in range(1, 20)]
    y, expected = np.empty((1, 5), "f4"), LSTM(3, 5, random_state=0, backend="cpu").stream().step(np.ones(3, "f4"))
    run(step, np.ones((1, 3), "f4"), (np.zeros(5, "f4"), np.zeros(5, "f4")), y)
    assert others
    np.testing.assert_array_equal(y[0], expected)


ARGUMENTS = {"x_t": np.zeros(3, "f4"), "state": (np.zeros(10, "f4"), np.zeros(10, "f4")), "out": np.zeros(5, "f4")}
READ_ONLY = np.zeros(5, "f4")
READ_ONLY.flags.writeable = False


@numba.njit
def call_compiled(step, x_t, state, out):
    step(x_t, state, out)


def call(step, x_t, state, out):
    step(x_t, state, out)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("x_t", np.zeros(4, "f4"), ValueError, "x_t must have"),
        ("out", np.zeros(10, "f4"), ValueError, "out must have"),
        ("state", (np.zeros(10, "f4"), np.zeros(5, "f4")), ValueError, "state.* must have"),
        ("x_t", np.zeros(3), TypeError, "x_t must be a C-contiguous array of float32, got"),
        ("x_t", np.zeros(6, "f4")[::2], TypeError, "x_t must be a C-contiguous array of float32, got"),
        ("out", READ_ONLY, TypeError, "out must be writeable, got"),
        ("state", np.zeros(10, "f4"), TypeError, "state must have 2 arrays, got"),
        ("state", (np.zeros(10, "f4"), np.zeros(10)), TypeError, "state must be a C-contiguous array of float32, got"),
    ],
)
@pytest.mark.parametrize("caller", [call_compiled, call])
def test_wrong_arrays_are_refused_before_anything_changes(caller, name, value, error, message):
    step = LSTM(3, 5, 2, random_state=0, backend="cpu").stream().jit_step
    with pytest.raises(TypingError if error is TypeError and caller is call_compiled else error, match=message):
        caller(step, *(ARGUMENTS | {name: value}).values())
    assert not np.any(ARGUMENTS["state"])
    assert not np.any(ARGUMENTS["out"])


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_refuses_to_be_copied(duplicate):
    with pytest.raises(TypeError, match="a jit_step cannot be pickled or copied"):
        duplicate(LSTM(3, 5, backend="cpu").stream().jit_step)


def test_another_backend_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="jit_step needs backend 'cpu', got 'reference'"):
        _ = LSTM(3, 5, backend="reference").stream().jit_step
