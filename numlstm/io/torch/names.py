"""Where the parameters of one module are among the names of a state dict."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .derived import Forms, form_of

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")  # in the order of PyTorch's state dicts
RECURRENT = r"(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l(?:0|[1-9][0-9]{0,8})(?:_reverse)?"
AFFINE = "weight|bias"
LISTED = 10  # names in a message

FOREIGN = (  # names that modules which compute something else have in the place of these
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


# Which prefix -------------------------------------------------------------------------------------------------


def prefixes(names: Collection[str], pattern: str) -> list[str]:
    """What stands before the parameters of modules, in any of their forms."""
    ending = re.compile(
        rf"(?:parametrizations\.(?:{pattern})\.original[01]?|(?:{pattern})(?:_(?:raw|g|v|orig|mask))?)\Z"
    )
    found = (match for match in map(ending.search, names) if match)
    return [*dict.fromkeys(match.string[: match.start()] for match in found)]


def located(names: Collection[str], prefix: str, parameter: str = "prefix") -> str:
    """The whole prefix of the recurrent module that `prefix`, a parameter of that name, means.

    Raises
    ------
    ValueError
        If there is none, or several.
    """
    found = prefixes(names, RECURRENT)
    if prefix not in found:
        _refuse_foreign(names, prefix, anywhere=not found)
    return chosen(found, prefix, parameter, "LSTM, GRU or RNN", names)


def chosen(found: Collection[str], prefix: str, parameter: str, what: str, names: Collection[str]) -> str:
    """The one of the prefixes there are that `prefix` is, or is the end of; a wrapper's "module." may come after it.

    Raises
    ------
    ValueError
        If none is, or several are.
    """
    if prefix in found:
        return prefix
    fitting = [each for each in found if _ends_in(each, prefix) or _ends_in(each.removesuffix("module."), prefix)]
    if len(fitting) == 1:
        return fitting[0]
    if found:
        raise ValueError(
            f"{parameter} must be that of one {what}, got {prefix!r}; prefixes of some are {listed(fitting or found)}"
        )
    like = [name for name in names if LIKE_RECURRENT.search(name)]
    raise ValueError(
        f"{parameter} must be that of one {what}, got {prefix!r}; state_dict has none, its keys are "
        f"{listed(like or names)}"
    )


def _ends_in(whole: str, prefix: str) -> bool:
    """Whether a prefix is another one, with names of outer modules before it."""
    return not prefix or whole == prefix or whole.endswith("." + prefix)


def _refuse_foreign(names: Collection[str], prefix: str, anywhere: bool) -> None:
    """Refuse, by name, modules of other kinds under a prefix; or anywhere."""
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
        Its own name of each.
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
    """A state dict with all forms of a parameter side by side.

    Fastai's WeightDropout keeps ``weight_hh_l0_raw`` itself, and what becomes of it in the wrapped module, whose name
    is ``module``.
    """
    names = {}
    for key in whole:
        found = re.fullmatch(rf"(.*?)(({RECURRENT})_raw)", key, re.DOTALL)
        if found and found[1] + found[3] not in whole and f"{found[1]}module.{found[3]}" in whole:
            inside = f"{found[1]}module.{found[2]}"
            names[inside if inside not in whole else key] = key
        else:
            names[key] = key
    return Renamed(whole, names)


def refuse_above(names: Collection[str], prefix: str, own: Collection[str]) -> None:
    """Refuse names in modules around one that say that its parameters are not, or not alone, what it computes with.

    Raises
    ------
    ValueError
        If there is one.
    """
    ending = re.compile(rf"(.*?)(?:({RECURRENT})[_.].+|parametrizations\.({RECURRENT})\..+)", re.DOTALL)
    for match in filter(None, map(ending.fullmatch, names)):
        before, name = match[1], match[2] or match[3]
        if before != prefix and prefix.startswith(before) and name in own and before + name not in names:
            raise ValueError(
                f"state_dict must say what the module computes with, but has {prefix + name!r}, and in a module around "
                f"it {match[0]!r}: pass a mapping that has the right one under the former name, and not the latter"
            )
    adapter = prefix.removesuffix("base_layer.") + "lora_"  # names of PEFT's
    if prefix.endswith("base_layer.") and (adapters := [name for name in names if name.startswith(adapter)]):
        raise ValueError(
            f"state_dict must hold what the module computes with, but {listed(adapters)} are added to parameters under "
            f"{prefix!r}: merge them first (model.merge_and_unload())"
        )


# What is there ------------------------------------------------------------------------------------------------


def forms_under(names: Collection[str], prefix: str, pattern: str, what: str) -> dict[str, Forms]:
    """The parameters of a module under its prefix, each with the keys of the forms that it is there in.

    Raises
    ------
    ValueError
        If there is anything else.
    """
    found: dict[str, Forms] = {}
    unknown = []
    for key in names:
        if not key.startswith(prefix):
            continue
        if form := form_of(key.removeprefix(prefix), pattern):
            found.setdefault(form[0], {})[form[1]] = key
        else:
            unknown.append(key)
    if unknown:
        raise ValueError(
            f"state_dict must hold parameters of one {what} and nothing else under prefix={prefix!r}, "
            f"got {listed(unknown)}"
        )
    return found


def complete(own: Collection[str], prefix: str) -> list[str]:
    """All names of a recurrent module that has some, in PyTorch's order.

    Raises
    ------
    ValueError
        If one is missing.
    """
    names = []
    for name in _needed(own):
        if name not in own:
            raise ValueError(f"state_dict must hold {prefix + name!r}, which is missing; it has {listed(own, prefix)}")
        names.append(name)
    return names


def _needed(own: Collection[str]) -> Iterator[str]:
    """The same, made one by one, as a number of layers may be absurd."""
    absent = [start for start in ("bias", "weight_hr") if not any(name.startswith(start) for name in own)]
    parts = [part for part in PARTS if not part.startswith((*absent,))]
    directions = ("", "_reverse") if any(name.endswith("_reverse") for name in own) else ("",)
    for layer in range(1 + max(layer_number(name) for name in own)):
        for direction in directions:
            for part in parts:
                yield f"{part}_l{layer}{direction}"


def layer_number(name: str) -> int:
    """The number of the layer that a parameter belongs to."""
    return int(name.removesuffix("_reverse").rpartition("_l")[2])


def listed(names: Collection[str], prefix: str = "") -> str:
    """Names for a message: all of them, or the first."""
    names = sorted(map(str, names))
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{[prefix + name for name in names[:LISTED]]}{more}"
