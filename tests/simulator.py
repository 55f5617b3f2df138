"""numba-cuda's simulator, made fast and sound enough for tests."""

import sys
import threading

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the simulator is numba-cuda's (the extra cuda12 or cuda13)")

from numba.cuda import types
from numba.cuda.np import numpy_support
from numba.cuda.simulator import kernelapi

_making = threading.Lock()


def _shared_array(self, shape, dtype, alignment=None):
    """An array for all threads of a block: one for each line that asks. As it is, two threads may make two."""
    if shape == 0:
        return _array(self, shape, dtype, alignment)
    frame = sys._getframe(1)
    line = frame.f_code.co_filename, frame.f_lineno
    if isinstance(dtype, types.Type):
        dtype = numpy_support.as_dtype(dtype)
    with _making:
        return self._allocations.setdefault(line, np.empty(shape, dtype))


_array = kernelapi.FakeCUDAShared.array


def prepare():
    """Let its threads, which are Python's, take turns sooner: one that only looks on holds up the others."""
    sys.setswitchinterval(1e-4)
    kernelapi.FakeCUDAShared.array = _shared_array
