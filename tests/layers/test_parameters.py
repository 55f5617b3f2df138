"""Parameters: how they start, how they are set, and that copies of a layer have their own."""

import copy
import pickle

import numpy as np
import pytest

from numlstm import LSTM

X = np.random.default_rng(0).normal(size=(2, 4, 3))
each_backend = pytest.mark.parametrize("backend", ["cpu", "reference"])


def blocks(layer, name):
    """The rows of the four gates."""
    return np.split(layer.parameters[name], 4)


# How they start ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["l0", "l0_reverse", "l1", "l1_reverse"])
def test_keras_start(suffix):
    layer = LSTM(30, 40, 2, bidirectional=True, dtype="float64", random_state=0)
    w, r = layer.parameters[f"weight_ih_{suffix}"], layer.parameters[f"weight_hh_{suffix}"]
    bound = np.sqrt(6 / (160 + w.shape[1]))
    assert 0.99 * bound < np.abs(w).max() <= bound
    assert w.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)
    assert abs(w.mean()) < 0.03 * bound
    np.testing.assert_allclose(r.T @ r, np.eye(40), atol=1e-12)
    np.testing.assert_array_equal(blocks(layer, f"bias_ih_{suffix}"), np.repeat([[0.0], [1], [0], [0]], 40, axis=1))
    assert not layer.parameters[f"bias_hh_{suffix}"].any()


def test_torch_start():
    layer = LSTM(30, 40, 2, init="torch", dtype="float64", random_state=0)
    bound = 40**-0.5
    for name, value in layer.parameters.items():
        assert 0.95 * bound < np.abs(value).max() <= bound, name
    weights = layer.parameters["weight_hh_l1"]
    assert weights.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)


def test_keras_start_without_bias_has_none():
    assert list(LSTM(3, 5, bias=False).parameters) == ["weight_ih_l0", "weight_hh_l0"]


@pytest.mark.parametrize("init", ["keras", "torch"])
def test_same_random_state_gives_same_parameters(init):
    def parameters(seed):
        return LSTM(3, 5, 2, init=init, random_state=seed).parameters

    assert_equal(parameters(1), parameters(1))
    assert_equal(parameters(1), parameters(np.random.default_rng(1)))
    for first, second in ((1, 2), (None, None)):
        assert (parameters(first)["weight_hh_l0"] != parameters(second)["weight_hh_l0"]).any()
    generator = np.random.default_rng(1)
    assert (parameters(generator)["weight_hh_l0"] != parameters(generator)["weight_hh_l0"]).any()


def assert_equal(parameters, expected):
    assert parameters.keys() == expected.keys()
    for name, value in parameters.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_layers_do_not_start_alike():
    layer = LSTM(5, 5, 2, bidirectional=False, random_state=0)
    assert (layer.parameters["weight_hh_l0"] != layer.parameters["weight_hh_l1"]).any()


# Set and read -----------------------------------------------------------------------------------------------


def test_names_and_shapes_are_those_of_pytorch():
    layer = LSTM(3, 5, 2, bidirectional=True)
    shapes = {name: value.shape for name, value in layer.parameters.items()}
    expected = {}
    for suffix, inputs in (("l0", 3), ("l0_reverse", 3), ("l1", 10), ("l1_reverse", 10)):
        expected |= {f"weight_ih_{suffix}": (20, inputs), f"weight_hh_{suffix}": (20, 5)}
        expected |= {f"bias_ih_{suffix}": (20,), f"bias_hh_{suffix}": (20,)}
    assert shapes == expected
    assert {value.dtype.name for value in layer.parameters.values()} == {"float32"}


def test_parameters_are_read_only():
    layer = LSTM(3, 5)
    with pytest.raises(ValueError, match="read-only"):
        layer.parameters["bias_ih_l0"][0] = 1.0
    with pytest.raises(TypeError):
        layer.parameters["bias_ih_l0"] = np.zeros(20)


@each_backend
def test_new_parameters_compute_from_the_next_call_on(backend):
    layer, other = (LSTM(3, 5, 2, backend=backend, random_state=seed) for seed in (0, 1))
    expected, _ = other(X)
    y, _, pullback = layer.vjp(X)
    before = pullback(y)[2]
    layer.set_parameters(other.parameters)
    np.testing.assert_array_equal(layer(X)[0], expected)
    np.testing.assert_array_equal(layer.vjp(X)[0], expected)
    for name, value in pullback(y)[2].items():  # of the parameters that the pullback was made with
        np.testing.assert_array_equal(value, before[name])


@each_backend
def test_given_parameters_are_copied(backend):
    layer = LSTM(3, 5, backend=backend, random_state=0)
    given = {name: np.asfortranarray(value).astype("float32") for name, value in layer.parameters.items()}
    expected, _ = layer(X)
    layer.set_parameters(given)
    for value in given.values():
        assert value.flags.writeable
        value[...] = np.nan
    np.testing.assert_array_equal(layer(X)[0], expected)


@each_backend
def test_given_parameters_may_have_any_layout_and_type(backend):
    layer = LSTM(3, 5, backend=backend, random_state=0)
    numbers = {name: np.sign(value).astype("int8") for name, value in layer.parameters.items()}
    layer.set_parameters(numbers)
    expected, _ = layer(X)
    for change in (np.asfortranarray, lambda a: a[::-1].copy()[::-1], np.ndarray.tolist, lambda a: a.astype(">f8")):
        layer.set_parameters({name: change(value) for name, value in numbers.items()})
        np.testing.assert_array_equal(layer(X)[0], expected)


# Copies -----------------------------------------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copy_computes_the_same_and_has_its_own_parameters(backend, used, duplicate):
    layer = LSTM(3, 5, 2, bias=False, dropout=0.5, bidirectional=True, backend=backend, random_state=0)
    if used:
        layer(X)
    twin = duplicate(layer)
    expected, _ = layer(X)
    np.testing.assert_array_equal(twin(X)[0], expected)
    assert repr(twin) == repr(layer)
    assert twin.backend == backend
    layer.set_parameters({name: np.zeros_like(value) for name, value in layer.parameters.items()})
    np.testing.assert_array_equal(twin(X)[0], expected)
    with pytest.raises(ValueError, match="read-only"):
        twin.parameters["weight_ih_l0"][0] = 1.0


def test_pickle_holds_parameters_once_whatever_was_computed():
    layer = LSTM(3, 50, backend="cpu", random_state=0)
    fresh = pickle.dumps(layer)
    layer(X)
    layer.vjp(X)
    assert len(pickle.dumps(layer)) == len(fresh)
    assert len(fresh) < 1.1 * sum(value.nbytes for value in layer.parameters.values()) + 2000


# What it says of itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "LSTM(3, 5)",
        "LSTM(3, 5, num_layers=2)",
        "LSTM(3, 5, num_layers=2, bias=False, dropout=0.25, bidirectional=True, dtype='float64')",
    ],
)
def test_repr_is_how_to_make_it(text):
    assert repr(eval(text)) == text


def test_properties():
    layer = LSTM(3, 5, 2, bidirectional=True, dtype="float64")
    shown = layer.input_size, layer.hidden_size, layer.num_layers, layer.bidirectional, layer.dtype
    assert shown == (3, 5, 2, True, "float64")
    with pytest.raises(AttributeError):
        layer.hidden_size = 6


def test_orthogonal_weights_take_one_blas_thread(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def blas():
        pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        return [pool["num_threads"] for pool in pools if "numpy" in pool["filepath"]]

    seen, before, kept = [], blas(), np.linalg.qr

    def qr(matrix):
        seen.append(blas())
        return kept(matrix)

    monkeypatch.setattr(np.linalg, "qr", qr)
    LSTM(3, 5, random_state=0)
    assert seen == [[1] * len(before)]
    assert blas() == before
