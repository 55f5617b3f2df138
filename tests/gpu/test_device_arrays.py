"""Arrays of PyTorch, CuPy and Numba go into layers and come out of them without leaving the GPU."""

import gc

import numpy as np
import pytest

from numlstm import LSTM, LSTMClassifier

pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 30, 12)).astype("float32")
STATE = tuple(RNG.normal(size=(2, 8, 200)).astype("float32") for _ in range(2))
DY = RNG.normal(size=(8, 30, 200)).astype("float32")


class Torch:
    """How PyTorch does what the tests need."""

    def __init__(self):
        self.module = pytest.importorskip("torch")
        if not self.module.cuda.is_available():
            pytest.skip("this PyTorch has no CUDA")
        self.kind = self.module.Tensor

    def put(self, array):
        return self.module.as_tensor(np.ascontiguousarray(array), device="cuda:0")

    def host(self, array):
        assert array.device.index == 0
        return array.cpu().numpy()

    def stream(self):
        return self.module.cuda.stream(self.module.cuda.Stream())

    def busy(self):
        """Keep the current stream at work for a while."""
        a = self.module.ones((4096, 4096), device="cuda:0")
        for _ in range(50):
            a = a @ a * 1e-4

    def strided(self, array):
        """The same numbers, batch second in memory."""
        return self.put(array.transpose(1, 0, 2)).transpose(0, 1)


class CuPy:
    """How CuPy does it."""

    def __init__(self):
        self.module = pytest.importorskip("cupy")
        self.kind = self.module.ndarray

    def put(self, array):
        return self.module.asarray(array)

    def host(self, array):
        assert array.device.id == 0
        return array.get()

    def stream(self):
        return self.module.cuda.Stream(non_blocking=True)

    def busy(self):
        a = self.module.ones((4096, 4096), "float32")
        for _ in range(50):
            a = a @ a * np.float32(1e-4)

    def strided(self, array):
        return self.put(np.ascontiguousarray(array.transpose(1, 0, 2))).transpose(1, 0, 2)


class Numba:
    """How Numba does it; it has no other streams to compute on here."""

    def __init__(self):
        self.module = pytest.importorskip("numba.cuda")
        self.kind = type(self.module.device_array(1))

    def put(self, array):
        return self.module.to_device(np.ascontiguousarray(array))

    def host(self, array):
        return array.copy_to_host()

    def strided(self, array):
        return self.module.to_device(np.asfortranarray(array))


LIBRARIES = {"torch": Torch, "cupy": CuPy, "numba": Numba}


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]()


@pytest.fixture(params=["torch", "cupy"])
def streaming(request):
    return LIBRARIES[request.param]()


def layer(backend=None):
    return LSTM(12, 200, num_layers=2, backend=backend, random_state=0)


def assert_same(library, got, wanted):
    """Of the library's kind, and the same numbers to the bit."""
    if isinstance(wanted, list | tuple):
        for one, other in zip(got, wanted, strict=True):
            assert_same(library, one, other)
    else:
        assert isinstance(got, library.kind)
        np.testing.assert_array_equal(library.host(got), wanted)


def test_call(library):
    y, state = layer()(library.put(X), tuple(map(library.put, STATE)))
    assert_same(library, (y, state), layer("cuda")(X, STATE))


def test_forms(library):
    assert_same(library, layer()(library.put(X[0])), layer("cuda")(X[0]))
    parts = [X[0, :7], X[1], X[2, :1]]
    assert_same(library, layer()([library.put(part) for part in parts]), layer("cuda")(parts))


def test_gradients(library):
    y, state, pullback = layer().vjp(library.put(X), tuple(map(library.put, STATE)))
    dx, dinitial, dparameters = pullback(library.put(DY), state)
    expected_y, expected_state, expected = layer("cuda").vjp(X, STATE)
    expected_dx, expected_dinitial, expected_dparameters = expected(DY, expected_state)
    assert_same(library, (y, state, dx, dinitial), (expected_y, expected_state, expected_dx, expected_dinitial))
    for name, gradient in dparameters.items():
        np.testing.assert_array_equal(gradient, expected_dparameters[name])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_dtypes(library, dtype):
    x = (3 * X).astype(dtype)
    assert_same(library, layer()(library.put(x))[0], layer("cuda")(x)[0])


def test_strides(library):
    assert_same(library, layer()(library.strided(X))[0], layer("cuda")(X)[0])
    wide = RNG.normal(size=(8, 30, 24)).astype("float32")
    assert_same(library, layer()(library.put(wide)[:, :, 3:15])[0], layer("cuda")(wide[:, :, 3:15])[0])


def test_input_is_not_written_to(library):
    x = library.put(X)
    layer()(x)
    np.testing.assert_array_equal(library.host(x), X)


def test_results_live_as_long_as_they_are_held(library):
    made = layer()
    y, _ = made(library.put(X))
    before = library.host(y)
    del made
    for _ in range(50):
        gc.collect()
        layer()(library.put(-X))
    np.testing.assert_array_equal(library.host(y), before)


def test_what_computes_on_another_stream_is_waited_for(streaming):
    expected = layer("cuda")(2 * X)[0]
    made, x = layer(), streaming.put(X)
    made(x)
    for _ in range(20):
        with streaming.stream():
            streaming.busy()
            y, _ = made(x * 2)
            doubled = y * 2
            np.testing.assert_array_equal(streaming.host(doubled), 2 * expected)


def test_backend_on_the_host_was_chosen(library):
    with pytest.raises(TypeError, match=r"^x must be in the host's memory for backend 'cpu'"):
        layer("cpu")(library.put(X))


def test_tensor_that_wants_a_gradient():
    torch = Torch()
    with pytest.raises(TypeError, match=r"^x must not require a gradient of PyTorch"):
        layer()(torch.put(X).requires_grad_())


def test_tensor_on_the_host_is_an_array_like_others():
    torch = pytest.importorskip("torch")
    y, _ = layer("cuda")(torch.as_tensor(X))
    assert type(y) is np.ndarray


def test_array_on_another_gpu(library, gpu):
    cuda = pytest.importorskip("numba.cuda")
    if len(cuda.gpus) < 2:
        pytest.skip("needs two GPUs")
    with pytest.raises(ValueError, match=r"^x must be on CUDA device 1, where the backend computes, got an array on"):
        layer("cuda:1")(library.put(X))


def test_estimators_copy_to_the_host(library):
    y = np.arange(8) % 2
    model = LSTMClassifier(hidden_size=8, max_iter=1, random_state=0, backend="cuda").fit(library.put(X), y)
    np.testing.assert_array_equal(model.predict_proba(library.put(X)), model.predict_proba(X))
