"""Copies between arrays of callers, (N, T, .) in any strides, and arrays of kernels, in the order of computing."""

from __future__ import annotations

from .arrays import DeviceArray, axes_of
from .device import SIMULATED, cuda
from .intrinsics import quotient
from .launching import kernel
from .schedule import BatchSchedule

THREADS = (2, 2) if SIMULATED else (32, 8)  # of a block: features of a pair, and pairs


@kernel
def _gather(out, axes, x, x_axes, steps, order, lengths, sizes, origin, reverse):
    """Pairs of a row and a step, from x; `sizes` are steps, rows, features."""
    rows, features = sizes[1], sizes[2]
    first = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    for q in range(first, sizes[0] * rows, cuda.gridDim.x * cuda.blockDim.y):
        s = quotient(q, rows)
        r = q - s * rows
        if r < steps[2 * s + 1]:
            t = lengths[r] - 1 - origin - s if reverse else origin + s
            source = x_axes[0] + order[r] * x_axes[1] + t * x_axes[2]
            target = axes[0] + (steps[2 * s] + r) * axes[1]
            for u in range(cuda.threadIdx.x, features, cuda.blockDim.x):
                out[target + u] = x[source + u * x_axes[3]]


@kernel
def _scatter(y, y_axes, source, axes, steps, order, lengths, sizes, origin, reverse, after, final):
    """Pairs of a row and a step to y, zeros past the lengths; if `after`, from the record of the row's next step."""
    rows, features = sizes[1], sizes[2]
    first = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    for q in range(first, sizes[0] * rows, cuda.gridDim.x * cuda.blockDim.y):
        s = quotient(q, rows)
        r = q - s * rows
        t, m, there = origin + s, 0, r < steps[2 * s + 1]
        if there:
            m = steps[2 * s] + r
            if after:
                m = steps[2 * s + 2] + r if r < steps[2 * s + 3] else final + r
            if reverse:
                t = lengths[r] - 1 - t
        target = y_axes[0] + order[r] * y_axes[1] + t * y_axes[2]
        for u in range(cuda.threadIdx.x, features, cuda.blockDim.x):
            y[target + u * y_axes[3]] = source[axes[0] + m * axes[1] + u] if there else y.dtype.type(0)


@kernel
def _sort(out, axes, value, value_axes, order, rows, features):
    """Rows of the batch, (N, S), in the order of computing."""
    for q in range(cuda.grid(1), rows * features, cuda.gridsize(1)):
        r = quotient(q, features)
        u = q - r * features
        out[axes[0] + r * axes[1] + u] = value[value_axes[0] + order[r] * value_axes[2] + u * value_axes[3]]


@kernel
def _unsort(out, out_axes, value, axes, order, first, last, features):
    """Rows from the first to before the last, in the order of computing, to their places in the batch."""
    for q in range(cuda.grid(1), (last - first) * features, cuda.gridsize(1)):
        r = quotient(q, features)
        u = q - r * features
        r += first
        out[out_axes[0] + order[r] * out_axes[2] + u * out_axes[3]] = value[axes[0] + r * axes[1] + u]


def _blocks(sizes: tuple[int, int, int]) -> int:
    """Blocks for all pairs of a step and a row."""
    return max(1, min(-(-sizes[0] * sizes[1] // THREADS[1]), 2 if SIMULATED else 4096))


def _matrix(array: DeviceArray) -> tuple[int, int]:
    """Offset and stride of the rows of a matrix whose rows are contiguous."""
    return array.offset, array.steps[0]


def gather(
    out: DeviceArray, x: DeviceArray, schedule: BatchSchedule, table: DeviceArray, first: int, last: int, reverse: bool
) -> None:
    """The steps first <= s < last of x (N, T, D), a row of `out` for each pair of a row and a step."""
    sizes = last - first, schedule.rows, x.shape[2]
    _gather.launch(
        _blocks(sizes), THREADS, out.base, _matrix(out), x.base, axes_of(x), table.base,
        schedule.device_order.base, schedule.device_lengths.base, sizes, first, reverse,
    )  # fmt: skip


def scatter(
    y: DeviceArray, source: DeviceArray, schedule: BatchSchedule, table: DeviceArray, first: int, last: int,
    reverse: bool, final: int = -1,
) -> None:  # fmt: skip
    """Rows of `source`, one for each pair of a row and a step, to y (N, T, S), zeros past the lengths.

    With `final`, they are those of the row's next step; behind the last step that of row r is ``final + r``.
    """
    sizes = last - first, schedule.rows, y.shape[2]
    _scatter.launch(
        _blocks(sizes), THREADS, y.base, axes_of(y), source.base, _matrix(source), table.base,
        schedule.device_order.base, schedule.device_lengths.base, sizes, first, reverse, final >= 0, final,
    )  # fmt: skip


def sort(out: DeviceArray, value: DeviceArray, schedule: BatchSchedule) -> None:
    """The rows of `value` (N, S) in the order of computing."""
    _sort.for_all(
        value.size, out.base, _matrix(out), value.base, axes_of(value), schedule.device_order.base, *value.shape
    )


def unsort(out: DeviceArray, value: DeviceArray, schedule: BatchSchedule, first: int, last: int) -> None:
    """Rows first <= r < last of `value`, in the order of computing, to their places in `out` (N, S)."""
    if last > first:
        _unsort.for_all(
            (last - first) * out.shape[1], out.base, axes_of(out), value.base, _matrix(value),
            schedule.device_order.base, first, last, out.shape[1],
        )  # fmt: skip
