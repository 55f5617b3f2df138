"""ONNX's operators of quantised numbers: those that ONNX Runtime's `quantize_dynamic` writes besides its LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import INT, axis_of, check_room, operator
from .shapes import TYPES

BYTES = ("uint8", "int8")


@operator("DynamicQuantizeLinear", 1, 3, since=11)
def dynamic_quantize_linear(x: np.ndarray) -> Any:
    """An array as bytes, with their step and their zero point: all numbers of the array share these."""
    if x.dtype != np.float32:
        raise ValueError(f"x must be float32, got {x.dtype}")
    low, high = min(x.min(initial=0), np.float32(0)), max(x.max(initial=0), np.float32(0))
    step = np.float32((high - low) / np.float32(255)) if high > low else np.float32(1)
    zero = np.rint(np.clip(-low / step, 0, 255))
    return np.clip(np.rint(x / step) + zero, 0, 255).astype("uint8"), np.array(step), np.array(zero, "uint8")


@operator("MatMulInteger", (2, 4), since=10)
def matmul_integer(
    a: np.ndarray, b: np.ndarray, a_zero: np.ndarray | None = None, b_zero: np.ndarray | None = None
) -> Any:
    """Matrix products of bytes, less their zero points: one for all, for each row of `a`, for each column of `b`."""
    for name, array, zero in (("a", a, a_zero), ("b", b, b_zero)):
        if array.dtype.name not in BYTES or not array.ndim or (zero is not None and zero.dtype != array.dtype):
            raise ValueError(f"{name} must be of one of {[*BYTES]}, and its zero point too, got {array.dtype}")
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    check_room((*leading, *a.shape[-2:-1], *b.shape[-1:]), a, b)
    left, right = a.astype("float64"), b.astype("float64")  # sums of these products are exact
    if a_zero is not None:
        left -= a_zero[:, None] if a_zero.ndim == 1 and a.ndim > 1 else a_zero
    if b_zero is not None:
        right -= b_zero
    return np.matmul(left, right).astype("int64").astype("int32")


@operator("DequantizeLinear", (2, 3), since=10, axis=INT(1, since=13), block_size=INT(0, since=21),
          output_dtype=INT(0, since=23))  # fmt: skip
def dequantize_linear(
    x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, *, axis: int, block_size: int, output_dtype: int
) -> Any:
    """``(x - zero) * scale``, with one number for all, for each place on an axis, or for each block on it."""
    if x.dtype.kind not in "iu" or scale.dtype.kind != "f":
        raise ValueError(f"x must hold integers, and the scale floats, got {x.dtype} and {scale.dtype}")
    zero = np.zeros_like(scale, x.dtype) if zero is None else zero
    if scale.shape != zero.shape or zero.dtype != x.dtype:
        raise ValueError(f"the zero point must be {x.dtype} of shape {scale.shape}, got {zero.dtype} of {zero.shape}")
    if scale.size > 1 or block_size:
        scale, zero = (_along(array, x.shape, axis_of(axis, x.ndim), block_size) for array in (scale, zero))
    dtype = TYPES.get(output_dtype, "") if output_dtype else scale.dtype.name
    if np.dtype(dtype or "object").kind != "f":
        raise ValueError(f"output_dtype must be that of a floating-point type, got {output_dtype}")
    return ((x.astype(scale.dtype) - zero.astype(scale.dtype)) * scale).astype(dtype, copy=False)


def _along(array: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """Numbers for places or blocks on an axis, as an array that broadcasts."""
    if block:
        expected = tuple(-(-length // block) if k == axis else length for k, length in enumerate(shape))
        if block < 0 or array.shape != expected:
            raise ValueError(f"the scale of blocks of {block} must have shape {expected}, got {array.shape}")
        return np.repeat(array, block, axis).take(range(shape[axis]), axis)
    if array.shape != (shape[axis],):
        raise ValueError(
            f"the scale must be {shape[axis]} numbers, as many as places on axis {axis}, got {array.shape}"
        )
    return array.reshape([-1 if k == axis else 1 for k in range(len(shape))])
