"""Heat maps of gates and states over time."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .plotting import heat_map, integer_ticks, lines, stacked_axes
from .reading import Row, row_of

LABELS = {
    "input_gate": "input\ngate",
    "forget_gate": "forget\ngate",
    "output_gate": "output\ngate",
    "cell_input": "cell\ninput",
    "cell_state": "cell\nstate",
    "hidden_state": "hidden\nstate",
    "reset_gate": "reset\ngate",
    "update_gate": "update\ngate",
    "candidate": "candidate",
}
ORDER = tuple(LABELS)
LINES = 4  # channels that are drawn as lines; more make a heat map


class GatesDisplay:
    """Gates and states of one sequence, one below the other on one axis of time.

    Use `from_estimator` or `from_trace`.

    Parameters
    ----------
    values : dict of str to array, shape (T, H)
        Gates and states by name, as in `Trace`.
    order : int array, shape (H,)
        The unit in each row, from the top.
    x : array, shape (T, C), or None, default None
        The sequence, drawn above.

    Attributes
    ----------
    ax_ : array of matplotlib Axes
        The panels, from the top.
    figure_ : matplotlib Figure
    images_ : dict of str to matplotlib AxesImage
        The heat map of each gate and state.
    lines_ : list of matplotlib Line2D
        The channels of the sequence, if they are at most four.

    See Also
    --------
    plot_gates : The same as a function.
    MemoryDisplay : How long each unit remembers.
    """

    def __init__(self, values: dict[str, np.ndarray], order: np.ndarray, x: np.ndarray | None = None) -> None:
        self.values, self.order, self.x = values, order, x

    @classmethod
    def from_estimator(
        cls, model: Any, X: Any, *, row: int = 0, layer: int = 0, lengths: Any = None, ax: Any = None
    ) -> Self:
        """Run a model over sequences, and draw the gates and states of one of them.

        Parameters
        ----------
        model : fitted estimator, or layer
        X
            Sequences, in a form that the model takes.
        row : int, at least 0, default 0
            The sequence to draw.
        layer : int, at least 0, default 0
            The layer and direction, as in `Trace`: with `bidirectional`, 0 is the first layer forwards, 1 the first
            layer backwards, 2 the second layer forwards, and so on.
        lengths : int array, shape (n,); optional
            Steps of each sequence of a padded array.
        ax : matplotlib Axes, or array of them; optional
            Where to draw: one axes that the panels replace, or one for each panel. By default there is a new figure.

        Returns
        -------
        GatesDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X has a form that the model does not take, or the row or layer does not exist.
        ImportError
            If matplotlib is not installed.
        """
        return cls._of(row_of(model, X, row, layer, lengths)).plot(ax)

    @classmethod
    def from_trace(cls, trace: Any, X: Any = None, *, row: int = 0, layer: int = 0, ax: Any = None) -> Self:
        """Draw the gates and states of one sequence in a trace.

        Parameters
        ----------
        trace : Trace
        X : optional
            The sequences of the trace; the chosen one is drawn above.
        row, layer, ax
            As in `from_estimator`.

        Returns
        -------
        GatesDisplay

        Raises
        ------
        TypeError, ValueError, ImportError
            As `from_estimator` does.
        """
        return cls._of(row_of(trace, X, row, layer)).plot(ax)

    @classmethod
    def _of(cls, row: Row) -> Self:
        """A display that has the unit with the longest memory on top."""
        constants = row.time_constants
        units = row.values["hidden_state"].shape[1] if constants is None else len(constants)
        order = np.arange(units) if constants is None else np.argsort(-constants, kind="stable")
        return cls(row.values, order, row.x)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, or array of them; optional
            As in `from_estimator`.

        Returns
        -------
        GatesDisplay
            With the attributes that are listed above.

        Raises
        ------
        ValueError
            If `ax` is an array of another length than there are panels.
        ImportError
            If matplotlib is not installed.
        """
        names = sorted(self.values, key=ORDER.index)
        panels = ([] if self.x is None else ["input"]) + names
        self.ax_ = stacked_axes(ax, [1.0] * len(panels))
        self.figure_ = self.ax_[0].figure
        self.images_: dict[str, Any] = {}
        self.lines_: list[Any] = []
        for name, panel in zip(panels, self.ax_, strict=True):
            if name == "input":
                self._draw_input(panel)
            else:
                self._draw_values(panel, name)
        self.ax_[-1].set_xlabel("step")
        integer_ticks(self.ax_[-1].xaxis)
        return self

    def _draw_input(self, panel: Any) -> None:
        assert self.x is not None
        if self.x.shape[1] > LINES:
            self.images_["input"] = heat_map(panel, self.x, "input", share=False)
            return
        self.lines_ = lines(panel, self.x, [f"channel {k}" for k in range(self.x.shape[1])])
        panel.set_ylabel("input")
        if self.x.shape[1] > 1:
            panel.legend(frameon=False, fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=LINES)

    def _draw_values(self, panel: Any, name: str) -> None:
        values = self.values[name]
        if values.shape[1] == len(self.order):  # a projection has other units
            values = values[:, self.order]
        self.images_[name] = heat_map(panel, values, LABELS[name], share=name.endswith("_gate"))


def plot_gates(
    model: Any, X: Any = None, row: int = 0, *, layer: int = 0, lengths: Any = None, ax: Any = None
) -> GatesDisplay:
    """Draw the gates and states of a layer while a model reads a sequence.

    It draws a heat map over time for each gate and state, below the sequence itself. The units with the longest memory
    are on top: those with the largest mean of the forget gate, or of the update gate of a GRU.

    Parameters
    ----------
    model : fitted estimator, layer or Trace
    X
        Sequences, in a form that the model takes. With a trace, the sequences of the trace, or None.
    row : int, at least 0, default 0
        The sequence to draw.
    layer : int, at least 0, default 0
        The layer and direction, as in `Trace`: with `bidirectional`, 0 is the first layer forwards, 1 the first layer
        backwards, 2 the second layer forwards, and so on.
    lengths : int array, shape (n,); optional
        Steps of each sequence of a padded array.
    ax : matplotlib Axes, or array of them; optional
        Where to draw: one axes that the panels replace, or one for each panel. By default there is a new figure.

    Returns
    -------
    GatesDisplay
        The figure is in `figure_`.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError, ValueError
        If X has a form that the model does not take, or the row or layer does not exist.
    ImportError
        If matplotlib is not installed: extra ``plot``.

    See Also
    --------
    plot_memory : How long each unit remembers, and what made it write.

    References
    ----------
    .. [1] A. Karpathy, J. Johnson, L. Fei-Fei, "Visualizing and Understanding Recurrent Networks", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTM
    >>> from numlstm.inspection import plot_gates
    >>> display = plot_gates(LSTM(2, 5, random_state=0), np.random.default_rng(0).normal(size=(4, 20, 2)), row=3)
    >>> [*display.images_]
    ['input_gate', 'forget_gate', 'output_gate', 'cell_input', 'cell_state', 'hidden_state']
    """
    return GatesDisplay._of(row_of(model, X, row, layer, lengths)).plot(ax)
