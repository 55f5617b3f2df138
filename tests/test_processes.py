"""Threads, forks, other processes and Ctrl-C: no crash, no hang, the same bits. Each case runs in another process."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from process_situations import SITUATIONS, TASKS

LIMIT = 240  # seconds of a case, which takes a few where nothing hangs
CODE = "import sys; from process_situations import main; main(*sys.argv[1:])"  # other processes can import it, too


ALL = ",".join(TASKS)
TOGETHER = "spawn", "loky", "joblib threads", "executor"  # one process does all tasks: what takes long is its start
CASES = [
    (ALL, situation) if situation in TOGETHER else (task, situation) for task, situation in product(TASKS, SITUATIONS)
]


@pytest.mark.parametrize(("tasks", "situation"), [*dict.fromkeys(CASES)])
def test_results_are_those_of_a_thread_alone(tasks, situation):
    if situation.startswith("fork") and not hasattr(os, "fork"):
        pytest.skip("no fork on this platform")
    command, here = [sys.executable, "-c", CODE, tasks, situation], Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr[-4000:]
