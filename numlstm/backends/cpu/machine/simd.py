"""A SIMD vector type for Numba: as many numbers as fit in one register.

Memory is reached by address (`intp`), so that one compiled kernel serves arrays of any layout. The functions here are
intrinsics: they exist inside `@njit` alone. `real` is `numpy.float32` or `numpy.float64`.
"""

from __future__ import annotations

import operator
from functools import cache

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from .arrays import LINE
from .target import target

I64 = ir.IntType(64)


class Vector(types.Type):
    """Lanes of one floating-point type."""

    def __init__(self, real: types.Float) -> None:
        self.real = real
        self.lanes = target().lanes(real.bitwidth)
        super().__init__(name=f"{real}x{self.lanes}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, vector):
        super().__init__(dmm, vector, VectorLayout.of(vector).vector)


class VectorLayout:
    """LLVM's types and constants for a `Vector`."""

    def __init__(self, real: types.Float, lanes: int) -> None:
        self.lanes, self.bits = lanes, real.bitwidth
        self.real = ir.FloatType() if self.bits == 32 else ir.DoubleType()
        self.vector = ir.VectorType(self.real, lanes)
        self.integer = ir.VectorType(ir.IntType(self.bits), lanes)
        self.suffix = f"v{lanes}f{self.bits}"

    @staticmethod
    @cache
    def _make(real, lanes):
        return VectorLayout(real, lanes)

    @classmethod
    def of(cls, vector: Vector) -> VectorLayout:
        """The layout of a Numba vector type."""
        return cls._make(vector.real, vector.lanes)

    def constant(self, value: float) -> ir.Constant:
        """The same number in every lane."""
        return ir.Constant(self.vector, [ir.Constant(self.real, float(value))] * self.lanes)

    def integers(self, value: int) -> ir.Constant:
        """The same integer in every lane."""
        return ir.Constant(self.integer, [value] * self.lanes)

    def call(self, builder, name, *arguments):
        """Call LLVM's vector intrinsic `name`."""
        function_type = ir.FunctionType(self.vector, [a.type for a in arguments])
        function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.{self.suffix}")
        return builder.call(function, arguments)

    def fma(self, builder, a, b, c):
        """``a * b + c``, in one instruction where the processor has it; LLVM's fma would call libm elsewhere."""
        return self.call(builder, "fma" if target().fma else "fmuladd", a, b, c)

    def splat(self, builder, scalar):
        """A scalar in every lane."""
        undefined = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        first = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None))

    def pointer(self, builder, address):
        """A pointer to vectors."""
        return builder.inttoptr(address, self.vector.as_pointer())

    def load(self, builder, address):
        """Lanes from memory that need not be aligned."""
        return builder.load(self.pointer(builder, address), align=self.bits // 8)

    def store(self, builder, value, address):
        """Lanes to memory that need not be aligned."""
        builder.store(value, self.pointer(builder, address), align=self.bits // 8)

    def first(self, builder, count):
        """A mask that is true in the first `count` lanes."""
        lane_numbers = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        undefined = ir.Constant(lane_numbers.type, ir.Undefined)
        one = builder.insert_element(undefined, count, ir.IntType(32)(0))
        every = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        return builder.icmp_signed("<", lane_numbers, builder.shuffle_vector(one, undefined, every))

    def masked(self, builder, name, result, *arguments):
        """Call LLVM's masked load or store."""
        function_type = ir.FunctionType(result, [a.type for a in arguments])
        full = f"llvm.masked.{name}.{self.suffix}.p0"
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, full), arguments)


def prefetch(builder, address):
    """Emit a request for the line at an address, which is wanted in the first cache."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    function_type = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
    read, keep, data = number(0), number(3), number(1)
    builder.call(function, [builder.inttoptr(address, byte), read, keep, data])


def vector_of(number_class) -> Vector:
    """The vector type for the type of `real`, an argument such as ``numpy.float32``."""
    return Vector(number_class.dtype)


@intrinsic
def load(typing_context, real, address):
    """All lanes from `address`."""
    vector = vector_of(real)

    def generate(context, builder, signature, arguments):
        return VectorLayout.of(vector).load(builder, arguments[1])

    return vector(real, types.intp), generate


@intrinsic
def load_first(typing_context, real, address, count):
    """The first `count` lanes from `address`, zeros in the others; memory behind them is not read."""
    vector = vector_of(real)

    def generate(context, builder, signature, arguments):
        layout = VectorLayout.of(vector)
        pointer = layout.pointer(builder, arguments[1])
        mask = layout.first(builder, arguments[2])
        align = ir.IntType(32)(layout.bits // 8)
        return layout.masked(builder, "load", layout.vector, pointer, align, mask, layout.constant(0))

    return vector(real, types.intp, types.intp), generate


@intrinsic
def store(typing_context, value, address):
    """All lanes to `address`."""
    if not isinstance(value, Vector):
        return None

    def generate(context, builder, signature, arguments):
        VectorLayout.of(value).store(builder, *arguments)
        return context.get_dummy_value()

    return types.void(value, types.intp), generate


@intrinsic
def store_first(typing_context, value, address, count):
    """The first `count` lanes to `address`; memory behind them is not written."""
    if not isinstance(value, Vector):
        return None

    def generate(context, builder, signature, arguments):
        layout = VectorLayout.of(value)
        pointer = layout.pointer(builder, arguments[1])
        mask = layout.first(builder, arguments[2])
        align = ir.IntType(32)(layout.bits // 8)
        layout.masked(builder, "store", ir.VoidType(), arguments[0], pointer, align, mask)
        return context.get_dummy_value()

    return types.void(value, types.intp, types.intp), generate


@intrinsic
def keep_first(typing_context, value, count):
    """The first `count` lanes of `value`, zeros in the others (also where it holds NaN)."""
    if not isinstance(value, Vector):
        return None

    def generate(context, builder, signature, arguments):
        layout = VectorLayout.of(value)
        return builder.select(layout.first(builder, arguments[1]), arguments[0], layout.constant(0))

    return value(value, types.intp), generate


@intrinsic
def splat(typing_context, real, scalar):
    """`scalar` in every lane."""
    vector = vector_of(real)

    def generate(context, builder, signature, arguments):
        return VectorLayout.of(vector).splat(builder, arguments[1])

    return vector(real, vector.real), generate


@intrinsic
def stack_bytes(typing_context, size):
    """The address of `size` bytes (a constant) on the stack, aligned to a cache line, freed on return."""
    if not isinstance(size, types.IntegerLiteral):
        return None

    def generate(context, builder, signature, arguments):
        with builder.goto_entry_block():  # not cgutils.alloca_once: its zeros cost a second of compile time
            block = builder.alloca(ir.ArrayType(ir.IntType(8), size.literal_value))
        block.align = LINE
        return builder.ptrtoint(block, I64)

    return types.intp(size), generate  # not intp: Numba would give every size the code of one


@intrinsic
def sum_lanes(typing_context, value):
    """The sum of all lanes, always in the same order."""
    if not isinstance(value, Vector):
        return None

    def generate(context, builder, signature, arguments):
        lanes = [builder.extract_element(arguments[0], ir.IntType(32)(k)) for k in range(value.lanes)]
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [builder.fadd(a, b) for a, b in zip(lanes[:half], lanes[half:], strict=True)]
        return lanes[0]

    return value.real(value), generate


def _operate(op, instruction):
    @type_callable(op)
    def typing(context):
        def typer(a, b):
            return a if isinstance(a, Vector) and a == b else None

        return typer

    @lower_builtin(op, Vector, Vector)
    def lower(context, builder, signature, arguments):
        return getattr(builder, instruction)(*arguments)


# Without "fast" flags NaN propagates, and a sum rounds in the same way wherever LLVM inlines it.
for _op, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operate(_op, _instruction)
