"""Locks and cached properties that stay usable in a forked child; and quiet threads of other libraries."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property:
        """A property that is computed at the first read, and then kept in the instance.

        `functools.cached_property` does not suit this package. Before Python 3.12 it holds one lock for all instances
        while it computes; a child that is forked then waits for this lock for ever. Since Python 3.12 two threads can
        get two different values, and only one of them is kept; a kernel that uses addresses from the other one would
        read memory that has been freed. Here all threads get the value that is kept.
        """

        def __init__(self, function: Any) -> None:
            self.function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            return instance.__dict__.setdefault(self.name, self.function(instance))


__all__ = ["cached_property", "new_lock", "one_blas_thread"]

_locks: WeakSet[Any] = WeakSet()


def new_lock() -> threading.Lock:
    """A lock that is released in a forked child, because the thread that held it in the parent does not exist there."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _after_fork() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep the threads of NumPy's BLAS out of a short computation, where threadpoolctl is installed.

    They wait for more in a busy loop, for 20 milliseconds and on the cores that kernels want.
    """
    controller = _controller()
    return controller.limit(limits=1, user_api="blas") if controller else nullcontext()


@cache
def _controller() -> Any:
    """What limits the threads of other libraries; it takes a millisecond to find these."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()
