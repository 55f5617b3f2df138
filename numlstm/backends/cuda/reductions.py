"""Sums over threads, in an order that is always the same.

A block has threads in lanes and rows, both powers of two: the lanes of a row go through the numbers of one row of an
array together, and the rows of all blocks share the array's rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import DeviceArray, empty
from .device import SIMULATED, THREADS, Device, cuda
from .launching import device_function, kernel

LANES = 2 if SIMULATED else 32
PARTS = 2 if SIMULATED else 1024  # blocks at most, each of which leaves one part of a sum


def row_grid(rows: int, size: int) -> tuple[int, tuple[int, int]]:
    """Blocks, and lanes and rows of a block, for an array of `rows` rows of `size` numbers."""
    lanes = 1
    while lanes < min(size, LANES):
        lanes *= 2
    height = THREADS // lanes
    return max(1, min(-(-rows // height), PARTS)), (lanes, height)


def _joined(join: Any) -> Any:
    """A function for kernels that joins the values of neighbouring threads two by two."""
    join = device_function(join)

    @device_function
    def tree(shared, value, first, lane, count):
        """The result of `count` threads, this one being number `lane`, for each of them; `first` is their place.

        All threads of a block must call it.
        """
        cuda.syncthreads()  # after all reads of what `shared` held before
        shared[first + lane] = value
        cuda.syncthreads()
        width = count // 2
        while width > 0:
            if lane < width:
                shared[first + lane] = join(shared[first + lane], shared[first + lane + width])
            cuda.syncthreads()
            width //= 2
        return shared[first]

    return tree


_sum_tree, _maximum_tree = _joined(lambda a, b: a + b), _joined(lambda a, b: max(a, b))


@device_function
def row_sum(shared, value):
    """The sum of the lanes' values, for each of them; all threads of a block must call it."""
    lanes = cuda.blockDim.x
    return _sum_tree(shared, value, cuda.threadIdx.y * lanes, cuda.threadIdx.x, lanes)


@device_function
def row_maximum(shared, value):
    """The largest of the lanes' values, for each of them; all threads of a block must call it."""
    lanes = cuda.blockDim.x
    return _maximum_tree(shared, value, cuda.threadIdx.y * lanes, cuda.threadIdx.x, lanes)


@device_function
def block_sum(shared, value):
    """The sum of all threads' values, for each of them; all threads of a block must call it."""
    thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    return _sum_tree(shared, value, 0, thread, cuda.blockDim.x * cuda.blockDim.y)


@device_function
def first_row():
    """The first row of an array that a row of threads takes."""
    return cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y


@device_function
def row_step():
    """The number of rows of threads: from a row of an array to the next that a row of threads takes."""
    return cuda.gridDim.x * cuda.blockDim.y


@device_function
def sum_of_parts(shared, parts, count):
    """The sum of what blocks left, by the threads of one block."""
    total = parts.dtype.type(0)
    for k in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        total += parts[k]
    return block_sum(shared, total)


@kernel
def _total(parts, count, total):
    shared = cuda.shared.array(THREADS, np.float64)
    result = sum_of_parts(shared, parts, count)
    if cuda.threadIdx.x == 0:
        total[0] = result


def new_parts(device: Device, blocks: int) -> DeviceArray:
    """Room for a part of a sum from every block."""
    return empty(device, (blocks,), "float64")


def total_of(parts: DeviceArray) -> DeviceArray:
    """Their sum, one number."""
    total = empty(parts.device, (1,), "float64")
    _total.launch(1, THREADS, parts.base, parts.size, total.base)
    return total
