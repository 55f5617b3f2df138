"""The time of a cold start: imports, and kernels that are compiled or read from the disk."""

import os
import subprocess
import sys
import tempfile

from .common import validated

FIRST_CALL = """
import time
import numpy as np
x = np.ones((32, 10, 16), np.float32)
start = time.perf_counter()
from numlstm import LSTM
LSTM(16, 64, backend="cpu", random_state=0)(x)
print(time.perf_counter() - start)
"""
FIRST_GRADIENT = """
import time
import numpy as np
x, dy = np.ones((32, 10, 16), np.float32), np.ones((32, 10, 64), np.float32)
start = time.perf_counter()
from numlstm import LSTM
LSTM(16, 64, backend="cpu", random_state=0).vjp(x)[2](dy)
print(time.perf_counter() - start)
"""


def seconds(code, cache):
    """The number that code prints in a new process, which keeps its kernels in the directory `cache`."""
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def cold_start_seconds(code, cache):
    """Seconds with an empty cache, or the least of three runs with a filled cache."""
    with tempfile.TemporaryDirectory() as directory:
        first = seconds(code, directory)
        return first if cache == "empty" else min(seconds(code, directory) for _ in range(3))


class Import:
    """Imports in a new interpreter, including the time of NumPy and scikit-learn."""

    params = ("LSTM", "LSTMClassifier")
    param_names = ("name",)

    def timeraw_import(self, name):
        return f"from numlstm import {name}"


class FirstUse:
    """From the import of numlstm to the first result, in a process that has imported only NumPy."""

    params = ("empty", "filled")
    param_names = ("cache",)
    unit = "seconds"

    def setup(self, cache):
        validated("LSTM", (10, 32, 16, 64))

    def track_first_call(self, cache):
        return cold_start_seconds(FIRST_CALL, cache)

    def track_first_gradient(self, cache):
        return cold_start_seconds(FIRST_GRADIENT, cache)
