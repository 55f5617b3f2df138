"""Products by cuBLAS, version 12 or 13, where it is installed.

Float32 means float32: the mode "pedantic" forbids TF32 and emulation, whatever the environment asks for, unless a lower
precision is wanted. Results repeat bit for bit: no atomics, and one stream.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int, c_int64, c_void_p
from functools import cache
from typing import Any

from .arrays import DeviceArray
from .device import SIMULATED

SUCCESS = 0
NO_ATOMICS = 0  # CUBLAS_ATOMICS_NOT_ALLOWED
DEFAULT_MODE, PEDANTIC = 0, 2  # CUBLAS_DEFAULT_MATH, CUBLAS_PEDANTIC_MATH
FLOAT32 = 0  # CUDA_R_32F
ANY_ALGORITHM = -1  # CUBLAS_GEMM_DEFAULT
ROUNDING = {"tf32": 77, "float16": 74, "bfloat16": 75}  # CUBLAS_COMPUTE_32F_FAST_TF32, _16F, _16BF
NOT_TRANSPOSED, TRANSPOSED = 0, 1  # CUBLAS_OP_N, CUBLAS_OP_T
DEFAULT_STREAM = None  # the legacy one, which all kernels are launched on


def _gemm(real: type) -> tuple[type, ...]:
    """Types of handle, two operations, three sizes, alpha, A, its stride, B, its stride, beta, C, its stride."""
    number: Any = POINTER(real)
    matrix = c_void_p, c_int64
    return (c_void_p, c_int, c_int, c_int64, c_int64, c_int64, number, *matrix, *matrix, number, *matrix)


CALLS = {  # those in _64 take sizes that need more than 32 bits; there are none before version 12
    "cublasCreate_v2": (POINTER(c_void_p),),
    "cublasSetStream_v2": (c_void_p, c_void_p),
    "cublasSetMathMode": (c_void_p, c_int),
    "cublasSetAtomicsMode": (c_void_p, c_int),
    "cublasGetVersion_v2": (c_void_p, POINTER(c_int)),
    "cublasSgemm_v2_64": _gemm(c_float),
    "cublasDgemm_v2_64": _gemm(c_double),
    # Matrices have a type behind each; then how to compute, and by which algorithm.
    "cublasGemmEx_64": (
        c_void_p, c_int, c_int, c_int64, c_int64, c_int64, POINTER(c_float), c_void_p, c_int, c_int64, c_void_p, c_int,
        c_int64, POINTER(c_float), c_void_p, c_int, c_int64, c_int, c_int,
    ),
}  # fmt: skip
GEMM = {
    "float32": ("cublasSgemm_v2_64", byref(c_float(0)), byref(c_float(1))),
    "float64": ("cublasDgemm_v2_64", byref(c_double(0)), byref(c_double(1))),
}


class Cublas:
    """The library.

    Parameters
    ----------
    library : ctypes.CDLL

    Raises
    ------
    AttributeError
        If it lacks a function.
    """

    def __init__(self, library: Any) -> None:
        self._calls = {name: getattr(library, name) for name in CALLS}
        for name, call in self._calls.items():
            call.argtypes, call.restype = CALLS[name], c_int
        self._name = library.cublasGetStatusName
        self._name.argtypes, self._name.restype = (c_int,), c_char_p
        # Handles that no call uses, by device and mode. A call acquires one and releases it: two threads that multiply
        # at once never share a handle.
        self._free: defaultdict[tuple[int, int], list[c_void_p]] = defaultdict(list)

    def _call(self, name: str, *arguments: Any) -> None:
        status = self._calls[name](*arguments)
        if status != SUCCESS:
            raise RuntimeError(f"cuBLAS: {name} failed with status {status}, {self._name(status).decode()}")

    def _handle(self, device: int, mode: int = PEDANTIC) -> c_void_p:
        """A handle for the current device, `device`, that nobody else uses."""
        try:
            return self._free[device, mode].pop()
        except IndexError:
            handle = c_void_p()
        self._call("cublasCreate_v2", byref(handle))
        self._call("cublasSetStream_v2", handle, DEFAULT_STREAM)
        self._call("cublasSetMathMode", handle, mode)
        self._call("cublasSetAtomicsMode", handle, NO_ATOMICS)
        return handle

    def multiply(
        self, out: DeviceArray, a: DeviceArray, b: DeviceArray, transposed: tuple[bool, bool], accumulate: bool,
        kind: str = "",
    ) -> None:  # fmt: skip
        """As `products.multiply`, of arrays that are `suitable`; the device must be current.

        Columns are contiguous to cuBLAS: it sees all matrices transposed, and multiplies them in reverse order.
        """
        name, zero, one = GEMM[out.dtype.name]
        operation_a, operation_b = (TRANSPOSED if flag else NOT_TRANSPOSED for flag in transposed)
        (rows, columns), terms = out.shape, a.shape[0 if transposed[0] else 1]
        place = out.device.index, DEFAULT_MODE if kind else PEDANTIC
        handle, beta = self._handle(*place), one if accumulate else zero
        sizes = operation_b, operation_a, columns, rows, terms
        if kind:
            first, second, target = (_typed(matrix) for matrix in (b, a, out))
            how = ROUNDING[kind], ANY_ALGORITHM
            self._call("cublasGemmEx_64", handle, *sizes, one, *first, *second, beta, *target, *how)
        else:
            self._call(name, handle, *sizes, one, *_matrix(b), *_matrix(a), beta, *_matrix(out))
        self._free[place].append(handle)  # after a failure it is not used again

    def version(self, device: int = 0) -> int:
        """Such as 130100; the device must be current."""
        handle, version = self._handle(device), c_int()
        self._call("cublasGetVersion_v2", handle, byref(version))
        self._free[device, PEDANTIC].append(handle)
        return version.value


def suitable(array: DeviceArray) -> bool:
    """Whether cuBLAS takes the array: contiguous rows that do not overlap, in ascending order."""
    (rows, columns), (down, across) = array.shape, array.steps
    return (columns == 1 or across == 1) and (rows == 1 or down >= columns)


def _matrix(array: DeviceArray) -> tuple[int, int]:
    """The address of the first number, and from row to row."""
    address = array.base.device_ctypes_pointer.value + array.offset * array.dtype.itemsize
    return address, array.steps[0] if array.shape[0] > 1 else array.shape[1]


def _typed(array: DeviceArray) -> tuple[int, int, int]:
    """The address of the first number, the type, and from row to row."""
    address, step = _matrix(array)
    return address, FLOAT32, step


@cache
def cublas() -> Cublas | None:
    """The library, or None where there is none."""
    if SIMULATED:
        return None
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return Cublas(ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path))
    except (ImportError, RuntimeError, OSError, AttributeError):  # not installed, broken, too old
        return None
