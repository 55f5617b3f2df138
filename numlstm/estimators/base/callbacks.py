"""Scikit-learn's own callbacks (`sklearn.callback`, version 1.9 and later): each epoch is a task of the fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # an older scikit-learn: estimators have no set_callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn has nothing."""

    def with_callbacks(method: Callable) -> Callable:
        """The method as it is."""
        return method


class EpochTasks:
    """Tells an estimator's callbacks of each epoch.

    Parameters
    ----------
    estimator : estimator
        With or without callbacks.
    epochs : int
        The most there will be.
    X, y, metadata
        As `fit` was given them.
    results : callable
        Gives the attributes that an estimator would have, if training ended now.
    """

    def __init__(
        self, estimator: Any, epochs: int, X: Any, y: Any, metadata: dict[str, Any], results: Callable[[], dict]
    ) -> None:
        self.estimator, self.given = estimator, {"X": X, "y": y, "metadata": metadata or None}
        self.results = results
        self.context: Any = None
        self.epoch: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=epochs)
            self.context.call_on_fit_task_begin(estimator=estimator, **self.given)

    def begin(self) -> None:
        """An epoch begins."""
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.given)

    def end(self, progress: Any) -> bool:
        """An epoch has ended; whether a callback asks to stop."""
        return self.epoch is not None and self._ended(self.epoch)

    def end_of_fit(self) -> None:
        """All epochs have."""
        if self.context is not None:
            self._ended(self.context)

    def _ended(self, context: Any) -> bool:
        return context.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=self.results, **self.given
        )
