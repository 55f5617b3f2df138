"""One Numba cache for the whole run, apart from the user's; how many kernels were compiled is printed at the end."""

import os
import tempfile

import pytest

KEY = "NUMLSTM_TEST_CACHE"  # workers of pytest-xdist inherit it

if KEY not in os.environ:
    os.environ[KEY] = os.environ.get("NUMBA_CACHE_DIR") or tempfile.mkdtemp(prefix="numlstm-tests-")
os.environ["NUMBA_CACHE_DIR"] = os.environ[KEY]

if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
    import simulator

    simulator.prepare()

MOST_KERNELS = 84  # most of 34 functions, for float32 and float64, some for kinds of tiles
OTHERS = ("test_", "cached_step.", "limit.")  # kernels of tests and benchmarks
# Functions that kernels call by address: some for each kind of cell.
SMALL = ("equations.", "norm.", "tile.", "halves.half_", "halves.round_", "quantised.")


@pytest.fixture(autouse=True)
def no_backend_chosen(monkeypatch):
    """Tests choose a backend themselves."""
    monkeypatch.delenv("NUMLSTM_BACKEND", raising=False)


def compiled():
    """Kernels, and small functions of theirs, compiled from the sources as they are: files of machine code."""
    from numlstm.backends.cpu.machine.compiling import cache_directories

    files = [path.name for path in cache_directories()[0].rglob("*.nbc") if not path.name.startswith(OTHERS)]
    small = sum(name.startswith(SMALL) for name in files)
    return len(files) - small, small


def pytest_terminal_summary(terminalreporter, config):
    """Tell how many there are."""
    if not hasattr(config, "workerinput"):
        kernels, small = compiled()
        terminalreporter.write_line(f"compiled: {kernels} kernels (at most {MOST_KERNELS}), {small} small functions")


def pytest_sessionfinish(session):
    """Too many kernels fail the run: compile time is part of what users wait for."""
    if not hasattr(session.config, "workerinput") and compiled()[0] > MOST_KERNELS and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
