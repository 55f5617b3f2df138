"""New processes: for contestants, which compute in processes of their own, and for scripts that print a number."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys


def start(target, *arguments, **options):
    """Start ``target(connection, *arguments)`` in a new process; returns our end of the connection, and the process."""
    context = multiprocessing.get_context("spawn")
    connection, other_end = context.Pipe()
    process = context.Process(target=target, args=(other_end, *arguments), **options)
    process.start()
    other_end.close()
    return connection, process


def printed_number(code, **environment):
    """The number that Python code prints in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)
