"""Kernels read no number past the end of an array, not even one they would throw away: it may be on no page."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import numlstm

TESTS = Path(__file__).parents[3]
ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="needs mprotect")

# Ends every array at a page that may not be read; a step beyond kills the process.
SCRIPT = """
import ctypes, mmap
from dataclasses import replace
import kernel_calls
import numpy as np
from kernel_calls import assert_same_bits, make_problem, run

protect = ctypes.CDLL(None, use_errno=True).mprotect
protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
kept = []

def at_end_of_page(array):
    size = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, size + mmap.PAGESIZE)
    kept.append(pages)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    assert protect(start + size, mmap.PAGESIZE, 0) == 0, ctypes.get_errno()
    placed = np.frombuffer(pages, array.dtype, array.size, size - array.nbytes).reshape(array.shape)
    placed[...] = array
    return placed

def each(arrays):
    return tuple(map(at_end_of_page, arrays))

packed = kernel_calls.packed
for inputs, units in [(1, 1), (3, 5), (7, 9), (17, 15), (13, 33)]:
    problem = make_problem(7, 5, inputs, units)
    expected = run(problem)
    at_ends = replace(
        problem, x=at_end_of_page(problem.x), initial=each(problem.initial),
        doutputs=each(problem.doutputs), dfinal=each(problem.dfinal),
    )
    kernel_calls.packed = lambda *arguments: at_end_of_page(packed(*arguments))
    assert_same_bits(run(at_ends), expected)
    kernel_calls.packed = packed

if BEYOND:
    print("inside", flush=True)
    at_end_of_page(np.zeros(1)).ctypes.data_as(ctypes.POINTER(ctypes.c_double))[1]
"""


def run_script(*, beyond):
    path = os.pathsep.join([str(TESTS), str(Path(numlstm.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-c", f"BEYOND = {beyond}\n{SCRIPT}"], env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@ON_POSIX
def test_kernels_read_nothing_past_the_end():
    process = run_script(beyond=False)
    assert process.returncode == 0, process.stderr


@ON_POSIX
def test_the_page_past_the_end_cannot_be_read():
    process = run_script(beyond=True)
    assert process.stdout == "inside\n", process.stderr
    assert process.returncode < 0
