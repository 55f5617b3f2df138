"""Parameters that modules compute from others at each call: weight dropout, weight norm and pruning."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .tensors import array_of

ORIGINALS = ("parametrizations.original0", "parametrizations.original1")

Forms = dict[str, str]  # the forms of a parameter in a state dict ("" for its own name), and the key of each


def form_of(name: str, pattern: str) -> tuple[str, str] | None:
    """The parameter that a name belongs to, and its form under this name.

    >>> form_of("weight_v", "weight|bias"), form_of("parametrizations.bias.original", "weight|bias")
    (('weight', '_v'), ('bias', 'parametrizations.original'))
    """
    if match := re.fullmatch(rf"parametrizations\.({pattern})\.(.+)", name):
        return match[1], "parametrizations." + match[2]
    match = re.fullmatch(rf"({pattern})((?:[_.].+)?)", name)
    return (match[1], match[2]) if match else None


def parameter(whole: Mapping[str, Any], key: str, forms: Forms) -> np.ndarray:
    """The parameter with which a module computes, from its forms in a state dict; `key` is its own name there.

    Raises
    ------
    ValueError
        If it does not follow from them, or shapes do not fit one another.
    TypeError
        If they hold no real numbers.
    """
    derived = tuple(sorted(form for form in forms if form))
    if derived not in WAYS:
        raise _not_told(key, forms, derived)
    arrays = [(forms[form], array_of(whole[forms[form]], forms[form])) for form in derived or ("",)]
    return WAYS[derived](*arrays)


Named = tuple[str, np.ndarray]


def _alone(named: Named) -> np.ndarray:
    """The parameter itself; weight dropout changes it only in training (Merity et al. 2018)."""
    return named[1]


def _normalised(lengths: Named, directions: Named) -> np.ndarray:
    """Weight norm, ``g v / ‖v‖`` (Salimans & Kingma 2016), with a norm for each row, or one for all rows."""
    (lengths_key, g), (_, v) = lengths, directions
    rows = (*v.shape[:1], *(1,) * (v.ndim - 1))
    if not v.ndim or g.shape not in (rows, ()):
        raise ValueError(
            f"{lengths_key!r} must have shape {rows} of weight norm with dim=0, or () with dim=None, got {g.shape}: "
            "remove the weight norm first (torch.nn.utils.parametrize.remove_parametrizations, or "
            "torch.nn.utils.remove_weight_norm)"
        )
    wide = v.astype("float64")
    with np.errstate(all="ignore"):  # a norm of 0 gives NaN, as in PyTorch
        squares = np.square(wide).sum(axis=None if g.shape == () else (*range(1, v.ndim),), keepdims=g.shape != ())
        return (wide * (g / np.sqrt(squares))).astype(np.result_type(g, v))


def _pruned(mask: Named, original: Named) -> np.ndarray:
    """Pruning: the original parameter where the mask is 1."""
    if mask[1].shape != original[1].shape:
        raise ValueError(
            f"{mask[0]!r} must have shape {original[1].shape}, as {original[0]!r} has, got {mask[1].shape}"
        )
    with np.errstate(invalid="ignore"):  # an infinity that is left out gives NaN, as in PyTorch
        return original[1] * mask[1]


WAYS: dict[tuple[str, ...], Callable[..., np.ndarray]] = {
    (): _alone,
    ("_raw",): _alone,
    ("_g", "_v"): _normalised,
    ORIGINALS: _normalised,
    ("_mask", "_orig"): _pruned,
}


def _not_told(key: str, forms: Forms, derived: tuple[str, ...]) -> ValueError:
    """The error for forms from which the parameter does not follow."""
    of = " of spectral norm" if {"_u", "parametrizations.0._u"} & {*derived} else ""
    return ValueError(
        f"state_dict must hold {key!r}, or both parts of its weight norm or pruning, got "
        f"{[forms[form] for form in derived]}{of}, from which it does not follow: remove that first "
        "(torch.nn.utils.parametrize.remove_parametrizations, torch.nn.utils.remove_spectral_norm, ...)"
    )
