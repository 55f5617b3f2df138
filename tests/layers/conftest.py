"""Some tests need arrays of a device, which numba-cuda's simulator has: ``NUMBA_ENABLE_CUDASIM=1``."""

import pytest
from numba import config

from numlstm.layers.layer import Layer

collect_ignore = [] if config.ENABLE_CUDASIM else ["test_device_arrays.py"]


@pytest.fixture
def large(monkeypatch):
    """A function that computes what others do, as if no call was small."""

    def compute(function, *arguments):
        with monkeypatch.context() as patched:
            patched.setattr(Layer, "_small_call", lambda *_: None)
            patched.setattr(Layer, "_small_vjp", lambda *_: None)
            return function(*arguments)

    return compute
