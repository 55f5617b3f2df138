"""The disk cache: where it is, what makes it stale, who may not write there; a second process compiles nothing."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest

from numlstm.backends import caching
from numlstm.backends.cpu import optimizing
from numlstm.backends.cpu.machine import compiling


def directories():
    """Where kernels of the CPU are kept, looked up anew."""
    return compiling.cache_directories.__wrapped__()


@pytest.fixture
def no_numba_cache(monkeypatch, tmp_path):
    """No choice of the user's."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    return tmp_path


def test_numba_cache_dir_comes_first_and_nothing_is_made(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "deep" / "cache"))
    monkeypatch.setattr(caching, "_user_cache", lambda: tmp_path / "user")
    first, second = directories()
    assert first.parent == tmp_path / "deep" / "cache" / "numlstm"
    assert second.parent == tmp_path / "user" / "numlstm"
    assert first.name == second.name
    assert not list(tmp_path.iterdir())


def test_a_relative_directory_stays_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "cache")
    monkeypatch.chdir(tmp_path)
    assert directories()[0].parent == tmp_path / "cache" / "numlstm"


def no_home():
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is for other systems")
@pytest.mark.parametrize("text", [None, "", "relative/cache"])
def test_cache_of_the_user(monkeypatch, no_numba_cache, text):
    monkeypatch.setenv("HOME", str(no_numba_cache / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_numba_cache / "xdg"))
    (found,) = directories()
    assert found.parent == no_numba_cache / "xdg" / "numlstm"
    monkeypatch.delenv("XDG_CACHE_HOME") if text is None else monkeypatch.setenv("XDG_CACHE_HOME", text)
    (found,) = directories()
    assert found.parent == no_numba_cache / "home" / ".cache" / "numlstm"
    monkeypatch.setattr(Path, "home", no_home)
    assert directories() == ()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is for other systems")
def test_cache_of_a_user_without_a_home(monkeypatch, no_numba_cache):
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_numba_cache))
    (found,) = directories()
    assert found.parent == no_numba_cache / "numlstm"


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("win32", "LOCALAPPDATA", "AppData/Local"),
        ("darwin", None, "Library/Caches"),
        ("linux", "XDG_CACHE_HOME", ".cache"),
    ],
)
def test_cache_of_each_platform(monkeypatch, tmp_path, platform, variable, expected):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "chosen"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "chosen"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert caching._user_cache() == tmp_path / ("chosen" if variable else expected)
    monkeypatch.delenv(variable or "XDG_CACHE_HOME")
    assert caching._user_cache() == tmp_path / expected


@pytest.mark.parametrize("changed", ["cells/lstm.py", "backends/equations/losses.py", "backends/cpu/machine/simd.py"])
def test_edited_source_has_a_cache_of_its_own(monkeypatch, tmp_path, changed):
    package = tmp_path / "numlstm"
    shutil.copytree(caching.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    original = directories()
    monkeypatch.setattr(caching, "PACKAGE", package)
    monkeypatch.setattr(compiling, "__file__", str(package / "backends" / "cpu" / "machine" / "compiling.py"))
    assert directories() == original
    with (package / changed).open("a") as source:
        source.write("# edited\n")
    assert directories()[0] != original[0]


# Directories that cannot be written to ---------------------------------------------------------------------

NORM = """
import ctypes, os, warnings
if hasattr(os, "getuid") and os.getuid() == 0:  # root may write anywhere, unless without its capabilities
    assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()) == 0
import numpy as np
from numlstm.backends.cpu import optimizing
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for dtype in {dtypes}:
        assert optimizing.global_norm[dtype](np.array([3, 4], dtype)) == 5
stats = optimizing.global_norm.dispatcher.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
print(*(f"{{each.category.__name__}}: {{each.message}}" for each in caught), sep="\\n")
"""


def norm(*dtypes, tmp, **environment):
    """Hits and misses of a process that computes norms, and its warnings; it may leave nothing in `tmp`."""
    (tmp / "temporary").mkdir(exist_ok=True)
    for variable in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        environment.setdefault(variable, "")
    environment.setdefault("HOME", tmp / "home of nobody")  # that of the user may have these kernels already
    environment |= {"PYTHONPATH": str(caching.PACKAGE.parent), "TMPDIR": str(tmp / "temporary")}
    environment = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, "-c", NORM.format(dtypes=dtypes)], env={k: str(v) for k, v in environment.items()},
        cwd="/", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list((tmp / "temporary").iterdir())
    counts, *caught = done.stdout.strip().splitlines()
    return tuple(map(int, counts.split())), caught


def locked(directory):
    """Let nobody write there."""
    for path in [*directory.rglob("*"), directory]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return directory


def content(directory):
    """All files, and when each was changed."""
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")


@posix
def test_what_a_read_only_directory_has_is_used_and_nothing_is_written(tmp_path):
    image, home = tmp_path / "image", tmp_path / "home"
    assert norm("float32", tmp=tmp_path, NUMBA_CACHE_DIR=image) == ((0, 1), [])
    assert any(path.suffix == ".nbc" for path in image.rglob("*"))
    home.mkdir()
    before = content(locked(image))
    found = norm("float32", tmp=tmp_path, NUMBA_CACHE_DIR=image, XDG_CACHE_HOME=home)
    assert found == ((1, 0), [])
    assert content(image) == before
    assert not list(home.iterdir())


@posix
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("size", [0, 100])
def test_files_that_are_cut_off_are_no_error(tmp_path, suffix, size):
    """As a full disk leaves them: they are written again, or, where that cannot be, in the next directory."""
    cache, home = tmp_path / "cache", tmp_path / "home"
    norm("float32", tmp=tmp_path, NUMBA_CACHE_DIR=cache)
    files = [path for path in cache.rglob("*") if path.suffix == suffix]
    for path in files:
        os.truncate(path, size)
    read_only = shutil.copytree(cache, tmp_path / "read only")
    locked(read_only)
    compiled, found = ((0, 1), []), ((1, 0), [])
    assert files
    for environment in ({"NUMBA_CACHE_DIR": cache}, {"NUMBA_CACHE_DIR": read_only, "XDG_CACHE_HOME": home}):
        assert norm("float32", tmp=tmp_path, **environment) == compiled
        assert norm("float32", tmp=tmp_path, **environment) == found


@posix
def test_what_a_read_only_directory_lacks_goes_to_the_next(tmp_path):
    image, home = tmp_path / "image", tmp_path / "home"
    norm("float32", tmp=tmp_path, NUMBA_CACHE_DIR=image)
    home.mkdir()
    before = content(locked(image))
    places = {"NUMBA_CACHE_DIR": image, "XDG_CACHE_HOME": home}
    assert norm("float64", tmp=tmp_path, **places) == ((0, 1), [])
    assert norm("float32", "float64", tmp=tmp_path, **places) == ((2, 0), [])
    assert content(image) == before
    assert len(list(home.rglob("*.nbc"))) == 1


@posix
def test_with_nothing_writable_it_compiles_in_memory_and_says_so_once(tmp_path):
    image, home = tmp_path / "image", tmp_path / "home"
    image.mkdir(), home.mkdir()
    places = {"NUMBA_CACHE_DIR": locked(image), "HOME": locked(home)}
    counts, caught = norm("float32", "float64", tmp=tmp_path, **places)
    assert counts == (0, 2)
    (warning,) = caught
    assert warning.startswith("UserWarning: numlstm found no place to keep compiled kernels")
    assert f"{image}" in warning
    assert f"{home}" in warning
    assert warning.endswith("Set NUMBA_CACHE_DIR to a directory that can be written to.")


@posix
def test_a_directory_that_may_not_be_read_is_no_error(tmp_path):
    image = tmp_path / "image"
    image.mkdir()
    norm("float32", tmp=tmp_path, NUMBA_CACHE_DIR=image)
    image.chmod(0o000)
    home = tmp_path / "home"
    home.mkdir()
    found = norm("float32", tmp=tmp_path, NUMBA_CACHE_DIR=image, XDG_CACHE_HOME=home)
    assert found == ((0, 1), [])


def test_a_file_in_the_way_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    places = {"NUMBA_CACHE_DIR": tmp_path / "file", "XDG_CACHE_HOME": tmp_path / "user"}
    assert norm("float32", tmp=tmp_path, **places) == ((0, 1), [])
    assert norm("float32", tmp=tmp_path, **places) == ((1, 0), [])


def test_without_any_directory_it_compiles_in_memory():
    caching._warn_that_nothing_is_kept.cache_clear()
    dispatcher = numba.njit(increment)
    dispatcher._cache = caching.kept_in((), compiling.FunctionCache, compiling.IndexDataCacheFile)(increment)
    with pytest.warns(UserWarning, match="keep compiled kernels in: each process"):
        dispatcher.compile((numba.int64,))
    assert dispatcher(1) == 2


# The lock --------------------------------------------------------------------------------------------------


def takes_lock(directory):
    """Whether another process could have the lock now."""
    code = f"import fcntl; fcntl.lockf(open({str(directory / 'lock')!r}, 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_files_are_saved_under_the_lock(tmp_path):
    class Watching:
        def save(self, key, data):
            self.saved = key, data, takes_lock(tmp_path)

    files = Watching()
    caching.Files({tmp_path: files}).save("key", "data")
    assert files.saved == ("key", "data", False)
    assert takes_lock(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_under_the_lock_does_not_hold_it(tmp_path):
    held, release = threading.Event(), threading.Event()

    def hold():
        with caching.alone(tmp_path):
            held.set()
            release.wait(60)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    held.wait(60)
    told, tell = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
        child = os.fork()
    if not child:
        signal.alarm(30)  # ends it if it hangs
        os.close(tell)
        os.read(told, 1)  # until the parent has looked, or has ended
        with caching.alone(tmp_path):
            os._exit(7)
    os.close(told)
    try:
        assert not takes_lock(tmp_path)
        release.set()
        holder.join()
        assert takes_lock(tmp_path), "the child holds it"
        with caching.alone(tmp_path):
            assert not takes_lock(tmp_path)
    finally:
        release.set()
        os.close(tell)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7, "the child cannot take it"


# Processes -------------------------------------------------------------------------------------------------


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
from numlstm.backends.cpu.machine.compiling import compiled
from numlstm.backends.cpu.machine.tags import width
from numlstm.backends.cpu.linear.tile import outer
for vectors in map(int, sys.argv[1:]):
    signature = (numba.typeof(np.float64), width(vectors), outer.arguments)
    outer.dispatcher.compile(signature)
    assert signature in outer.dispatcher.overloads, vectors
print(sum(outer.dispatcher.stats.cache_hits.values()))
"""


def test_processes_that_compile_at_once_do_not_mix_up_their_files(tmp_path):
    orders = (1, 2, 3, 4), (4, 3, 2, 1), (2, 4, 1, 3), (3, 1, 4, 2)

    def start(order):
        return subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, *map(str, order)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "user")}, text=True,
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
