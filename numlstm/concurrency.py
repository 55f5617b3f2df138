"""Locks and cached values that a forked child can use, whatever the threads of its parent were doing."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property:
        """A property that is computed when it is first read, and kept in the instance.

        That of functools will not do. Before Python 3.12 it holds a lock meanwhile, one for all instances, and a child
        that is forked then waits for it for ever. Since then two threads can get two values, and one of them is not
        kept: kernels would go on with addresses in memory that nobody owns. Here all threads get the one that is kept.
        """

        def __init__(self, function: Any) -> None:
            self.function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            return instance.__dict__.setdefault(self.name, self.function(instance))


__all__ = ["cached_property", "new_lock"]

_locks: WeakSet[Any] = WeakSet()


def new_lock() -> threading.Lock:
    """A lock that is open in a forked child, even if a thread of the parent held it: that thread is not there."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _after_fork() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
