"""Losses and scores of a fit by epoch."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .lessons import fitted_model
from .plotting import COLOURS, STYLES, integer_ticks, single_axes


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
        The name of the score.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the losses.
    score_ax_ : matplotlib Axes or None
        The axes of the score, on the right.
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D
        The lines, by the names of the attributes that they show.

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
        """Draw the losses and scores of a fitted estimator.

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
            If the model is not an estimator of sequences.
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
        If the model is not an estimator of sequences.
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
