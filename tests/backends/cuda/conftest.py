"""Kernels run here on numba-cuda's simulator: ``NUMBA_ENABLE_CUDASIM=1 pytest tests/backends/cuda``.

Tests of what needs no thread of a device, above all of compiling, run without the simulator.
"""

import importlib.util
from pathlib import Path

from numba import config

ANYWHERE = {"test_availability.py"}
WITHOUT_SIMULATOR = {
    "test_compiled.py",
    "test_cublas.py",
    "test_fragments.py",
    "test_kernel_cache.py",
    "test_launching.py",
}

files = {path.name for path in Path(__file__).parent.glob("test_*.py")} - ANYWHERE
collect_ignore = sorted(WITHOUT_SIMULATOR if config.ENABLE_CUDASIM else files - WITHOUT_SIMULATOR)
if importlib.util.find_spec("numba_cuda") is None:
    collect_ignore = sorted(files - {"test_compiled.py"})  # which says so
