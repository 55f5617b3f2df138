"""Arrays whose axes have names, as xarray's do, with these axes in our order."""

from __future__ import annotations

from typing import Any

import numpy as np

ROLES = {
    "sequence": ("sequence", "series", "case", "sample", "instance", "example", "trial", "subject", "batch"),
    "step": ("step", "time", "timestep", "time_step", "timepoint", "date"),
    "channel": ("channel", "variable", "feature"),
}
_known = {name + plural: role for role, names in ROLES.items() for name in names for plural in ("", "s")}


def has_named_axes(X: Any) -> bool:
    """Whether X is a ``DataArray`` of xarray's, or something like it."""
    return isinstance(getattr(X, "dims", None), tuple) and not callable(getattr(X, "values", np.sum))


def arranged(X: Any, roles: tuple[str, ...], name: str) -> np.ndarray:
    """The numbers in X, with an axis for each of `roles`, in that order; as they are if X has not so many axes.

    Raises
    ------
    ValueError
        If an axis has a name that says it is none of them, two are of one kind, or names leave the order open.
    """
    if len(X.dims) != len(roles):
        return np.asarray(X.values)
    found = [_known.get(str(dim).lower()) for dim in X.dims]
    left = [role for role in roles if role not in found]
    if len(left) == 1 and found.count(None) == 1:
        found[found.index(None)] = left[0]
    in_order = all(own in (None, role) for own, role in zip(found, roles, strict=True))
    if not in_order and sorted(map(str, found)) != sorted(roles):
        raise ValueError(
            f"{name} must have the dimensions ({', '.join(roles)}), got {X.dims}: rename or transpose them; "
            f"a sequence alone is passed as [{name.lower()}]"
        )
    places = range(len(roles)) if in_order else map(found.index, roles)
    return np.asarray(X.transpose(*[X.dims[place] for place in places]).values)
