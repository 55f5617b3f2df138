"""Versions, hardware and settings that numlstm computes with, for bug reports."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "numpy", "scipy", "numba", "llvmlite", "scikit-learn", "safetensors", "tqdm", "numba-cuda", "torch", "onnxruntime",
)  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _backend(get_backend: Callable[[], str]) -> str:
    """The current backend, or the error that its name causes."""
    try:
        return get_backend()
    except ValueError as error:
        return str(error)


def _threads() -> str:
    """How many threads a call may use, and the reason."""
    from .backends.cpu.machine.thread_count import available_cores, in_force

    cores = len(available_cores())
    try:
        number, reason = in_force()
    except ValueError as error:
        return str(error)
    return f"{number} ({f'{reason}; ' if reason else ''}{cores} core{'s' * (cores > 1)} for this process)"


def _kernel_cache(directories: tuple[Path, ...]) -> str:
    """The directories in which numlstm looks for kernels, in this order; it writes new ones to those not read only."""
    from .backends.caching import writable

    texts = [f"{directory}{'' if writable(directory) else ' (read only)'}" for directory in directories]
    return ", ".join(texts) or "none: set NUMBA_CACHE_DIR"


def configuration() -> dict[str, str]:
    """The values that `show_config` prints, by name."""
    from . import __version__
    from .backends.cpu.machine.compiling import cache_directories
    from .backends.cpu.machine.target import TILE_VECTORS, target
    from .backends.cuda.availability import gpus
    from .backends.dispatch import VARIABLE, get_backend

    unit = target()
    lanes = f"{unit.lanes(32)} of float32, {unit.lanes(64)} of float64"
    return {
        "numlstm": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{package: _version(package) for package in PACKAGES},
        "backend": f"{_backend(get_backend)} ({VARIABLE}={os.environ.get(VARIABLE, '')})",
        "cpu": f"{unit.cpu}, {unit.instructions}{'' if unit.fma else ', no FMA'}",
        "lanes": lanes,
        "tile": f"{unit.tile_rows(TILE_VECTORS)[0]} rows of {TILE_VECTORS} vectors",
        "threads": _threads(),
        "kernel cache": _kernel_cache(cache_directories()),
        "gpu": gpus(),
    }


def show_config() -> None:
    """Print versions, CPU features, lanes, tile, threads, kernel cache, and the GPU or the reason why there is none.

    ``python -m numlstm`` prints the same.

    Examples
    --------
    >>> import numlstm
    >>> numlstm.show_config()
    numlstm          ...
    """
    for name, value in configuration().items():
        print(f"{name:<16} {value}")
