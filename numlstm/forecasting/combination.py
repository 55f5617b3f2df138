"""Members of a forecast, combined by their errors on windows that they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .members import Linear, Network
from .windows import KINDS, CovariateScale, Lengths, Prepared, Windows, prepared

LEAST = 0.02  # weight of a member that is kept
HELD_OUT = 0.2  # share of the windows, the last ones
POWER = 1.0
FEWEST = 8  # windows to learn from, when others are held out

Member = Linear | Network


class Recipe(NamedTuple):
    """What members there are to be, and how networks are trained.

    Attributes
    ----------
    kinds : tuple of {"none", "first", "seasonal"}
    linear : bool
        Whether there are linear members.
    seeds : list of int
        Of the networks of a kind.
    options : dict
        Of the networks.
    """

    kinds: tuple[str, ...]
    linear: bool
    seeds: list[int]
    options: dict[str, Any]


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

    @property
    def reach(self) -> int:
        """Steps of the past that windows must have."""
        return max(self.lengths.history(member.kind) for member in self.members)

    def predict(self, windows: Windows) -> np.ndarray:
        """Forecasts of transformed values, (n, H)."""
        return np.tensordot(self.weights, self.predict_each(windows), 1)

    def predict_each(self, windows: Windows) -> np.ndarray:
        """Those of each member, (members, n, H)."""
        windows = self.scale.scaled(windows)
        ways = {member.kind: prepared(windows, member.kind, self.lengths) for member in self.members}
        return np.array([_restored(member, windows, ways[member.kind], self.lengths) for member in self.members])


def _restored(member: Member, windows: Windows, own: Prepared, lengths: Lengths) -> np.ndarray:
    said = member.predict(windows, own) if isinstance(member, Linear) else member.predict(windows, own, lengths)
    return own.restored(said)


def combined(windows: Windows, lengths: Lengths, recipe: Recipe) -> tuple[Combination, np.ndarray, Windows, bool]:
    """The combination for all windows; its errors on some windows, these, and whether they were held out.

    Members learn from the first windows of each series, forecast the last ones, and are weighted by the inverse of
    their mean squared errors there [1]_; then they learn from all. Too few windows are not parted: then weights are
    equal, and the errors are those on what was learnt from.

    References
    ----------
    .. [1] J. Bates, C. Granger, "The Combination of Forecasts", 1969.
    """
    early, late = parted(windows, lengths.horizon)
    scale = CovariateScale.of(windows)
    if late is None or early is None:
        members = _fitted(windows, lengths, scale, _candidates(windows, lengths, recipe), recipe)
        even = Combination(lengths, scale, members, np.full(len(members), 1 / len(members)))
        return even, windows.ahead - even.predict(windows), windows, False
    trial = recipe._replace(seeds=recipe.seeds[:1])
    candidates = _candidates(early, lengths, trial)
    tried = Combination(lengths, scale, _fitted(early, lengths, scale, candidates, trial), np.empty(0))
    said = tried.predict_each(late)
    weights = _weights((said - late.ahead) / late.spread)
    errors = late.ahead - np.tensordot(weights, said, 1)
    kept = weights >= LEAST
    weights = weights[kept] / weights[kept].sum()
    chosen = [candidate for candidate, keep in zip(candidates, kept, strict=True) if keep]
    return Combination(lengths, scale, _fitted(windows, lengths, scale, chosen, recipe), weights), errors, late, True


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
            members.append(Network.fit(kind, own, lengths, recipe.seeds, **recipe.options))
    return members


def _weights(errors: np.ndarray) -> np.ndarray:
    """The inverse mean squares of errors (members, n, H), as shares."""
    squares = np.nanmean(errors.reshape(len(errors), -1) ** 2, axis=1)
    inverse = 1 / np.maximum(squares, 1e-12 * squares.max() + 1e-150) ** POWER
    return inverse / inverse.sum()


def parted(windows: Windows, horizon: int) -> tuple[Windows | None, Windows | None]:
    """The windows before, and the last ones of each series, whose targets are in none of those before.

    None, twice, where there are too few.
    """
    last = np.zeros(windows.owner.max() + 1, np.int64)
    np.maximum.at(last, windows.owner, windows.origin)
    first = np.full(len(last), last.max() + 1)
    np.minimum.at(first, windows.owner, windows.origin)
    held = np.maximum(np.ceil(HELD_OUT * (last - first + 1)), 1).astype(np.int64)
    cut = (last - held + 1)[windows.owner]
    known = np.isfinite(windows.ahead).any(axis=1)
    late, early = (windows.origin >= cut) & known, (windows.origin <= cut - horizon) & known
    if early.sum() < FEWEST or not late.any():
        return None, None
    return windows[early], windows[late]


__all__ = ["KINDS", "Combination", "Recipe", "combined", "parted"]
