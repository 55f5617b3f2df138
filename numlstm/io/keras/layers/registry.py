"""The kinds of Keras's layers, each with the function that adds its operators to a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..builder import (
    Tensor,
)
from ..config import KerasLayer


@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    Attributes
    ----------
    apply : callable
        ``apply(layer, tensors) -> Tensor``.
    several : bool
        Whether it takes a list of tensors.
    passes : bool
        Whether the output has the mask of the input, unless it has its own.
    casts : bool
        Whether floating-point inputs are cast to the layer's type first.
    reads_mask : bool
        Whether the mask changes what it computes; `apply` takes the mask then.
    """

    apply: Callable[..., Tensor]
    several: bool = False
    passes: bool = True
    casts: bool = True
    reads_mask: bool = False


KINDS: dict[str, Kind] = {}


def computes(*names: str, several: bool = False, passes: bool = True, casts: bool = True,
          reads_mask: bool = False) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:  # fmt: skip
    """Register a function that computes layers of some kinds."""

    def register(apply: Callable[..., Tensor]) -> Callable[..., Tensor]:
        KINDS.update(dict.fromkeys(names, Kind(apply, several, passes, casts, reads_mask)))
        return apply

    return register


def axis_of(layer: KerasLayer, x: Tensor, axis: int, name: str = "axis") -> int:
    """An axis of a tensor, counted from the front."""
    if not -x.ndim <= axis < x.ndim:
        raise layer.options.refused(name, f"in [{-x.ndim}, {x.ndim - 1}]")
    return axis % x.ndim


def size_of(layer: KerasLayer, x: Tensor, axis: int) -> int:
    """The length of an axis, which must be known."""
    size = x.shape[axis]
    if size is None:
        raise layer.refused(f"axis {axis % x.ndim} of its input must have a known length, got shape {x.shape}")
    return size


def check_channels_last(layer: KerasLayer) -> None:
    layer.options.choice("data_format", ("channels_last", None))


def check_sequence(layer: KerasLayer, x: Tensor) -> None:
    if x.ndim != 3:
        raise layer.refused(f"its input must have axes (N, T, D), got shape {x.shape}")
