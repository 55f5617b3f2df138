"""The one module that imports CUDA: devices, their memory, and which of them is current.

What compiles and launches kernels is in `launching`. All stands on the package numba-cuda; with
``NUMBA_ENABLE_CUDASIM=1`` on its simulator, where every thread is one of Python's, blocks run one after another, and
arrays lie in the host's memory.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from math import prod
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.core import config

from ...concurrency import cached_property
from ..contract import BackendUnavailableError

SIMULATED = bool(config.ENABLE_CUDASIM)
THREADS = 4 if SIMULATED else 256  # of a block, where a kernel does not choose
LEAST = 256  # numbers that are allocated at once

if SIMULATED:

    def intrinsic(implementation: Callable) -> Callable:
        """Functions of the machine have bodies in Python in the simulator; see `intrinsics`."""
        raise NotImplementedError
else:
    from numba.cuda import extending
    from numba.cuda.cudadrv.driver import CudaAPIError, binding, driver

    intrinsic, overload = extending.intrinsic, extending.overload

_here = threading.local()  # the number of the device that is current in this thread, if it is one of ours
OUT_OF_MEMORY = None if SIMULATED else binding.CUresult.CUDA_ERROR_OUT_OF_MEMORY


def current_index() -> int:
    """The number of the device that is current in this thread."""
    index = getattr(_here, "index", None)
    return cuda.get_current_device().id if index is None else index


def non_blocking_stream() -> Any:
    """A stream that does not wait for the default one, nor that for it."""
    handle = driver.cuStreamCreate(binding.CUstream_flags.CU_STREAM_NON_BLOCKING.value)
    return cuda.external_stream(int(handle))


class Device:
    """A GPU, and a pool of its memory.

    Parameters
    ----------
    index : int

    Raises
    ------
    BackendUnavailableError
        If there is none of that number.
    """

    def __init__(self, index: int) -> None:
        count = len(cuda.gpus)
        if index >= count:
            raise BackendUnavailableError(
                f"backend 'cuda:{index}' is not available: there {'is' if count == 1 else 'are'} {count} CUDA "
                f"device{'s' * (count != 1)} here, numbered from 0"
            )
        self.index = index
        if not SIMULATED:
            atexit.register(cuda.gpus[index].__enter__)  # Numba frees memory then, for which a device must be current
        self._free: defaultdict[tuple[str, int], list[Any]] = defaultdict(list)
        self._lock, self._process = threading.RLock(), os.getpid()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this the calling thread's device."""
        if SIMULATED:
            yield
            return
        before = getattr(_here, "index", None)
        with cuda.gpus[self.index]:
            _here.index = self.index
            try:
                yield
            finally:
                _here.index = before

    @cached_property
    def multiprocessors(self) -> int:
        """Multiprocessors that run blocks."""
        return 1 if SIMULATED else cuda.gpus[self.index].MULTIPROCESSOR_COUNT

    @cached_property
    def shared_memory(self) -> int:
        """Bytes of shared memory that a block can have."""
        return 1 << 15 if SIMULATED else cuda.gpus[self.index].MAX_SHARED_MEMORY_PER_BLOCK_OPTIN

    @cached_property
    def capability(self) -> tuple[int, int]:
        """Its compute capability."""
        return (9, 0) if SIMULATED else tuple(cuda.gpus[self.index].compute_capability[:2])

    @cached_property
    def description(self) -> str:
        """Its name and compute capability."""
        if SIMULATED:
            return "CUDA simulator"
        gpu = cuda.gpus[self.index]
        name = gpu.name.decode() if isinstance(gpu.name, bytes) else gpu.name
        return f"{name}, compute capability {'.'.join(map(str, gpu.compute_capability[:2]))}"

    def allocate(self, count: int, dtype: str) -> Allocation:
        """Room for `count` numbers, not initialised.

        Raises
        ------
        MemoryError
            If there is not enough; it says how much was asked for, and how much is free.
        """
        size = _rounded(count)
        with self._lock:
            free = self._free[dtype, size]
            base = free.pop() if free else self._new(size, dtype)
        memory = Allocation(base, size)
        weakref.finalize(memory, self._take_back, base, dtype, size).atexit = False
        return memory

    def _take_back(self, base: Any, dtype: str, size: int) -> None:
        if os.getpid() == self._process:  # in a forked child somebody may hold the lock for ever
            with self._lock:
                self._free[dtype, size].append(base)

    def _new(self, size: int, dtype: str) -> Any:
        try:
            return self._device_array(size, dtype)
        except MemoryError:
            self._free.clear()
            if not SIMULATED:
                cuda.current_context().memory_manager.deallocations.clear()
            return self._device_array(size, dtype)

    def _device_array(self, size: int, dtype: str) -> Any:
        if SIMULATED:
            return cuda.device_array(size, np.dtype(dtype))
        try:
            return cuda.device_array(size, np.dtype(dtype))
        except CudaAPIError as error:
            if error.code != OUT_OF_MEMORY:
                raise
            requested, free = size * np.dtype(dtype).itemsize, cuda.current_context().get_memory_info().free
            raise MemoryError(
                f"CUDA device {self.index} is out of memory: {requested:,} bytes requested, {free:,} free; use a "
                "smaller batch, recompute=True, or backend='cpu'"
            ) from None

    def synchronize(self) -> None:
        """Wait for all that was launched."""
        with self.current():
            cuda.synchronize()


class Allocation:
    """Memory on a device; it goes back to the pool when nothing refers to this object.

    Attributes
    ----------
    base : array of Numba, one-dimensional
    size : int
    """

    def __init__(self, base: Any, size: int) -> None:
        self.base, self.size = base, size


def _rounded(count: int) -> int:
    """A size from `count` on, one of few, so that freed memory fits later requests."""
    if count <= LEAST:
        return LEAST
    unit = 1 << max(8, count.bit_length() - 3)
    return -(-count // unit) * unit


def on_device(method: Callable) -> Callable:
    """A method of a class with a `device`, which is current while it runs."""

    @wraps(method)
    def run(self: Any, *arguments: Any, **options: Any) -> Any:
        with self.device.current():
            return method(self, *arguments, **options)

    return run


def size_of(shape: tuple[int, ...]) -> int:
    """Numbers in an array."""
    return prod(shape)
