"""Sums over threads, in an order that is always the same.

A block has threads in lanes and rows, both powers of two: the lanes of a row go through the numbers of one row of an
array together, and the rows of all blocks share the array's rows.
"""

from __future__ import annotations

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


@device_function
def row_sum(shared, value):
    """The sum of the lanes' values, for each of them; all threads of a block must call it."""
    lanes, lane = cuda.blockDim.x, cuda.threadIdx.x
    here = cuda.threadIdx.y * lanes + lane
    cuda.syncthreads()  # whatever was read of `shared` before
    shared[here] = value
    cuda.syncthreads()
    width = lanes // 2
    while width > 0:
        if lane < width:
            shared[here] += shared[here + width]
        cuda.syncthreads()
        width //= 2
    return shared[here - lane]


@device_function
def row_maximum(shared, value):
    """The largest of the lanes' values, for each of them; all threads of a block must call it."""
    lanes, lane = cuda.blockDim.x, cuda.threadIdx.x
    here = cuda.threadIdx.y * lanes + lane
    cuda.syncthreads()  # whatever was read of `shared` before
    shared[here] = value
    cuda.syncthreads()
    width = lanes // 2
    while width > 0:
        if lane < width:
            shared[here] = max(shared[here], shared[here + width])
        cuda.syncthreads()
        width //= 2
    return shared[here - lane]


@device_function
def block_sum(shared, value):
    """The sum of all threads' values, for each of them; all threads of a block must call it."""
    here = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    cuda.syncthreads()  # whatever was read of `shared` before
    shared[here] = value
    cuda.syncthreads()
    width = cuda.blockDim.x * cuda.blockDim.y // 2
    while width > 0:
        if here < width:
            shared[here] += shared[here + width]
        cuda.syncthreads()
        width //= 2
    return shared[0]


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
    found = sum_of_parts(shared, parts, count)
    if cuda.threadIdx.x == 0:
        total[0] = found


def new_parts(device: Device, blocks: int) -> DeviceArray:
    """Room for a part of a sum from every block."""
    return empty(device, (blocks,), "float64")


def total_of(parts: DeviceArray) -> DeviceArray:
    """Their sum, one number."""
    total = empty(parts.device, (1,), "float64")
    _total.launch(1, THREADS, parts.base, parts.size, total.base)
    return total
