"""A record of weights, gradients, updates and gates while a model learns."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..training.progress import Progress
from .plotting import COLOURS, STYLES, integer_ticks, stacked_axes


class TrainingRecorder:
    """A callback that keeps norms of weights, gradients and updates, and how many gates are saturated, by epoch.

    Pass it as `callback` of an estimator. Each call of `fit` or `partial_fit` adds to the record; `clear` empties it.

    Attributes
    ----------
    losses : list of float
        The mean training loss of each epoch.
    weights, gradients, updates : dict of str to list of float
        Euclidean norms after each epoch, by the names of the parameters: of the parameter, of the gradient of the last
        batch before clipping, and of the change in the epoch (NaN for the first recorded epoch).
    saturated : dict of str to list of float
        The share of values within 0.05 of 0 or 1 in the first 32 training sequences, for each gate of each layer, such
        as ``forget_gate_l0``.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTMClassifier
    >>> from numlstm.inspection import TrainingRecorder
    >>> X = np.random.default_rng(0).normal(size=(100, 5, 2))
    >>> recorder = TrainingRecorder()
    >>> model = LSTMClassifier(hidden_size=8, max_iter=4, callback=recorder, random_state=0).fit(X, X[:, -1, 0] > 0)
    >>> len(recorder.weights["weight_hh_l0"]), sorted(recorder.saturated)[:2]
    (4, ['forget_gate_l0', 'forget_gate_l0_reverse'])
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Empty the record."""
        self.losses: list[float] = []
        self.weights: dict[str, list[float]] = {}
        self.gradients: dict[str, list[float]] = {}
        self.updates: dict[str, list[float]] = {}
        self.saturated: dict[str, list[float]] = {}
        self._previous: dict[str, np.ndarray] = {}

    def __call__(self, progress: Progress) -> None:
        """Record an epoch.

        Parameters
        ----------
        progress : Progress
        """
        self.losses.append(progress.loss)
        parameters = progress.parameters()
        for name, value in parameters.items():
            previous = self._previous.get(name)
            change = np.full(1, np.nan) if previous is None else value - previous
            self.weights.setdefault(name, []).append(_norm(value))
            self.updates.setdefault(name, []).append(_norm(change))
        for name, value in progress.gradients().items():
            self.gradients.setdefault(name, []).append(_norm(value))
        for gate, share in progress.saturation().items():
            self.saturated.setdefault(gate, []).append(share)
        self._previous = parameters

    def plot(self, ax: Any = None) -> TrainingRecordDisplay:
        """Draw the record.

        Parameters
        ----------
        ax : array of four matplotlib Axes, or one; optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        TrainingRecordDisplay

        Raises
        ------
        ValueError
            If the record is empty, or `ax` is an array of another length.
        ImportError
            If matplotlib is not installed.
        """
        return TrainingRecordDisplay(self).plot(ax)


def _norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


class TrainingRecordDisplay:
    """Norms of weights, gradients and updates, and shares of saturated gates, by epoch.

    Parameters
    ----------
    recorder : TrainingRecorder

    Attributes
    ----------
    ax_ : array of matplotlib Axes, shape (4,)
    figure_ : matplotlib Figure
    lines_ : dict of str to dict of str to matplotlib Line2D
        By "weights", "gradients", "updates" and "saturated", then by the names of parameters or gates.
    """

    def __init__(self, recorder: TrainingRecorder) -> None:
        self.recorder = recorder

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : array of four matplotlib Axes, or one; optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        TrainingRecordDisplay

        Raises
        ------
        ValueError
            If the record is empty, or `ax` is an array of another length.
        ImportError
            If matplotlib is not installed.
        """
        if not self.recorder.losses:
            raise ValueError("recorder must have seen an epoch: pass it as callback to an estimator, and fit that")
        self.ax_ = stacked_axes(ax, [1.6] * 4)
        self.figure_ = self.ax_[0].figure
        self.lines_: dict[str, dict[str, Any]] = {}
        epochs = np.arange(1, len(self.recorder.losses) + 1)
        for panel, kind in zip(self.ax_, ("weights", "gradients", "updates", "saturated"), strict=True):
            drawn = self.lines_[kind] = {}
            for k, (name, values) in enumerate(getattr(self.recorder, kind).items()):
                (drawn[name],) = panel.plot(
                    epochs, values, label=name, color=COLOURS[k % len(COLOURS)], linestyle=STYLES[k % len(STYLES)]
                )
            share = kind == "saturated"
            panel.set_ylabel("saturated\ngates" if share else f"norm of\n{kind}")
            panel.set(**{"ylim": (-0.05, 1.05)} if share else {"yscale": "log"})
            panel.grid(alpha=0.3)
            if drawn and kind in ("weights", "saturated"):
                panel.legend(frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1.05))
        self.ax_[-1].set_xlabel("epoch")
        integer_ticks(self.ax_[-1].xaxis)
        return self
