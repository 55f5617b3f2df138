"""numlstm among the libraries that threadpoolctl limits: ``with threadpool_limits(2):``.

threadpoolctl finds libraries by the files that a process has loaded, and numlstm loads no file of its own. So it is
found by the extension module of NumPy: every process with numlstm has loaded that, and it has no threads.
"""

from __future__ import annotations

import contextlib
from importlib import import_module

from .thread_count import set_thread_cap, thread_cap


def register() -> None:
    """Register numlstm with threadpoolctl, where that is installed; it always is with scikit-learn.

    This imports threadpoolctl, which takes some milliseconds: a limit must hold even if it is set before the first
    kernel is loaded.
    """
    try:
        import threadpoolctl
        from threadpoolctl import LibController
    except ImportError:
        return

    class NumLSTMController(LibController):
        """Limits the threads of numlstm's kernels, for calls of the thread that sets the limit.

        A wrong `NUMLSTM_NUM_THREADS` is an error of calls to numlstm, not of a call that limits all libraries.
        """

        user_api = internal_api = "numlstm"
        filename_prefixes = ("_multiarray_umath",)

        def get_num_threads(self) -> int | None:
            with contextlib.suppress(ValueError):
                return thread_cap()
            return None

        def set_num_threads(self, num_threads: int) -> None:
            with contextlib.suppress(ValueError):
                set_thread_cap(num_threads)

        def get_version(self) -> str:
            return import_module(__name__.partition(".")[0]).__version__

    threadpoolctl.register(NumLSTMController)
