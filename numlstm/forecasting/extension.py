"""Forecasts beyond the horizon of `fit`: forecasts are taken as observations, and the next ones start after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .learning import Learnt, seen
from .series import Panel, Series
from .windows import Windows


def extended(
    learnt: Learnt, panel: Panel, windows: Windows, horizon: int, forecast: Callable[[Windows], np.ndarray]
) -> np.ndarray:
    """The values that `forecast` gives for the next steps of each series, (S, horizon).

    Parameters
    ----------
    learnt : Learnt
    panel : Panel
        It has no past covariates, and future covariates for all steps of the horizon.
    windows : Windows
        The last windows of the series.
    horizon : int
        If it is longer than that of `learnt`, there are several blocks. Each one takes the blocks before it as
        observations; the mean and the deviation of each series stay.
    forecast : callable
        Gives values (S, H) after the last windows of the series.
    """
    blocks = [forecast(windows)]
    if blocks[0].shape[1] < horizon:
        panel = panel.map(lambda series: series if series.seen else seen(series, learnt.settings, panel.frequency))
    while sum(block.shape[1] for block in blocks) < horizon:
        series = [_followed(one_series, block) for one_series, block in zip(panel.series, blocks[-1], strict=True)]
        panel = replace(panel, series=series)
        blocks.append(forecast(learnt.last_windows(panel)))
    return np.concatenate(blocks, axis=1)[:, :horizon]


def _followed(series: Series, values: np.ndarray) -> Series:
    """The series with values after its last step."""
    joined = np.concatenate([series.values, values])
    return replace(series, values=joined, past=np.empty((len(joined), 0)))
