"""Members of a forecast, combined by their errors on windows that they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .distributions import Head
from .members import Linear, Network
from .windows import CovariateScale, Lengths, Prepared, Windows, prepared

LEAST = 0.02  # weight of a member that is kept
HELD_OUT = 0.2  # share of the windows, the last ones
FEWEST = 8  # windows to learn from, when others are held out

Member = Linear | Network


class Recipe(NamedTuple):
    """What members there are to be, and how networks are trained.

    Attributes
    ----------
    kinds : tuple of {"none", "first", "seasonal", "counts"}
    linear : bool
        Whether there are linear members.
    head : Head
        What networks say.
    seeds : list of int
        Of the networks of a kind.
    options : dict
        Of the networks.
    is_tested : bool
        Whether errors on windows that are held out are wanted where there is but one member.
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
    members : list of Linear and Network
    weights : array, shape (members,)
    """

    lengths: Lengths
    scale: CovariateScale
    members: list[Member]
    weights: np.ndarray

    def predict(self, windows: Windows) -> np.ndarray:
        """Forecasts of transformed values, (n, H)."""
        return np.tensordot(self.weights, self.predict_each(windows), 1)

    def predict_each(self, windows: Windows) -> np.ndarray:
        """Those of each member, (members, n, H)."""
        windows, ways = self._prepared(windows)
        return self._restored([each.predict(windows, ways[each.kind], self.lengths) for each in self.members], ways)

    def quantiles(self, windows: Windows, levels: np.ndarray) -> np.ndarray:
        """Quantiles of transformed values, (n, H, levels): the weighted mean of those of each member [1]_.

        References
        ----------
        .. [1] R. Ratcliff, "Group reaction time distributions and an analysis of distribution statistics", 1979.
        """
        windows, ways = self._prepared(windows)
        said = [each.quantiles(windows, ways[each.kind], self.lengths, levels) for each in self.members]
        return np.tensordot(self.weights, self._restored(said, ways), 1)

    def _prepared(self, windows: Windows) -> tuple[Windows, dict[str, Prepared]]:
        windows = self.scale.scaled(windows)
        return windows, {kind: prepared(windows, kind, self.lengths) for kind in {each.kind for each in self.members}}

    def _restored(self, said: list[np.ndarray], ways: dict[str, Prepared]) -> np.ndarray:
        return np.array([ways[member.kind].restored(each) for member, each in zip(self.members, said, strict=True)])


class Trial(NamedTuple):
    """What a combination does on windows that were held out.

    Attributes
    ----------
    combination : Combination
        Learnt from the other windows.
    windows : Windows
    held_out : bool
        False where there were too few to be parted: then these are the windows that it has learnt from.
    """

    combination: Combination
    windows: Windows
    held_out: bool


def combined(windows: Windows, lengths: Lengths, recipe: Recipe) -> tuple[Combination, Trial]:
    """The combination for all windows, and how it does on windows that were held out.

    Members learn from the first windows of each series, forecast the last ones, and are weighted by the inverse of
    their mean squared errors there [1]_; then they learn from all. Too few windows are not parted: then weights are
    equal.

    References
    ----------
    .. [1] J. Bates, C. Granger, "The Combination of Forecasts", 1969.
    """
    early, late = parted(windows, lengths.horizon)
    scale = CovariateScale.of(windows)
    candidates = _candidates(windows, lengths, recipe)
    if late is None or early is None or (len(candidates) == 1 and not recipe.is_tested):
        members = _fitted(windows, lengths, scale, candidates, recipe)
        members, _ = _tested(members, members, windows, lengths, scale)
        even = Combination(lengths, scale, members, np.full(len(members), 1 / len(members)))
        return even, Trial(even, windows, False)
    first = recipe._replace(seeds=recipe.seeds[:1])
    candidates = _candidates(early, lengths, first)
    tried = Combination(lengths, scale, _fitted(early, lengths, scale, candidates, first), np.empty(0))
    weights = _weights((tried.predict_each(late) - late.ahead) / late.spread)
    kept = np.flatnonzero(weights >= LEAST)
    weights = weights[kept] / weights[kept].sum()
    members = _fitted(windows, lengths, scale, [candidates[k] for k in kept], recipe)
    members, early_members = _tested(members, [tried.members[k] for k in kept], late, lengths, scale)
    trial = Combination(lengths, scale, early_members, weights)
    return Combination(lengths, scale, members, weights), Trial(trial, late, True)


def _tested(
    members: Sequence[Member], early: Sequence[Member], late: Windows, lengths: Lengths, scale: CovariateScale
) -> tuple[list[Member], list[Member]]:
    """Members, and those that have learnt less, where linear ones know the errors of the latter in late windows."""
    pairs: list[tuple[Member, Member]] = []
    for member, other in zip(members, early, strict=True):
        if isinstance(member, Linear) and isinstance(other, Linear):
            steps, errors = other.tested(scale.scaled(late), lengths)
            pairs.append((replace(member, steps=steps, errors=errors), replace(other, steps=steps, errors=errors)))
        else:
            pairs.append((member, other))
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _candidates(windows: Windows, lengths: Lengths, recipe: Recipe) -> list[tuple[str, str]]:
    """The kinds and types of members that windows suffice for."""
    longest = windows.origin.max()
    kinds = [kind for kind in recipe.kinds if lengths.history(kind) <= longest]
    types = ["linear"] * recipe.linear + ["network"] * bool(recipe.seeds)
    return [(kind, each) for kind in kinds for each in types]


def _fitted(
    windows: Windows, lengths: Lengths, scale: CovariateScale, candidates: Sequence[tuple[str, str]], recipe: Recipe
) -> list[Member]:
    windows = scale.scaled(windows)
    members: list[Member] = []
    for kind, each in candidates:
        own = windows[windows.origin >= lengths.history(kind)]
        if each == "linear":
            members.append(Linear.fit(kind, own, lengths))
        else:
            members.append(Network.fit(kind, own, lengths, recipe.head, recipe.seeds, recipe.options))
    return members


def _weights(errors: np.ndarray) -> np.ndarray:
    """The inverse mean squares of errors (members, n, H), as shares."""
    squares = np.nanmean(errors.reshape(len(errors), -1) ** 2, axis=1)
    inverse = 1 / np.maximum(squares, 1e-12 * squares.max() + 1e-300)
    return inverse / inverse.sum()


def parted(windows: Windows, horizon: int) -> tuple[Windows | None, Windows | None]:
    """The windows before, and the last ones of each series, whose targets are in none of those before.

    Where series are too short for that, but many, the windows of the first series, and those of the last ones. None,
    twice, where there are too few.
    """
    last = np.zeros(windows.owner.max() + 1, np.int64)
    np.maximum.at(last, windows.owner, windows.origin)
    first = np.full(len(last), last.max() + 1)
    np.minimum.at(first, windows.owner, windows.origin)
    held = np.maximum(np.ceil(HELD_OUT * (last - first + 1)), 1).astype(np.int64)
    cut = (last - held + 1)[windows.owner]
    known = np.isfinite(windows.ahead).any(axis=1)
    late, early = (windows.origin >= cut) & known, (windows.origin <= cut - horizon) & known
    if early.sum() < FEWEST <= (1 - HELD_OUT) * len(last):
        late = (windows.owner >= len(last) - np.ceil(HELD_OUT * len(last))) & known
        early = ~late & known
    if early.sum() < FEWEST or not late.any():
        return None, None
    return windows[early], windows[late]
