"""How many threads a call may use, and what decides that."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple

from .quota import cpu_quota

OWN = "NUMLSTM_NUM_THREADS"


class Threads(NamedTuple):
    """How many, and what decided; nothing did where all cores are taken."""

    number: int
    reason: str = ""


def available_cores() -> list[int]:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


# By default -----------------------------------------------------------------------------------------------


@cache
def default() -> Threads:
    """`NUMLSTM_NUM_THREADS`; or what is asked of all libraries, but no more than there are cores for this process.

    That is `NUMBA_NUM_THREADS`, which joblib sets in its workers; else `OMP_NUM_THREADS`, which Dask and batch systems
    set; else what the CPU quota of a container pays for.

    Raises
    ------
    ValueError
        If `NUMLSTM_NUM_THREADS` is no positive integer; what is wrong with others' variables is not ours to say.
    """
    text = os.environ.get(OWN, "")
    if text:
        if not _number(text):
            raise ValueError(f"{OWN} must be a positive integer, got {text!r}")
        return Threads(int(text), OWN)
    cores, wanted = len(available_cores()), _wanted()
    return wanted if wanted and wanted.number <= cores else Threads(cores)


def _wanted() -> Threads | None:
    """What is asked of all libraries, if anything."""
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "")
        outermost = (
            text.split(",")[0].strip() if variable.startswith("OMP") else text
        )  # OpenMP counts each nested level
        if count := _number(outermost):
            return Threads(count, variable)
    quota = cpu_quota()
    return None if quota is None else Threads(math.ceil(quota), "CPU quota")


def _number(text: str) -> int:
    """A positive integer; 0 if it is none."""
    return int(text) if text.isdecimal() else 0


def default_threads() -> int:
    """Threads that a call may use outside of all limits."""
    return default().number


# Limits ---------------------------------------------------------------------------------------------------

_blocks: list[int] = []  # the limits of open blocks; a list's own methods are safe for threads
_cap: ContextVar[int | None] = ContextVar("numlstm_thread_cap", default=None)


def in_force() -> Threads:
    """What holds here and now."""
    block, cap = min(_blocks, default=0), _cap.get()
    threads = Threads(block, "limit_threads") if block else default()
    return Threads(cap, "threadpoolctl") if cap and cap < threads.number else threads


def thread_count() -> int:
    """Threads that a call may use."""
    return in_force().number


@contextlib.contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Use `count` threads inside the block, in the whole process; of several open blocks, the smallest count."""
    _blocks.append(count)
    try:
        yield
    finally:
        _blocks.remove(count)


def thread_cap() -> int:
    """The most threads that calls of this thread may use, or of this task of asyncio."""
    return _cap.get() or default_threads()


def set_thread_cap(count: int) -> None:
    """Let calls of this thread, or task, use no more than `count` threads; as many as by default end a limit."""
    _cap.set(max(1, count) if count < default_threads() else None)
