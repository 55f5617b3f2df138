"""Which backend computes: argument, context, process, environment, and what happens where there is none."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest

from numlstm import LSTM, BackendUnavailableError, LSTMClassifier, get_backend, set_backend, use_backend
from numlstm.backends import dispatch
from numlstm.backends.cuda import availability
from numlstm.backends.reference import ReferenceBackend

X = np.ones((1, 2, 3))
WEIGHTS = 4 * 5 * (3 + 5)  # of LSTM(3, 5)
NAMES = "must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'reference', got "


@pytest.fixture(autouse=True)
def nobody_chose(monkeypatch):
    """No choice in the process before a test, and none left by it; numba-cuda but no GPU, whatever the machine has."""
    monkeypatch.setattr(dispatch, "_process", None)
    monkeypatch.setattr(
        dispatch, "_backends", {name: backend for name, backend in dispatch._backends.items() if "cuda" not in name}
    )
    monkeypatch.setattr(dispatch, "_forked", False)
    monkeypatch.setattr(availability, "find_spec", lambda name: True)
    monkeypatch.setattr(availability, "_driver_found", lambda: False)
    monkeypatch.setattr(availability, "_simulated", lambda: False)
    dispatch._has_gpu.cache_clear()
    yield
    dispatch._has_gpu.cache_clear()


class FakeGpu(ReferenceBackend):
    """Another backend, by the name of a GPU's."""

    def __init__(self, index):
        self.name = f"cuda:{index}" if index else "cuda"

    def adopt(self, array, name, dtype):
        return array.values.astype(dtype), lambda result: OnGpu(result, self.name)


class OnGpu:
    """An array that says that it is in a GPU's memory."""

    __module__ = "cupy"

    def __init__(self, values, where="cuda:1"):
        self.values, self.where = values, where
        self.__cuda_array_interface__ = {}


@pytest.fixture
def gpus(monkeypatch):
    """The numbers of the GPUs that were asked for, all of which are there."""
    asked = []

    def made(index):
        asked.append(index)
        return FakeGpu(index)

    monkeypatch.setattr(availability, "cuda_backend", made)
    monkeypatch.setattr(availability, "device_of", lambda array: int(array.where[-1]))
    return asked


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


# What auto weighs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("work", "name"), [(0.0, "cpu"), (1.9e9, "cpu"), (2e9, "cuda"), (1e15, "cuda")])
def test_auto_takes_a_gpu_for_large_work(gpus, work, name):
    assert dispatch.backend_for(work=work).name == name
    assert dispatch.backend_for("auto", work=work).name == name
    assert gpus == ([0] if name == "cuda" else [])


def test_auto_takes_the_cpu_where_there_is_no_gpu_and_looks_once(monkeypatch):
    asked = []

    def absent(index):
        asked.append(index)
        raise BackendUnavailableError("none")

    monkeypatch.setattr(availability, "cuda_backend", absent)
    for _ in range(3):
        assert dispatch.backend_for(work=1e15).name == "cpu"
    assert asked == [0]


def test_what_is_named_is_not_weighed(gpus):
    assert dispatch.backend_for("cpu", work=1e15).name == "cpu"
    assert dispatch.backend_for("cuda").name == "cuda"


@pytest.mark.parametrize(
    ("door", "times"),
    [
        (lambda layer: layer(X, lengths=[2]), 1),
        (lambda layer: layer([np.ones((1, 3)), np.ones((1, 3))]), 1),
        (lambda layer: layer.trace(X), 1),
        (lambda layer: layer.vjp(X), 3),
    ],
    ids=["call", "list", "trace", "vjp"],
)
def test_layers_tell_how_much_they_are_about_to_compute(gpus, used, monkeypatch, door, times):
    work = times * 2 * 2 * WEIGHTS
    for least, name in ((work, "cuda"), (work + 1, "cpu")):
        monkeypatch.setattr(dispatch, "AUTO_WORK", least)
        used.clear()
        door(LSTM(3, 5))
        assert used[-1] == name


def test_streams_and_small_calls_stay_on_the_cpu(gpus, monkeypatch):
    monkeypatch.setattr(dispatch, "AUTO_WORK", 1.0)
    LSTM(3, 5).stream().step(X[0, 0])
    LSTM(3, 5, dtype="float64")(X)
    assert gpus == []


def test_estimators_weigh_one_step_of_training_and_all_of_a_prediction(gpus, monkeypatch):
    X, y = np.random.default_rng(0).normal(size=(10, 2, 3)), [0, 1] * 5
    model = LSTMClassifier(hidden_size=5, bidirectional=False, batch_size=4, max_iter=1)
    for least, name in ((3 * 2 * 4 * 2 * WEIGHTS, "cuda"), (3 * 2 * 4 * 2 * WEIGHTS + 1, "cpu")):
        monkeypatch.setattr(dispatch, "AUTO_WORK", least)
        assert model.fit(X, y).backend_ == name
    for least, name in ((2 * 10 * 2 * WEIGHTS, "cuda"), (2 * 10 * 2 * WEIGHTS + 1, "cpu")):
        monkeypatch.setattr(dispatch, "AUTO_WORK", least)
        model._model.models.clear()
        model.predict(X)
        assert list(model._model.models) == [name]


# Arrays on a GPU --------------------------------------------------------------------------------------------


def test_auto_computes_where_the_array_is(gpus):
    layer = LSTM(3, 5, random_state=0)
    y, (h, c) = layer(OnGpu(X, "cuda:1"))
    assert {y.where, h.where, c.where} == {"cuda:1"}
    np.testing.assert_array_equal(y.values, LSTM(3, 5, random_state=0, backend="reference")(X)[0])
    assert gpus == [1]


@pytest.mark.parametrize("name", ["cpu", "reference"])
@pytest.mark.parametrize(
    ("part", "arguments"),
    [
        ("x", (OnGpu(X),)),
        ("x[0]", ([OnGpu(X[0])],)),
        ("state: h_0", (X, (OnGpu(X), OnGpu(X)))),
    ],
)
def test_backend_on_the_host_refuses_arrays_on_a_gpu(name, part, arguments):
    message = (
        f"{part} must be in the host's memory for backend '{name}', got a cupy.OnGpu in a GPU's: copy it to "
        "the host, or choose backend='cuda'"
    )
    for door in (LSTM(3, 5, backend=name), LSTM(3, 5, backend=name).vjp):
        with pytest.raises(TypeError, match="^" + re.escape(message)):
            door(*arguments)


def test_array_on_a_gpu_that_cannot_be_used_is_an_error():
    with pytest.raises(BackendUnavailableError, match="an array on a GPU needs backend 'cuda', which is not available"):
        LSTM(3, 5)(OnGpu(X))


# One of each ------------------------------------------------------------------------------------------------


def test_a_gpu_has_one_backend_for_all(gpus):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(dispatch.backend_for, ["cuda", "cuda:0", "cuda:00", "cuda:1", "cuda:01"] * 8))
    assert {backend.name: len({id(each) for each in made if each.name == backend.name}) for backend in made} == {
        "cuda": 1,
        "cuda:1": 1,
    }
    assert sorted(gpus) == [0, 1]


def test_weights_are_packed_for_each_gpu(gpus):
    layer = LSTM(3, 5)
    for name in ("cuda", "cuda:0", "cuda:1"):
        with use_backend(name):
            layer(X, lengths=[2])
    assert set(layer._weights[1]) == {"cuda", "cuda:1"}


def test_forked_process_does_not_use_cuda(gpus):
    assert dispatch.backend_for(work=1e15).name == "cuda"
    dispatch._after_fork()
    assert dispatch.backend_for(work=1e15).name == "cpu"
    with pytest.raises(BackendUnavailableError, match=r"^backend 'cuda' is not available: this process was forked"):
        dispatch.backend_for("cuda")


def test_fork_before_cuda_does_no_harm(gpus):
    dispatch._after_fork()
    assert dispatch.backend_for("cuda").name == "cuda"


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
        f"backend '{name.replace(':0', '')}' is not available: no NVIDIA driver or GPU was found",
        "install NVIDIA's driver, or choose backend='cpu'",
    ):
        assert part in message
    assert get_backend() == "auto"


def test_layer_for_an_absent_backend_can_be_made_and_read():
    layer = LSTM(3, 5, backend="cuda:1", random_state=0)
    assert layer.backend == "cuda:1"
    np.testing.assert_array_equal(
        layer.parameters["weight_hh_l0"], LSTM(3, 5, random_state=0).parameters["weight_hh_l0"]
    )


@pytest.mark.parametrize(
    "name",
    ["gpu", "CPU", " cpu", "cuda:", "cuda:-1", "cuda:1.5", "cuda1", "cpu:0", "cuda:1\n", "cuda:\u0660", "cuda:99999"],
)
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
