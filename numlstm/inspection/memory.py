"""The memory of each unit: how long it lasts, what made the unit write, and how open its output gate was."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .plotting import COLOURS, SIGNED, integer_ticks, plain_log_ticks, stacked_axes
from .reading import KEEPS, check_index, time_constants, traced

WRITES, READS = ("input_gate",), ("output_gate", "reset_gate")


class MemoryDisplay:
    """The memory of each unit of a layer: its time constant, what made it write, and how open its output gate was.

    Use `from_estimator`.

    Parameters
    ----------
    time_constants : array, shape (H,)
        Steps until 1/e of a unit's state is left: ``-1 / log f`` with the mean f of its forget gate.
    written_by : array, shape (H, C)
        Correlation of each unit's input gate with each channel of the input, over all steps.
    read : array, shape (H,)
        Mean of each unit's output gate.
    names : tuple of (str, str, str)
        The names of the gates that keep, write and read.

    Attributes
    ----------
    order : int array, shape (H,)
        Units from left to right, from the longest memory to the shortest.
    ax_ : array of matplotlib Axes, shape (3,)
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage
        The image of `written_by`.
    constants_, read_ : matplotlib Line2D
        The lines of `time_constants` and `read`.

    See Also
    --------
    plot_memory : The same as a function.
    """

    def __init__(
        self, time_constants: np.ndarray, written_by: np.ndarray, read: np.ndarray, names: tuple[str, str, str]
    ) -> None:
        self.time_constants, self.written_by, self.read, self.names = time_constants, written_by, read, names
        self.order = np.argsort(-time_constants, kind="stable")

    @classmethod
    def from_estimator(cls, model: Any, X: Any, *, layer: int = 0, lengths: Any = None, ax: Any = None) -> Self:
        """Run a model over sequences, and draw the memory of its units.

        Parameters
        ----------
        model : fitted estimator, layer or Trace
        X
            Sequences, in a form that the model takes.
        layer : int, at least 0, default 0
            The layer and direction, as in `Trace`.
        lengths : int array, shape (n,); optional
            Steps of each sequence of a padded array.
        ax : array of three matplotlib Axes, or one; optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        MemoryDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X has a form that the model does not take, if the layer does not exist, or if its cells have neither a
            forget gate nor an update gate.
        ImportError
            If matplotlib is not installed.
        """
        trace, sequences = traced(model, X, lengths)
        if sequences is None:
            raise TypeError("X must hold sequences of numbers, those that were traced; got texts, categories or None")
        names = list(trace)
        check_index(layer, "layer", len(trace[names[0]]), "layers (times directions)")
        keeps = next((name for name in KEEPS if name in trace), None)
        if keeps is None:
            raise ValueError(
                f"model must have cells with a forget gate or an update gate, got a trace of {', '.join(names)}: "
                "nothing in a plain RNN says how long a unit remembers"
            )
        writes = next((name for name in WRITES if name in trace), keeps)
        reads = next(name for name in READS if name in trace)
        kept, written, read = (_steps(trace, name, layer) for name in (keeps, writes, reads))
        written_by = _correlations(written, np.concatenate(sequences))
        return cls(time_constants(kept), written_by, read.mean(axis=0), (keeps, writes, reads)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : array of three matplotlib Axes, or one; optional
            By default there is a new figure.

        Returns
        -------
        MemoryDisplay
            With the attributes that are listed above.

        Raises
        ------
        ValueError
            If `ax` is an array of another length.
        ImportError
            If matplotlib is not installed.
        """
        channels = self.written_by.shape[1]
        self.ax_ = top, middle, bottom = stacked_axes(ax, [1.6, min(2.4, 0.8 + 0.15 * channels), 1.2])
        self.figure_ = top.figure
        units = np.arange(len(self.order))
        keeps, writes, reads = (name.replace("_", " ") for name in self.names)
        (self.constants_,) = top.plot(
            units, self.time_constants[self.order], color=COLOURS[0], marker="o", linestyle="none"
        )
        top.set(yscale="log", ylabel="time constant\n(steps)", title=f"memory, by the {keeps}")
        plain_log_ticks(top.yaxis)
        top.grid(axis="y", alpha=0.3)
        self.image_ = middle.imshow(
            self.written_by[self.order].T, aspect="auto", interpolation="nearest", cmap=SIGNED, vmin=-1, vmax=1
        )
        self.figure_.colorbar(self.image_, ax=middle, pad=0.01)
        middle.set(ylabel="channel", title=f"written: correlation of the {writes} with the input")
        integer_ticks(middle.yaxis)
        integer_ticks(bottom.xaxis)
        (self.read_,) = bottom.plot(units, self.read[self.order], color=COLOURS[1], marker="o", linestyle="none")
        bottom.set(ylim=(-0.05, 1.05), ylabel=f"mean\n{reads}", xlabel="unit, the longest memory first", title="read")
        return self


def _steps(trace: Any, name: str, layer: int) -> np.ndarray:
    """The values of a gate at all steps of all sequences, (M, H)."""
    values = np.asarray(trace[name][layer], np.float64)
    values = values[None] if values.ndim == 2 else values
    return np.concatenate([row[:length] for row, length in zip(values, trace.lengths.tolist(), strict=True)])


def _correlations(gates: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Pearson's correlations (H, C) of columns of gates (M, H) and of x (M, C); 0 where a column is constant."""
    gates, x = gates - gates.mean(axis=0), x - x.mean(axis=0)
    norms = np.linalg.norm(gates, axis=0)[:, None] * np.linalg.norm(x, axis=0)
    return np.divide(gates.T @ x, norms, out=np.zeros(norms.shape), where=norms > 1e-12)


def plot_memory(model: Any, X: Any, *, layer: int = 0, lengths: Any = None, ax: Any = None) -> MemoryDisplay:
    """Draw how long each unit of a layer remembers, what made it write, and how open its output gate was.

    The mean f of a forget gate gives a time constant: after ``-1 / log f`` steps, 1/e of the state is left. The
    correlation of the input gate with each channel of the input shows what made a unit write. The mean of the output
    gate shows how much of the unit is read. In a GRU, the update gate keeps and writes, and the reset gate reads.

    Parameters
    ----------
    model : fitted estimator, layer or Trace
    X
        Sequences, in a form that the model takes. With a trace, the sequences of the trace.
    layer : int, at least 0, default 0
        The layer and direction, as in `Trace`: with `bidirectional`, 0 is the first layer forwards, 1 the first layer
        backwards, 2 the second layer forwards, and so on.
    lengths : int array, shape (n,); optional
        Steps of each sequence of a padded array.
    ax : array of three matplotlib Axes, or one; optional
        Where to draw; by default there is a new figure.

    Returns
    -------
    MemoryDisplay
        The numbers are in `time_constants`, `written_by` and `read`, the figure is in `figure_`.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError, ValueError
        If X has a form that the model does not take, if the layer does not exist, or if its cells have neither a
        forget gate nor an update gate.
    ImportError
        If matplotlib is not installed: extra ``plot``.

    References
    ----------
    .. [1] C. Tallec, Y. Ollivier, "Can Recurrent Neural Networks Warp Time?", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTM
    >>> from numlstm.inspection import plot_memory
    >>> x = np.random.default_rng(0).normal(size=(4, 20, 2))
    >>> display = plot_memory(LSTM(2, 5, forget_bias=3.0, random_state=0), x)
    >>> bool((display.time_constants > 10).all())
    True
    """
    return MemoryDisplay.from_estimator(model, X, layer=layer, lengths=lengths, ax=ax)
