"""How many threads there are: the first that says something decides, and limits hold where they should."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from shard_counting import counted

import numlstm
from numlstm.backends.cpu.machine import quota, thread_count, threads
from numlstm.config import configuration

VARIABLES = "NUMLSTM_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"
CORES = 8


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Eight cores, no variables, and no control groups but those that a test makes in the folder that this is."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(thread_count, "available_cores", lambda: list(range(CORES)))
    monkeypatch.setattr(quota, "MOUNTED", tmp_path / "cgroup")
    monkeypatch.setattr(quota, "MEMBERSHIP", tmp_path / "own")
    thread_count.default.cache_clear()
    yield tmp_path
    thread_count.default.cache_clear()


def group(machine, path, **files):
    """Make a control group with these files, whose names have dots for underscores."""
    directory = machine / "cgroup" / path
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("_", ".", 1)).write_text(f"{text}\n")


# Variables ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", " ", "²", "+2"])
def test_invalid_number_of_threads_is_named(monkeypatch, text):
    monkeypatch.setenv("NUMLSTM_NUM_THREADS", text)
    with pytest.raises(ValueError, match="NUMLSTM_NUM_THREADS must be a positive integer, got") as error:
        thread_count.default_threads()
    assert configuration()["threads"] == str(error.value)


@pytest.mark.parametrize(
    ("own", "numba", "omp", "expected"),
    [
        ("", "", "", (8, "")),
        ("3", "2", "1", (3, "NUMLSTM_NUM_THREADS")),
        ("12", "2", "1", (12, "NUMLSTM_NUM_THREADS")),
        ("", "2", "1", (2, "NUMBA_NUM_THREADS")),
        ("", "", "1", (1, "OMP_NUM_THREADS")),
        ("", "", "4,2", (4, "OMP_NUM_THREADS")),
        ("", "", " 4 , 2", (4, "OMP_NUM_THREADS")),
        ("", "12", "1", (8, "")),
        ("", "", "12", (8, "")),
        ("", "8", "", (8, "NUMBA_NUM_THREADS")),
        ("", "many", "0", (8, "")),
        ("", "-2", "5", (5, "OMP_NUM_THREADS")),
        ("", "2,4", "", (8, "")),
        ("", "0", "x,3", (8, "")),
    ],
)
def test_the_first_variable_that_says_something_decides(monkeypatch, machine, own, numba, omp, expected):
    for variable, text in zip(VARIABLES, (own, numba, omp), strict=True):
        monkeypatch.setenv(variable, text)
    assert thread_count.default() == expected
    assert thread_count.default_threads() == threads.thread_count() == expected[0]


@pytest.mark.parametrize("variable", VARIABLES)
def test_variables_of_a_process(variable):
    environment = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    code = "from numlstm.config import configuration; print(configuration()['threads'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | {variable: "1"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"1 ({variable}; {len(thread_count.available_cores())} core")


# Control groups -------------------------------------------------------------------------------------------

SECOND = "/user.slice/app/two"


def test_no_groups_no_quota(machine):
    assert quota.cpu_quota() is None
    (machine / "own").write_text("0::/\n")
    assert quota.cpu_quota() is None
    assert thread_count.default() == (8, "")


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({"": "max 100000"}, None),
        ({"user.slice/app/two": "150000 100000"}, 1.5),
        ({"user.slice/app": "300000 100000", "user.slice/app/two": "max 100000"}, 3),
        ({"user.slice": "50000 100000", "user.slice/app/two": "200000 100000"}, 0.5),
        ({"": "200000 100000", "user.slice": "max 100000"}, 2),
        ({"user.slice/other": "100000 100000"}, None),
        ({"user.slice": "nonsense"}, None),
        ({"user.slice": "100000 0"}, None),
    ],
)
def test_quota_of_version_2(machine, quotas, expected):
    (machine / "own").write_text(f"0::{SECOND}\n")
    for path, text in quotas.items():
        group(machine, path, cpu_max=text)
    assert quota.cpu_quota() == expected


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({"cpu/user.slice/app/two": (-1, 100000)}, None),
        ({"cpu/user.slice/app/two": (250000, 100000)}, 2.5),
        ({"cpu/user.slice/app/two": (250000, 100000), "cpu": (100000, 50000)}, 2),
        ({"cpu": (50000, 100000)}, 0.5),
        ({"memory/user.slice": (50000, 100000)}, None),
    ],
)
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_quota_of_version_1(machine, quotas, expected, controllers):
    (machine / "own").write_text(f"5:memory:/user.slice\n4:{controllers}:{SECOND}\n2:cpuset:/\n0::/\n")
    for path, (time, period) in quotas.items():
        group(machine, path, cpu_cfs_quota_us=time, cpu_cfs_period_us=period)
    assert quota.cpu_quota() == expected


def test_a_group_outside_of_its_namespace_is_looked_for_inside(machine):
    (machine / "own").write_text("0::/../../two\n")
    group(machine, "", cpu_max="200000 100000")
    group(machine.parent, "two", cpu_max="100000 100000")
    assert quota.cpu_quota() == 2


@pytest.mark.parametrize(
    ("time", "expected"),
    [(50000, (1, "CPU quota")), (150000, (2, "CPU quota")), (800000, (8, "CPU quota")), (900000, (8, ""))],
)
def test_quota_is_rounded_up_to_threads(machine, time, expected):
    (machine / "own").write_text("0::/\n")
    group(machine, "", cpu_max=f"{time} 100000")
    assert thread_count.default() == expected
    assert configuration()["threads"] == f"{expected[0]} ({'CPU quota; ' * bool(expected[1])}8 cores for this process)"


def test_variables_come_before_quotas(monkeypatch, machine):
    (machine / "own").write_text("0::/\n")
    group(machine, "", cpu_max="100000 100000")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_count.default() == (3, "OMP_NUM_THREADS")


# Blocks ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("machine")
def test_limit_ends_with_its_block():
    with contextlib.suppress(KeyError), thread_count.limit_threads(CORES + 1):
        assert threads.thread_count() == CORES + 1
        assert configuration()["threads"] == "9 (limit_threads; 8 cores for this process)"
        raise KeyError
    assert threads.thread_count() == CORES


@pytest.mark.usefixtures("machine")
def test_limit_holds_below_the_variable(monkeypatch):
    monkeypatch.setenv("NUMLSTM_NUM_THREADS", "6")
    with thread_count.limit_threads(2), ThreadPoolExecutor(1) as other:
        assert threads.thread_count() == other.submit(threads.thread_count).result() == 2


@pytest.mark.usefixtures("machine")
def test_blocks_that_end_in_any_order_leave_nothing_behind():
    first, second = thread_count.limit_threads(2), thread_count.limit_threads(3)
    first.__enter__()
    second.__enter__()
    assert threads.thread_count() == 2
    first.__exit__(None, None, None)
    assert threads.thread_count() == 3
    second.__exit__(None, None, None)
    assert threads.thread_count() == CORES


# threadpoolctl --------------------------------------------------------------------------------------------

threadpoolctl = pytest.importorskip("threadpoolctl")


def ours():
    """What threadpoolctl says of numlstm."""
    (found,) = [each for each in threadpoolctl.threadpool_info() if each["user_api"] == "numlstm"]
    return found


def others():
    """Threads of all other libraries."""
    found = threadpoolctl.threadpool_info()
    return {each["filepath"]: each["num_threads"] for each in found if each["user_api"] != "numlstm"}


@pytest.mark.usefixtures("machine")
def test_threadpoolctl_knows_us():
    assert ours()["internal_api"] == "numlstm"
    assert ours()["version"] == numlstm.__version__
    assert ours()["num_threads"] == CORES


@pytest.mark.usefixtures("machine")
def test_threadpool_limits_cap_kernels_inside_their_block():
    with threadpoolctl.threadpool_limits(limits=3):
        assert threads.thread_count() == ours()["num_threads"] == 3
        assert configuration()["threads"] == "3 (threadpoolctl; 8 cores for this process)"
        with threadpoolctl.threadpool_limits(limits=1):
            assert threads.thread_count() == 1
        assert threads.thread_count() == 3
        with thread_count.limit_threads(2), threadpoolctl.threadpool_limits(limits=4):
            assert threads.thread_count() == 2
        assert threads.thread_count() == 3
    assert threads.thread_count() == CORES
    with thread_count.limit_threads(CORES + 1):
        assert threads.thread_count() == CORES + 1, "a limit is left"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("limit", "expected"), [(2, 2), (CORES, 4)])
def test_threadpool_limits_cap_and_do_not_raise(monkeypatch, limit, expected):
    monkeypatch.setenv("NUMLSTM_NUM_THREADS", "4")
    with threadpoolctl.threadpool_limits(limits=limit):
        assert threads.thread_count() == expected


@pytest.mark.usefixtures("machine")
def test_threadpool_limits_by_library():
    before = others()
    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        assert threads.thread_count() == CORES
    with threadpoolctl.threadpool_limits(limits={"numlstm": 2}):
        assert threads.thread_count() == 2
        assert others() == before
    assert others() == before


@pytest.mark.usefixtures("machine")
def test_threadpool_limits_of_a_thread_are_its_own():
    inside, looked = threading.Event(), threading.Event()

    def limited():
        with threadpoolctl.threadpool_limits(limits=2):
            inside.set()
            looked.wait(60)
            return threads.thread_count()

    with ThreadPoolExecutor(1) as other:
        count = other.submit(limited)
        inside.wait(60)
        with threadpoolctl.threadpool_limits(limits=5):
            looked.set()
            assert count.result() == 2
            assert threads.thread_count() == 5
        assert threads.thread_count() == CORES
        assert other.submit(threads.thread_count).result() == CORES


@pytest.mark.usefixtures("machine")
def test_threadpool_limits_of_a_task_are_its_own():
    async def limited(count):
        with threadpoolctl.threadpool_limits(limits={"numlstm": count}):
            await asyncio.sleep(0)
            return threads.thread_count()

    async def both():
        return await asyncio.gather(limited(2), limited(3))

    assert asyncio.run(both()) == [2, 3]


@pytest.mark.usefixtures("machine")
def test_a_wrong_variable_does_not_hurt_other_libraries(monkeypatch):
    monkeypatch.setenv("NUMLSTM_NUM_THREADS", "two")
    before = others()
    with threadpoolctl.threadpool_limits(limits=1):
        assert set(others().values()) == {1}
    assert others() == before


@pytest.mark.usefixtures("machine")
def test_a_layer_takes_no_more_shards_than_threadpoolctl_lets_it(monkeypatch):
    shards = counted(monkeypatch)
    monkeypatch.setenv("NUMLSTM_NUM_THREADS", "4")
    x = np.ones((40, 5, 3), "float32")

    def call():
        shards.clear()
        return numlstm.LSTM(3, 16, backend="cpu", random_state=0)(x)[0]

    expected = call()
    assert max(shards) == 4
    with threadpoolctl.threadpool_limits(limits=2):
        np.testing.assert_array_equal(call(), expected)
        assert max(shards) == 2
    with threadpoolctl.threadpool_limits(limits=1):
        np.testing.assert_array_equal(call(), expected)
        assert not shards, "one thread needs no pool"


FIRST_CALL = """
import sys
{imports}
assert "numba" not in sys.modules
with threadpool_limits(limits=1):
    assert [each["num_threads"] for each in threadpool_info() if each["user_api"] == "numlstm"] == [1]
    numlstm.LSTM(3, 4, backend="cpu")(numpy.ones((1, 2, 3)))
    from numlstm.backends.cpu.machine.threads import thread_count
    assert thread_count() == 1
assert thread_count() == 2
"""


@pytest.mark.parametrize("first", ["numlstm", "threadpoolctl"])
def test_a_limit_holds_for_the_very_first_call(first):
    imports = [
        "import numpy, numlstm; from numlstm import LSTM",
        "from threadpoolctl import threadpool_info, threadpool_limits",
    ]
    code = FIRST_CALL.format(imports="\n".join(imports if first == "numlstm" else imports[::-1]))
    environment = os.environ | {"NUMLSTM_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_threadpoolctl_everything_works():
    code = (
        "import sys; sys.modules['threadpoolctl'] = None; import numpy, numlstm; "
        "print(numlstm.LSTM(3, 4, backend='cpu')(numpy.ones((1, 2, 3)))[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 2, 4)"


def test_a_limit_of_threadpoolctl_holds_for_the_first_call_of_a_process():
    code = """
import numlstm, numpy as np, threading
from threadpoolctl import threadpool_limits
with threadpool_limits(1):
    numlstm.RNN(64, 256, random_state=0)(np.ones((64, 50, 64), "float32"))
assert not [thread for thread in threading.enumerate() if thread.name == "numlstm"]
numlstm.RNN(64, 256, random_state=0)(np.ones((64, 50, 64), "float32"))
assert [thread for thread in threading.enumerate() if thread.name == "numlstm"]
"""
    environment = os.environ | {"NUMLSTM_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
