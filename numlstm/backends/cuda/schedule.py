"""The order of computing a batch: the longest rows first, so that each step has the first rows only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...concurrency import cached_property
from .arrays import DeviceArray, to_device
from .device import Device


@dataclass(frozen=True, eq=False)
class BatchSchedule:
    """Rows and steps of a batch in the order of computing.

    Row r of this order is row ``order[r]`` of the batch; its pair with step s is number ``starts[s] + r`` of all.

    Attributes
    ----------
    device : Device
    order, lengths : int64 array, shape (N,)
        The longest first.
    steps : int
        T.
    """

    device: Device
    order: np.ndarray
    lengths: np.ndarray
    steps: int
    _tables: dict[tuple[int, int], DeviceArray] = field(default_factory=dict)

    @classmethod
    def of(cls, device: Device, rows: int, steps: int, lengths: np.ndarray | None) -> BatchSchedule:
        """The schedule of a batch; all rows have all steps without `lengths`."""
        if lengths is None:
            return cls(device, np.arange(rows), np.full(rows, steps), steps)
        order = np.argsort(-lengths, kind="stable")
        return cls(device, order, lengths[order], steps)

    @property
    def rows(self) -> int:
        """N."""
        return len(self.order)

    @cached_property
    def active(self) -> np.ndarray:
        """Rows that have each step; then none, for the step after the last."""
        return np.searchsorted(-self.lengths, -np.arange(self.steps + 1), side="left")

    @cached_property
    def starts(self) -> np.ndarray:
        """Pairs of a row and a step before each step."""
        return np.concatenate([[0], np.cumsum(self.active[:-1])])

    @cached_property
    def device_order(self) -> DeviceArray:
        """`order` on the device."""
        return to_device(self.device, self.order.astype(np.int32))

    @cached_property
    def device_lengths(self) -> DeviceArray:
        """`lengths` on the device."""
        return to_device(self.device, self.lengths.astype(np.int32))

    def pairs(self, first: int, last: int) -> int:
        """Pairs of a row and a step from one step to before another."""
        return int(self.starts[last] - self.starts[first])

    def table(self, first: int, last: int) -> DeviceArray:
        """Where each of some steps begins, counted from the first of them, and its rows; on the device."""
        if (first, last) not in self._tables:
            pairs = np.stack(
                [self.starts[first : last + 1] - self.starts[first], self.active[first : last + 1]], axis=1
            )
            self._tables[first, last] = to_device(self.device, pairs.astype(np.int32))
        return self._tables[first, last]
