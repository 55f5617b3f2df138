"""How training went: losses by epoch, and a record of weights, gradients, updates and gates."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..training.progress import Progress
from .lessons import fitted_model
from .plotting import COLOURS, STYLES, integer_ticks, single_axes, stacked_axes


class TrainingCurveDisplay:
    """Losses and scores of a fit, by epoch.

    Use `from_estimator`.

    Parameters
    ----------
    loss : list of float
        Mean training loss of each epoch.
    validation_loss, validation_scores : list of float, or None, default None
        Loss and score of the validation set.
    score_name : str, default "score"
        What the score is.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Of the losses.
    score_ax_ : matplotlib Axes or None
        Of the score, on the right.
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D
        By the names of the attributes that they show.

    See Also
    --------
    plot_learning_curve : The same as a function.
    """

    def __init__(
        self, loss: list[float], validation_loss: list[float] | None = None,
        validation_scores: list[float] | None = None, score_name: str = "score",
    ) -> None:  # fmt: skip
        self.loss, self.validation_loss = loss, validation_loss
        self.validation_scores, self.score_name = validation_scores, score_name

    @classmethod
    def from_estimator(cls, model: Any, *, ax: Any = None) -> Self:
        """Draw what a fitted estimator has kept of its training.

        Parameters
        ----------
        model : fitted estimator
        ax : matplotlib Axes, optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        TrainingCurveDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            If it is no estimator of sequences.
        ImportError
            If matplotlib is not installed.
        """
        fitted_model(model)
        score = "accuracy" if hasattr(model, "classes_") else "R²"
        return cls(model.loss_curve_, model.validation_loss_curve_, model.validation_scores_, score).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        TrainingCurveDisplay
            With the attributes that are listed above.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_, self.score_ax_ = single_axes(ax), None
        self.figure_ = self.ax_.figure
        self.lines_: dict[str, Any] = {}
        self._draw(self.ax_, "loss_curve_", "training loss", self.loss, 0)
        if self.validation_loss:
            self._draw(self.ax_, "validation_loss_curve_", "validation loss", self.validation_loss, 1)
        if self.validation_scores:
            self.score_ax_ = self.ax_.twinx()
            self._draw(self.score_ax_, "validation_scores_", f"validation {self.score_name}", self.validation_scores, 2)
            self.score_ax_.set_ylabel(self.score_name)
        if min(self.loss) > 0:
            self.ax_.set_yscale("log")
        self.ax_.set(xlabel="epoch", ylabel="loss")
        integer_ticks(self.ax_.xaxis)
        self.ax_.grid(alpha=0.3)
        drawn = [*self.lines_.values()]
        self.ax_.legend(drawn, [line.get_label() for line in drawn], frameon=False)
        return self

    def _draw(self, ax: Any, name: str, label: str, values: list[float], k: int) -> None:
        epochs = np.arange(1, len(values) + 1)
        (self.lines_[name],) = ax.plot(epochs, values, label=label, color=COLOURS[k], linestyle=STYLES[k])


def plot_learning_curve(model: Any, *, ax: Any = None) -> TrainingCurveDisplay:
    """Draw the losses of a fit by epoch, and loss and score of the validation set, if there was one.

    Parameters
    ----------
    model : fitted estimator
    ax : matplotlib Axes, optional
        Where to draw; by default there is a new figure.

    Returns
    -------
    TrainingCurveDisplay

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If it is no estimator of sequences.
    ImportError
        If matplotlib is not installed: extra ``plot``.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTMClassifier
    >>> from numlstm.inspection import plot_learning_curve
    >>> X = np.random.default_rng(0).normal(size=(100, 5, 2))
    >>> model = LSTMClassifier(hidden_size=8, early_stopping=True, random_state=0).fit(X, X[:, -1, 0] > 0)
    >>> [*plot_learning_curve(model).lines_]
    ['loss_curve_', 'validation_loss_curve_', 'validation_scores_']
    """
    return TrainingCurveDisplay.from_estimator(model, ax=ax)


class TrainingRecorder:
    """A callback that keeps norms of weights, gradients and updates, and how many gates are saturated, by epoch.

    Pass it as `callback` of an estimator. A fit, and each call of `partial_fit`, goes on where the last one ended;
    `clear` starts anew.

    Attributes
    ----------
    losses : list of float
        The mean training loss of each epoch.
    weights, gradients, updates : dict of str to list of float
        Euclidean norms after each epoch, by the names of the parameters: of the parameter, of the gradient of the last
        batch before clipping, and of what the epoch has changed (NaN for the first epoch that was seen).
    saturated : dict of str to list of float
        For each gate of each layer, such as ``forget_gate_l0``, the share of values within 0.05 of 0 or 1 while the
        first 32 training sequences are read.

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
        """Forget what has been recorded."""
        self.losses: list[float] = []
        self.weights: dict[str, list[float]] = {}
        self.gradients: dict[str, list[float]] = {}
        self.updates: dict[str, list[float]] = {}
        self.saturated: dict[str, list[float]] = {}
        self._before: dict[str, np.ndarray] = {}

    def __call__(self, progress: Progress) -> None:
        """Record an epoch.

        Parameters
        ----------
        progress : Progress
        """
        self.losses.append(progress.loss)
        parameters = progress.parameters()
        for name, value in parameters.items():
            before = self._before.get(name)
            change = np.full(1, np.nan) if before is None else value - before
            self.weights.setdefault(name, []).append(_norm(value))
            self.updates.setdefault(name, []).append(_norm(change))
        for name, value in progress.gradients().items():
            self.gradients.setdefault(name, []).append(_norm(value))
        for gate, share in progress.saturation().items():
            self.saturated.setdefault(gate, []).append(share)
        self._before = parameters

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
            If nothing has been recorded, or `ax` is an array of another length.
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
            If nothing has been recorded, or `ax` is an array of another length.
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
