"""The places of arrays in files of Keras 2, which have one list of arrays for each layer of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice

from .config import KerasLayer
from .files import ArrayPlaces
from .recurrent import CELLS

KERNELS = (*CELLS, *(f"{kind}Cell" for kind in CELLS))


def places_of(model: KerasLayer) -> dict[str, ArrayPlaces]:
    """The places of the arrays of all layers in a model, by their paths in files of Keras 3."""
    places: dict[str, ArrayPlaces] = {}
    for child in model.children:
        layers = [
            *{id(layer): layer for layer in _leaves(child)}.values()
        ]  # a layer that is used twice is written once
        positions = _positions(layers)
        total = sum(map(len, positions))
        for layer, own_positions in zip(layers, positions, strict=True):
            path = f"{layer.path}/cell" if layer.kind in CELLS else layer.path
            if own_positions:
                places.setdefault(path, ArrayPlaces(child.name, total, own_positions))
    return places


def _leaves(layer: KerasLayer) -> Iterator[KerasLayer]:
    """The layers in a layer that hold no others."""
    if not layer.children:
        yield layer
    for child in layer.children:
        yield from _leaves(child)


def _positions(layers: Sequence[KerasLayer]) -> list[list[int]]:
    """The positions of each layer's arrays in the list: first come all that training changes, then all others."""
    positions: list[list[int]] = [[] for _ in layers]
    number = count()
    for learnt in (True, False):
        for layer, own_positions in zip(layers, positions, strict=True):
            counts = _counts(layer)
            if layer.options.value("trainable", True) is False:
                counts = (0, sum(counts))
            own_positions += islice(number, counts[0] if learnt else counts[1])
    return positions


def _counts(layer: KerasLayer) -> tuple[int, int]:
    """The number of a layer's arrays that training changes, and the number of others."""
    kind, options = layer.kind, layer.options
    if layer.operation:
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
