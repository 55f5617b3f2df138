"""Layers take arrays of a device as they are, and give results in their kind: on numba-cuda's simulator."""

import re
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from numlstm import GRU, LSTM, LSTMClassifier
from numlstm.backends.dispatch import backend_for

cuda = pytest.importorskip("numba.cuda")
arrays = pytest.importorskip("numlstm.backends.cuda.arrays")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 3)).astype("float32")
STATE = tuple(RNG.normal(size=(1, 2, 4)).astype("float32") for _ in range(2))
DY = RNG.normal(size=(2, 3, 4)).astype("float32")


def ours(array):
    """A `DeviceArray`."""
    return arrays.to_device(backend_for("cuda").device, np.asarray(array))


KINDS = {"ours": (ours, arrays.DeviceArray), "numba": (cuda.to_device, type(cuda.to_device(X)))}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def host(value):
    """Results as NumPy has them."""
    if isinstance(value, list | tuple):
        return type(value)(map(host, value))
    if hasattr(value, "copy_to_host"):
        return value.copy_to_host()
    return np.asarray(value)


def assert_same(got, wanted):
    if isinstance(wanted, list | tuple):
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(host(got), wanted)


def assert_kind(value, wanted):
    if isinstance(value, list | tuple):
        for each in value:
            assert_kind(each, wanted)
    else:
        assert type(value) is wanted


def layer(kind=LSTM, backend="cuda", **options):
    return kind(3, 4, backend=backend, random_state=0, **options)


# Calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["batch", "single", "lengths", "list"])
@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_call(kind, form, cell):
    put, wanted = kind
    x = {"single": X[0], "list": [X[0, :2], X[1]]}.get(form, X)
    given = [put(each) for each in x] if form == "list" else put(x)
    lengths = [2, 3] if form == "lengths" else None
    y, state = layer(cell)(given, lengths=lengths)
    assert_kind([y, state], wanted)
    assert_same((y, state), layer(cell)(x, lengths=lengths))


def test_layers_and_directions(kind):
    put, wanted = kind
    options = {"num_layers": 2, "bidirectional": True}
    y, state = layer(**options)(put(X))
    assert_kind([y, state], wanted)
    assert_same((y, state), layer(**options)(X))


def test_layers_that_differ_in_size(kind):
    put, wanted = kind
    deep = LSTM(3, [4, 2], random_state=0, backend="cuda")
    y, state = deep(put(X))
    assert_kind([y, state], wanted)
    expected = deep(X)
    assert_same((y, state), expected)
    assert_same(deep(put(X), state), deep(X, expected[1]))


@pytest.mark.parametrize("single", [False, True])
def test_state(kind, single):
    put, wanted = kind
    x, state = (X[0], tuple(each[:, 0] for each in STATE)) if single else (X, STATE)
    result = layer()(put(x), tuple(map(put, state)))
    assert_kind(result, wanted)
    assert_same(result, layer()(x, state))


@pytest.mark.parametrize("form", ["lengths", "list"])
def test_sequences_of_no_steps(kind, form):
    put, wanted = kind
    x, lengths = ([X[0], X[1, :0]], None) if form == "list" else (X, [3, 0])
    given = [put(each) for each in x] if form == "list" else put(x)
    y, state, pullback = layer().vjp(given, tuple(map(put, STATE)), lengths)
    expected, expected_state, expected_pullback = layer().vjp(x, STATE, lengths)
    assert_kind([y, state], wanted)
    assert_same((y, state), (expected, expected_state))
    assert not host(y)[1].any()
    for found, before in zip(host(state), STATE, strict=True):
        np.testing.assert_array_equal(found[:, 1], before[:, 1])
    dx, dstate, dparameters = pullback(put(DY), tuple(map(put, STATE)))
    assert_same((dx, dstate), expected_pullback(DY, STATE)[:2])
    assert_same(dparameters["weight_hh_l0"], expected_pullback(DY, STATE)[2]["weight_hh_l0"])
    np.testing.assert_array_equal(host(given)[1] if form == "lengths" else X[1], X[1])


def test_results_have_the_kind_of_x(kind):
    put, wanted = kind
    state = tuple(map(put, STATE))
    assert_kind(layer()(X, state), np.ndarray)
    assert_kind(layer()(put(X), STATE), wanted)
    assert_same(layer()(X, state), layer()(X, STATE))


def test_input_stays_as_it_is(kind):
    put, _ = kind
    x = put(X)
    layer()(x, layer()(x)[1])
    np.testing.assert_array_equal(host(x), X)


def test_trace_gives_numpy_arrays(kind):
    put, _ = kind
    trace, expected = layer().trace(put(X)), layer().trace(X)
    np.testing.assert_array_equal(trace.forget_gate, expected.forget_gate)


# Gradients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["batch", "single", "list"])
def test_gradients(kind, form):
    put, wanted = kind
    x = {"single": X[0], "list": [X[0, :2], X[1]]}.get(form, X)
    given = [put(each) for each in x] if form == "list" else put(x)
    dy, dstate = (DY[0], tuple(each[:, 0] for each in STATE)) if form == "single" else (DY, STATE)
    y, state, pullback = layer().vjp(given)
    dx, dinitial, dparameters = pullback(put(dy), tuple(map(put, dstate)))
    assert_kind([y, state, dx, dinitial], wanted)
    assert_kind(list(dparameters.values()), np.ndarray)
    expected_y, expected_state, expected = layer().vjp(x)
    assert_same((y, state), (expected_y, expected_state))
    expected_dx, expected_dinitial, expected_dparameters = expected(dy, dstate)
    assert_same((dx, dinitial), (expected_dx, expected_dinitial))
    assert_same(list(dparameters.values()), list(expected_dparameters.values()))


def test_gradients_of_numpy_arrays_given_on_the_device(kind):
    put, _ = kind
    *_, pullback = layer().vjp(X)
    dx, dinitial, _ = pullback(put(DY), (None, put(STATE[1])))
    assert_kind([dx, dinitial], np.ndarray)
    *_, expected = layer().vjp(X)
    assert_same((dx, dinitial), expected(DY, (None, STATE[1]))[:2])


# Dtypes and strides -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "bool"])
def test_other_dtypes_are_cast(kind, dtype):
    put, wanted = kind
    x = (3 * X).astype(dtype)
    y, _ = layer()(put(x))
    assert_kind(y, wanted)
    assert str(y.dtype) == "float32"
    assert_same(y, layer()(x)[0])


@pytest.mark.parametrize(
    "view", [lambda x: x[:, ::2, :3], lambda x: x[::-1, :, :3], lambda x: x[:, :, 1:4], lambda x: x[:, :, ::2]],
    ids=["steps", "rows", "features", "every other feature"],
)  # fmt: skip
def test_views(view):
    whole = RNG.normal(size=(2, 3, 6)).astype("float32")
    assert_same(layer()(view(ours(whole))), layer()(view(whole)))


def test_transposed(kind):
    put, _ = kind
    x = RNG.normal(size=(3, 3, 2)).astype("float32")
    assert_same(layer()(ours(x).transpose(2, 1, 0)), layer()(x.transpose(2, 1, 0)))
    assert_same(layer()(put(x.T)), layer()(x.T))


# Choosing ---------------------------------------------------------------------------------------------------


def test_nobody_chose(kind):
    put, wanted = kind
    assert_kind(layer(backend=None)(put(X)), wanted)
    assert_kind(layer(backend="auto")(X, tuple(map(put, STATE))), np.ndarray)
    assert_kind(layer(backend=None).vjp(put(X))[:2], wanted)


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_host_was_chosen(kind, name):
    put, _ = kind
    chosen = layer(backend=name)
    expected = f"must be in the host's memory for backend '{name}', got a "
    for part, arguments in (("x ", (put(X),)), ("state: h_0 ", (X, tuple(map(put, STATE))))):
        for door in (chosen, chosen.vjp, chosen.trace):
            with pytest.raises(TypeError, match=f"^{part}{expected}"):
                door(*arguments)
    *_, pullback = chosen.vjp(X)
    with pytest.raises(TypeError, match=f"^dy {expected}"):
        pullback(put(DY))
    with pytest.raises(TypeError, match=f"^dstate: dh_n {expected}"):
        pullback(DY, tuple(map(put, STATE)))


# What is wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[:, :, :2], ValueError, "x must have 3 features (input_size) on its last axis, got 2"),
        (X[0, 0], ValueError, "x must have shape (N, T, 3) or (T, 3), got (3,)"),
        (X[None], ValueError, "x must have at most 3 axes, got shape (1, 2, 3, 3)"),
        (X[:0], ValueError, "x must hold at least one sequence, got shape (0, 3, 3)"),
        (X.astype("complex64"), TypeError, "x must hold real numbers, got dtype complex64"),
    ],
)
def test_x(x, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        layer()(cuda.to_device(np.ascontiguousarray(x)))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([X[0], X[1]], TypeError, "x[1] must be in a GPU's memory, as x[0] is, got ndarray"),
        ([X[0], ours(X[1, :, :2])], ValueError, "x[1] has 2 features, but x[0] has 3; all must agree"),
        ([X[0], ours(X)], ValueError, "x[1] must have shape (steps, features) with at least one feature"),
    ],
)
def test_lists(x, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        layer()([ours(x[0]), x[1]])


def test_state_and_gradients_of_another_shape():
    with pytest.raises(ValueError, match=re.escape("state: c_0 must have shape (1, 2, 4), got (2, 4)")):
        layer()(ours(X), (ours(STATE[0]), ours(STATE[1][0])))
    *_, pullback = layer().vjp(ours(X))
    with pytest.raises(ValueError, match=re.escape("dy must have shape (2, 3, 4), got (2, 4)")):
        pullback(ours(DY[:, 0]))


# Other libraries --------------------------------------------------------------------------------------------


class Foreign:
    """An array of another library; its memory is the host's here."""

    def __init__(self, values, device="gpu"):
        self.values, self.device = np.asarray(values), device
        self.dtype, self.shape, self.ndim = self.values.dtype, self.values.shape, self.values.ndim
        self.__cuda_array_interface__ = {}

    def copy_to_host(self):
        return self.values


def fake_cupy(log):
    """What is used of CuPy."""
    return SimpleNamespace(
        ndarray=Foreign, asarray=Foreign, cuda=SimpleNamespace(Device=lambda index: log.append(index) or nullcontext())
    )


def fake_torch(log, handle):
    """What is used of PyTorch, with a current stream."""
    stream = SimpleNamespace(cuda_stream=handle, synchronize=lambda: log.append("stream"))
    return SimpleNamespace(
        Tensor=Foreign, as_tensor=lambda array, device: log.append(device) or Foreign(array, device),
        cuda=SimpleNamespace(current_stream=lambda device: stream),
    )  # fmt: skip


def test_cupy(monkeypatch):
    log = []
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(log))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    result = layer(backend=None)(Foreign(X))
    assert_kind(result, Foreign)
    assert_same(result, layer()(X))
    assert log == [0, 0, 0]


@pytest.mark.parametrize("handle", [0, 1234])
def test_torch(monkeypatch, handle):
    log = []
    monkeypatch.setitem(sys.modules, "torch", fake_torch(log, handle))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    result = layer(backend=None)(Foreign(X))
    assert_kind(result, Foreign)
    assert_same(result, layer()(X))
    assert log == ["gpu"] * 3


def test_unknown_kinds_become_ours():
    result = layer(backend=None)(Foreign(X))
    assert_kind(result, arrays.DeviceArray)
    assert_same(result, layer()(X))


# Estimators -------------------------------------------------------------------------------------------------


def test_estimators_copy_to_the_host(kind):
    put, _ = kind
    x, y = RNG.normal(size=(8, 3, 2)), [0, 1] * 4
    model = LSTMClassifier(hidden_size=3, max_iter=1, random_state=0, verbose=0, backend="cpu").fit(put(x), y)
    expected = model.predict_proba(x)
    np.testing.assert_array_equal(model.predict_proba(put(x)), expected)
    np.testing.assert_array_equal(model.predict_proba([put(each) for each in x]), expected)


# Where arrays of the host and of a device meet ----------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_sequences_are_all_here_or_all_there(kind, order):
    put = (np.asarray, kind[0])
    x = [put[k](X[0]) for k in order]
    where = "a GPU's memory, as" if order[0] else "the host's memory, got"
    with pytest.raises(TypeError, match=re.escape(f"x[1] must be in {where}")):
        LSTM(3, 4, backend="cuda")(x)


def test_lists_of_lists_are_an_error_that_names_the_first(kind):
    with pytest.raises(TypeError, match=re.escape("x[0] must be in a GPU's memory")):
        LSTM(3, 4, backend="cuda")([[kind[0](X[0])], [kind[0](X[1])]])


@pytest.mark.parametrize("there", [0, 1])
def test_auto_computes_where_any_part_of_a_state_is(kind, there):
    layer = LSTM(3, 4, random_state=0)
    state = [kind[0](part) if k == there else part for k, part in enumerate(STATE)]
    assert_same(layer(X, tuple(state))[0], LSTM(3, 4, random_state=0, backend="cuda")(X, STATE)[0])


@pytest.mark.parametrize("name", ["lengths", "x_t", "weight_ih_l0"])
def test_what_the_host_reads_is_named(kind, name):
    layer, there = LSTM(3, 4, backend="cuda", random_state=0), kind[0]
    calls = {
        "lengths": lambda: layer(X, lengths=there(np.array([3, 2]))),
        "x_t": lambda: layer.stream().step(there(X[0, 0])),
        "weight_ih_l0": lambda: layer.set_parameters(
            dict(layer.parameters) | {"weight_ih_l0": there(np.asarray(layer.parameters["weight_ih_l0"]))}
        ),
    }
    with pytest.raises(TypeError, match=f"^{name} must be in the host's memory"):
        calls[name]()
