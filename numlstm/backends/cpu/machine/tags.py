"""Tags: arguments whose types carry a choice that is made while a kernel is compiled; they have no values.

A jitted function passed as an argument, or captured in a closure, never hits Numba's disk cache; an argument
whose *type* names the choice does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import types
from numba.extending import NativeValue, intrinsic, models, register_model, typeof_impl, unbox


class WidthType(types.Opaque):
    """The width of a tile, in vectors."""

    def __init__(self, vectors: int) -> None:
        self.vectors = vectors
        super().__init__(name=f"Width({vectors})")


class Tag:
    """The Python object of a tag type."""

    def __init__(self, numba_type: types.Type) -> None:
        self.numba_type = numba_type


@cache
def width(vectors: int) -> Tag:
    """The tag for tiles `vectors` wide."""
    return Tag(WidthType(vectors))


register_model(WidthType)(models.OpaqueModel)


@typeof_impl.register(Tag)
def _typeof(tag, context):
    return tag.numba_type


@unbox(WidthType)
def _unbox(tag_type, tag, context):
    return NativeValue(context.context.get_dummy_value())


def of_tag(number: Callable[[Any], int]) -> Any:
    """A function of a tag for kernels: an integer that follows from its type."""

    def of_type(typing_context, tag):
        value = number(tag)

        def generate(context, builder, signature, arguments):
            return context.get_constant(types.intp, value)

        return types.intp(tag), generate

    return intrinsic(of_type)
