"""Compiling: a part of kernels is compiled once, and optimised with each kernel; integers are read where needed."""

import gc
import re
import sys

import numba
import numpy as np
import pytest
from nested_tuples import Pair
from numba.core.codegen import JITCodeLibrary
from numba.core.errors import TypingError
from numba.core.typed_passes import IRLegalization

from numlstm.backends.cpu.machine.compiling import apart, compiled, inner, once
from numlstm.backends.cpu.machine.memory import greater, lesser, stored, stored_entry
from numlstm.backends.cpu.machine.pipeline import KernelCode, KernelCompiler


@inner
def plus(a, b):
    return a + b


@inner
def twice(a):
    return plus(a, 1) + plus(1, a)


@apart
def far_away(a):
    return a * 3


@once
def close_by(a):
    return far_away(a) + 1 if a > 2 else a


@inner
def total(values):
    result = 0
    for value in values:
        result = plus(result, value)
    return result


def whole(function):
    """A kernel that is kept nowhere."""
    return numba.njit(pipeline_class=KernelCompiler)(function)


def test_a_part_is_compiled_once_whether_arguments_are_constants():
    assert whole(lambda a: twice(a) + plus(2, 3))(3) == 13
    assert [str(overload) for overload in plus.overloads] == ["(int64, int64)"]


def test_only_a_whole_kernel_is_optimised(monkeypatch):
    seen = []

    def watch(kind, method):
        original = getattr(kind, method)

        def note(code, *arguments):
            seen.append((type(code), method))
            return original(code, *arguments)

        monkeypatch.setattr(kind, method, note)

    watch(JITCodeLibrary, "_optimize_functions")
    watch(JITCodeLibrary, "_finalize_specific")  # makes machine code
    watch(KernelCode, "_optimize_final_module")

    @inner
    def new(a):
        return twice(a) + 1

    assert whole(lambda a: new(a))(3) == 9
    assert seen == [(KernelCode, "_optimize_final_module"), (KernelCode, "_finalize_specific")]


def test_a_part_that_is_seldom_called_stays_apart():
    kernel = whole(lambda a: close_by(a))
    assert (kernel(2), kernel(3)) == (2, 10)
    (code,) = kernel.inspect_llvm().values()
    assert re.findall("call i32 @[^(]*(far_away|close_by)", code) == ["far_away"]


def test_functions_of_users_may_call_a_part():
    @inner
    def added(a):
        return a + 1

    @inner
    def new(a):
        return added(a) + added(a)

    assert numba.njit(lambda a: new(a) + 1)(3) == 9


def test_arrays_are_let_go():
    values = np.arange(5)
    kernel, count = whole(lambda values: total(values) + total(values[1:])), sys.getrefcount(values)
    assert kernel(values) == 20
    assert sys.getrefcount(values) == count


def test_kernels_of_numbers_let_go_of_nothing(monkeypatch):
    """What they hold is not counted, and to let go of it takes time to compile."""
    legalized = []
    monkeypatch.setattr(IRLegalization, "run_pass", lambda self, state: legalized.append(state.func_id.func_name))
    assert whole(lambda a: close_by(a))(3) == 10
    assert legalized == []


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_while_a_kernel_is_compiled(collects):
    seen = []

    class Dispatcher:
        def __init__(self):
            self.overloads = {"signature": 1}

        def compile(self, signature):
            seen.append(gc.isenabled())
            if len(seen) > 1:
                raise TypingError("no such kernel")

    before = gc.isenabled()
    try:
        gc.enable() if collects else gc.disable()
        compiled(Dispatcher(), "signature")
        assert gc.isenabled() == collects
        with pytest.raises(TypingError, match="no such kernel"):
            compiled(Dispatcher(), "signature")
        assert gc.isenabled() == collects
    finally:
        gc.enable() if before else gc.disable()
    assert seen == [False, False]


def test_a_stored_tuple_is_read_by_name():
    memory = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])

    def read(at, entry):
        first, entry = stored(Pair, at), stored_entry(Pair, at, entry)
        right = entry.right
        return first.left.a, first.middle, first.right.b, entry.left.b, right.a

    assert whole(read)(memory.ctypes.data, 1) == (1, 3, 5, 7, 9)
    with pytest.raises(TypingError, match="Unknown attribute 'centre'"):
        whole(lambda at: stored(Pair, at).centre)(memory.ctypes.data)


@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 1), (-3, 0), (4, 4)])
def test_the_lesser_and_the_greater(a, b):
    assert whole(lambda a, b: (lesser(a, b), greater(a, b), lesser(a, 1), greater(0, b)))(a, b) == (
        min(a, b), max(a, b), min(a, 1), max(0, b),
    )  # fmt: skip
