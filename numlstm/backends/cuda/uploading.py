"""Copies from the host's memory to a device's, while the device computes.

A plain copy waits for all earlier launches. Small arrays go through pinned memory instead, and queue among launches.
Batches of a training loop have a stream of their own: one is copied while the device computes with the one before.
"""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .device import SIMULATED, Allocation, Device, cuda, non_blocking_stream

SLOTS, SLOT_BYTES = 16, 1 << 20  # of pinned memory for small arrays
BATCHES = 3  # on a device at once: one in use, one that earlier launches may still read, one that is being copied


class Slot:
    """Pinned memory, and an event after the copy from it.

    Parameters
    ----------
    size : int
        Bytes.
    """

    def __init__(self, size: int) -> None:
        self.buffer, self.copied = cuda.pinned_array(max(1, size), np.uint8), cuda.event(timing=False)

    def copy(self, array: np.ndarray, target: Any, stream: Any) -> None:
        """Copy `array` to a device, in the order of a stream; `array` may change as soon as this returns."""
        self.copied.synchronize()
        pinned = self.buffer[: array.nbytes].view(array.dtype)
        np.copyto(pinned.reshape(array.shape), array)
        target.copy_to_device(pinned, stream=stream)
        self.copied.record(stream)


class Staging:
    """Copies small arrays to a device without waiting for it."""

    def __init__(self) -> None:
        self._slots: list[Slot] = []
        self._next, self._lock = 0, threading.Lock()

    def send(self, array: np.ndarray, memory: Allocation) -> None:
        """Copy a contiguous array to the beginning of an allocation, after all earlier launches."""
        target, flat = memory.base[: array.size], array.reshape(-1)
        if SIMULATED or array.nbytes > SLOT_BYTES:
            target.copy_to_device(flat)
            return
        with self._lock:
            if len(self._slots) < SLOTS:
                self._slots.append(Slot(SLOT_BYTES))
            slot = self._slots[self._next % len(self._slots)]
            self._next += 1
            slot.copy(flat, target, cuda.default_stream())


_stagings: WeakKeyDictionary[Device, Staging] = WeakKeyDictionary()
_lock = threading.Lock()


def send(array: np.ndarray, memory: Allocation, device: Device) -> None:
    """Copy a contiguous array to the beginning of an allocation on a device, after all earlier launches."""
    staging = _stagings.get(device)
    if staging is None:
        with _lock:
            staging = _stagings.setdefault(device, Staging())
    staging.send(array, memory)


class BatchBuffer:
    """Room for a batch: pinned memory, memory on the device, and an event after its last use there."""

    def __init__(self, device: Device, size: int, dtype: str) -> None:
        self.slot = Slot(size * np.dtype(dtype).itemsize)
        self.memory, self.used = device.allocate(size, dtype), cuda.event(timing=False)
        self.size, self.dtype = size, dtype
        self.used.record(cuda.default_stream())  # earlier launches may still read that memory


class Uploader:
    """Copies the batches of one thread to a device, on a stream of their own.

    Parameters
    ----------
    device : Device
    """

    def __init__(self, device: Device) -> None:
        self.device, self.stream = device, non_blocking_stream()
        self._batches: list[BatchBuffer | None] = [None] * BATCHES
        self._count = 0

    def upload(self, array: np.ndarray, dtype: str) -> Allocation:
        """An allocation that begins with the numbers of `array`, until the next call but one."""
        place, over = self._count % BATCHES, self._batches[(self._count + 1) % BATCHES]
        self._count += 1
        if over is not None:
            over.used.record(cuda.default_stream())  # no later launch reads it
        batch = self._batches[place]
        if batch is None or batch.size < array.size or batch.dtype != dtype:
            batch = self._batches[place] = BatchBuffer(self.device, array.size, dtype)
        batch.used.wait(self.stream)
        batch.slot.copy(array, batch.memory.base[: array.size], self.stream)
        batch.slot.copied.wait(cuda.default_stream())
        return batch.memory


class Loan:
    """The uploader of a thread; it is free for another thread when this one has ended."""

    def __init__(self, free: list[Uploader], device: Device) -> None:
        self.uploader = free.pop() if free else Uploader(device)
        self._free = free

    def __del__(self) -> None:
        self._free.append(self.uploader)


class Uploaders:
    """An uploader for each thread that uploads.

    Parameters
    ----------
    device : Device
    """

    def __init__(self, device: Device) -> None:
        self._device, self._here = device, threading.local()
        self._free: list[Uploader] = []

    @property
    def current(self) -> Uploader:
        """The calling thread's."""
        if not hasattr(self._here, "loan"):
            self._here.loan = Loan(self._free, self._device)
        return self._here.loan.uploader
