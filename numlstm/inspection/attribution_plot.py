"""A sequence, and the share of each channel at each step, drawn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .attribution import Attribution, attribute
from .plotting import COLOURS, SIGNED, integer_ticks, lines, stacked_axes
from .reading import check_index


class AttributionDisplay:
    """A sequence, and below it the share of each channel at each step.

    Use `from_estimator`, or pass the result of `attribute`.

    Parameters
    ----------
    attribution : Attribution
    row : int, at least 0, default 0
        The sequence to draw.

    Attributes
    ----------
    ax_ : array of matplotlib Axes, shape (3,)
        Of the sequence, of the shares, and of their sums over all channels.
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        The channels.
    image_ : matplotlib AxesImage
        Shares, a row for each channel.
    bars_ : matplotlib BarContainer
        Their sums at each step.

    See Also
    --------
    plot_attribution : The same as a function.
    """

    def __init__(self, attribution: Attribution, row: int = 0) -> None:
        self.attribution, self.row = attribution, row

    @classmethod
    def from_estimator(
        cls, model: Any, X: Any, target: Any = None, *, row: int = 0, lengths: Any = None, static: Any = None,
        ax: Any = None, **options: Any,
    ) -> Self:  # fmt: skip
        """Explain a score, and draw the shares.

        Parameters
        ----------
        model, X, target, lengths, static
            As in `attribute`.
        row : int, at least 0, default 0
            The sequence to draw.
        ax : array of three matplotlib Axes, or one; optional
            Where to draw; by default there is a new figure.
        **options
            `method`, `baselines`, `covariates`, `n_steps` and `window` of `attribute`.

        Returns
        -------
        AttributionDisplay

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `attribute` does, and if the row does not exist.
        ImportError
            If matplotlib is not installed.
        """
        return cls(attribute(model, X, target, lengths=lengths, static=static, **options), row).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : array of three matplotlib Axes, or one; optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        AttributionDisplay
            With the attributes that are listed above.

        Raises
        ------
        TypeError, ValueError
            If the row does not exist, or `ax` is an array of another length.
        ImportError
            If matplotlib is not installed.
        """
        attribution = self.attribution
        row = check_index(self.row, "row", len(attribution.values), "sequences")
        x, values = attribution.sequences[row], attribution.values[row]
        channels, first = values.shape[1], attribution.first_step
        self.ax_ = top, middle, bottom = stacked_axes(ax, [1.4, min(2.4, 0.6 + 0.2 * channels), 1.2])
        self.figure_ = top.figure
        self.lines_ = lines(top, x, [f"channel {k}" for k in range(channels)], first)
        score, baseline_score = attribution.scores[row], attribution.baseline_scores[row]
        top.set_ylabel("input")
        top.set_title(f"score {score:.3g}, of the baseline {baseline_score:.3g}", loc="left")
        bound = max(float(np.abs(values).max()), 1e-12)
        self.image_ = middle.imshow(
            values.T, aspect="auto", interpolation="nearest", cmap=SIGNED, vmin=-bound, vmax=bound,
            extent=(first - 0.5, first + len(values) - 0.5, channels - 0.5, -0.5),
        )  # fmt: skip
        self.figure_.colorbar(self.image_, ax=middle, pad=0.01)
        middle.set(ylabel="channel", title=attribution.method.replace("_", " "))
        integer_ticks(middle.yaxis)
        integer_ticks(bottom.xaxis)
        if 1 < channels <= len(COLOURS):
            top.legend(frameon=False, fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=channels)
        self.bars_ = bottom.bar(first + np.arange(len(values)), values.sum(axis=1), color=COLOURS[0])
        bottom.axhline(0, color="black", linewidth=0.8)
        bottom.set(xlabel="step", ylabel="sum")
        return self


def plot_attribution(
    model: Any, X: Any, target: Any = None, row: int = 0, *, lengths: Any = None, static: Any = None, ax: Any = None,
    **options: Any,
) -> AttributionDisplay:  # fmt: skip
    """Draw an attribution: the share of each channel at each step in a prediction.

    Parameters
    ----------
    model : fitted estimator
    X, target, lengths, static
        As in `attribute`.
    row : int, at least 0, default 0
        The sequence to draw.
    ax : array of three matplotlib Axes, or one; optional
        Where to draw; by default there is a new figure.
    **options
        `method`, `baselines`, `covariates`, `n_steps` and `window` of `attribute`.

    Returns
    -------
    AttributionDisplay
        With the numbers in `attribution`, and the figure in `figure_`.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        As `attribute` does, and if the row does not exist.
    ImportError
        If matplotlib is not installed: extra ``plot``.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTMRegressor
    >>> from numlstm.inspection import plot_attribution
    >>> X = np.random.default_rng(0).normal(size=(50, 8, 2))
    >>> display = plot_attribution(LSTMRegressor(hidden_size=8, random_state=0).fit(X, X[:, 3, 1]), X, row=2)
    >>> display.image_.get_array().shape
    (2, 8)
    """
    return AttributionDisplay.from_estimator(
        model, X, target, row=row, lengths=lengths, static=static, ax=ax, **options
    )
