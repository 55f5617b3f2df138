"""The one pool of threads that kernels run on.

Kernels release the GIL, and every shard of a kernel writes to places of its own; so plain threads serve, any
number of callers may work at once, and results do not depend on how many threads there are. A caller takes
shards too: with all workers busy it does the whole job itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from queue import SimpleQueue
from typing import Any

import numpy as np

from .compiling import kernel
from .team import pause, read_shared
from .thread_count import thread_count

Shard = tuple[int, int]
READS = 10_000  # of a flag: some tenths of a millisecond


@cache
def _getcpu() -> Callable[[], int]:
    """The core that a thread is on; -1 everywhere where the system does not say, or threads cannot be moved."""
    try:
        os.sched_setaffinity  # noqa: B018
        return ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError, TypeError):
        return lambda: -1


@kernel
def watch(flag, reads):
    """Wait until an integer is not zero, but read it no more than `reads` times."""
    while reads > 0 and read_shared(flag) == 0:  # type: ignore[call-arg]
        pause()  # type: ignore[call-arg]
        reads -= 1


class _Job:
    """Shards of one call, handed out one by one."""

    def __init__(self, function: Callable[[int, int], None], shards: Sequence[Shard]) -> None:
        self.function, self.shards = function, shards
        self.next = itertools.count().__next__  # atomic under the GIL
        self.helpers = 0  # workers that are at it
        self.closed = self.ended = False
        self.lock = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()
        self.flag = np.zeros(1, np.int64)  # says the same to a caller who looks at it
        self.error: BaseException | None = None

    def work(self) -> None:
        """Do shards until none is left to take."""
        while (index := self.next()) < len(self.shards):
            try:
                self.function(*self.shards[index])
            except BaseException as error:
                self.error = error

    def help(self) -> None:
        """What a worker does, if the caller is still there."""
        with self.lock:
            if self.closed:
                return
            self.helpers += 1
        self.work()
        with self.lock:
            self.helpers -= 1
            if self.closed and not self.helpers:
                self.flag[0] = 1
                self.done.release()

    def finish(self) -> None:
        """Let no more workers begin, and wait for those that have; may be interrupted, and called again."""
        with self.lock:
            self.closed = True
            helpers = self.helpers
        if helpers:
            watch[()](self.flag.ctypes.data, READS)  # to be woken takes longer than most waits
            self.done.acquire()
        self.ended = True


class ThreadPool:
    """Worker threads that sleep until there is a job."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.workers = 0
        self.natives: list[int] = []  # the operating system's numbers of the workers
        self.avoided = -1  # the core that they keep off
        self.lock = threading.Lock()

    def run(self, function: Callable[[int, int], None], shards: Sequence[Shard]) -> None:
        """Call ``function(first, last)`` for every shard, and return when all are done."""
        helpers = min(len(shards), thread_count()) - 1
        if helpers < 1:
            for shard in shards:
                function(*shard)
            return
        self._hire(helpers)
        self._clear_core()
        job = _Job(function, shards)
        interruption: BaseException | None = None
        while not job.ended:  # an interruption waits too: shards write to the caller's arrays
            try:
                for _ in range(helpers):
                    self.jobs.put(job)
                job.work()
                job.finish()
            except BaseException as error:
                interruption, helpers = error, 0
        failure = interruption or job.error
        if failure is not None:
            raise failure

    def _hire(self, count: int) -> None:
        with self.lock:
            while self.workers < count:
                threading.Thread(target=self._serve, name="numlstm", daemon=True).start()
                self.workers += 1

    def _clear_core(self) -> None:
        """Keep workers off the caller's core: after a pause, the kernel likes to wake them there, to wait in line."""
        core = _getcpu()()
        if core != self.avoided and len(self.natives) == self.workers:
            _keep_off(core, self.natives)
            self.avoided = core

    def _serve(self) -> None:
        self.natives.append(threading.get_native_id())
        self.avoided = -1
        while True:
            job = self.jobs.get()
            job.help()
            del job


def _keep_off(core: int, threads: list[int]) -> None:
    """Let `threads` run on any core of this process but `core`, where the caller is at work."""
    with contextlib.suppress(OSError):  # a thread may have ended, or a container forbid it
        others = os.sched_getaffinity(0) - {core}
        for thread in threads if others else ():
            os.sched_setaffinity(thread, others)


pool = ThreadPool()


def _after_fork() -> None:
    """Threads do not survive a fork: the child hires its own."""
    global pool
    pool = ThreadPool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(function: Callable[..., None], shards: Sequence[Shard], *arguments: Any) -> None:
    """Call ``function(*arguments, first, last)`` for all shards, on the pool of this process."""
    if len(shards) == 1:
        function(*arguments, *shards[0])
    else:
        pool.run(partial(function, *arguments), shards)


def parts_for(count: int, work: float, unit: int = 1) -> int:
    """Threads worth using for `work` flop on `count` rows or blocks, `unit` of which stay together."""
    if work < 2 * WORK_PER_THREAD:
        return 1
    return max(1, min(thread_count(), -(-count // unit), int(work / WORK_PER_THREAD)))


def even_shards(count: int, work: float, unit: int = 1) -> Sequence[Shard]:
    """Split ``range(count)`` evenly into multiples of `unit`, one for each thread worth using."""
    if work < 2 * WORK_PER_THREAD:
        return ((0, count),)
    return _split(count, parts_for(count, work, unit), unit)


@lru_cache(maxsize=256)
def _split(count: int, parts: int, unit: int) -> Sequence[Shard]:
    """The shards; read only."""
    units = -(-count // unit)
    edges = [min(count, unit * (units * p // parts)) for p in range(parts + 1)]
    return list(itertools.pairwise(edges))


WORK_PER_THREAD = 5e6  # flop, some 60 microseconds: a hand-over to another thread costs a third of that, or more
