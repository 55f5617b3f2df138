"""Parameters that modules make of others at each call: weight dropout, weight norm and pruning."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .tensors import array_of

ORIGINALS = ("parametrizations.original0", "parametrizations.original1")

Forms = dict[str, str]  # in which forms a parameter is there, "" for its own name, and the key of each


def form_of(name: str, pattern: str) -> tuple[str, str] | None:
    """The parameter that a name belongs to, and the form of it that stands there.

    >>> form_of("weight_v", "weight|bias"), form_of("parametrizations.bias.original", "weight|bias")
    (('weight', '_v'), ('bias', 'parametrizations.original'))
    """
    if found := re.fullmatch(rf"parametrizations\.({pattern})\.(.+)", name):
        return found[1], "parametrizations." + found[2]
    found = re.fullmatch(rf"({pattern})((?:[_.].+)?)", name)
    return (found[1], found[2]) if found else None


def parameter(whole: Mapping[str, Any], key: str, forms: Forms) -> np.ndarray:
    """The numbers that a module computes with, where its parameter `key` is there in some forms.

    Raises
    ------
    ValueError
        If they cannot be told from these, or shapes do not go together.
    TypeError
        If they are no real numbers.
    """
    derived = tuple(sorted(form for form in forms if form))
    if derived not in WAYS:
        raise _not_told(key, forms, derived)
    arrays = [(forms[form], array_of(whole[forms[form]], forms[form])) for form in derived or ("",)]
    return WAYS[derived](*arrays)


Named = tuple[str, np.ndarray]


def _alone(given: Named) -> np.ndarray:
    """The parameter itself; or what weight dropout makes it of in training alone (Merity et al. 2018)."""
    return given[1]


def _normalised(lengths: Named, directions: Named) -> np.ndarray:
    """Weight norm, ``g v / ‖v‖`` (Salimans & Kingma 2016): a norm for each row, or one for all."""
    (of_lengths, g), (_, v) = lengths, directions
    rows = (*v.shape[:1], *(1,) * (v.ndim - 1))
    if not v.ndim or g.shape not in (rows, ()):
        raise ValueError(
            f"{of_lengths!r} must have shape {rows}, as weight norm with dim=0 has it, or () with dim=None, got "
            f"{g.shape}: take the weight norm off first (torch.nn.utils.parametrize.remove_parametrizations, or "
            "torch.nn.utils.remove_weight_norm)"
        )
    wide = v.astype("float64")
    with np.errstate(all="ignore"):  # a norm of 0 gives NaN, as in PyTorch
        squares = np.square(wide).sum(axis=None if g.shape == () else (*range(1, v.ndim),), keepdims=g.shape != ())
        return (wide * (g / np.sqrt(squares))).astype(np.result_type(g, v))


def _pruned(mask: Named, original: Named) -> np.ndarray:
    """Pruning: the original where the mask is 1."""
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
    """The error where something says that a module computes with other numbers, but not with which."""
    of = " of spectral norm" if {"_u", "parametrizations.0._u"} & {*derived} else ""
    return ValueError(
        f"state_dict must hold {key!r}, or both parts of its weight norm or pruning, got "
        f"{[forms[form] for form in derived]}{of}, which do not tell all: take that off first "
        "(torch.nn.utils.parametrize.remove_parametrizations, torch.nn.utils.remove_spectral_norm, ...)"
    )
