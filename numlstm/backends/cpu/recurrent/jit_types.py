"""A `JitStep` in compiled functions: its type for Numba, and what a call of it means there."""

from __future__ import annotations

import inspect
from functools import reduce

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin, lower_constant
from numba.extending import (
    NativeValue,
    models,
    register_model,
    typeof_impl,
    unbox,
)

from ..machine.compiling import call_code
from ..machine.simd import I64
from .jit_step import OUT, JitStep, X
from .step import StepPlan

STATES, CODE = map(StepPlan._fields.index, ("states", "code"))


class JitStepType(types.Callable):
    """The type of steps with numbers of one type, and of so many states."""

    parameters = inspect.signature(JitStep.__call__.__get__(object()))  # those of a call

    def __init__(self, real: types.Float, states: int) -> None:
        self.real, self.states = real, states
        super().__init__(name=f"JitStep({real}, {states})")

    def get_call_type(self, context, args, kws):
        """The signature of a call; an error while compiling, if an argument is no array that a step can use."""
        try:
            x_t, state, out = arguments = self.parameters.bind(*args, **dict(kws)).args
        except TypeError as error:
            raise TypingError(f"a jit_step takes (x_t, state, out): {error}") from None
        _check_array("x_t", x_t, self.real)
        _check_array("out", out, self.real, written=True)
        states = _arrays(state)
        if len(states) != self.states:
            raise TypingError(f"state must have {self.states} arrays, got {state}")
        for array in states:
            _check_array("state", array, self.real, written=True)
        return types.void(*arguments).replace(recvr=self, pysig=self.parameters)

    def get_call_signatures(self):
        """As Numba asks for them: they follow from what is given."""
        return [], True

    def get_impl_key(self, signature):
        """Under which `_call` is found."""
        return JitStepType


def _arrays(state: types.Type) -> tuple[types.Type, ...]:
    """The types of the arrays of a state: those of a tuple, or one."""
    return tuple(state) if isinstance(state, types.BaseTuple) else (state,)


def _check_array(name: str, array: types.Type, real: types.Float, written: bool = False) -> None:
    """An error while compiling, if an argument is no array that a step can use."""
    if not isinstance(array, types.Array) or array.layout != "C" or array.dtype != real:
        raise TypingError(f"{name} must be a C-contiguous array of {real}, got {array}")
    if written and not array.mutable:
        raise TypingError(f"{name} must be writeable, got {array}")


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


class _Emitter:
    """LLVM code for the arrays and the plan of one call."""

    def __init__(self, context, builder) -> None:
        self.context, self.builder = context, builder

    def array(self, kind, value):
        """How many numbers an array has, and its address."""
        array = self.context.make_array(kind)(self.context, self.builder, value)
        return array.nitems, self.builder.ptrtoint(array.data, I64)

    def integer(self, address, index):
        """A number of an array of integers."""
        pointer = self.builder.inttoptr(address, I64.as_pointer())
        return self.builder.load(self.builder.gep(pointer, [I64(index)]))

    def check(self, message, sizes):
        """Raise ValueError unless each pair of sizes is the same."""
        wrong = [self.builder.icmp_signed("!=", size, expected) for size, expected in sizes]
        with self.builder.if_then(reduce(self.builder.or_, wrong), likely=False):
            self.context.call_conv.return_user_exc(self.builder, ValueError, (message,))


@lower_builtin(JitStepType, JitStepType, types.VarArg(types.Any))
def _call(context, builder, signature, arguments):
    """Check all sizes, and call the machine code of a step.

    As it is one piece, arrays are borrowed: Numba would count references to them if compiled Python passed them on.
    """
    emit, (plan, x, state, out) = _Emitter(context, builder), arguments
    _, x_kind, state_kind, out_kind = signature.args
    parts = cgutils.unpack_tuple(builder, state) if isinstance(state_kind, types.BaseTuple) else [state]
    (x_size, x), (out_size, out) = emit.array(x_kind, x), emit.array(out_kind, out)
    arrays = [*map(emit.array, _arrays(state_kind), parts)]
    expected = emit.integer(plan, STATES)
    emit.check("x_t must have batch_size * D numbers", [(x_size, emit.integer(plan, X))])
    emit.check("out must have batch_size * H numbers", [(out_size, emit.integer(plan, OUT))])
    emit.check(
        "each array of state must have as many numbers as that of the stream's state",
        [(size, emit.integer(expected, k)) for k, (size, _) in enumerate(arrays)],
    )
    with builder.goto_entry_block():
        states = builder.alloca(ir.ArrayType(I64, len(arrays)))
    for k, (_, address) in enumerate(arrays):
        builder.store(address, cgutils.gep_inbounds(builder, states, 0, k))
    failed = call_code(builder, emit.integer(plan, CODE), [plan, x, builder.ptrtoint(states, I64), out])
    with builder.if_then(cgutils.is_not_null(builder, failed), likely=False):
        context.call_conv.return_user_exc(builder, MemoryError, ("no memory for a step",))
    return context.get_dummy_value()
