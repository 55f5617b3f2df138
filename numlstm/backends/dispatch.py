"""Which backend computes: by argument, context, process, environment, or `auto`."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from importlib import import_module

from .contract import Backend, BackendUnavailableError

VARIABLE = "NUMLSTM_BACKEND"
NAMES = ("auto", "cpu", "cuda", "reference")
NO_CUDA = "this version of numlstm has no CUDA backend yet; 'auto' takes 'cpu'"

_context: ContextVar[str | None] = ContextVar("numlstm_backend", default=None)
_process: str | None = None
_classes = {"cpu": (".cpu.backend", "CpuBackend"), "reference": (".reference", "ReferenceBackend")}


def check_name(name: str, parameter: str = "backend") -> str:
    """Return `name` if it can name a backend.

    Raises
    ------
    TypeError
        If it is no string.
    ValueError
        If it is none of ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``reference``.
    """
    if not isinstance(name, str):
        raise TypeError(f"{parameter} must be a string, got {type(name).__name__}")
    if name not in NAMES and not re.fullmatch(r"cuda:\d+", name):
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
    """
    return _context.get() or _process or check_name(os.environ.get(VARIABLE) or "auto", VARIABLE)


def backend_for(name: str | None = None) -> Backend:
    """The backend that `name`, or without one the choice in force, stands for.

    Raises
    ------
    TypeError, ValueError
        If `name` names no backend.
    BackendUnavailableError
        If it was asked for by name and cannot run here.
    """
    chosen = get_backend() if name is None else check_name(name)
    if chosen.startswith("cuda"):
        raise BackendUnavailableError(f"backend {chosen!r} is not available: {NO_CUDA}")
    return _load("cpu" if chosen == "auto" else chosen)


@cache
def _load(name: str) -> Backend:
    module, attribute = _classes[name]
    return getattr(import_module(module, __package__), attribute)()
