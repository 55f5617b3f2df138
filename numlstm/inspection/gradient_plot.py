"""Gradients against steps before the end, drawn for one model or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from .gradients import GradientFlow, gradient_flow
from .plotting import COLOURS, STYLES, single_axes
from .reading import check_index


class GradientFlowDisplay:
    """Norms of gradients against steps before the end, for one model or several.

    Use `from_estimator`, or pass results of `gradient_flow`.

    Parameters
    ----------
    flows : dict of str to GradientFlow
        The flow of each model, by the names of the models.
    layer : int, default -1
        The layer and direction.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D

    See Also
    --------
    plot_gradient_flow : The same as a function.
    """

    def __init__(self, flows: Mapping[str, GradientFlow], *, layer: int = -1) -> None:
        self.flows, self.layer = dict(flows), layer

    @classmethod
    def from_estimator(
        cls, model: Any, X: Any, y: Any, *, layer: int = -1, lengths: Any = None, static: Any = None, ax: Any = None
    ) -> Self:
        """Measure the flow of gradients, and draw it.

        Parameters
        ----------
        model : fitted estimator, or dict of str to fitted estimator
            Several are drawn together, with their names.
        X, y, lengths, static
            As in `gradient_flow`.
        layer : int, default -1
            The layer and direction; the last one by default.
        ax : matplotlib Axes, optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        GradientFlowDisplay

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `gradient_flow` does; and if the layer does not exist.
        ImportError
            If matplotlib is not installed.
        """
        models = dict(model) if isinstance(model, Mapping) else {_name(model): model}
        flows = {name: gradient_flow(fitted, X, y, lengths=lengths, static=static) for name, fitted in models.items()}
        for flow in flows.values():
            if layer != -1:
                check_index(layer, "layer", len(flow.hidden), "layers (times directions)")
        return cls(flows, layer=layer).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        GradientFlowDisplay
            With the attributes that are listed above.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_ = single_axes(ax)
        self.figure_ = self.ax_.figure
        self.lines_ = {}
        for k, (name, flow) in enumerate(self.flows.items()):
            values = flow.by_lag(layer=self.layer)
            (self.lines_[name],) = self.ax_.plot(
                np.where(values > 0, values, np.nan), label=name, color=COLOURS[k % len(COLOURS)],
                linestyle=STYLES[k % len(STYLES)],
            )  # fmt: skip
        self.ax_.set(yscale="log", xlabel="steps before the end", ylabel="norm of dLoss/dstate")
        self.ax_.grid(alpha=0.3)
        self.ax_.legend(frameon=False)
        return self


def _name(model: Any) -> str:
    """The label of a model's line."""
    return str(getattr(model, "cell", type(model).__name__)).upper()


def plot_gradient_flow(
    model: Any, X: Any, y: Any, *, layer: int = -1, lengths: Any = None, static: Any = None, ax: Any = None
) -> GradientFlowDisplay:
    """Draw how the gradient of the loss vanishes, or explodes, on its way back through the steps.

    The lines show the norm of the gradient of the whole state of a layer, cell and hidden state together: the mean over
    all sequences.

    Parameters
    ----------
    model : fitted estimator, or dict of str to fitted estimator
        Several are drawn together, with their names: for example an RNN, a GRU and an LSTM.
    X, y
        Sequences and targets, in forms that their `fit` takes.
    layer : int, default -1
        The layer and direction, as in `Trace`; the last one by default.
    lengths : int array, shape (n,); optional
        Steps of each sequence of a padded array.
    static : array, shape (n, F); optional
        Static features, as in `fit`.
    ax : matplotlib Axes, optional
        Where to draw; by default there is a new figure.

    Returns
    -------
    GradientFlowDisplay
        The numbers are in `flows`, the figure is in `figure_`.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        As `gradient_flow` does; and if the layer does not exist.
    ImportError
        If matplotlib is not installed: extra ``plot``.

    See Also
    --------
    gradient_flow : The numbers alone.

    Examples
    --------
    >>> from numlstm import LSTMRegressor
    >>> from numlstm.datasets import make_adding
    >>> from numlstm.inspection import plot_gradient_flow
    >>> X, y = make_adding(32, length=50, random_state=0)
    >>> models = {cell: LSTMRegressor(cell=cell, max_iter=1, random_state=0).fit(X, y) for cell in ("rnn", "lstm")}
    >>> [*plot_gradient_flow(models, X, y).lines_]
    ['rnn', 'lstm']
    """
    return GradientFlowDisplay.from_estimator(model, X, y, layer=layer, lengths=lengths, static=static, ax=ax)
