"""Keras's layers that merge several inputs, with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from ..builder import (
    GraphBuilder,
    Tensor,
    binary,
    broadcast,
    concat,
    number,
    sliced,
    unsqueeze,
)
from ..config import KerasLayer
from .registry import axis_of, computes

MERGES = {"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Average": "Add", "Maximum": "Max", "Minimum": "Min"}


@computes(*MERGES, several=True, passes=False)
def merged(layer: KerasLayer, tensors: Sequence[Tensor]) -> Tensor:
    """Element by element."""
    builder, op = layer.builder, MERGES[layer.kind]
    if len(tensors) < 2 or (layer.kind == "Subtract" and len(tensors) != 2):
        raise layer.refused(
            f"it must have {'two' if layer.kind == 'Subtract' else 'several'} inputs, got {len(tensors)}"
        )
    ndim = max(tensor.ndim for tensor in tensors)
    dtypes = {tensor.dtype for tensor in tensors}
    if len(dtypes) > 1:
        raise layer.refused(f"its inputs must be of one type, got {sorted(dtypes)}")
    masks = [tensor.mask for tensor in tensors]
    wide = [reduce(lambda x, _: unsqueeze(builder, x, 1), range(ndim - tensor.ndim), tensor) for tensor in tensors]
    older = layer.version == 2  # Keras 2 ignores masks in these computations
    if layer.kind in ("Maximum", "Minimum") and not older:
        return _extreme(layer, op, wide, masks)
    if layer.kind == "Multiply" and not older:
        return _product(layer, wide, masks)
    y = reduce(lambda x, other: binary(builder, op, x, other), wide)
    if layer.kind == "Average":
        if not y.floating:
            raise layer.refused(f"its inputs must hold floating-point numbers, got {y.dtype}")
        y = binary(builder, "Div", y, number(builder, len(tensors), y))
    return y.under(every(builder, masks) if older else either(builder, masks))


def where(builder: GraphBuilder, mask: Tensor, x: Tensor, other: Tensor) -> Tensor:
    """One tensor at steps that count, and another at masked steps."""
    shape = broadcast((*mask.shape, 1), x.shape, other.shape)
    return builder.node("Where", [unsqueeze(builder, mask, -1), x, other], shape, x.dtype)


def _product(layer: KerasLayer, tensors: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
    """A product in which masked steps are 1; it is 0 where all are masked."""
    builder, one, zero = layer.builder, number(layer.builder, 1, tensors[0]), number(layer.builder, 0, tensors[0])
    factors = [x if mask is None else where(builder, mask, x, one) for x, mask in zip(tensors, masks, strict=True)]
    y, mask = reduce(lambda x, other: binary(builder, "Mul", x, other), factors), either(builder, masks)
    return y if mask is None else where(builder, mask, y, zero).under(mask)


def _extreme(layer: KerasLayer, op: str, tensors: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
    """The largest or the smallest element that is not masked."""
    builder = layer.builder
    y, known = tensors[0], masks[0]
    for x, mask in zip(tensors[1:], masks[1:], strict=True):
        other = x if mask is None else where(builder, mask, x, y)
        y = binary(builder, op, y if known is None else where(builder, known, y, other), other)
        known = either(builder, [known, mask])
    return y.under(known)


def either(builder: GraphBuilder, masks: Sequence[Tensor | None]) -> Tensor | None:
    """A mask that is true where any mask is; None if one is missing."""
    there = [mask for mask in masks if mask is not None]
    return reduce(lambda x, y: binary(builder, "Or", x, y), there) if len(there) == len(masks) else None


def every(builder: GraphBuilder, masks: Sequence[Tensor | None]) -> Tensor | None:
    """A mask that is true where all present masks are, as in Keras 2."""
    there = [mask for mask in masks if mask is not None]
    return reduce(lambda x, y: binary(builder, "And", x, y), there) if there else None


@computes("Concatenate", several=True, passes=False)
def concatenated(layer: KerasLayer, tensors: Sequence[Tensor]) -> Tensor:
    """Tensors joined along an axis."""
    if len(tensors) < 1 or len({(tensor.ndim, tensor.dtype) for tensor in tensors}) > 1:
        raise layer.refused("its inputs must have the same number of axes and one type")
    axis = axis_of(layer, tensors[0], layer.options.integer("axis", -1))
    y = concat(layer.builder, tensors, axis)
    if all(tensor.mask is None for tensor in tensors):
        return y
    masks = [_mask_of(layer, tensor) for tensor in tensors]
    if axis == y.ndim - 1:
        return y.under((every if layer.version == 2 else either)(layer.builder, masks))
    return y.under(concat(layer.builder, masks, axis))


def _mask_of(layer: KerasLayer, x: Tensor) -> Tensor:
    """The mask of a tensor, true everywhere if it has none."""
    builder = layer.builder
    if x.mask is not None:
        if x.mask.ndim != x.ndim - 1:
            raise layer.refused(f"a mask must have one axis less than its input, got {x.mask.shape} and {x.shape}")
        return x.mask
    shape = builder.node("Shape", [x], (x.ndim,), "int64")
    leading = sliced(builder, shape, 0, -1, 0, x.ndim - 1)
    return builder.node("Expand", [builder.constant(True), leading], x.shape[:-1])
