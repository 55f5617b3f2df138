"""The pool of threads that all kernels run on.

Kernels release the GIL, and each shard of a kernel writes to memory of its own. So plain threads are enough, any number
of callers may work at once, and results do not depend on the number of threads. A caller takes shards too: while all
workers are busy, it does its whole job itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import math
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from queue import SimpleQueue
from typing import Any

import numba
import numpy as np

from . import recording
from .arrays import Arguments, address_of
from .board import Board, ShardCall, SharedCall
from .compiling import Kernel, kernel
from .moving import MachineCalls
from .team import pause, read_shared
from .thread_count import thread_count

Shard = tuple[int, int]
ONE: Sequence[Shard] = ((0, 1),)
COUNT = SharedCall._fields.index("count")
READS = 10_000  # of a counter: some tenths of a millisecond


@cache
def _getcpu() -> Callable[[], int]:
    """The core that a thread runs on; -1 where the system does not tell it, or cannot move threads."""
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
        self.helpers = 0  # workers that take shards of this job
        self.closed = self.ended = False
        self.lock = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()
        self.flag = np.zeros(1, np.int64)  # becomes 1 when `done` is released, for a caller that reads it
        self.error: BaseException | None = None

    def work(self) -> None:
        """Do shards until none is left."""
        while (index := self.next()) < len(self.shards):
            try:
                self.function(*self.shards[index])
            except BaseException as error:
                self.error = error

    def help(self) -> None:
        """Do shards as a worker, unless the job is closed."""
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
        """Close the job, and wait for its workers; after an interruption it may be called again."""
        with self.lock:
            self.closed = True
            helpers = self.helpers
        if helpers:
            watch[()](address_of(self.flag), READS)  # most waits are shorter than the time to wake up
            self.done.acquire()
        self.ended = True


class ThreadPool:
    """Worker threads that look for the next job for a short time, and then sleep until there is one."""

    def __init__(self) -> None:
        self.board = Board()
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()  # None wakes a worker, which looks at the board
        self.workers = 0
        self.thread_ids: list[int] = []  # of the workers, as the operating system has them
        self.avoided = -1  # the core that workers keep off
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
        while not job.ended:  # even after an interruption: shards still write to the arrays of the caller
            try:
                for _ in range(helpers):
                    self.jobs.put(job)
                self.board.call_away()
                job.work()
                job.finish()
            except BaseException as error:
                interruption, helpers = error, 0
        failure = interruption or job.error
        if failure is not None:
            raise failure

    def share(self, calls: int, count: int, helpers: int) -> None:
        """Make calls of machine code, with the help of so many workers; a table of `SharedCall` is at the address."""
        if helpers > 0:
            self._hire(helpers)
            self._clear_core()
            for _ in range(helpers - self.board.looking - self.jobs.qsize()):
                self.jobs.put(None)
        self.board.share(calls, count)

    def _hire(self, count: int) -> None:
        """Start workers until there are `count`."""
        with self.lock:
            while self.workers < count:
                threading.Thread(target=self._serve, name="numlstm", daemon=True).start()
                self.workers += 1

    def _clear_core(self) -> None:
        """Keep workers off the core of the caller: after a pause, the system often wakes them there, and they wait."""
        core = _getcpu()()
        if core != self.avoided and len(self.thread_ids) == self.workers:
            _keep_off(core, self.thread_ids)
            self.avoided = core

    def _serve(self) -> None:
        """Take shards from the board and jobs, for ever."""
        self.thread_ids.append(threading.get_native_id())
        self.avoided = -1
        seen = 0
        while True:
            errands = self.board.errands
            if self.jobs.empty():
                seen = self.board.look(seen, errands, READS)
            job = self.jobs.get()
            if job is not None:
                job.help()
            del job


def _keep_off(core: int, threads: list[int]) -> None:
    """Let `threads` run on all cores of this process but `core`."""
    with contextlib.suppress(OSError):  # a thread has ended, or a container forbids it
        others = os.sched_getaffinity(0) - {core}
        for thread in threads if others else ():
            os.sched_setaffinity(thread, others)


pool = ThreadPool()


def _after_fork() -> None:
    """Make a new pool in a forked child, as threads do not survive a fork."""
    global pool
    pool = ThreadPool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(kernel: Kernel, choice: Any, shards: Sequence[Shard], *arguments: Any) -> None:
    """Call ``kernel[choice](*arguments, first, last)`` for all shards, on the pool of this process."""
    if len(shards) == 1:
        recording.do(kernel[choice], *arguments, *shards[0])
    else:
        recording.do(_run, partial(kernel[choice], *arguments), shards)


def _run(function: Callable[[int, int], None], shards: Sequence[Shard]) -> None:
    pool.run(function, shards)


@lru_cache(maxsize=64)
def each(count: int) -> Sequence[Shard]:
    """A shard for each of `count` parts."""
    return [(part, part + 1) for part in range(count)]


def share(shared: Kernel, real: Any, arguments: Arguments, shards: Sequence[Shard] = ONE) -> None:
    """Call ``shared(real, address, first, last)`` for all shards, without the interpreter's lock in between.

    `arguments` lie at the address; a recording keeps a copy of them.
    """
    share_all(shared, real, ((arguments, shards),))


def share_all(shared: Kernel, real: Any, works: Sequence[tuple[Arguments, Sequence[Shard]]]) -> None:
    """Call it for all shards of several arguments at once."""
    noted = recording.current()
    if noted:
        noted.calls.append(_table_of(shared, real, tuple((noted.own(each), tuple(shards)) for each, shards in works)))
    if len(works) == 1 and len(works[0][1]) == 1:
        arguments, (shard,) = works[0]
        shared[real](real, arguments.address, *shard)
    else:
        table = _table_of(shared, real, tuple((each.address, tuple(shards)) for each, shards in works))
        pool.share(table.address, 1, min(int(table.integers[0, COUNT]), thread_count()) - 1)


@lru_cache(maxsize=256)
def _table_of(shared: Kernel, real: Any, works: tuple[tuple[int, tuple[Shard, ...]], ...]) -> Arguments:
    """A table with one call, as the board takes it; `works` are addresses and their shards."""
    shards = np.array([ShardCall(at, *shard) for at, shards in works for shard in shards], np.int64)
    code = shared.address(ShardCall, numba.typeof(real))
    call = SharedCall(code=code, shards=address_of(shards), count=len(shards))
    return Arguments.of(np.array([call], np.int64), shards)


def repeated(noted: recording.Recording) -> MachineCalls:
    """What makes the calls of a recording again: machine code that follows machine code by one call."""
    calls: list[Callable[[], Any]] = []
    for shared, group in itertools.groupby(noted.calls, lambda call: isinstance(call, Arguments)):
        together = list(group)
        calls += [_sharing(together)] if shared else together

    def repeat() -> float:
        for call in calls:
            call()
        return noted.result()

    return MachineCalls(repeat, noted.kept, [call for call in noted.calls if not isinstance(call, Arguments)])


def _sharing(tables: Sequence[Arguments]) -> Callable[[], None]:
    """What makes calls of machine code, each with a table of its own."""
    calls = Arguments.of(np.concatenate([table.integers for table in tables]), tables)
    most = int(calls.integers[:, COUNT].max())

    def share() -> None:
        pool.share(calls.address, len(calls.integers), min(most, thread_count()) - 1 if most > 1 else 0)

    return share


def parts_for(count: int, work: float, unit: int = 1) -> int:
    """The number of threads to use for `work` flop on `count` rows or blocks, `unit` of which stay together."""
    if work < 2 * WORK_PER_THREAD:
        return 1
    return max(1, min(thread_count(), -(-count // unit), int(work / WORK_PER_THREAD)))


def parts_of_each(parts: int, count: int) -> int:
    """How many parts each of `count` equal works has, so that so many threads have equal numbers of them."""
    return parts // math.gcd(parts, count)


def even_shards(count: int, work: float, unit: int = 1) -> Sequence[Shard]:
    """Split ``range(count)`` evenly into multiples of `unit`, one for each of `parts_for` threads."""
    if work < 2 * WORK_PER_THREAD:
        return ((0, count),)
    return split(count, parts_for(count, work, unit), unit)


@lru_cache(maxsize=256)
def split(count: int, parts: int, unit: int) -> Sequence[Shard]:
    """Shards of whole units, `parts` of them where there are as many units; they must not be changed."""
    units = -(-count // unit)
    parts = min(parts, units)
    edges = [min(count, unit * (units * p // parts)) for p in range(parts + 1)]
    return list(itertools.pairwise(edges))


WORK_PER_THREAD = 2e6  # flop, some 20 microseconds; to share a call takes 4, or 100 if the worker sleeps
