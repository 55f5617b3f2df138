"""Members of a forecast, and their weighted mean; weights follow from errors on windows that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .distributions import Head
from .members import Linear, Network, Simple, Trend
from .windows import CovariateScale, Lengths, Prepared, Windows, prepared

LEAST = 0.02  # members with less weight are dropped
HELD_OUT = 0.2  # the last windows, as a share of all windows
ENOUGH = 5  # windows that do not overlap, for a power of 1.5 in weights
FEWEST = 8  # least number of windows to learn from when others are held out

Member = Linear | Trend | Network


class Recipe(NamedTuple):
    """Which members to fit, and how to train networks.

    Attributes
    ----------
    kinds : tuple of {"none", "first", "seasonal", "counts"}
    linear : bool
        Whether to fit linear members, and a trend.
    head : Head
        What networks predict.
    seeds : list of int
        One seed for each network of a kind.
    options : dict
        Parameters of the networks.
    is_tested : bool
        Whether to measure errors on held-out windows even if there is only one member.
    """

    kinds: tuple[str, ...]
    linear: bool
    head: Head
    seeds: list[int]
    options: dict[str, Any]
    is_tested: bool


@dataclass(frozen=True)
class Combination:
    """A weighted mean of forecasts.

    Attributes
    ----------
    lengths : Lengths
    scale : CovariateScale
    members : list of Linear, Trend and Network
    weights : array, shape (members,)
    """

    lengths: Lengths
    scale: CovariateScale
    members: list[Member]
    weights: np.ndarray

    def predict(self, windows: Windows) -> np.ndarray:
        """Forecasts of transformed values, (n, H)."""
        return self._mean(self.predict_each(windows))

    def predict_each(self, windows: Windows) -> np.ndarray:
        """Forecasts of each member, (members, n, H)."""
        windows, inputs = self.inputs(windows)
        forecasts = [member.predict(windows, inputs[member.kind], self.lengths) for member in self.members]
        return self._restored(forecasts, inputs)

    def quantiles(self, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Quantiles of transformed values, (n, H, levels): the weighted mean of the members' quantiles [1]_.

        References
        ----------
        .. [1] R. Ratcliff, "Group reaction time distributions and an analysis of distribution statistics", 1979.
        """
        windows, inputs = self.inputs(windows)
        quantiles = [member.quantiles(windows, inputs[member.kind], self.lengths, levels) for member in self.members]
        return self._mean(self._restored(quantiles, inputs))

    def _mean(self, each: np.ndarray) -> np.ndarray:
        """The weighted mean of members (members, ...), relative to the first: if all are equal, so is the mean."""
        return each[0] + np.tensordot(self.weights, each - each[0], 1)

    def inputs(self, windows: Windows) -> tuple[Windows, dict[str, Prepared]]:
        """Windows with scaled covariates, and what members of each kind read from them."""
        windows = self.scale.scaled(windows)
        kinds = {member.kind for member in self.members}
        return windows, {kind: prepared(windows, kind, self.lengths) for kind in kinds}

    def _restored(self, scaled: list[np.ndarray], inputs: dict[str, Prepared]) -> np.ndarray:
        """Scaled forecasts or quantiles of each member, as transformed values."""
        return np.array(
            [inputs[member.kind].restored(array) for member, array in zip(self.members, scaled, strict=True)]
        )


class Trial(NamedTuple):
    """A combination, and the windows to measure its errors on.

    Attributes
    ----------
    combination : Combination
        It has learnt from the other windows.
    windows : Windows
    held_out : bool
        False if there were too few windows to hold some out; then the combination has learnt from `windows`.
    """

    combination: Combination
    windows: Windows
    held_out: bool


def combined(windows: Windows, lengths: Lengths, recipe: Recipe) -> tuple[Combination, Trial]:
    """The combination for all windows, and a trial of it on held-out windows.

    Members first learn from the first windows of each series and forecast the last ones, which gives their weights.
    Then they learn from all windows. If there are too few windows to hold some out, there is no trend, and all weights
    are equal.
    """
    early, late = parted(windows, lengths.horizon)
    scale = CovariateScale.of(windows)
    candidates = _candidates(windows, lengths, recipe)
    if late is None or early is None or (len(candidates) == 1 and not recipe.is_tested):
        members = _fitted(windows, lengths, scale, candidates, recipe)
        members, _ = _tested(members, members, windows, lengths, scale)
        combination = Combination(lengths, scale, members, np.full(len(members), 1 / len(members)))
        return combination, Trial(combination, windows, False)
    trial_recipe = recipe._replace(seeds=recipe.seeds[:1])
    candidates = _candidates(early, lengths, trial_recipe)
    if recipe.linear and "first" in recipe.kinds and "none" not in recipe.kinds:  # "none": series without a trend
        candidates.append(("first", "trend"))
    unweighted = Combination(lengths, scale, _fitted(early, lengths, scale, candidates, trial_recipe), np.empty(0))
    weights = _weights((unweighted.predict_each(late) - late.ahead) / late.spread)
    kept = np.flatnonzero(weights >= LEAST)
    weights = weights[kept] / weights[kept].sum()
    members = _fitted(windows, lengths, scale, [candidates[k] for k in kept], recipe)
    members, early_members = _tested(members, [unweighted.members[k] for k in kept], late, lengths, scale)
    trial = Combination(lengths, scale, early_members, weights)
    return Combination(lengths, scale, members, weights), Trial(trial, late, True)


def _tested(
    members: Sequence[Member], early: Sequence[Member], late: Windows, lengths: Lengths, scale: CovariateScale
) -> tuple[list[Member], list[Member]]:
    """Members and early members; those without a network get the errors of the early member in the late windows."""
    pairs: list[tuple[Member, Member]] = []
    for member, early_member in zip(members, early, strict=True):
        if isinstance(member, Simple) and isinstance(early_member, Simple):
            steps, errors = early_member.tested(scale.scaled(late), lengths)
            measured = replace(early_member, steps=steps, errors=errors)
            pairs.append((replace(member, steps=steps, errors=errors), measured))
        else:
            pairs.append((member, early_member))
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _candidates(windows: Windows, lengths: Lengths, recipe: Recipe) -> list[tuple[str, str]]:
    """The kinds and types of members for which the windows are long enough."""
    longest = windows.origin.max()
    kinds = [kind for kind in recipe.kinds if lengths.history(kind) <= longest]
    types = ["linear"] * recipe.linear + ["network"] * bool(recipe.seeds)
    return [(kind, member_type) for kind in kinds for member_type in types]


def _fitted(
    windows: Windows, lengths: Lengths, scale: CovariateScale, candidates: Sequence[tuple[str, str]], recipe: Recipe
) -> list[Member]:
    """The candidates, fitted; each one to the windows that have the history it needs."""
    windows = scale.scaled(windows)
    members: list[Member] = []
    for kind, member_type in candidates:
        long_enough = windows[windows.origin >= lengths.history(kind)]
        if member_type == "trend":
            members.append(Trend.of(lengths))
        elif member_type == "linear":
            members.append(Linear.fit(kind, long_enough, lengths))
        else:
            members.append(Network.fit(kind, long_enough, lengths, recipe.head, recipe.seeds, recipe.options))
    return members


def _weights(errors: np.ndarray) -> np.ndarray:
    """Weights of members, with sum 1: inverse powers of the mean squares of their errors (members, n, H).

    The power is 1 for few windows, as in [1]_. It approaches 2 for many: these show which members are accurate, and as
    errors of members depend on one another, it is best to favour accurate ones more. Windows overlap, so n / H count.

    References
    ----------
    .. [1] J. Bates, C. Granger, "The Combination of Forecasts", 1969.
    """
    squares = np.nanmean(errors.reshape(len(errors), -1) ** 2, axis=1)
    if squares.max() == 0:
        return np.full(len(squares), 1 / len(squares))
    count = errors.shape[1] / errors.shape[2]
    inverse = np.maximum(squares / squares.max(), 1e-12) ** -(1 + count / (count + ENOUGH))
    return inverse / inverse.sum()


def parted(windows: Windows, horizon: int) -> tuple[Windows | None, Windows | None]:
    """Split windows into early ones to learn from and late ones to hold out.

    The late windows are the last ones of each series; no early window contains their targets. If series are short but
    many, the windows of the last series are held out whole. If there are too few windows, both results are None.
    """
    last = np.zeros(windows.owner.max() + 1, np.int64)
    np.maximum.at(last, windows.owner, windows.origin)
    first = np.full(len(last), last.max() + 1)
    np.minimum.at(first, windows.owner, windows.origin)
    late_count = np.maximum(np.ceil(HELD_OUT * (last - first + 1)), 1).astype(np.int64)
    cut = (last - late_count + 1)[windows.owner]
    known = np.isfinite(windows.ahead).any(axis=1)
    late, early = (windows.origin >= cut) & known, (windows.origin <= cut - horizon) & known
    if early.sum() < FEWEST <= (1 - HELD_OUT) * len(last):
        late = (windows.owner >= len(last) - np.ceil(HELD_OUT * len(last))) & known
        early = ~late & known
    if early.sum() < FEWEST or not late.any():
        return None, None
    return windows[early], windows[late]
