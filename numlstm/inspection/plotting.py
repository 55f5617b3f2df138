"""Code that all displays share: the import of matplotlib, colours, axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito 2008
STYLES = ("-", "--", "-.", ":")
SHARES, SIGNED = "viridis", "PuOr"  # colour maps from 0 to 1, and around 0


def pyplot() -> Any:
    """Matplotlib's interface.

    Raises
    ------
    ImportError
        If matplotlib is not installed; the message names the extra.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "numlstm[plot]"') from error
    return plt


def integer_ticks(axis: Any) -> None:
    """Ticks at whole numbers."""
    axis.set_major_locator(pyplot().MaxNLocator(integer=True, min_n_ticks=1))


def plain_log_ticks(axis: Any) -> None:
    """Plain numbers at 1, 2 and 5 times powers of 10 on a logarithmic axis."""
    plt = pyplot()
    axis.set_major_locator(plt.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(plt.ScalarFormatter())
    axis.set_minor_formatter(plt.NullFormatter())


def single_axes(ax: Any, size: tuple[float, float] = (6.4, 4.0)) -> Any:
    """`ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    return pyplot().figure(figsize=size, layout="constrained").add_subplot()


def stacked_axes(ax: Any, heights: Sequence[float], width: float = 7.0) -> np.ndarray:
    """Axes below one another that share the horizontal axis: in a new figure, or in the place of `ax`.

    Raises
    ------
    ValueError
        If `ax` is an array of axes that does not have one for each height.
    """
    plt = pyplot()
    if isinstance(ax, np.ndarray | list | tuple):
        axes = np.array(ax, object).ravel()
        if len(axes) != len(heights):
            raise ValueError(f"ax must hold {len(heights)} axes, one for each panel, got {len(axes)}")
        return axes
    if ax is None:
        figure = plt.figure(figsize=(width, 0.6 + sum(heights)), layout="constrained")
        return figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    ax.set_axis_off()
    grid = ax.get_subplotspec().subgridspec(len(heights), 1, height_ratios=heights)
    return grid.subplots(sharex=True, squeeze=False)[:, 0]


def heat_map(ax: Any, values: np.ndarray, label: str, *, share: bool) -> Any:
    """Values (T, H) as an image with a row for each unit; colours range from 0 to 1 for shares, else around 0."""
    bound = 1.0 if share else max(float(np.abs(values).max(initial=0.0)), 1e-12)
    image = ax.imshow(
        values.T, aspect="auto", interpolation="nearest", cmap=SHARES if share else SIGNED,
        vmin=0.0 if share else -bound, vmax=bound,
    )  # fmt: skip
    ax.figure.colorbar(image, ax=ax, pad=0.01)
    ax.set_ylabel(label)
    integer_ticks(ax.yaxis)
    return image


def lines(ax: Any, values: np.ndarray, labels: Sequence[str], first: int = 0) -> list[Any]:
    """Columns of values (T, C), from step `first` on, as lines that differ in colour and style."""
    steps = first + np.arange(len(values))
    drawn = []
    for k, (column, label) in enumerate(zip(values.T, labels, strict=True)):
        colour, style = COLOURS[k % len(COLOURS)], STYLES[k % len(STYLES)]
        drawn += ax.plot(steps, column, color=colour, linestyle=style, label=label)
    return drawn
