"""Instructions that Numba has no names for, each with a body in Python for the simulator."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .device import SIMULATED, intrinsic
from .launching import device_function

ALIGNMENT = None if SIMULATED else 16  # of shared memory, in bytes: `load4` and `store4` take four numbers at once


def _nearest(bits: int, ties_to_even: bool) -> Callable[[np.float32], np.float32]:
    """Rounding of float32 to so many bits less."""

    def nearest(x: np.float32) -> np.float32:
        word = int(x.view(np.uint32))
        half = 1 << (bits - 1)
        up = half - 1 + (word >> bits & 1) if ties_to_even else half
        return np.uint32((word + up) >> bits << bits & 0xFFFFFFFF).view(np.float32) if np.isfinite(x) else x

    return nearest


# What tensor cores make of a factor: cvt.rna, and cvt.rn for halves.
ROUNDED: dict[str, Callable[[np.float32], Any]] = {
    "": lambda x: x,
    "tf32": _nearest(13, ties_to_even=False),
    "float16": np.float16,
    "bfloat16": _nearest(16, ties_to_even=True),
}
KINDS = tuple(kind for kind in ROUNDED if kind)

if SIMULATED:

    def quotient(a: int, b: int) -> int:
        """``a // b`` of integers from 0 to 2**31 - 1: the compiler's own takes 64 bits, and much longer."""
        return a // b

    def arrive_and_wait(counters: Any, index: int, arrivals: int) -> None:
        """Count a block's arrival at a barrier, and wait until there are `arrivals`; for one thread of the block.

        What the block has written before is seen by all blocks that have waited.
        """
        counters[index] += 1
        if counters[index] != arrivals:
            raise RuntimeError("the simulator runs blocks one after another: they cannot wait for one another")

    def launch_together() -> None:
        """Launch a kernel only if all its blocks can run at once, as those must that wait for one another."""

    def prefetch(array: Any, index: int) -> None:
        """Ask for what is at `index` to be brought nearer, to the second-level cache."""

    def rounded(kind: str, x: Any) -> Any:
        """A float32 number as a factor of a product of a kind: "" leaves it as it is."""
        return type(x)(ROUNDED[kind](np.float32(x))) if kind else x

    def load4(array: Any, index: int) -> tuple[Any, ...]:
        """Four numbers of `array` from `index` on, a multiple of four."""
        return array[index], array[index + 1], array[index + 2], array[index + 3]

    def store4(array: Any, index: int, a: Any, b: Any, c: Any, d: Any) -> None:
        """Write four numbers from `index` on, a multiple of four."""
        array[index], array[index + 1], array[index + 2], array[index + 3] = a, b, c, d

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.np.arrayobj import make_array

    def _vector(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> tuple[Any, Any]:
        """Where four numbers are, as a pointer to a vector; and the vector's type."""
        number = context.get_value_type(kind.dtype)
        vector = ir.VectorType(number, 4)
        place = builder.gep(make_array(kind)(context, builder, array).data, [index])
        return builder.bitcast(place, vector.as_pointer()), vector

    def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
        """The address of a number, as an integer."""
        place = builder.gep(make_array(kind)(context, builder, array).data, [index])
        return builder.ptrtoint(place, ir.IntType(64))

    def _assembly(
        builder: Any, result: Any, code: str, constraints: str, arguments: list[Any], pure: bool = False
    ) -> Any:
        """Code of PTX; unless it is pure, no memory access is moved across."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        constraints = constraints if pure else f"{constraints},~{{memory}}"
        assembly = ir.InlineAsm(kind, code, constraints, side_effect=True)
        return builder.call(assembly, arguments, attrs=("convergent",))

    @intrinsic
    def _arrive(typing_context, counters, index):
        """Count an arrival: writes that came before it, of the block's other threads too, are seen before it is."""

        def generate(context, builder, signature, arguments):
            place = _place(context, builder, signature.args[0], *arguments)
            one = ir.Constant(ir.IntType(32), 1)
            _assembly(builder, ir.VoidType(), "red.release.gpu.add.u32 [$0], $1;", "l,r", [place, one])
            return context.get_dummy_value()

        return types.void(counters, types.int64), generate

    @intrinsic
    def _arrivals(typing_context, counters, index):
        """Arrivals so far: what was written before them is seen after this."""

        def generate(context, builder, signature, arguments):
            place = _place(context, builder, signature.args[0], *arguments)
            return _assembly(builder, ir.IntType(32), "ld.acquire.gpu.u32 $0, [$1];", "=r,l", [place])

        return types.int32(counters, types.int64), generate

    @device_function
    def arrive_and_wait(counters, index, arrivals):
        """Count a block's arrival at a barrier, and wait until there are `arrivals`; for one thread of the block."""
        _arrive(counters, index)
        while _arrivals(counters, index) < arrivals:
            pass

    @intrinsic
    def launch_together(typing_context):
        """Launch a kernel only if all its blocks can run at once, as those must that wait for one another."""

        def generate(context, builder, signature, arguments):
            context.active_code_library.use_cooperative = True
            return context.get_dummy_value()

        return types.void(), generate

    @intrinsic
    def prefetch(typing_context, array, index):
        """Ask for what is at `index` to be brought nearer, to the second-level cache."""

        def generate(context, builder, signature, arguments):
            place = _place(context, builder, signature.args[0], *arguments)
            _assembly(builder, ir.VoidType(), "prefetch.global.L2 [$0];", "l", [place])
            return context.get_dummy_value()

        return types.void(array, types.int64), generate

    def _of_words(operation: str) -> Any:
        """Code for an operation on the low 32 bits of two integers, without signs."""

        def generate(context, builder, signature, arguments):
            words = [builder.trunc(argument, ir.IntType(32)) for argument in arguments]
            return builder.zext(getattr(builder, operation)(*words), ir.IntType(64))

        return generate

    @intrinsic
    def quotient(typing_context, a, b):
        """``a // b`` of integers from 0 to 2**31 - 1."""
        return types.int64(types.int64, types.int64), _of_words("udiv")

    def _converted(kind: str, builder: Any, numbers: list[Any]) -> Any:
        """A word of one number rounded to tf32, or of two rounded to halves, the first in the low bits."""
        word = ir.IntType(32)
        if kind == "tf32":
            return _assembly(builder, word, "cvt.rna.tf32.f32 $0, $1;", "=r,f", numbers, pure=True)
        half = {"float16": "f16x2", "bfloat16": "bf16x2"}[kind]
        return _assembly(builder, word, f"cvt.rn.{half}.f32 $0, $2, $1;", "=r,f,f", numbers, pure=True)

    @cache
    def word_of(kind: str) -> Any:
        """The instruction for the word that a fragment holds of two numbers, of kind tf32 of the first.

        ``word(x, y)`` gives it as the float32 number of these bits.
        """

        @intrinsic
        def word(typing_context, x, y):
            def generate(context, builder, signature, arguments):
                numbers = arguments[:1] if kind == "tf32" else arguments
                return builder.bitcast(_converted(kind, builder, numbers), ir.FloatType())

            return types.float32(types.float32, types.float32), generate

        return word

    SHAPES = {"tf32": "m16n8k8", "float16": "m16n8k16", "bfloat16": "m16n8k16"}
    NAMES = {"tf32": "tf32", "float16": "f16", "bfloat16": "bf16"}

    @cache
    def multiply_fragments(kind: str) -> Any:
        """The instruction for ``a b + c``, by a warp on tensor cores.

        ``multiply(a, b, c)`` takes fragments of 16 rows, of 8 columns, and of 16 x 8 sums in float32: tuples of 4, 2
        and 4 numbers, of which those of a and b are words. See PTX, "mma.m16n8k8" and "mma.m16n8k16".
        """
        half = NAMES[kind]
        code = (
            f"mma.sync.aligned.{SHAPES[kind]}.row.col.f32.{half}.{half}.f32 "
            "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};"
        )
        pair, four = types.UniTuple(types.float32, 2), types.UniTuple(types.float32, 4)

        @intrinsic
        def multiply(typing_context, a, b, c):
            def generate(context, builder, signature, arguments):
                a, b, c = (
                    [builder.extract_value(fragment, k) for k in range(len(kind_))]
                    for fragment, kind_ in zip(arguments, signature.args, strict=True)
                )
                words = [builder.bitcast(number, ir.IntType(32)) for number in (*a, *b)]
                sums = ir.LiteralStructType([ir.FloatType()] * 4)
                constraints = ",".join(["=f"] * 4 + ["r"] * 6 + ["f"] * 4)
                result = _assembly(builder, sums, code, constraints, [*words, *c], pure=True)
                return context.make_tuple(builder, four, [builder.extract_value(result, k) for k in range(4)])

            return four(four, pair, four), generate

        return multiply

    @device_function
    def rounded(kind, x):
        """A number as a factor of a plain product: as it is."""
        return x

    @intrinsic
    def load4(typing_context, array, index):
        """Four numbers of `array` from `index` on, a multiple of four."""
        result = types.UniTuple(array.dtype, 4)

        def generate(context, builder, signature, arguments):
            place, _ = _vector(context, builder, signature.args[0], *arguments)
            loaded = builder.load(place)
            loaded.align = 16
            numbers = [builder.extract_element(loaded, ir.Constant(ir.IntType(32), k)) for k in range(4)]
            return context.make_tuple(builder, result, numbers)

        return result(array, types.int64), generate

    @intrinsic
    def store4(typing_context, array, index, a, b, c, d):
        """Write four numbers from `index` on, a multiple of four."""

        def generate(context, builder, signature, arguments):
            place, vector = _vector(context, builder, signature.args[0], *arguments[:2])
            value = ir.Constant(vector, ir.Undefined)
            for k, number in enumerate(arguments[2:]):
                value = builder.insert_element(value, number, ir.Constant(ir.IntType(32), k))
            builder.store(value, place, align=16)
            return context.get_dummy_value()

        return types.void(array, types.int64, *[array.dtype] * 4), generate
