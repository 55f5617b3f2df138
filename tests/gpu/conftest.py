"""What only a GPU shows: ``pytest -m gpu tests/gpu``."""

import os

import pytest

from numlstm import BackendUnavailableError
from numlstm.backends.dispatch import backend_for


@pytest.fixture(autouse=True, scope="session")
def gpu():
    """The backend on the first GPU; without one there is nothing to be seen."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0":
        pytest.skip("the simulator runs one block after another: what these tests look for cannot happen in it")
    try:
        return backend_for("cuda")
    except BackendUnavailableError as reason:
        pytest.skip(str(reason))
