"""What vectors and scratch memory are in machine code."""

import numba

from numlstm.backends.cpu.machine.simd import stack_bytes


@numba.njit
def small():
    return stack_bytes(192)


@numba.njit
def large():
    return stack_bytes(24576)


def test_scratch_has_the_size_asked_for():
    for function, size in ((small, 192), (large, 24576), (small, 192)):
        function.compile(())
        (code,) = function.inspect_llvm().values()
        assert f"[{size} x i8]" in code
