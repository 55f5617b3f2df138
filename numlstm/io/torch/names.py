"""The names in a state dict: prefixes of modules, and the parameters under a prefix."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .derived import Forms, form_of

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")  # in the order of PyTorch's state dicts
RECURRENT = r"(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l(?:0|[1-9][0-9]{0,8})(?:_reverse)?"
AFFINE = "weight|bias"
LISTED = 10  # names in a message

FOREIGN = (  # names in modules that compute something else
    (
        r"_all_weight_values\..*|layers\.[0-9]+\.layer_(?:fw|bw)\..*",
        "of a quantised or quantisable module; take the state dict of the module that it was made from",
    ),
    (
        r"(?:weight|bias)_(?:ih|hh)",
        "of an LSTMCell, GRUCell or RNNCell, which has no layers; add '_l0' to its names to read it as one layer",
    ),
)
LIKE_RECURRENT = re.compile(r"(?:weight|bias)_(?:ih|hh|hr)|_all_weight_values|layer_(?:fw|bw)")

StateDict = Mapping[str, Any]


# Prefixes -----------------------------------------------------------------------------------------------------


def prefixes(names: Collection[str], pattern: str) -> list[str]:
    """The prefixes of modules: the part of a name before a parameter in any of its forms."""
    ending = re.compile(
        rf"(?:parametrizations\.(?:{pattern})\.original[01]?|(?:{pattern})(?:_(?:raw|g|v|orig|mask))?)\Z"
    )
    matches = (match for match in map(ending.search, names) if match)
    return [*dict.fromkeys(match.string[: match.start()] for match in matches)]


def located(names: Collection[str], prefix: str, parameter: str = "prefix") -> str:
    """The whole prefix of the recurrent module that `prefix` means; the message calls it `parameter`.

    Raises
    ------
    ValueError
        If no module has it, or several modules have it.
    """
    known = prefixes(names, RECURRENT)
    if prefix not in known:
        _refuse_foreign(names, prefix, anywhere=not known)
    return chosen(known, prefix, parameter, "LSTM, GRU or RNN", names)


def chosen(known: Collection[str], prefix: str, parameter: str, what: str, names: Collection[str]) -> str:
    """The known prefix that is `prefix` or ends in it; the "module." of a wrapper may follow.

    Raises
    ------
    ValueError
        If there is none, or more than one.
    """
    if prefix in known:
        return prefix
    fitting = [
        candidate
        for candidate in known
        if _ends_in(candidate, prefix) or _ends_in(candidate.removesuffix("module."), prefix)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if known:
        raise ValueError(
            f"{parameter} must be that of one {what}, got {prefix!r}; prefixes of some are {listed(fitting or known)}"
        )
    like = [name for name in names if LIKE_RECURRENT.search(name)]
    raise ValueError(
        f"{parameter} must be that of one {what}, got {prefix!r}; state_dict has none, its keys are "
        f"{listed(like or names)}"
    )


def _ends_in(whole: str, prefix: str) -> bool:
    """Whether a whole prefix is `prefix` after names of outer modules."""
    return not prefix or whole == prefix or whole.endswith("." + prefix)


def _refuse_foreign(names: Collection[str], prefix: str, anywhere: bool) -> None:
    """Refuse modules of other kinds under a prefix, or anywhere; the message names them."""
    for pattern, what in FOREIGN:
        place = re.compile(re.escape(prefix) + (r"(?:.*\.)?" if anywhere else "") + f"(?:{pattern})")
        if foreign := [name for name in names if place.fullmatch(name)]:
            raise ValueError(f"state_dict must hold plain parameters, but {foreign[0]!r} is {what}")


# Wrappers -----------------------------------------------------------------------------------------------------


class Renamed(Mapping[str, Any]):
    """A state dict by other names.

    Parameters
    ----------
    whole : mapping of str to tensor or array
    names : mapping of str to str
        The key in `whole` for each name.
    """

    def __init__(self, whole: StateDict, names: Mapping[str, str]) -> None:
        self._whole, self._names = whole, names

    def __getitem__(self, key: str) -> Any:
        return self._whole[self._names[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def unwrapped(whole: StateDict) -> StateDict:
    """A state dict with all forms of a parameter under the same prefix.

    Fastai's WeightDropout keeps ``weight_hh_l0_raw`` itself, and the parameter with dropout in the wrapped module,
    whose name is ``module``.
    """
    names = {}
    for key in whole:
        match = re.fullmatch(rf"(.*?)(({RECURRENT})_raw)", key, re.DOTALL)
        if match and match[1] + match[3] not in whole and f"{match[1]}module.{match[3]}" in whole:
            inner = f"{match[1]}module.{match[2]}"
            names[inner if inner not in whole else key] = key
        else:
            names[key] = key
    return Renamed(whole, names)


def refuse_above(names: Collection[str], prefix: str, parameters: Collection[str]) -> None:
    """Refuse names of outer modules that change the parameters with which a module computes.

    Raises
    ------
    ValueError
        If there are any.
    """
    ending = re.compile(rf"(.*?)(?:({RECURRENT})[_.].+|parametrizations\.({RECURRENT})\..+)", re.DOTALL)
    for match in filter(None, map(ending.fullmatch, names)):
        before, name = match[1], match[2] or match[3]
        if before != prefix and prefix.startswith(before) and name in parameters and before + name not in names:
            raise ValueError(
                f"state_dict must have one form of {prefix + name!r}, but an outer module has {match[0]!r}: pass a "
                "mapping that has the right one under the former name, and not the latter"
            )
    adapter = prefix.removesuffix("base_layer.") + "lora_"  # names of PEFT's
    if prefix.endswith("base_layer.") and (adapters := [name for name in names if name.startswith(adapter)]):
        raise ValueError(
            f"state_dict must hold the parameters with which the module computes, but {listed(adapters)} are added to "
            f"those under {prefix!r}: merge them first (model.merge_and_unload())"
        )


# Parameters ---------------------------------------------------------------------------------------------------


def forms_under(names: Collection[str], prefix: str, pattern: str, what: str) -> dict[str, Forms]:
    """The parameters of a module under its prefix, each with its forms and their keys.

    Raises
    ------
    ValueError
        If there are other names under the prefix.
    """
    forms: dict[str, Forms] = {}
    unknown = []
    for key in names:
        if not key.startswith(prefix):
            continue
        if form := form_of(key.removeprefix(prefix), pattern):
            forms.setdefault(form[0], {})[form[1]] = key
        else:
            unknown.append(key)
    if unknown:
        raise ValueError(
            f"state_dict must hold parameters of one {what} and nothing else under prefix={prefix!r}, "
            f"got {listed(unknown)}"
        )
    return forms


def complete(names_there: Collection[str], prefix: str) -> list[str]:
    """All names of a recurrent module of which some are known, in PyTorch's order.

    Raises
    ------
    ValueError
        If one is missing.
    """
    names = []
    for name in _needed(names_there):
        if name not in names_there:
            raise ValueError(
                f"state_dict must hold {prefix + name!r}, which is missing; it has {listed(names_there, prefix)}"
            )
        names.append(name)
    return names


def _needed(names_there: Collection[str]) -> Iterator[str]:
    """As `complete`, one by one: the number of layers may be absurd."""
    absent = [start for start in ("bias", "weight_hr") if not any(name.startswith(start) for name in names_there)]
    parts = [part for part in PARTS if not part.startswith((*absent,))]
    directions = ("", "_reverse") if any(name.endswith("_reverse") for name in names_there) else ("",)
    for layer in range(1 + max(layer_number(name) for name in names_there)):
        for direction in directions:
            for part in parts:
                yield f"{part}_l{layer}{direction}"


def layer_number(name: str) -> int:
    """The number of the layer that a parameter belongs to."""
    return int(name.removesuffix("_reverse").rpartition("_l")[2])


def listed(names: Collection[str], prefix: str = "") -> str:
    """Names for a message: all of them, or the first ones."""
    names = sorted(map(str, names))
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{[prefix + name for name in names[:LISTED]]}{rest}"
