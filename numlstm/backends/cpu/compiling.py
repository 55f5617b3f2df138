"""`kernel`: `numba.njit` with the flags and the disk cache that all kernels of this package share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Hashable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba

config: Any = numba.config
njit: Any = numba.njit

PACKAGE = Path(__file__).parents[2]


def _user_cache() -> Path:
    """Where this platform keeps what can be made again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


@cache
def cache_directory() -> Path:
    """Where compiled kernels are kept.

    Numba does not notice edits of functions that a kernel calls, so the last part of the path is a
    fingerprint of all sources that kernels are made of. An unwritable home falls back to a temporary
    directory: slower to start, never an error.
    """
    digest = hashlib.sha256()
    for source in sorted([*(PACKAGE / "cells").glob("*.py"), *Path(__file__).parent.glob("*.py")]):
        digest.update(source.read_bytes())
    part = Path("numlstm") / digest.hexdigest()[:16]
    chosen = [Path(config.CACHE_DIR)] if config.CACHE_DIR else []
    with contextlib.suppress(RuntimeError):  # there may be no home directory
        chosen.append(_user_cache())
    for parent in chosen:
        if _writable(parent / part):
            return parent / part
    return Path(tempfile.mkdtemp(prefix="numlstm-"))


# A function that only kernels call: nothing is compiled for calls from Python.
inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

# The same for one that is called in one place: it becomes part of its caller, and is compiled once, not twice.
once = njit(error_model="numpy", inline="always")

# An inner function whose sums may be taken in any order: the compiler chooses one, for vectors.
free_sums = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath={"reassoc", "contract"})


class Kernel:
    """A compiled function; ``kernel[choice](*arguments)`` runs it.

    A choice is whatever hashable the types of the arguments depend on. They are looked at once for each;
    later calls go straight to the machine code.
    """

    def __init__(self, function: Callable) -> None:
        kept = config.CACHE_DIR
        config.CACHE_DIR = str(cache_directory())  # read once, by the line below
        try:
            self.dispatcher = njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
        finally:
            config.CACHE_DIR = kept
        self.entries: dict[Hashable, Callable] = {}

    def __getitem__(self, choice: Hashable) -> Callable:
        return self.entries.get(choice) or partial(self._first_call, choice)

    def _first_call(self, choice: Hashable, *arguments: Any) -> Any:
        entry = self.dispatcher.compile(tuple(map(numba.typeof, arguments)))
        self.entries[choice] = entry
        return entry(*arguments)


def kernel(function: Callable) -> Kernel:
    """Compile a function at its first call, without the GIL, and keep the machine code on disk."""
    return Kernel(function)
