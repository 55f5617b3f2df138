"""Tags: arguments whose types carry a choice that is made while a kernel is compiled; they have no values.

A jitted function passed as an argument, or captured in a closure, never hits Numba's disk cache; an argument
whose *type* names the choice does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import types
from numba.extending import intrinsic, models, register_model


class WidthType(types.Opaque):
    """The width of a tile, in vectors."""

    def __init__(self, vectors: int) -> None:
        self.vectors = vectors
        super().__init__(name=f"Width({vectors})")


@cache
def width(vectors: int) -> WidthType:
    """The tag for tiles `vectors` wide."""
    return WidthType(vectors)


register_model(WidthType)(models.OpaqueModel)


def of_tag(number: Callable[[Any], int]) -> Any:
    """A function of a tag for kernels: an integer that follows from its type."""

    def of_type(typing_context, tag):
        value = number(tag)

        def generate(context, builder, signature, arguments):
            return context.get_constant(types.intp, value)

        return types.intp(tag), generate

    return intrinsic(of_type)
