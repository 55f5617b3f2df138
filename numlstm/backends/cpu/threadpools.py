"""numlstm among the libraries that threadpoolctl limits: ``with threadpool_limits(2):``.

threadpoolctl knows libraries by the files that a process has loaded. numlstm has no such file: its machine code comes
from llvmlite, whose library is loaded whenever there are kernels, and has no threads of its own. It stands for us.
"""

from __future__ import annotations

import contextlib
from importlib import import_module

from .thread_count import set_thread_cap, thread_cap


def register() -> None:
    """Make numlstm known to threadpoolctl, where it is installed; it always is with scikit-learn.

    It is imported here, which takes some milliseconds: limits must find us even if it is first used after us.
    """
    try:
        import threadpoolctl
        from threadpoolctl import LibController
    except ImportError:
        return

    class NumLSTMController(LibController):
        """Limits the threads of numlstm's kernels, for calls of the thread that sets the limit.

        A wrong `NUMLSTM_NUM_THREADS` is an error of calls to numlstm, not of whoever limits all libraries.
        """

        user_api = internal_api = "numlstm"
        filename_prefixes = ("libllvmlite", "llvmlite.dll")

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
