"""Where arrays are in files that have those of each layer of a model in one list, as Keras 2 writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice

from .config import Part
from .files import Place
from .recurrent import CELLS

KERNELS = (*CELLS, *(f"{kind}Cell" for kind in CELLS))


def places(model: Part) -> dict[str, Place]:
    """Where arrays of all layers in a model are, by the paths that they have in other files."""
    made: dict[str, Place] = {}
    for layer in model.children:
        parts = [*{id(part): part for part in _leaves(layer)}.values()]  # what is there twice is written once
        positions = _positions(parts)
        total = sum(map(len, positions))
        for part, each in zip(parts, positions, strict=True):
            path = f"{part.path}/cell" if part.kind in CELLS else part.path
            made.setdefault(path, Place(layer.name, total, each)) if each else None
    return made


def _leaves(part: Part) -> Iterator[Part]:
    """All in a layer that hold no others."""
    if not part.children:
        yield part
    for child in part.children:
        yield from _leaves(child)


def _positions(parts: Sequence[Part]) -> list[list[int]]:
    """Places in the list of each part's arrays: first come all that training changes, then all others."""
    made: list[list[int]] = [[] for _ in parts]
    number = count()
    for learnt in (True, False):
        for part, own in zip(parts, made, strict=True):
            counts = _counts(part)
            if part.options.value("trainable", True) is False:
                counts = (0, sum(counts))
            own += islice(number, counts[0] if learnt else counts[1])
    return made


def _counts(part: Part) -> tuple[int, int]:
    """How many arrays of a layer training changes, and how many others there are."""
    kind, options = part.kind, part.options
    if part.operation:
        return 0, 0
    if kind in KERNELS:
        return 2 + options.flag("use_bias", True), 0
    if kind in ("Dense", "Conv1D"):
        return 1 + options.flag("use_bias", True), 0
    if kind in ("BatchNormalization", "LayerNormalization"):
        both = options.flag("scale", True) + options.flag("center", True)
        return both, 2 if kind == "BatchNormalization" else 0
    if kind in ("Attention", "AdditiveAttention"):
        scaled = options.flag("use_scale", kind == "AdditiveAttention")
        return scaled + (options.value("score_mode") == "concat"), 0
    return {"Embedding": (1, 0), "PReLU": (1, 0), "Normalization": (0, 3)}.get(kind, (0, 0))
