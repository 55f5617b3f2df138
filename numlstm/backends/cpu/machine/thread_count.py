"""The number of threads that a call may use, and what decides it."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple

from .quota import cpu_quota

VARIABLE = "NUMLSTM_NUM_THREADS"


class Threads(NamedTuple):
    """A number of threads, and what decided it; an empty reason stands for all cores."""

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
    """The threads that `NUMLSTM_NUM_THREADS` sets; else the limit for all libraries, or the cores if they are fewer.

    That limit is `NUMBA_NUM_THREADS`, which joblib sets in its workers; else `OMP_NUM_THREADS`, which Dask and batch
    systems set; else the CPU quota of a container.

    Raises
    ------
    ValueError
        If `NUMLSTM_NUM_THREADS` is no positive integer. Wrong values of the other variables are ignored.
    """
    text = os.environ.get(VARIABLE, "")
    if text:
        if not _number(text):
            raise ValueError(f"{VARIABLE} must be a positive integer, got {text!r}")
        return Threads(int(text), VARIABLE)
    cores, limit = len(available_cores()), _limit()
    return limit if limit and limit.number <= cores else Threads(cores)


def _limit() -> Threads | None:
    """The limit for all libraries, if there is one."""
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "")
        if variable.startswith("OMP"):
            text = text.split(",")[0].strip()  # OpenMP has a number for each nested level
        if count := _number(text):
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
    """The limit that holds for this thread, or task, now."""
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
    """Let calls of this thread, or task, use no more than `count` threads; the default number ends a limit."""
    _cap.set(max(1, count) if count < default_threads() else None)
