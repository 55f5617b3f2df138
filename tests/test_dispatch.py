"""Which backend computes: argument, context, process, environment, and what happens where there is none."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest

from numlstm import LSTM, BackendUnavailableError, get_backend, set_backend, use_backend
from numlstm.backends import dispatch

X = np.ones((1, 2, 3))
NAMES = "must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'reference', got "


@pytest.fixture(autouse=True)
def nobody_chose(monkeypatch):
    """No choice in the process before a test, and none left by it."""
    monkeypatch.setattr(dispatch, "_process", None)


@pytest.fixture
def used(monkeypatch):
    """The names of the backends that computed."""
    names = []
    load = dispatch._load

    def recording(name):
        names.append(name)
        return load(name)

    monkeypatch.setattr(dispatch, "_load", recording)
    return names


# What is asked for ------------------------------------------------------------------------------------------


def test_auto_takes_the_cpu(used):
    assert get_backend() == "auto"
    LSTM(3, 5)(X)
    assert used == ["cpu"]


def test_first_of_argument_context_process_environment_wins(used, monkeypatch):
    plain, own = LSTM(3, 5), LSTM(3, 5, backend="cpu")

    def computed_by(layer):
        used.clear()
        layer(X)
        (name,) = used
        return name

    monkeypatch.setenv("NUMLSTM_BACKEND", "reference")
    assert (get_backend(), computed_by(plain), computed_by(own)) == ("reference", "reference", "cpu")
    set_backend("cpu")
    assert (get_backend(), computed_by(plain), computed_by(own)) == ("cpu", "cpu", "cpu")
    with use_backend("reference"):
        assert (get_backend(), computed_by(plain), computed_by(own)) == ("reference", "reference", "cpu")
    assert (get_backend(), computed_by(plain)) == ("cpu", "cpu")


def test_auto_in_a_context_overrides_the_process(used):
    set_backend("reference")
    with use_backend("auto"):
        assert get_backend() == "auto"
        used.clear()
        LSTM(3, 5)(X)
    assert used == ["cpu"]


def test_auto_of_a_layer_overrides_all(used):
    layer = LSTM(3, 5, backend="auto")
    with use_backend("reference"):
        used.clear()
        layer(X)
    assert used == ["cpu"]


def test_every_door_of_a_layer_asks(used):
    layer = LSTM(3, 5)
    for door in (layer, layer.vjp, lambda x: layer.stream()):
        with use_backend("reference"):
            used.clear()
            door(X)
        assert set(used) == {"reference"}


def test_layer_moves_between_backends():
    layer = LSTM(3, 5, dtype="float64", random_state=0)
    results = []
    for name in ("cpu", "reference", "cpu"):
        with use_backend(name):
            results.append(layer(X)[0])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)
    np.testing.assert_array_equal(results[0], results[2])


def test_pullback_stays_with_the_backend_of_its_forward_pass(used):
    layer = LSTM(3, 5)
    with use_backend("reference"):
        y, _, pullback = layer.vjp(X)
    used.clear()
    pullback(y)
    assert used == []


def test_empty_variable_is_no_choice(monkeypatch):
    monkeypatch.setenv("NUMLSTM_BACKEND", "")
    assert get_backend() == "auto"


# Contexts ---------------------------------------------------------------------------------------------------


def test_contexts_nest_and_end():
    with use_backend("cpu"):
        with use_backend("reference"):
            assert get_backend() == "reference"
        assert get_backend() == "cpu"
    assert get_backend() == "auto"


def test_exception_ends_a_context():
    with pytest.raises(KeyError), use_backend("reference"):
        raise KeyError
    assert get_backend() == "auto"


def test_context_decorates_functions():
    @use_backend("reference")
    def chosen():
        return get_backend()

    assert (chosen(), chosen(), get_backend()) == ("reference", "reference", "auto")


def test_context_is_of_one_thread():
    inside, seen = threading.Barrier(2, timeout=10), {}

    def work(name):
        with use_backend(name):
            inside.wait()
            seen[name] = get_backend()
            inside.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ["cpu", "reference"]))
    assert seen == {"cpu": "cpu", "reference": "reference"}
    assert get_backend() == "auto"


def test_new_thread_sees_the_process_but_not_the_context_of_its_parent():
    set_backend("cpu")
    with ThreadPoolExecutor(1) as pool, use_backend("reference"):
        assert pool.submit(get_backend).result() == "cpu"
        assert pool.submit(copy_context().run, get_backend).result() == "reference"


# What is not there ------------------------------------------------------------------------------------------


def layer_call(name):
    LSTM(3, 5, backend=name)(X)


def layer_vjp(name):
    LSTM(3, 5, backend=name).vjp(X)


def layer_stream(name):
    LSTM(3, 5, backend=name).stream()


def context(name):
    with use_backend(name):
        pytest.fail("nothing may run on another backend than that asked for")


def environment(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMLSTM_BACKEND", name)
        LSTM(3, 5)(X)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1"])
@pytest.mark.parametrize("door", [layer_call, layer_vjp, layer_stream, context, set_backend, environment])
def test_absent_backend_is_an_error_at_every_door(door, name):
    with pytest.raises(BackendUnavailableError) as caught:
        door(name)
    message = str(caught.value)
    for part in (
        f"backend '{name}' is not available",
        "this version of numlstm has no CUDA backend",
        "'auto' takes 'cpu'",
    ):
        assert part in message
    assert get_backend() == "auto"


def test_layer_for_an_absent_backend_can_be_made_and_read():
    layer = LSTM(3, 5, backend="cuda:1", random_state=0)
    assert layer.backend == "cuda:1"
    np.testing.assert_array_equal(
        layer.parameters["weight_hh_l0"], LSTM(3, 5, random_state=0).parameters["weight_hh_l0"]
    )


@pytest.mark.parametrize("name", ["gpu", "CPU", " cpu", "cuda:", "cuda:-1", "cuda:1.5", "cuda1", "cpu:0", "cuda:1\n"])
@pytest.mark.parametrize(
    ("door", "source"),
    [(layer_call, "backend"), (context, "name"), (set_backend, "name"), (environment, dispatch.VARIABLE)],
)
def test_unknown_name_is_an_error_that_says_where_it_came_from(door, source, name):
    with pytest.raises(ValueError, match="^" + re.escape(f"{source} {NAMES}{name!r}")):
        door(name)
    assert get_backend() == "auto"


@pytest.mark.parametrize("door", [set_backend, context])
@pytest.mark.parametrize("name", [None, 0, ["cpu"], b"cpu"])
def test_name_must_be_a_string(door, name):
    with pytest.raises(TypeError, match=f"^name must be a string, got {type(name).__name__}"):
        door(name)


def test_failed_choice_leaves_the_one_before():
    set_backend("reference")
    for name in ("cuda", "gpu"):
        with pytest.raises((BackendUnavailableError, ValueError)):
            set_backend(name)
        with use_backend("cpu"), pytest.raises((BackendUnavailableError, ValueError)):
            context(name)
    assert get_backend() == "reference"


@pytest.mark.parametrize("overriding", [set_backend, use_backend])
def test_wrong_variable_harms_nobody_who_chose(overriding, monkeypatch):
    monkeypatch.setenv("NUMLSTM_BACKEND", "gpu")
    if overriding is use_backend:
        with use_backend("reference"):
            LSTM(3, 5)(X)
    else:
        set_backend("reference")
        LSTM(3, 5)(X)
    LSTM(3, 5, backend="reference")(X)
