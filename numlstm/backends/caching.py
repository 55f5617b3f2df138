"""Machine code that is kept between processes, in several directories; some of them may be read-only.

The image of a container may hold the kernels of `warm_up` in a directory that its users cannot write to. So kernels are
read from every directory, and those that none of them has are written to the first that is writable.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numba

from . import forking  # noqa: F401  # a process that compiles for this cache may be forked

config: Any = numba.config
PACKAGE = Path(__file__).parents[1]


# Directories ----------------------------------------------------------------------------------------------


def _user_cache() -> Path | None:
    """The directory for caches on this platform; None for a user who has none."""
    variable = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    chosen = Path(os.environ.get(variable, ""))
    if chosen.is_absolute():  # the XDG specification wants others ignored
        return chosen
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and nobody by this number among the users
        return None
    return home / {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")


def cache_directories(backend: Path) -> tuple[Path, ...]:
    """The directories of the kernels of a backend: the one that the user chose, and the one in the user's cache.

    Numba does not notice edits of functions that a kernel calls, so the last part of each path is a fingerprint of all
    sources that kernels are made of. No directory is created here, and none needs to exist.
    """
    digest = hashlib.sha256()
    shared = PACKAGE / "cells", backend.parent, backend.parent / "equations"
    for source in sorted([*(path for folder in shared for path in folder.glob("*.py")), *backend.rglob("*.py")]):
        digest.update(source.read_bytes())
    parents = Path(config.CACHE_DIR).absolute() if config.CACHE_DIR else None, _user_cache()
    return tuple(parent / "numlstm" / digest.hexdigest()[:16] for parent in parents if parent)


def writable(directory: Path) -> bool:
    """Whether files can be made in a directory, or it can be made itself."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


# Files ----------------------------------------------------------------------------------------------------


class Files:
    """The files of one function, in several directories; Numba's cache loads from it and saves to it.

    Parameters
    ----------
    by_directory : dict of Path to IndexDataCacheFile
        Numba's files of the function in each directory.
    """

    def __init__(self, by_directory: dict[Path, Any]) -> None:
        self.by_directory = by_directory

    def load(self, key: Any) -> Any:
        """The data from the first directory that has it; None if none has."""
        for files in self.by_directory.values():
            with contextlib.suppress(Exception):  # a file that this user may not read, or that a full disk cut off
                data = files.load(key)
                if data is not None:
                    return data
        return None

    def save(self, key: Any, data: Any) -> None:
        """Write to the first directory that is writable."""
        for directory, files in self.by_directory.items():
            with contextlib.suppress(OSError):
                directory.mkdir(parents=True, exist_ok=True)
                with alone(directory):
                    _save(files, key, data)
                return
        _warn_that_nothing_is_kept(tuple(self.by_directory))

    def flush(self) -> None:
        """Delete what is in writable directories."""
        for files in self.by_directory.values():
            with contextlib.suppress(OSError):
                files.flush()


def _save(files: Any, key: Any, data: Any) -> None:
    """Save; a file that cannot be read is deleted first."""
    try:
        files.save(key, data)
    except OSError:
        raise
    except Exception:  # of unpickling, of many kinds
        files.flush()
        files.save(key, data)


@cache
def _warn_that_nothing_is_kept(directories: Sequence[Path]) -> None:
    """Warn once in a process."""
    tried = f" ({' and '.join(map(str, directories))} cannot be written to)" if directories else ""
    warnings.warn(
        f"numlstm found no place to keep compiled kernels in{tried}: each process compiles them anew, "
        "which takes some seconds. Set NUMBA_CACHE_DIR to a directory that can be written to.",
        stacklevel=2,
    )


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Wait for other processes that write there: two that number their files at once would confuse them.

    A lock of the process, not of the open file: a child that is forked meanwhile does not hold it. Threads of one
    process are kept apart by Numba's lock of its compiler.
    """
    with open(directory / "lock", "a") as file:
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX)  # until the file is closed
        except (ImportError, OSError):  # not here, or not on this file system: see `cpu.compiling.compiled`
            pass
        yield


# Numba's side ---------------------------------------------------------------------------------------------


@cache
def _digest(source: str) -> bytes:
    return hashlib.sha256(Path(source).read_bytes()).digest()


class Locator:
    """The place of a function, for Numba, which does not ask here whether the place is writable."""

    directory = Path(os.devnull)

    def __init__(self, function: Callable, source: str) -> None:
        self._py_file, self.line = source, function.__code__.co_firstlineno  # Numba's warnings name the file

    @classmethod
    def from_function(cls, function: Callable, source: str) -> Locator:
        """Make one."""
        return cls(function, source)

    def ensure_cache_path(self) -> None:
        """Do nothing: the path is made when a file is saved."""

    def get_cache_path(self) -> str:
        """The first directory."""
        return str(self.directory)

    def get_source_stamp(self) -> bytes:
        """A fingerprint of the file."""
        return _digest(self._py_file)

    def get_disambiguator(self) -> str:
        """The line: functions of one file may have the same name."""
        return str(self.line)


def kept_in(directories: Sequence[Path], numba_cache: Any, files: Any) -> Any:
    """A cache for dispatchers, to be called with a function: one of Numba's, with its files in `directories`.

    Parameters
    ----------
    directories : sequence of Path
    numba_cache : type
        Numba's ``FunctionCache``, or another of its caches.
    files : type
        The ``IndexDataCacheFile`` that it uses.
    """

    class HereLocator(Locator):
        directory = directories[0] if directories else Locator.directory

    class Implementation(numba_cache._impl_class):
        _locator_classes = (HereLocator,)

    class Cache(numba_cache):
        _impl_class = Implementation

        def __init__(self, function: Callable) -> None:
            super().__init__(function)
            name, stamp = self._impl.filename_base, self._impl.locator.get_source_stamp()
            self._cache_file = Files({place: files(str(place), name, stamp) for place in directories})

    return Cache
