"""The disk cache: where it is, what makes it stale, and that a second process compiles nothing."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import numpy as np
import pytest

from numlstm.backends import caching
from numlstm.backends.cpu import compiling, optimizing

cache_directory = compiling.cache_directory.__wrapped__


@pytest.fixture
def no_numba_cache(monkeypatch, tmp_path):
    """No choice of the user's, and temporary directories inside `tmp_path`."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def test_numba_cache_dir_is_honoured(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "deep" / "cache"))
    directory = cache_directory()
    assert directory.is_dir()
    assert directory.parent == tmp_path / "deep" / "cache" / "numlstm"
    assert cache_directory() == directory


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is for other systems")
def test_cache_of_the_user(monkeypatch, no_numba_cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_numba_cache / "xdg"))
    assert cache_directory().parent == no_numba_cache / "xdg" / "numlstm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(no_numba_cache / "home"))
    assert cache_directory().parent == no_numba_cache / "home" / ".cache" / "numlstm"


def use_file_as_cache(monkeypatch, path):
    (path / "file").write_text("in the way")
    monkeypatch.setattr(caching, "_user_cache", lambda: path / "file")


def use_read_only_cache(monkeypatch, path):
    (path / "locked").mkdir(mode=0o500)
    if os.access(path / "locked", os.W_OK):
        pytest.skip("this user may write anywhere")
    monkeypatch.setattr(caching, "_user_cache", lambda: path / "locked")


def use_absent_home(monkeypatch, path):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)


@pytest.mark.parametrize("use", [use_file_as_cache, use_read_only_cache, use_absent_home])
def test_without_a_writable_home_the_cache_is_temporary(monkeypatch, no_numba_cache, use):
    use(monkeypatch, no_numba_cache)
    directory = cache_directory()
    assert directory.parent == no_numba_cache / "temporary"
    (directory / "kernel").write_text("fits in")


def test_unwritable_numba_cache_dir_falls_back(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(caching, "_user_cache", lambda: tmp_path / "user")
    assert cache_directory().parent == tmp_path / "user" / "numlstm"


@pytest.mark.parametrize("changed", ["cells/lstm.py", "backends/cpu/simd.py"])
def test_edited_source_has_a_cache_of_its_own(monkeypatch, tmp_path, changed):
    package = tmp_path / "numlstm"
    shutil.copytree(caching.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    original = cache_directory()
    monkeypatch.setattr(caching, "PACKAGE", package)
    monkeypatch.setattr(compiling, "__file__", str(package / "backends" / "cpu" / "compiling.py"))
    assert cache_directory() == original
    with (package / changed).open("a") as source:
        source.write("# edited\n")
    assert cache_directory() != original


SECOND_PROCESS = """
import numpy as np
from numlstm.backends.cpu import optimizing
assert optimizing.global_norm["float32"](np.array([3, 4], "float32")) == 5
stats = optimizing.global_norm.dispatcher.stats
assert stats.cache_hits and not stats.cache_misses, stats
"""


def test_second_process_compiles_nothing():
    assert optimizing.global_norm["float32"](np.array([3, 4], "float32")) == 5
    environment = os.environ | {"PYTHONPATH": str(caching.PACKAGE.parent)}
    subprocess.run([sys.executable, "-c", SECOND_PROCESS], env=environment, check=True, timeout=120)


def test_choice_looks_at_types_once():
    vector = np.array([3, 4], "float32")
    optimizing.global_norm["float32"](vector)
    assert optimizing.global_norm["float32"] is optimizing.global_norm["float32"]


AT_ONCE = """
import sys
import numba
import numpy as np
from numlstm.backends.cpu.compiling import compiled
from numlstm.backends.cpu.tags import width
from numlstm.backends.cpu.tile import outer
for vectors in map(int, sys.argv[1:]):
    signature = (numba.typeof(np.float64), width(vectors).numba_type, *[numba.intp] * (outer.arguments - 2))
    outer.dispatcher.compile(signature)
    assert signature in outer.dispatcher.overloads, vectors
print(sum(outer.dispatcher.stats.cache_hits.values()))
"""


def test_processes_that_compile_at_once_do_not_mix_up_their_files(tmp_path):
    orders = (1, 2, 3, 4), (4, 3, 2, 1), (2, 4, 1, 3), (3, 1, 4, 2)

    def start(order):
        return subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, *map(str, order)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}, text=True,
        )  # fmt: skip

    def finish(process):
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        return int(out)

    for process in [start(order) for order in orders]:
        finish(process)
    assert finish(start(orders[0])) == 4  # all of it was there


def test_what_stands_under_a_wrong_name_is_compiled_anew(tmp_path):
    """As when a file system knows no locks: the file of one signature holds the code of another."""
    other = compiling._cached(increment)
    other.compile((numba.int64,))
    mixed = compiling._cached(increment)
    load = mixed._cache.load_overload
    mixed._cache.load_overload = lambda signature, context: load((numba.int64,), context)
    code = compiling.compiled(mixed, (numba.float64,))
    assert code.signature.args == (numba.float64,)
    assert code.entry_point(1.5) == 2.5
    assert mixed._cache.load_overload is not load


def increment(x):
    return x + 1
