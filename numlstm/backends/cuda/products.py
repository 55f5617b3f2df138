"""Products of matrices, and sums over their rows: by cuBLAS, or plain kernels where there is none."""

from __future__ import annotations

from .arrays import DeviceArray, empty
from .cublas import cublas, suitable
from .device import SIMULATED, cuda
from .launching import device_function, kernel

SIDE = 2 if SIMULATED else 16  # threads of a block, down and across
PER_THREAD = 2 if SIMULATED else 4  # numbers of `out` for each thread, down and across
TILE = SIDE * PER_THREAD
DEPTH = 3 if SIMULATED else 16  # terms of a sum that are in shared memory at once
PADDED = TILE + 1  # or threads that write one column would wait for one another

ACROSS, DOWN = (2, 2) if SIMULATED else (32, 8)  # threads of a block that sums columns
STRIP = 4 if SIMULATED else 256  # rows that a block sums, unless that makes too many strips
MOST_STRIPS = 3 if SIMULATED else 1024


@device_function
def _load_tile(tile, matrix, axes, first, count, start, terms):
    """Copy TILE rows of a matrix from the first on, DEPTH columns from `start`, transposed; zeros past the ends."""
    for number in range(cuda.threadIdx.y * SIDE + cuda.threadIdx.x, TILE * DEPTH, SIDE * SIDE):
        if axes[2] == 1:  # neighbours in memory are for neighbouring threads
            row, term = number // DEPTH, number % DEPTH
        else:
            row, term = number % TILE, number // TILE
        if first + row < count and start + term < terms:
            tile[term, row] = matrix[axes[0] + (first + row) * axes[1] + (start + term) * axes[2]]
        else:
            tile[term, row] = 0


@kernel
def _tiles(out, out_axes, a, a_axes, b, b_axes, sizes, accumulate):
    """A block for each tile of `out`. Axes are offset, and strides of rows and columns; those of b, columns and rows.

    A thread's numbers are SIDE apart, so that threads side by side read and write what is side by side.
    """
    rows, columns, terms = sizes
    left = cuda.shared.array((DEPTH, PADDED), out.dtype)
    right = cuda.shared.array((DEPTH, PADDED), out.dtype)
    sums = cuda.local.array((PER_THREAD, PER_THREAD), out.dtype)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    tiles_across = (columns + TILE - 1) // TILE
    row, column = cuda.blockIdx.x // tiles_across * TILE, cuda.blockIdx.x % tiles_across * TILE
    for i in range(PER_THREAD):
        for j in range(PER_THREAD):
            sums[i, j] = 0
    for start in range(0, terms, DEPTH):
        _load_tile(left, a, a_axes, row, rows, start, terms)
        _load_tile(right, b, b_axes, column, columns, start, terms)
        cuda.syncthreads()
        for term in range(DEPTH):
            for i in range(PER_THREAD):
                for j in range(PER_THREAD):
                    sums[i, j] += left[term, y + i * SIDE] * right[term, x + j * SIDE]
        cuda.syncthreads()
    for i in range(PER_THREAD):
        for j in range(PER_THREAD):
            m, n = row + y + i * SIDE, column + x + j * SIDE
            if m < rows and n < columns:
                place = out_axes[0] + m * out_axes[1] + n * out_axes[2]
                out[place] = out[place] + sums[i, j] if accumulate else sums[i, j]


@kernel
def _strips(out, out_axes, a, a_axes, sizes, strip, accumulate):
    """A block for each strip of rows and ACROSS columns; `out` has a row for each strip."""
    rows, columns = sizes
    sums = cuda.shared.array((DOWN, ACROSS), out.dtype)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, first = cuda.blockIdx.x * ACROSS + x, cuda.blockIdx.y * strip
    total = out.dtype.type(0)
    if column < columns:
        for row in range(first + y, min(first + strip, rows), DOWN):
            total += a[a_axes[0] + row * a_axes[1] + column * a_axes[2]]
    sums[y, x] = total
    cuda.syncthreads()
    if y == 0 and column < columns:
        for other in range(1, DOWN):
            total += sums[other, x]
        place = out_axes[0] + cuda.blockIdx.y * out_axes[1] + column * out_axes[2]
        out[place] = out[place] + total if accumulate else total


def multiply(
    out: DeviceArray, a: DeviceArray, b: DeviceArray, *, transposed: tuple[bool, bool] = (False, False),
    accumulate: bool = False, kind: str = "",
) -> None:  # fmt: skip
    """``out = a @ b``, or ``out += a @ b``, with a or b or both transposed; the device must be current.

    Parameters
    ----------
    out : DeviceArray, shape (m, n)
    a : DeviceArray, shape (m, k), or (k, m) if it is to be transposed
    b : DeviceArray, shape (k, n), or (n, k) if it is to be transposed
        Of one dtype, float32 or float64; fast where rows are contiguous and do not overlap.
    transposed : (bool, bool)
        Whether to transpose a, and b.
    accumulate : bool
        Whether to add to `out`, rather than to overwrite it.
    kind : {"", "tf32", "float16", "bfloat16"}
        What cuBLAS may round float32 factors to, for speed; plain kernels do not.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.
    RuntimeError
        If cuBLAS fails; the message names the call and the status.
    """
    rows, terms = a.shape[::-1] if transposed[0] else a.shape
    others, columns = b.shape[::-1] if transposed[1] else b.shape
    if others != terms or out.shape != (rows, columns) or not out.dtype == a.dtype == b.dtype:
        raise ValueError(f"cannot multiply {a!r} by {b!r} to {out!r}, transposed={transposed}")
    if not out.size:
        return
    library = cublas() if terms else None
    if library is not None and suitable(out) and suitable(a) and suitable(b):
        library.multiply(out, a, b, transposed, accumulate, kind)
        return
    a_axes, b_axes = _axes(a, transposed[0]), _axes(b, not transposed[1])
    blocks = -(-rows // TILE) * -(-columns // TILE)
    sizes = rows, columns, terms
    _tiles.launch(blocks, (SIDE, SIDE), out.base, _axes(out), a.base, a_axes, b.base, b_axes, sizes, accumulate)


def _axes(matrix: DeviceArray, transposed: bool = False) -> tuple[int, int, int]:
    """Offset and strides."""
    down, across = matrix.steps[::-1] if transposed else matrix.steps
    return matrix.offset, down, across


def column_sums(out: DeviceArray, a: DeviceArray, *, accumulate: bool = False) -> None:
    """``out = a.sum(0)``, or ``out += a.sum(0)``: strips of rows, then the strips; the device must be current.

    The order depends on the shape alone.

    Parameters
    ----------
    out : DeviceArray, shape (n,)
    a : DeviceArray, shape (m, n)
        Of one dtype, float32 or float64.
    accumulate : bool
        Whether to add to `out`, rather than to overwrite it.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.
    """
    rows, columns = a.shape
    if out.shape != (columns,) or out.dtype != a.dtype:
        raise ValueError(f"cannot sum the rows of {a!r} to {out!r}")
    strip = max(STRIP, -(-rows // MOST_STRIPS))
    strips = -(-rows // strip)
    if strips > 1:
        parts = empty(a.device, (strips, columns), a.dtype.name)
        _sum_strips(parts, _axes(parts), a, strip, False)
        a = parts
    _sum_strips(out, (out.offset, 0, out.steps[0]), a, len(a), accumulate)


def _sum_strips(out: DeviceArray, out_axes: tuple[int, int, int], a: DeviceArray, strip: int, accumulate: bool) -> None:
    """Write the sums of every so many rows."""
    rows, columns = a.shape
    blocks = -(-columns // ACROSS), max(1, -(-rows // strip)) if strip else 1
    if columns:
        _strips.launch(blocks, (ACROSS, DOWN), out.base, out_axes, a.base, _axes(a), (rows, columns), strip, accumulate)
