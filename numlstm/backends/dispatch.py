"""The choice of the backend: by argument, context, process, environment, or `auto`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from .contract import FORKED, Backend, BackendUnavailableError

VARIABLE = "NUMLSTM_BACKEND"
NAMES = ("auto", "cpu", "cuda", "reference")

# The least work, in floating-point operations, for which `auto` takes a GPU. It is an estimate and was not measured: a
# processor of a few cores takes 20 ms for it; a GPU launches kernels and copies arrays in a small part of that.
AUTO_WORK = 2e9

_context: ContextVar[str | None] = ContextVar("numlstm_backend", default=None)
_process: str | None = None
_classes = {"cpu": (".cpu.backend", "CpuBackend"), "reference": (".reference", "ReferenceBackend")}
_backends: dict[str, Backend] = {}  # one of each: all callers share its memory and the weights packed for it
_making = threading.RLock()
_forked = False  # whether this process was forked from one that used CUDA


def check_name(name: str, parameter: str = "backend") -> str:
    """Return `name` if it can name a backend.

    Raises
    ------
    TypeError
        If it is no string.
    ValueError
        If it is not one of ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``reference``.
    """
    if not isinstance(name, str):
        raise TypeError(f"{parameter} must be a string, got {type(name).__name__}")
    if name not in NAMES and not re.fullmatch(r"cuda:[0-9]{1,4}", name):
        raise ValueError(f"{parameter} must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'reference', got {name!r}")
    return name


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Compute with a backend inside a ``with`` block, in this thread or task only.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "cuda:N", "reference"}

    Raises
    ------
    ValueError, TypeError
        If `name` names no backend.
    BackendUnavailableError
        If it is not available here.

    Examples
    --------
    >>> import numlstm
    >>> with numlstm.use_backend("reference"):
    ...     numlstm.get_backend()
    'reference'
    """
    backend_for(check_name(name, "name"))
    token = _context.set(name)
    try:
        yield
    finally:
        _context.reset(token)


def set_backend(name: str) -> None:
    """Compute with a backend from now on, in the whole process.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "cuda:N", "reference"}

    Raises
    ------
    ValueError, TypeError
        If `name` names no backend.
    BackendUnavailableError
        If it is not available here.

    Examples
    --------
    >>> import numlstm
    >>> numlstm.set_backend("cpu")
    >>> numlstm.get_backend()
    'cpu'
    >>> numlstm.set_backend("auto")
    """
    global _process
    backend_for(check_name(name, "name"))
    _process = name


def get_backend() -> str:
    """The name of the backend chosen here and now, ``"auto"`` where nobody chose.

    The first that applies: `use_backend`, `set_backend`, the environment variable ``NUMLSTM_BACKEND``, ``"auto"``.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If ``NUMLSTM_BACKEND`` names no backend.

    Notes
    -----
    ``"auto"`` takes CUDA if a GPU can be used and the work is large enough to gain from it, else the CPU, without a
    message. The work is that of one call of a layer, of one training step of a `fit` on a full batch, or of a
    prediction for all sequences; it is large from ``2e9`` floating-point operations on, which is an estimate and was
    not measured. Streams are never large. Arrays that are in a GPU's memory are computed with there, however small.
    """
    return _context.get() or _process or check_name(os.environ.get(VARIABLE) or "auto", VARIABLE)


def backend_for(name: str | None = None, *, work: float = 0.0, array: Any = None) -> Backend:
    """The backend that `name`, or without one the choice in force, stands for.

    Parameters
    ----------
    name : str, optional
    work : float
        Floating-point operations of the call: ``auto`` takes CUDA from `AUTO_WORK` on, if a GPU is there.
        Smaller work imports nothing of CUDA.
    array : optional
        The array that `gpu_array_in` found in the arguments: ``auto`` computes on its GPU.

    Raises
    ------
    TypeError, ValueError
        If `name` names no backend.
    BackendUnavailableError
        If it was asked for by name, or by an array, and cannot run here.
    """
    chosen = get_backend() if name is None else check_name(name)
    if chosen == "auto":
        chosen = "cpu" if work < AUTO_WORK and array is None else _weighed(array)
    return _load(chosen)


def _weighed(array: Any) -> str:
    """The backend for an array on a GPU, or for work that is large enough for one."""
    if array is None:
        return "cuda" if _has_gpu() else "cpu"
    if _forked:  # the error of that backend says so
        return "cuda"
    from .cuda.availability import device_of

    return f"cuda:{device_of(array)}"


@cache
def _has_gpu() -> bool:
    """Whether CUDA can be used; checked once."""
    try:
        _load("cuda")
    except BackendUnavailableError:
        return False
    return True


def gpu_array_in(value: Any) -> Any:
    """The array in a GPU's memory that `value` is, or that a list or tuple begins with; None if it is none.

    Imports nothing: CuPy, PyTorch and Numba mark theirs, and our own cannot be there before their module is.
    """
    while isinstance(value, list | tuple) and len(value):
        value = value[0]
    kind = type(value)
    if kind is np.ndarray or kind.__module__ == "builtins":
        return None
    arrays = sys.modules.get(f"{__package__}.cuda.arrays")
    if getattr(kind, "__cuda_ndarray__", False) or (arrays is not None and isinstance(value, arrays.DeviceArray)):
        return value
    try:
        return value if hasattr(value, "__cuda_array_interface__") else None
    except RuntimeError:  # PyTorch's, if a gradient is wanted of it: it is on a GPU
        return value


def _load(name: str) -> Backend:
    backend = _backends.get(name)
    return _make(name) if backend is None else backend


def _make(name: str) -> Backend:
    """A backend under all its names."""
    with _making:
        if name not in _backends:
            _backends[name] = _make_cuda(name) if name.startswith("cuda") else _make_other(name)
        return _backends[name]


def _make_other(name: str) -> Backend:
    module, attribute = _classes[name]
    return getattr(import_module(module, __package__), attribute)()


def _make_cuda(name: str) -> Backend:
    index = int(name.partition(":")[2] or 0)
    usual = f"cuda:{index}" if index else "cuda"
    if usual != name:
        return _load(usual)
    if _forked:
        raise BackendUnavailableError(f"backend {name!r} is not available: {FORKED}")
    from .cuda.availability import cuda_backend

    return cuda_backend(index)


def _after_fork() -> None:
    """Forget the GPUs, in a child of a process that used them."""
    global _forked, _making
    _making = threading.RLock()
    used = [name for name in _backends if name.startswith("cuda")]
    for name in used:
        del _backends[name]
    _forked = _forked or bool(used)
    _has_gpu.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
