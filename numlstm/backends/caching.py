"""Where machine code is kept between processes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numba

config: Any = numba.config
PACKAGE = Path(__file__).parents[1]


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


def cache_directory(backend: Path) -> Path:
    """Where the compiled kernels of the backend in a folder are kept.

    Numba does not notice edits of functions that a kernel calls, so the last part of the path is a
    fingerprint of all sources that kernels are made of. An unwritable home falls back to a temporary
    directory: slower to start, never an error.
    """
    digest = hashlib.sha256()
    for source in sorted([*(PACKAGE / "cells").glob("*.py"), *backend.parent.glob("*.py"), *backend.glob("*.py")]):
        digest.update(source.read_bytes())
    part = Path("numlstm") / digest.hexdigest()[:16]
    chosen = [Path(config.CACHE_DIR)] if config.CACHE_DIR else []
    with contextlib.suppress(RuntimeError):  # there may be no home directory
        chosen.append(_user_cache())
    for parent in chosen:
        if _writable(parent / part):
            return parent / part
    return Path(tempfile.mkdtemp(prefix="numlstm-"))
