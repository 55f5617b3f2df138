"""Results do not depend on threads or neighbours; the pool survives forks, errors and interruptions."""

import contextlib
import itertools
import linecache
import os
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from kernel_calls import OF_ROWS, assert_same_bits, forward, make_problem, run
from shard_counting import counted

from numlstm import LSTM
from numlstm.backends.cpu.machine import thread_count, threads
from numlstm.backends.cpu.recurrent import batch, buffers

ROWS, STEPS = 26, 45  # several tiles a shard, and three chunks of steps on the way back
KINDS = {
    "equal": {},
    "equal, reverse": {"reverse": True},
    "unequal": {"ragged": True},
    "unequal, reverse": {"ragged": True, "reverse": True},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def problem(request, monkeypatch):
    """A batch whose backward pass takes several chunks."""
    monkeypatch.setattr(buffers, "CHUNK_BYTES", 0)
    assert ROWS * STEPS > 2 * buffers.CHUNK_PAIRS
    return make_problem(ROWS, STEPS, 5, 21, **request.param)


@pytest.fixture
def shard_counts(monkeypatch):
    """Any work is worth a thread; holds how many shards each call had."""
    return counted(monkeypatch)


def by_row(results):
    """The results that have a row for each sequence."""
    return {name: results[name] for name in OF_ROWS}


# Bits -----------------------------------------------------------------------------------------------------


def test_bits_do_not_depend_on_the_number_of_threads(problem, shard_counts):
    with thread_count.limit_threads(1):
        expected = run(problem)
    assert not shard_counts, "one thread needs no pool"
    for count in (2, 4):
        shard_counts.clear()
        with thread_count.limit_threads(count):
            results = run(problem)
        assert max(shard_counts) == count
        assert shard_counts[0] > 1, "the forward pass ran in one shard"
        assert_same_bits(results, expected)


@pytest.mark.usefixtures("shard_counts")
def test_permuted_rows_give_permuted_results(problem):
    order = np.random.default_rng(1).permutation(ROWS)
    with thread_count.limit_threads(2):
        expected = {name: array[order] for name, array in by_row(run(problem)).items()}
        assert_same_bits(run(problem.of_rows(order)), expected)


@pytest.mark.usefixtures("shard_counts")
def test_row_alone_equals_the_row_in_a_batch(problem):
    with thread_count.limit_threads(2):
        batch = by_row(run(problem))
        for row in range(0, ROWS, 5):
            alone = run(problem.of_rows([row]))
            assert_same_bits(alone, {name: array[row : row + 1] for name, array in batch.items()})


def test_training_does_not_change_the_bits(problem):
    assert_same_bits(forward(problem, training=False)[0], forward(problem, training=True)[0])


# Callers --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shard_counts")
def test_threads_may_share_a_layer():
    lstm = LSTM(5, 21, backend="cpu", random_state=0)
    batches = np.random.default_rng(0).normal(size=(24, ROWS, STEPS, 5)).astype("float32")

    def results(x):
        y, (h_n, c_n), pullback = lstm.vjp(x)
        dx, (dh_0, dc_0), dparameters = pullback(y)
        return {"y": y, "h_n": h_n, "c_n": c_n, "dx": dx, "dh_0": dh_0, "dc_0": dc_0} | dparameters

    with thread_count.limit_threads(1):
        expected = [results(x) for x in batches]
    lstm.set_parameters(lstm.parameters)  # packed anew, by whichever thread comes first
    with thread_count.limit_threads(2), ThreadPoolExecutor(8) as callers:
        for got, right in zip(callers.map(results, batches), expected, strict=True):
            assert_same_bits(got, right)


def exit_status(child, seconds):
    """What a child exits with, None if it does not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.usefixtures("shard_counts")
def test_forked_child_computes():
    problem = make_problem(ROWS, STEPS, 5, 21, ragged=True)
    with thread_count.limit_threads(2):
        expected = run(problem)
        assert threads.pool.workers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
            child = os.fork()
        if not child:
            code = 1
            try:
                assert threads.pool.workers == 0
                assert_same_bits(run(problem), expected)
                code = 0 if threads.pool.workers else 2
            finally:
                os._exit(code)
        assert exit_status(child, 60) == 0


# Errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("failing", range(4))
def test_error_comes_when_all_shards_have_ended(error, failing):
    ended = []

    def shard(first, last):
        if first == failing:
            raise error("on purpose")
        time.sleep(0.02)
        ended.append(first)

    with thread_count.limit_threads(3), pytest.raises(error, match="on purpose"):
        threads.pool.run(shard, [(i, i + 1) for i in range(4)])
    assert sorted(ended) == sorted({0, 1, 2, 3} - {failing})


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_interrupted_wait_waits_for_the_shards():
    main, worker_began, ended = threading.current_thread(), threading.Event(), []

    class InterruptionError(BaseException):
        pass

    def interrupt(number, frame):
        raise InterruptionError

    def shard(first, last):
        if threading.current_thread() is main:
            worker_began.wait()
            signal.setitimer(signal.ITIMER_REAL, 0.1)  # until then this thread waits for the other
        else:
            worker_began.set()
            time.sleep(0.4)
        ended.append(first)

    kept = signal.signal(signal.SIGALRM, interrupt)
    try:
        with thread_count.limit_threads(2), pytest.raises(InterruptionError):
            threads.pool.run(shard, [(0, 1), (1, 2)])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)
    assert sorted(ended) == [0, 1]


def call_interrupted_at(line, function, shards):
    """Run shards in another thread, interrupted at the n-th line it comes to; whether it came to so many.

    Lines that take or release a lock do not count: real interruptions do not come between the two.
    """
    lines, interrupted = itertools.count(), []

    def trace(frame, event, argument):
        if frame.f_code.co_filename != threads.__file__:
            return None
        text = linecache.getline(threads.__file__, frame.f_lineno).strip()
        if event == "line" and not text.startswith("with ") and next(lines) == line:
            interrupted.append(text)
            raise KeyboardInterrupt
        return trace

    def call():
        sys.settrace(trace)
        with contextlib.suppress(KeyboardInterrupt):
            threads.pool.run(function, shards)
        sys.settrace(None)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(10)
    assert not caller.is_alive(), f"hangs when interrupted at {interrupted}"
    return bool(interrupted)


def test_interruption_at_any_line_leaves_nothing_running():
    began, ended = [], []

    def shard(first, last):
        began.append(first)
        time.sleep(0.002)
        ended.append(first)

    with thread_count.limit_threads(2):
        line = 0
        while call_interrupted_at(line, shard, [(0, 1), (1, 2), (2, 3)]):
            assert sorted(began) == sorted(ended), f"a shard outlives an interrupted call (line {line})"
            line += 1
    assert line > 20


def test_pool_works_after_an_error():
    done = []
    with thread_count.limit_threads(2):
        with pytest.raises(ZeroDivisionError):
            threads.pool.run(lambda first, last: 1 // 0, [(0, 1), (1, 2)])
        threads.pool.run(lambda first, last: done.append(first), [(0, 1), (1, 2)])
    assert sorted(done) == [0, 1]


# Which rows -----------------------------------------------------------------------------------------------


def assert_covers(shards, count):
    """Every number of ``range(count)`` is in one shard, and no shard is empty."""
    assert all(a < b for a, b in shards)
    assert [i for a, b in shards for i in range(a, b)] == list(range(count))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 16])
def test_even_shards_cover_everything_once(limit):
    rng = np.random.default_rng(limit)
    with thread_count.limit_threads(limit):
        for count, unit in rng.integers(1, (200, 12), (200, 2)).tolist():
            shards = threads.even_shards(count, 1e12, unit)
            assert_covers(shards, count)
            assert len(shards) == min(limit, -(-count // unit))
            assert all(a % unit == 0 for a, _ in shards)
            assert max(b - a for a, b in shards) <= min(b - a for a, b in shards[:-1] or shards) + unit


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 16])
def test_row_shards_cover_every_row_once(limit):
    rng = np.random.default_rng(limit)
    with thread_count.limit_threads(limit):
        for rows, longest in rng.integers(1, (100, 50), (200, 2)).tolist():
            lengths = -np.sort(-rng.integers(0, longest + 1, rows))
            lengths[0] = longest
            shards = batch.row_shards(lengths, limit)
            assert_covers(shards, rows)
            assert len(shards) <= limit


def test_row_shards_have_equal_work():
    lengths = -np.sort(-np.random.default_rng(0).integers(1, 1000, 1000))
    with thread_count.limit_threads(4):
        work = [lengths[a:b].sum() for a, b in batch.row_shards(lengths, 4)]
    assert len(work) == 4
    assert max(work) < 1.05 * min(work)


def test_little_work_stays_on_one_thread():
    with thread_count.limit_threads(4):
        assert threads.even_shards(100, threads.WORK_PER_THREAD / 2) == ((0, 100),)
