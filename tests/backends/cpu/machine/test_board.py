"""The board: every shard is done once, by whoever comes, before the call returns."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from numlstm.backends.cpu.machine import board, thread_count, threads
from numlstm.backends.cpu.machine.arrays import Arguments, address_of
from numlstm.backends.cpu.machine.board import OWNER, Board, ShardCall, SharedCall
from numlstm.backends.cpu.machine.compiling import kernel
from numlstm.backends.cpu.machine.team import increment, read_shared

PLACES = 64


@kernel
def count_places(real, at, first, last):
    """Add 1 to some numbers, after some time."""
    for place in range(first, last):
        for _ in range(50):
            read_shared(at)
        increment(at + 8 * place, 1)


count_places.takes(ShardCall)


@kernel
def meet(real, at, first, last):
    """The first shard tells whether the second has begun meanwhile; the second ends later, and tells that it has."""
    increment(at, 1)
    reads = 0
    while read_shared(at) < 2 and reads < 50_000_000:
        reads += 1
    for _ in range(1_000_000 * first):
        read_shared(at)
    increment(at + 8 + 8 * first, 1 if first or reads < 50_000_000 else 0)


meet.takes(ShardCall)


def split(parts):
    """All places, in shards of unequal size."""
    edges = np.unique(np.r_[0, np.random.default_rng(parts).integers(0, PLACES, parts - 1), PLACES])
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def assert_done_once(calls, parts):
    """Many calls, each of which must have done all when it returns."""
    for _ in range(calls):
        counts = np.zeros(PLACES, np.int64)
        threads.share(count_places, np.float32, Arguments.of(counts), split(parts))
        np.testing.assert_array_equal(counts, 1)


@pytest.mark.parametrize("parts", [2, 3, 9, 40])
def test_every_shard_is_done_once(parts):
    with thread_count.limit_threads(4):
        assert_done_once(500, parts)


def test_callers_do_not_take_shards_of_each_other():
    with thread_count.limit_threads(3), ThreadPoolExecutor(6) as callers:
        for done in [callers.submit(assert_done_once, 200, parts) for parts in (2, 3, 4, 5, 6, 7)]:
            done.result()


@pytest.mark.parametrize("pause", [0, 0.2])
def test_workers_take_shards_and_the_caller_waits_for_them(pause):
    """Workers that look at the board, and one that is asleep. One that is falling asleep may miss a call."""
    with thread_count.limit_threads(2):
        for _ in range(20):
            time.sleep(pause)
            counts = np.zeros(3, np.int64)
            threads.share(meet, np.float32, Arguments.of(counts), [(0, 1), (1, 2)])
            assert counts[2] == 1, "the caller has not waited"
            if counts[1] == 1:
                return
    pytest.fail("no worker came")


def test_who_finds_the_board_taken_works_alone():
    pool = threads.ThreadPool()
    pool.board.memory[OWNER // 8] = 1
    before = pool.board.memory.copy()
    counts = np.zeros(PLACES, np.int64)
    code = count_places.address(ShardCall, numba.typeof(np.float32))
    shards = np.array([ShardCall(address_of(counts), *shard) for shard in split(5)])
    call = SharedCall(code=code, shards=address_of(shards), count=len(shards))
    pool.board.share(address_of(np.array(call)), 1)
    np.testing.assert_array_equal(counts, 1)
    np.testing.assert_array_equal(pool.board.memory, before)


def test_a_worker_stops_to_look_when_it_is_called_away():
    desk = Board()
    looks = []
    worker = threading.Thread(target=lambda: looks.append(desk.look(0, desk.errands, 1 << 60)), daemon=True)
    worker.start()
    while not desk.looking:
        time.sleep(0.001)
    desk.call_away()
    worker.join(10)
    assert looks == [0]
    assert desk.looking == 0
    assert desk.look(0, desk.errands - 1, 1 << 60) == 0, "the errand was there before"


def test_a_worker_looks_no_longer_than_it_is_told():
    assert Board().look(7, 0, 1000) == 0, "of the calls there have been, none is the last"
    assert board.BITS + 40 < 64, "numbers of calls do not run out"


def test_a_worker_needs_no_kernel_to_look(tmp_path):
    """A process that has loaded none, so that none has told which arguments they take."""
    code = "from numlstm.backends.cpu.machine.board import Board; print(Board().look(0, 1, 0))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0"]
