"""Scikit-learn's own callbacks (`sklearn.callback`, version 1.9 and later); each epoch is a task of `fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # an older scikit-learn: estimators have no set_callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """A base class without methods."""

    def with_callbacks(method: Callable) -> Callable:
        """The method without a change."""
        return method


class EpochTasks:
    """Calls the callbacks of an estimator before and after each epoch.

    Parameters
    ----------
    estimator : estimator
        It may have no callbacks.
    epochs : int
        The greatest number of epochs.
    X, y, metadata
        The arguments of `fit`.
    results : callable
        Returns the attributes that the estimator would have if training ended now.
    """

    def __init__(
        self, estimator: Any, epochs: int, X: Any, y: Any, metadata: dict[str, Any], results: Callable[[], dict]
    ) -> None:
        self.estimator, self.arguments = estimator, {"X": X, "y": y, "metadata": metadata or None}
        self.results = results
        self.context: Any = None
        self.epoch: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=epochs)
            self.context.call_on_fit_task_begin(estimator=estimator, **self.arguments)

    def begin(self) -> None:
        """Tell the callbacks that an epoch begins."""
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.arguments)

    def end(self, progress: Any) -> bool:
        """Tell the callbacks that an epoch has ended. Returns whether one of them asks to stop training."""
        return self.epoch is not None and self._end_task(self.epoch)

    def end_of_fit(self) -> None:
        """Tell the callbacks that training has ended."""
        if self.context is not None:
            self._end_task(self.context)

    def _end_task(self, context: Any) -> bool:
        return context.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=self.results, **self.arguments
        )
