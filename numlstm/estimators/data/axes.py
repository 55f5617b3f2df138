"""Arrays with named axes, as xarray has them, in the order of axes that estimators expect."""

from __future__ import annotations

from typing import Any

import numpy as np

ROLES = {
    "sequence": ("sequence", "series", "case", "sample", "instance", "example", "trial", "subject", "batch"),
    "step": ("step", "time", "timestep", "time_step", "timepoint", "date"),
    "channel": ("channel", "variable", "feature"),
}
_role_of = {name + plural: role for role, names in ROLES.items() for name in names for plural in ("", "s")}


def has_named_axes(X: Any) -> bool:
    """Whether X is a ``DataArray`` of xarray or a similar object."""
    return isinstance(getattr(X, "dims", None), tuple) and not callable(getattr(X, "values", np.sum))


def transposed_to(X: Any, roles: tuple[str, ...], name: str) -> np.ndarray:
    """The numbers in X, with one axis for each of `roles`, in this order.

    If X has another number of axes, their order does not change.

    Raises
    ------
    ValueError
        If the names of the axes do not match the roles, or do not determine the order.
    """
    if len(X.dims) != len(roles):
        return np.asarray(X.values)
    axis_roles = [_role_of.get(str(dim).lower()) for dim in X.dims]
    missing = [role for role in roles if role not in axis_roles]
    if len(missing) == 1 and axis_roles.count(None) == 1:
        axis_roles[axis_roles.index(None)] = missing[0]
    in_order = all(axis_role in (None, role) for axis_role, role in zip(axis_roles, roles, strict=True))
    if not in_order and sorted(map(str, axis_roles)) != sorted(roles):
        raise ValueError(
            f"{name} must have the dimensions ({', '.join(roles)}), got {X.dims}: rename or transpose them; "
            f"pass a single sequence as [{name.lower()}]"
        )
    order = range(len(roles)) if in_order else map(axis_roles.index, roles)
    return np.asarray(X.transpose(*[X.dims[axis] for axis in order]).values)
