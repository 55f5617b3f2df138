"""A `JitStep` in compiled functions: its type for Numba, and what a call of it means there."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin, lower_constant
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)

from ..machine.compiling import inner
from ..machine.memory import integer_at
from ..machine.simd import I64
from .jit_step import OUT, JitStep, X
from .step import StepPlan

STATES = StepPlan._fields.index("states")


class JitStepType(types.Type):
    """The type of steps with numbers of one type, and of so many states."""

    def __init__(self, real: types.Float, states: int) -> None:
        self.real, self.states = real, states
        super().__init__(name=f"JitStep({real}, {states})")


@register_model(JitStepType)
class _JitStepModel(models.PrimitiveModel):
    """In compiled functions a step is the address of its plan."""

    def __init__(self, dmm, kind):
        super().__init__(dmm, kind, I64)


@typeof_impl.register(JitStep)
def _typeof(step, context):
    return JitStepType(getattr(types, step.dtype.name), len(step.state_sizes))


@unbox(JitStepType)
def _unbox(kind, step, context):
    plan = context.pyapi.object_getattr_string(step, "plan")
    address = context.pyapi.long_as_longlong(plan)
    context.pyapi.decref(plan)
    return NativeValue(address)


_compiled_in: list[JitStep] = []  # steps whose addresses are in machine code: they stay as long as the process


@lower_constant(JitStepType)
def _constant(context, builder, kind, step):
    _compiled_in.append(step)
    # With such an address Numba does not keep the machine code on disk: another process has other addresses.
    return builder.ptrtoint(context.add_dynamic_addr(builder, step.plan, info="JitStep"), I64)


@intrinsic
def plan_of(typing_context, step):
    """The address of the plan of a step."""

    def generate(context, builder, signature, arguments):
        return arguments[0]

    return types.intp(step), generate


@intrinsic
def sizes_of(typing_context, arrays):
    """How many numbers each array of a tuple has."""

    def generate(context, builder, signature, arguments):
        parts = cgutils.unpack_tuple(builder, arguments[0])
        sizes = [
            context.make_array(kind)(context, builder, part).nitems
            for kind, part in zip(signature.args[0], parts, strict=True)
        ]
        return context.make_tuple(builder, signature.return_type, sizes)

    return types.UniTuple(types.intp, len(arrays))(arrays), generate


@intrinsic
def call_step(typing_context, plan, x, states, out):
    """Call the C function of a step with the addresses of all arrays; `states` is a tuple of arrays."""

    def generate(context, builder, signature, arguments):
        def address(kind, value):
            return builder.ptrtoint(context.make_array(kind)(context, builder, value).data, I64)

        plan, x, states, out = arguments
        kinds = signature.args[2]
        with builder.goto_entry_block():
            room = builder.alloca(ir.ArrayType(I64, len(kinds)))
        parts = cgutils.unpack_tuple(builder, states)
        for k, (kind, part) in enumerate(zip(kinds, parts, strict=True)):
            builder.store(address(kind, part), cgutils.gep_inbounds(builder, room, 0, k))
        entry = builder.load(builder.inttoptr(plan, I64.as_pointer()))  # the first field
        function = builder.inttoptr(entry, ir.FunctionType(ir.VoidType(), [I64] * 4).as_pointer())
        addresses = address(signature.args[1], x), builder.ptrtoint(room, I64), address(signature.args[3], out)
        builder.call(function, [plan, *addresses])
        return context.get_dummy_value()

    return types.void(types.intp, x, states, out), generate


@overload_method(JitStepType, "__call__")
def _overload(step, x_t, state, out):
    """The meaning of a call in a compiled function."""
    _check_array("x_t", x_t, step.real)
    _check_array("out", out, step.real, written=True)
    states = tuple(state) if isinstance(state, types.BaseTuple) else (state,)
    if len(states) != step.states:
        raise TypingError(f"state must have {step.states} arrays, got {state}")
    for array in states:
        _check_array("state", array, step.real, written=True)
    return _with_tuple if isinstance(state, types.BaseTuple) else _with_array


@lower_builtin(JitStepType, JitStepType, types.VarArg(types.Any))
def _lower_call(context, builder, signature, arguments):
    """A call is one of the method: Numba looks for the first alone while it types, for the second while it lowers."""
    return context.get_function((JitStepType, "__call__"), signature)(builder, arguments)


def _check_array(name: str, array: types.Type, real: types.Float, written: bool = False) -> None:
    """An error while compiling, if an argument is no array that a step can use."""
    if not isinstance(array, types.Array) or array.layout != "C" or array.dtype != real:
        raise TypingError(f"{name} must be a C-contiguous array of {real}, got {array}")
    if written and not array.mutable:
        raise TypingError(f"{name} must be writeable, got {array}")


@inner
def take_step(step, x_t, state, out):
    """A step; `state` is a tuple."""
    plan, sizes = plan_of(step), sizes_of(state)
    if x_t.size != integer_at(plan, X):
        raise ValueError("x_t must have batch_size * D numbers")
    if out.size != integer_at(plan, OUT):
        raise ValueError("out must have batch_size * H numbers")
    for k in range(len(sizes)):
        if sizes[k] != integer_at(integer_at(plan, STATES), k):
            raise ValueError("each array of state must have as many numbers as that of the stream's state")
    call_step(plan, x_t, state, out)


def _with_tuple(step, x_t, state, out):
    take_step(step, x_t, state, out)


def _with_array(step, x_t, state, out):
    take_step(step, x_t, (state,), out)
