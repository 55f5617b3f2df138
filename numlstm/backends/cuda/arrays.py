"""Arrays on a device, with the views that NumPy's have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from .device import SIMULATED, Allocation, Device, size_of
from .launching import kernel
from .uploading import send

MOST_AXES = 3


class DeviceArray:
    """Numbers on a device, in any strides; basic slices are views.

    It has ``__cuda_array_interface__``: CuPy, PyTorch and Numba take it without a copy.

    Parameters
    ----------
    device : Device
    memory : Allocation
        Where they are, among others perhaps.
    shape : tuple of int
    strides : tuple of int, optional
        In numbers, not bytes; contiguous by default.
    offset : int
        The place of the first in `memory`.
    """

    __slots__ = ("__weakref__", "device", "dtype", "memory", "offset", "shape", "steps")
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, device: Device, memory: Allocation, shape: tuple[int, ...], strides: tuple[int, ...] | None = None,
        offset: int = 0,
    ) -> None:  # fmt: skip
        self.device, self.memory, self.shape, self.offset = device, memory, shape, offset
        self.dtype = np.dtype(memory.base.dtype)
        self.steps = contiguous_strides(shape) if strides is None else strides

    @property
    def base(self) -> Any:
        """The one-dimensional array of Numba that kernels take, with `offset` and `steps`."""
        return self.memory.base

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of numbers."""
        return size_of(self.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        """In bytes, as NumPy has them."""
        return tuple(step * self.dtype.itemsize for step in self.steps)

    @property
    def contiguous(self) -> bool:
        """Whether the numbers follow on one another."""
        expected = contiguous_strides(self.shape)
        return all(n == 1 or a == b for n, a, b in zip(self.shape, self.steps, expected, strict=True))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if SIMULATED:
            raise AttributeError("arrays of the simulator are in the host's memory")
        start = self.base.__cuda_array_interface__["data"][0] + self.offset * self.dtype.itemsize
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (start, False), "strides": self.strides,
            "version": 3, "stream": 1,
        }  # fmt: skip

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self.device.index})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("copy must not be False for an array on a device: NumPy needs a copy in the host's memory")
        return to_numpy(self).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, index: Any) -> DeviceArray:
        parts = index if isinstance(index, tuple) else (index,)
        if len(parts) <= self.ndim and all(type(part) is slice and part.step is None for part in parts):
            return self._block(parts)
        shadow = self._shadow()
        part = shadow[index]
        if not isinstance(part, np.ndarray):
            raise TypeError(f"an index of a device array must leave an array, got {index!r}: use slices")
        return self._view(shadow, part)

    def transpose(self, *axes: int) -> DeviceArray:
        """A view with its axes in another order."""
        shadow = self._shadow()
        return self._view(shadow, shadow.transpose(*axes))

    def reshape(self, *shape: Any) -> DeviceArray:
        """A view of other shape; only of contiguous arrays."""
        if not self.contiguous:
            raise ValueError(
                f"a device array must be contiguous to be reshaped, got shape {self.shape} with strides "
                f"{self.strides}: copy it first"
            )
        shadow = self._shadow()
        return self._view(shadow, shadow.reshape(*shape))

    def __setitem__(self, index: Any, value: Any) -> None:
        part = self[index]
        with self.device.current():
            if isinstance(value, DeviceArray):
                copy(part, value)
            elif np.ndim(value):
                copy(part, to_device(self.device, np.asarray(value, self.dtype)))
            else:
                fill(part, value)

    def _block(self, parts: tuple[slice, ...]) -> DeviceArray:
        """A view by plain slices, computed here because it is frequent and NumPy is slower."""
        offset, shape = self.offset, list(self.shape)
        for axis, part in enumerate(parts):
            start, stop, _ = part.indices(shape[axis])
            shape[axis] = max(0, stop - start)
            offset += start * self.steps[axis]
        return DeviceArray(self.device, self.memory, tuple(shape), self.steps, offset)

    def _shadow(self) -> np.ndarray:
        """A NumPy array of this shape and strides without its numbers: NumPy computes views of it."""
        return np.lib.stride_tricks.as_strided(np.empty(1, self.dtype), self.shape, self.strides)

    def _view(self, shadow: np.ndarray, part: np.ndarray) -> DeviceArray:
        start, place = (array.__array_interface__["data"][0] for array in (shadow, part))
        offset = self.offset + (place - start) // self.dtype.itemsize
        steps = tuple(stride // self.dtype.itemsize for stride in part.strides)
        return DeviceArray(self.device, self.memory, part.shape, steps, offset if part.size else self.offset)


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in numbers, of an array whose last axis is the fastest."""
    return tuple(size_of(shape[axis + 1 :]) for axis in range(len(shape)))


def empty(device: Device, shape: tuple[int, ...], dtype: str) -> DeviceArray:
    """An array, not initialised."""
    return DeviceArray(device, device.allocate(size_of(shape), dtype), shape)


def to_device(device: Device, array: np.ndarray) -> DeviceArray:
    """A copy of a NumPy array."""
    result = empty(device, array.shape, str(array.dtype))
    if array.size:
        send(np.ascontiguousarray(array), result.memory, device)
    return result


def to_numpy(array: DeviceArray) -> np.ndarray:
    """A copy in the host's memory."""
    with array.device.current():
        if not array.contiguous:
            array = copied(array)
        part = array.base[array.offset : array.offset + array.size]
        return part.copy_to_host().reshape(array.shape) if array.size else np.empty(array.shape, array.dtype)


def copied(array: DeviceArray) -> DeviceArray:
    """A contiguous copy."""
    result = empty(array.device, array.shape, str(array.dtype))
    copy(result, array)
    return result


def axes_of(array: DeviceArray) -> tuple[int, ...]:
    """Offset, and strides of three axes: those of an array with fewer stand last."""
    if array.ndim > MOST_AXES:
        raise ValueError(f"a device array must have at most {MOST_AXES} axes in computations, got shape {array.shape}")
    return (array.offset, *(0,) * (MOST_AXES - array.ndim), *array.steps)


def sizes_of(array: DeviceArray) -> tuple[int, ...]:
    """The last two of three sizes: what tells where the number of a place is."""
    return ((1,) * MOST_AXES + array.shape)[-2:]


def place_of(number: int, sizes: Any, axes: Any) -> Any:
    """The place of a number in memory, for kernels."""
    rest, last = number // sizes[1], number % sizes[1]
    return axes[0] + (rest // sizes[0]) * axes[1] + (rest % sizes[0]) * axes[2] + last * axes[3]


place = cuda.jit(device=True)(place_of)


@kernel
def _copy(out, out_axes, value, value_axes, sizes, count):
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[place(k, sizes, out_axes)] = value[place(k, sizes, value_axes)]


@kernel
def _fill(out, out_axes, sizes, count, value):
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[place(k, sizes, out_axes)] = value


def copy(out: DeviceArray, value: DeviceArray) -> None:
    """Write `value`, of the same shape, to `out`."""
    if out.shape != value.shape:
        raise ValueError(f"arrays must have the same shape, got {out.shape} and {value.shape}")
    _copy.for_all(out.size, out.base, axes_of(out), value.base, axes_of(value), sizes_of(out), out.size)


def fill(out: DeviceArray, value: float) -> None:
    """Write one number everywhere."""
    _fill.for_all(out.size, out.base, axes_of(out), sizes_of(out), out.size, out.dtype.type(value))
