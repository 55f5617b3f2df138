"""What cuBLAS is asked, by a library that does in NumPy what cuBLAS says it does."""

import ctypes
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from numlstm.backends.cuda import cublas, products
from numlstm.backends.cuda.arrays import DeviceArray

REALS = {"cublasSgemm_v2_64": np.float32, "cublasDgemm_v2_64": np.float64}


class Function:
    """A function of a C library: arguments become what its `argtypes` say."""

    def __init__(self, body):
        self.body = body

    def __call__(self, *arguments):
        assert len(arguments) == len(self.argtypes)
        for kind, argument in zip(self.argtypes, arguments, strict=True):
            kind.from_param(argument)
        return self.body(*arguments)


class Library:
    """Matrices are in the host's memory; handles are numbers."""

    def __init__(self, failing=None, status=0):
        self.log, self.handles, self.settings = [], 0, {}
        for name in cublas.CALLS:
            body = getattr(self, name, None) or self.gemm(REALS[name])
            setattr(self, name, Function((lambda *_: status) if name == failing else body))
        self.cublasGetStatusName = Function(lambda status: b"CUBLAS_STATUS_%d" % status)

    def cublasCreate_v2(self, handle):
        self.handles += 1
        handle._obj.value = self.handles
        return 0

    def set(self, name, handle, value):
        self.settings[handle.value, name] = value
        return 0

    def cublasSetStream_v2(self, handle, stream):
        return self.set("stream", handle, stream)

    def cublasSetMathMode(self, handle, mode):
        return self.set("math", handle, mode)

    def cublasSetAtomicsMode(self, handle, mode):
        return self.set("atomics", handle, mode)

    def cublasGetVersion_v2(self, handle, version):
        version._obj.value = 130100
        return 0

    def gemm(self, real):
        """As in BLAS: an operation on A gives (m, k), one on B (k, n); columns are contiguous."""

        def call(handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
            shapes = ((k, m) if op_a else (m, k)), ((n, k) if op_b else (k, n)), (m, n)
            assert all(stride >= max(1, rows) for stride, (rows, _) in zip((lda, ldb, ldc), shapes, strict=True))
            a, b, c = (
                columns(address, shape, stride, real)
                for address, shape, stride in zip((a, b, c), shapes, (lda, ldb, ldc), strict=True)
            )
            made = alpha._obj.value * (a.T if op_a else a) @ (b.T if op_b else b)
            c[...] = made + beta._obj.value * c if beta._obj.value else made
            self.log.append(handle.value)
            return 0

        return call

    def cublasGemmEx_64(self, handle, op_a, op_b, m, n, k, alpha, a, of_a, lda, b, of_b, ldb, beta, c, of_c, ldc, how,
                        algorithm):  # fmt: skip
        """The same for types that stand behind each matrix."""
        assert (of_a, of_b, of_c, algorithm) == (0, 0, 0, -1)
        self.settings["how"] = how
        return self.gemm(np.float32)(handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)


def columns(address, shape, stride, real):
    """The matrix at an address."""
    size = stride * (shape[1] - 1) + shape[0]
    flat = np.ctypeslib.as_array((np.ctypeslib.as_ctypes_type(real) * size).from_address(address))
    return np.lib.stride_tricks.as_strided(flat, shape, (flat.itemsize, stride * flat.itemsize))


def resident(array, device=0):
    """A device array whose numbers are NumPy's."""
    base = array if array.base is None else array.base
    pointer = SimpleNamespace(value=base.ctypes.data)
    memory = SimpleNamespace(base=SimpleNamespace(dtype=base.dtype, device_ctypes_pointer=pointer))
    offset = (array.ctypes.data - base.ctypes.data) // array.itemsize
    steps = tuple(stride // array.itemsize for stride in array.strides)
    return DeviceArray(SimpleNamespace(index=device), memory, array.shape, steps, offset)


def strided(array):
    """A view of the same numbers, amid others."""
    rows, width = array.shape
    around = np.full((2 * rows, width + 3), np.nan, array.dtype)
    around[::2, 2:-1] = array
    return around[::2, 2:-1]


def plain(array):
    return np.array(array, order="C")


@pytest.fixture
def library(monkeypatch):
    made = Library()
    found = cublas.Cublas(made)
    monkeypatch.setattr(products, "cublas", lambda: found)
    monkeypatch.setattr(products, "_tiles", None)
    return made


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("place", [plain, strided])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", [*itertools.product((False, True), repeat=2)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 7), (1, 4, 3), (4, 1, 3), (3, 4, 1)])
def test_product(library, shape, transposed, dtype, place, accumulate):
    rng, (m, k, n) = np.random.default_rng(0), shape
    a, b, before = (rng.integers(-9, 9, size).astype(dtype) for size in ((m, k), (k, n), (m, n)))
    stored = [place(each.T if turn else each) for each, turn in zip((a, b), transposed, strict=True)]
    out = place(before)
    products.multiply(resident(out), *map(resident, stored), transposed=transposed, accumulate=accumulate)
    np.testing.assert_array_equal(out, a @ b + (before if accumulate else 0))
    assert library.log == [1]


@pytest.mark.parametrize(("kind", "how"), [("tf32", 77), ("float16", 74), ("bfloat16", 75)])
def test_product_of_rounded_factors(library, kind, how):
    """A handle of its own, which is not pedantic."""
    a, b, out = np.arange(6, dtype="float32").reshape(2, 3), np.eye(3, dtype="float32"), np.ones((2, 3), "float32")
    products.multiply(resident(out), resident(a), resident(b), accumulate=True, kind=kind)
    np.testing.assert_array_equal(out, a + 1)
    products.multiply(resident(out), resident(a), resident(b))
    np.testing.assert_array_equal(out, a)
    assert library.settings["how"] == how
    assert (library.settings[1, "math"], library.settings[2, "math"]) == (0, 2)


def test_what_was_nan_is_overwritten(library):
    out = np.full((2, 2), np.nan)
    products.multiply(resident(out), *[resident(np.eye(2)) for _ in range(2)])
    np.testing.assert_array_equal(out, np.eye(2))


def test_handles_are_set_up_and_used_again(library):
    out = np.empty((2, 2))
    for device in (0, 0, 1):
        products.multiply(resident(out, device), *[resident(np.eye(2), device) for _ in range(2)])
    assert library.log == [1, 1, 2]
    assert library.settings == {
        (handle, name): value for handle in (1, 2) for name, value in (("stream", None), ("math", 2), ("atomics", 0))
    }


def test_a_handle_in_use_is_nobody_elses(library):
    found = products.cublas()
    first, second = found._handle(0), found._handle(0)
    assert first.value != second.value


def test_no_size_overflows(monkeypatch):
    asked = []
    made = Library()
    made.cublasSgemm_v2_64 = Function(lambda *arguments: asked.append(arguments) or 0)
    found = cublas.Cublas(made)
    many, row = 1 << 33, np.zeros((1, 1), np.float32)
    tall = resident(row)
    tall.shape, tall.steps = (many, 1), (1, 1)
    found.multiply(tall, tall, resident(row), (False, False), False)
    assert many in asked[0]
    assert all(kind is ctypes.c_int64 for kind in made.cublasSgemm_v2_64.argtypes[3:6])


@pytest.mark.parametrize("steps", [(-3, 1), (0, 1), (2, 1), (3, 2)])
def test_what_cublas_does_not_take(steps):
    square = resident(np.zeros((3, 3)))
    assert cublas.suitable(square)
    square.steps = steps
    assert not cublas.suitable(square)


@pytest.mark.parametrize(
    "name", [name for name in cublas.CALLS if name not in ("cublasGetVersion_v2", "cublasGemmEx_64", *REALS)]
)
def test_failure_names_call_and_status(name):
    found = cublas.Cublas(Library(failing=name, status=14))
    ones = resident(np.ones((1, 1)))
    with pytest.raises(RuntimeError, match=f"cuBLAS: {name} failed with status 14, CUBLAS_STATUS_14"):
        found.multiply(ones, ones, ones, (False, False), False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_failed_product(dtype):
    name = cublas.GEMM[dtype][0]
    found = cublas.Cublas(Library(failing=name, status=13))
    ones = resident(np.ones((1, 1), dtype))
    with pytest.raises(RuntimeError, match=f"{name} failed with status 13"):
        found.multiply(ones, ones, ones, (False, False), False)
    assert not found._free[0, cublas.PEDANTIC]


def test_version():
    assert cublas.Cublas(Library()).version() == 130100


@pytest.mark.parametrize("error", [ImportError, RuntimeError, OSError])
def test_none_where_it_is_not_installed(error, monkeypatch):
    import cuda.pathfinder

    def missing(name):
        assert name == "cublas"
        raise error

    monkeypatch.setattr(cuda.pathfinder, "load_nvidia_dynamic_lib", missing)
    assert cublas.cublas.__wrapped__() is None


def test_none_where_it_is_too_old(monkeypatch):
    import cuda.pathfinder

    monkeypatch.setattr(cuda.pathfinder, "load_nvidia_dynamic_lib", lambda name: SimpleNamespace(abs_path=None))
    assert cublas.cublas.__wrapped__() is None
