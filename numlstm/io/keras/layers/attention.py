"""Keras's products of two inputs: Dot, Attention and AdditiveAttention."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..builder import (
    GraphBuilder,
    Tensor,
    binary,
    number,
    transpose,
    unsqueeze,
)
from ..config import KerasLayer
from .merging import where
from .registry import axis_of, computes

EPSILON = 1e-7  # Keras's own
FAR = 1e9  # Keras subtracts it from the scores of masked steps


@computes("Dot", several=True, passes=False)
def dot(layer: KerasLayer, tensors: Sequence[Tensor]) -> Tensor:
    """Products of two tensors, summed over one axis of each."""
    options, builder = layer.options, layer.builder
    if len(tensors) != 2 or tensors[0].dtype != tensors[1].dtype or not tensors[0].floating:
        raise layer.refused("it must have two inputs, of one type of floating-point numbers")
    axes = options.integers("axes")
    if len(axes) not in (1, 2) or min(tensor.ndim for tensor in tensors) < 2:
        raise options.refused("axes", "one number or two, of inputs with at least 2 axes")
    pairs = [*zip(tensors, axes * 2 if len(axes) == 1 else axes, strict=True)]
    along = [axis_of(layer, x, axis, "axes") for x, axis in pairs]
    sizes = {x.shape[axis] for (x, _), axis in zip(pairs, along, strict=True)} - {None}
    if 0 in along or len(sizes) > 1:
        raise options.refused("axes", f"axes of one length, and not the first, of {[x.shape for x in tensors]}")
    if options.flag("normalize", False):
        tensors = [_normalised(builder, x.under(None), axis) for x, axis in zip(tensors, along, strict=True)]
    return _dot(builder, tensors, along)


def _normalised(builder: GraphBuilder, x: Tensor, axis: int) -> Tensor:
    """Of length 1 along an axis."""
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    axes = builder.constant([axis], "int64")
    squares = builder.node("ReduceSum", [binary(builder, "Mul", x, x), axes], shape, keepdims=1)
    inverse = builder.node("Reciprocal", [builder.node("Sqrt", [squares], shape)], shape)
    return binary(builder, "Mul", x, binary(builder, "Min", inverse, number(builder, 1 / EPSILON, inverse)))


def _dot(builder: GraphBuilder, tensors: Sequence[Tensor], along: Sequence[int]) -> Tensor:
    """The sum of products over one axis of each; for two matrices a column."""
    names = iter("bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    terms, rest, shape = [], "", [tensors[0].shape[0]]
    for x, axis in zip(tensors, along, strict=True):
        letters = ["r" if k == 0 else "s" if k == axis else next(letter for letter in names if letter not in "rs")
                   for k in range(x.ndim)]  # fmt: skip
        kept = [k for k in range(1, x.ndim) if k != axis]
        terms.append("".join(letters))
        rest += "".join(letters[k] for k in kept)
        shape += [x.shape[k] for k in kept]
    y = builder.node("Einsum", tensors, tuple(shape), equation=f"{terms[0]},{terms[1]}->r{rest}")
    return unsqueeze(builder, y, 1) if y.ndim == 1 else y


@computes("Attention", "AdditiveAttention", several=True, passes=False)
def attention(layer: KerasLayer, tensors: Sequence[Tensor]) -> Tensor:
    """Averages of values, weighted by the scores of keys and queries, without masked values."""
    options, builder = layer.options, layer.builder
    if len(tensors) not in (2, 3) or any(x.ndim != 3 for x in tensors):
        raise layer.refused("it must have inputs (N, T, D): a query, values, and keys if they differ from the values")
    query, value, key = *tensors[:2], tensors[-1]
    options.ignore("dropout")
    scores = _scores(layer, query, key)
    if value.mask is not None:
        counted = unsqueeze(builder, value.mask, 1)
        low = binary(builder, "Sub", scores, number(builder, FAR, scores))
        scores = builder.node("Where", [counted, scores, low], scores.shape, scores.dtype)
    weights = builder.node("Softmax", [scores], scores.shape, axis=-1)
    y = builder.node("MatMul", [weights, value], (*scores.shape[:2], value.shape[2]))
    if query.mask is None:
        return y
    return where(builder, query.mask, y, number(builder, 0, y)).under(query.mask)


def _scores(layer: KerasLayer, query: Tensor, key: Tensor) -> Tensor:
    """The score of each key for each step of a query."""
    options, builder, additive = layer.options, layer.builder, layer.kind == "AdditiveAttention"
    scaled = options.flag("use_scale", additive)
    concat = not additive and options.choice("score_mode", ("dot", "concat"), "dot") == "concat"
    names = [*(("scale",) if scaled else ()), *(("concat_score_weight",) if concat else ())]
    arrays = dict(zip(names, layer.arrays(names, options.dtype), strict=True))
    for name, array in arrays.items():
        layer.check(array, name, (query.shape[2],) if additive else ())
    factors = {name: layer.constant(name, partial(np.asarray, array)) for name, array in arrays.items()}
    shape = (query.shape[0], query.shape[1], key.shape[1])
    if not additive and not concat:
        y = builder.node("MatMul", [query, transpose(builder, key, (0, 2, 1))], shape)
        return binary(builder, "Mul", y, factors["scale"]) if scaled else y
    both = binary(builder, "Add", unsqueeze(builder, query, 2), unsqueeze(builder, key, 1))
    both = binary(builder, "Mul", factors["scale"], both) if scaled and concat else both
    bent = builder.node("Tanh", [both], both.shape)
    bent = binary(builder, "Mul", factors["scale"], bent) if scaled and additive else bent
    y = builder.node("ReduceSum", [bent, builder.constant([-1], "int64")], shape, keepdims=0)
    return binary(builder, "Mul", factors["concat_score_weight"], y) if concat else y
