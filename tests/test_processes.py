"""Threads, forks, other processes and Ctrl-C: no crash, no hang, the same bits. Each case has a process of its own."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from process_situations import SITUATIONS, TASKS

LIMIT = 240  # seconds of a case, which takes a few where nothing hangs
CODE = "import sys; from process_situations import main; main(*sys.argv[1:])"  # other processes can import it, too


@pytest.mark.parametrize(("task", "situation"), [*product(TASKS, SITUATIONS)])
def test_results_are_those_of_a_thread_alone(task, situation):
    if situation.startswith("fork") and not hasattr(os, "fork"):
        pytest.skip("no fork on this platform")
    command, here = [sys.executable, "-c", CODE, task, situation], Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr[-4000:]
