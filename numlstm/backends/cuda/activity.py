"""A penalty on the size and the change of what a layer gives."""

from __future__ import annotations

import numpy as np

from .arrays import DeviceArray, axes_of, empty
from .device import THREADS, cuda
from .launching import kernel
from .losses import DeviceScalar
from .pooling import ends_on
from .reductions import block_sum, first_row, new_parts, row_grid, row_step, total_of


@kernel
def _activity(y, axes, shape, lengths, gradient, parts, shares, factors):
    """The penalty in float64, a part from each block, and the gradient; `factors` are twice the `shares`."""
    shared = cuda.shared.array(THREADS, np.float64)
    rows, steps, units = shape
    penalty = 0.0
    for row in range(first_row(), rows * steps, row_step()):
        n, t = row // steps, row % steps
        start = axes[0] + n * axes[1] + t * axes[2]
        for u in range(cuda.threadIdx.x, units, cuda.blockDim.x):
            slope, at = y.dtype.type(0), start + u * axes[3]
            if t < lengths[n]:
                here = y[at]
                slope = factors[0] * here
                penalty += shares[0] * (np.float64(here) * np.float64(here))
                if t > 0:
                    slope += factors[1] * (here - y[at - axes[2]])
                    change = np.float64(here) - np.float64(y[at - axes[2]])
                    penalty += shares[1] * (change * change)
                if t + 1 < lengths[n]:
                    slope += factors[1] * (here - y[at + axes[2]])
            gradient[row * units + u] = slope
    penalty = block_sum(shared, penalty)
    if cuda.threadIdx.x == 0 and cuda.threadIdx.y == 0:
        parts[cuda.blockIdx.x] = penalty


def activity_loss(
    y: DeviceArray, lengths: np.ndarray | None, size: float, change: float
) -> tuple[DeviceScalar, DeviceArray]:
    """`Backend.activity_loss` for arrays on a device."""
    rows, steps, units = y.shape
    ends, resident = np.full(rows, steps) if lengths is None else lengths, ends_on(y, lengths)
    counts = float(ends.sum() * units), float((ends - 1).sum() * units)
    shares = float(size / counts[0]), float(change / counts[1] if counts[1] else 0.0)
    gradient = empty(y.device, y.shape, str(y.dtype))
    blocks, threads = row_grid(rows * steps, units)
    parts = new_parts(y.device, blocks)
    factors = tuple(y.dtype.type(2.0 * share) for share in shares)
    _activity.launch(
        blocks, threads, y.base, axes_of(y), y.shape, resident.base, gradient.base, parts.base, shares,
        factors,
    )  # fmt: skip
    return DeviceScalar(total_of(parts)), gradient
