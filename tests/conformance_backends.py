"""The backends that conformance is tested of, and in which sizes."""

import os
from functools import cache

import pytest

from numlstm.backends.cpu.backend import CpuBackend

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
BACKENDS = ["cuda"] if SIMULATED else ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def sized(full, simulated):
    """Sizes, or cases: all of them, or those for the simulator, in which every access to an array takes long."""
    return simulated if SIMULATED else full


@cache
def make(name):
    """A backend; what it raises where there is no GPU is the result of tests that ask for one."""
    if name == "cpu":
        return CpuBackend()
    from numlstm.backends.cuda.backend import CudaBackend

    return CudaBackend()
