"""`numba.njit` with the flags and the disk cache that all kernels of this package share.

A `kernel` is called from Python, a `pointed` function from kernels, by its address; `inner`, `once` and `free_sums`
functions become parts of kernels.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.extending import intrinsic

from ... import caching

njit: Any = numba.njit


@cache
def cache_directories() -> tuple[Path, ...]:
    """Where compiled kernels are looked for, and kept in the first that can be written to."""
    return caching.cache_directories(Path(__file__).parents[1])


@cache
def kernel_cache() -> Any:
    """The class of the dispatchers' caches."""
    return caching.kept_in(cache_directories(), FunctionCache, IndexDataCacheFile)


# A function that only kernels call: nothing is compiled for calls from Python.
inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

# The same for one that is called in one place: it becomes part of its caller, and is compiled once, not twice.
once = njit(error_model="numpy", inline="always")

# An inner function whose sums may be taken in any order: the compiler chooses one, for vectors.
free_sums = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath={"reassoc", "contract"})


class Kernel:
    """A compiled function; ``kernel[choice](*arguments)`` runs it.

    A choice is whatever hashable the types of the arguments depend on. They are looked at once for each;
    later calls go straight to the machine code.
    """

    def __init__(self, function: Callable) -> None:
        self.dispatcher = _cached(function, nogil=True, no_cfunc_wrapper=True)
        self.entries: dict[Hashable, Callable] = {}

    def __getitem__(self, choice: Hashable) -> Callable:
        return self.entries.get(choice) or partial(self._first_call, choice)

    def _first_call(self, choice: Hashable, *arguments: Any) -> Any:
        entry = compiled(self.dispatcher, tuple(map(numba.typeof, arguments))).entry_point
        self.entries[choice] = entry
        return entry(*arguments)


class Pointed:
    """A function that kernels call by its address: drivers need not be compiled anew for each of them."""

    def __init__(self, function: Callable) -> None:
        self.dispatcher = _cached(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)
        self.arguments = len(inspect.signature(function).parameters)
        self.addresses: dict[tuple[Any, ...], int] = {}

    def address(self, *given: Any) -> int:
        """The machine code for these types of the first arguments; all others are integers."""
        if given not in self.addresses:
            signature = (*given, *[types.intp] * (self.arguments - len(given)))
            code = compiled(self.dispatcher, signature)
            self.addresses[given] = code.library.get_pointer_to_function(code.fndesc.mangled_name)
        return self.addresses[given]


def _cached(function: Callable, **flags: bool) -> Any:
    """A dispatcher that keeps its machine code in `cache_directories`."""
    dispatcher = njit(error_model="numpy", **flags)(function)
    dispatcher._cache = kernel_cache()(function)
    return dispatcher


def compiled(dispatcher: Any, signature: tuple[Any, ...]) -> Any:
    """What is compiled for a signature, or found on disk; what is found there under a wrong name is not used."""
    dispatcher.compile(signature)
    if signature not in dispatcher.overloads:
        kept, dispatcher._cache = dispatcher._cache, NullCache()
        try:
            dispatcher.compile(signature)
        finally:
            dispatcher._cache = kept
    return dispatcher.overloads[signature]


def pointed(function: Callable) -> Pointed:
    """Compile a function of integers, behind arguments that only select, for calls from kernels."""
    return Pointed(function)


@intrinsic
def call(typing_context, address, arguments):
    """Call the pointed function at `address` with integers; a 0 stands for an argument that only selects.

    It is called as Numba's own code calls it: with room for a result and for an exception, of which there are none. A
    wrapper for C would copy the arguments once more, which takes as long as a small tile.
    """

    def generate(context, builder, signature, values):
        address, packed = values
        integers = [builder.extract_value(packed, k) for k in range(len(signature.args[1]))]
        pointer = ir.IntType(8).as_pointer()
        with builder.goto_entry_block():
            room = [builder.alloca(pointer), builder.alloca(pointer)]
        kind = ir.FunctionType(ir.IntType(32), [pointer.as_pointer()] * 2 + [ir.IntType(64)] * len(integers))
        builder.call(builder.inttoptr(address, kind.as_pointer()), [*room, *integers])
        return context.get_dummy_value()

    return types.void(types.intp, arguments), generate


def kernel(function: Callable) -> Kernel:
    """Compile a function at its first call, without the GIL, and keep the machine code on disk."""
    return Kernel(function)
