"""What this installation computes with: for bug reports, and for users who wonder."""

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


def _chosen(get_backend: Callable[[], str]) -> str:
    """The backend in force, or what is wrong with its name: whoever asks may be looking for that."""
    try:
        return get_backend()
    except ValueError as error:
        return str(error)


def _threads() -> str:
    """How many a call may use, and what decides that."""
    from .backends.cpu.machine.thread_count import available_cores, in_force

    cores = len(available_cores())
    try:
        number, reason = in_force()
    except ValueError as error:
        return str(error)
    return f"{number} ({f'{reason}; ' if reason else ''}{cores} core{'s' * (cores > 1)} for this process)"


def _places(directories: tuple[Path, ...]) -> str:
    """Where kernels are looked for, in this order, and which of the directories take new ones."""
    from .backends.caching import writable

    shown = [f"{directory}{'' if writable(directory) else ' (read only)'}" for directory in directories]
    return ", ".join(shown) or "none: set NUMBA_CACHE_DIR"


def configuration() -> dict[str, str]:
    """What `show_config` prints, by name."""
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
        "backend": f"{_chosen(get_backend)} ({VARIABLE}={os.environ.get(VARIABLE, '')})",
        "cpu": f"{unit.cpu}, {unit.instructions}{'' if unit.fma else ', no FMA'}",
        "lanes": lanes,
        "tile": f"{unit.tile_rows(TILE_VECTORS)[0]} rows of {TILE_VECTORS} vectors",
        "threads": _threads(),
        "kernel cache": _places(cache_directories()),
        "gpu": gpus(),
    }


def show_config() -> None:
    """Print versions, CPU features, lanes, tile, threads, kernel cache, and the GPU or why there is none.

    ``python -m numlstm`` prints the same.

    Examples
    --------
    >>> import numlstm
    >>> numlstm.show_config()
    numlstm          ...
    """
    for name, value in configuration().items():
        print(f"{name:<16} {value}")
