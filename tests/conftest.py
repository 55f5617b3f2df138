"""One Numba cache for the whole run, apart from the user's; how many kernels were compiled is printed at the end."""

import os
import tempfile

import pytest

KEY = "NUMLSTM_TEST_CACHE"  # workers of pytest-xdist inherit it

if KEY not in os.environ:
    os.environ[KEY] = os.environ.get("NUMBA_CACHE_DIR") or tempfile.mkdtemp(prefix="numlstm-tests-")
os.environ["NUMBA_CACHE_DIR"] = os.environ[KEY]

MOST_KERNELS = 60


@pytest.fixture(autouse=True)
def no_backend_chosen(monkeypatch):
    """Tests choose a backend themselves."""
    monkeypatch.delenv("NUMLSTM_BACKEND", raising=False)


def compiled():
    """Specialisations compiled from the sources as they are: files of machine code."""
    from numlstm.backends.cpu.compiling import cache_directory

    return sum(1 for _ in cache_directory().rglob("*.nbc"))


def pytest_terminal_summary(terminalreporter, config):
    """Tell how many there are."""
    if not hasattr(config, "workerinput"):
        terminalreporter.write_line(f"compiled kernel specialisations: {compiled()} (at most {MOST_KERNELS})")


def pytest_sessionfinish(session):
    """Too many specialisations fail the run: compile time is part of what users wait for."""
    if not hasattr(session.config, "workerinput") and compiled() > MOST_KERNELS and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
