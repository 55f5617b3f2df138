"""Forks wait for the compiler: a child that was forked in the middle of it could never compile anything.

Forks do not wait for imports: hooks of other modules may hold what an import needs, such as the lock of `logging`. A
child that is forked while another thread imports numlstm for the first time cannot import it, as with any package.
"""

from __future__ import annotations

import os

from llvmlite.binding import ffi
from numba.core.compiler_lock import global_compiler_lock


def _hold() -> None:
    """Wait until other threads have compiled what they compile now, and keep them from compiling more."""
    global_compiler_lock.acquire()
    ffi.lib._lock.__enter__()


def _release() -> None:
    ffi.lib._lock.__exit__(None, None, None)
    global_compiler_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
