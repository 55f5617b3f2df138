"""`numba.njit` with the flags and the disk cache that all kernels of this package share.

A `kernel` is called from Python, a `pointed` function from kernels, by its address; `inner`, `once`, `apart` and
`free_sums` functions become parts of kernels.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.errors import TypingError
from numba.extending import intrinsic

from ... import caching

njit: Any = numba.njit


@cache
def cache_directories() -> tuple[Path, ...]:
    """The directories of compiled kernels; new ones are kept in the first that can be written to."""
    return caching.cache_directories(Path(__file__).parents[1])


@cache
def kernel_cache() -> Any:
    """The class of the dispatchers' caches."""
    return caching.kept_in(cache_directories(), FunctionCache, IndexDataCacheFile)


TRIED = (0, 62), (0, 68)  # the first and the last version of Numba that `pipeline` has run on


def _pipeline(compiler: str) -> dict[str, Any]:
    """The option that makes Numba compile with a class of `pipeline`; a version that nobody has tried has its own."""
    if not TRIED[0] <= tuple(map(int, numba.__version__.split(".")[:2])) <= TRIED[1]:
        return {}
    from . import pipeline

    return {"pipeline_class": getattr(pipeline, compiler)}


def _part(compiler: str = "PartCompiler", **flags: Any) -> Callable[[Callable], Any]:
    """A decorator for functions that become parts of kernels."""
    decorate = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, **_pipeline(compiler), **flags)

    def make(function: Callable) -> Any:
        dispatcher = decorate(function)
        template = dispatcher.get_call_template
        # else Numba compiles it once more for each constant among its arguments
        dispatcher.get_call_template = lambda args, kws: template(tuple(map(types.unliteral, args)), kws)
        return dispatcher

    return make


# A function that kernels alone call: nothing is compiled for calls from Python.
inner = _part()

# The same for a function that is called in one place.
once = _part(forceinline=True)

# The same for a function that is seldom called: the rest of the kernel then needs fewer registers.
apart = _part("ApartCompiler", forceinline=False)

# An inner function whose sums may be taken in any order: the compiler chooses one, for vectors.
free_sums = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath={"reassoc", "contract"})


class Kernel:
    """A compiled function; ``kernel[choice](*arguments)`` runs it.

    The types of the arguments must depend on the choice alone, any hashable value. They are determined at the first
    call with a choice; later calls go directly to the machine code.
    """

    def __init__(self, function: Callable, **flags: bool) -> None:
        self.dispatcher = _cached(function, nogil=True, **flags)
        self.entries: dict[Hashable, Callable] = {}
        self.addresses: dict[tuple[Any, ...], int] = {}

    def __getitem__(self, choice: Hashable) -> Callable:
        return self.entries.get(choice) or partial(self._first_call, choice)

    def _first_call(self, choice: Hashable, *arguments: Any) -> Any:
        self.entries[choice] = self.entry(*map(numba.typeof, arguments))
        return self.entries[choice](*arguments)

    def entry(self, *arguments: Any) -> Callable:
        """What Python calls, for arguments of these types."""
        return compiled(self.dispatcher, arguments).entry_point

    def takes(self, arguments: type) -> None:
        """Let kernels `call` it with a named tuple of integers: its last parameters, by name."""
        fields, names = arguments._fields, tuple(inspect.signature(self.dispatcher.py_func).parameters)  # type: ignore[attr-defined]
        if names[-len(fields) :] != fields:
            raise TypeError(f"{self.dispatcher.__name__} must have the last parameters {fields}, got {names}")
        let_call(arguments, len(names) - len(fields))

    def address(self, arguments: type, *selecting: Any) -> int:
        """The machine code that kernels `call`, for these types of the parameters before those named."""
        if selecting not in self.addresses:
            self.addresses[selecting] = self.code_address(*selecting, *[types.intp] * len(arguments._fields))  # type: ignore[attr-defined]
        return self.addresses[selecting]

    def code_address(self, *arguments: Any) -> int:
        """The machine code for arguments of these types."""
        return _address(compiled(self.dispatcher, arguments))


class CFunction(Kernel):
    """A kernel of integers that C can call, too."""

    def c_address(self, *arguments: Any) -> int:
        """The machine code for C, for arguments of these types."""
        code = compiled(self.dispatcher, arguments)
        return code.library.get_pointer_to_function(code.fndesc.llvm_cfunc_wrapper_name)


class Pointed:
    """A function that kernels call by its address: so one compiled kernel serves all of them.

    Its last parameter is a named tuple of integers. Those before it select machine code by their types, and have no
    values.
    """

    def __init__(self, function: Callable, arguments: type) -> None:
        self.dispatcher = _cached(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)
        self.arguments = types.NamedUniTuple(types.intp, len(arguments._fields), arguments)  # type: ignore[attr-defined]
        self.addresses: dict[tuple[Any, ...], int] = {}
        selecting = len(inspect.signature(function).parameters) - 1
        if _selecting.setdefault(arguments, selecting) != selecting:
            raise TypeError(
                f"{function.__name__} must have {_selecting[arguments]} parameters before {arguments.__name__}, "
                f"as other functions that take it, got {selecting}"
            )

    def address(self, *selecting: Any) -> int:
        """The machine code for these types of the first parameters."""
        if selecting not in self.addresses:
            self.addresses[selecting] = _address(compiled(self.dispatcher, (*selecting, self.arguments)))
        return self.addresses[selecting]


def _address(code: Any) -> int:
    """Where machine code is."""
    return code.library.get_pointer_to_function(code.fndesc.mangled_name)


_selecting: dict[type, int] = {}  # for each named tuple, the parameters before it in functions that take it


def let_call(arguments: type, selecting: int) -> None:
    """Let kernels `call` functions with a named tuple of integers that comes after so many parameters."""
    _selecting[arguments] = selecting


def _cached(function: Callable, **flags: bool) -> Any:
    """A dispatcher that keeps its machine code in `cache_directories`."""
    dispatcher = njit(error_model="numpy", **_pipeline("KernelCompiler"), **flags)(function)
    dispatcher._cache = kernel_cache()(function)
    return dispatcher


def compiled(dispatcher: Any, signature: tuple[Any, ...]) -> Any:
    """The machine code for a signature, compiled or from disk; code on disk for another signature is not used."""
    with _without_collection():
        dispatcher.compile(signature)
        if signature not in dispatcher.overloads:
            kept, dispatcher._cache = dispatcher._cache, NullCache()
            try:
                dispatcher.compile(signature)
            finally:
                dispatcher._cache = kept
    return dispatcher.overloads[signature]


@contextmanager
def _without_collection() -> Iterator[None]:
    """Let Python's garbage collector wait: it would take a tenth of the time of compiling, and find little."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def pointed(arguments: type) -> Callable[[Callable], Pointed]:
    """Compile a function for calls by its address; `arguments` is the named tuple that it takes."""
    return lambda function: Pointed(function, arguments)


@intrinsic
def call(typing_context, address, arguments):
    """Call the pointed function at `address` with its named tuple, and with a 0 for each parameter that only selects.

    A wrapper for C would copy the arguments once more, which takes as long as a small tile.
    """
    if not isinstance(arguments, types.NamedTuple | types.NamedUniTuple) or arguments.instance_class not in _selecting:
        raise TypingError(f"call() must get the named tuple that a pointed function takes, got {arguments}")
    selecting = _selecting[arguments.instance_class]

    def generate(context, builder, signature, values):
        address, packed = values
        integers = [
            context.cast(builder, builder.extract_value(packed, k), kind, types.intp)
            for k, kind in enumerate(arguments.types)
        ]
        call_code(builder, address, [ir.IntType(64)(0)] * selecting + integers)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), generate


def call_code(builder: Any, address: Any, integers: list[Any]) -> Any:
    """LLVM code that calls machine code of Numba's with integers; it gives 0, or else there was an exception.

    It is called as Numba's own code calls it: with room for a result, of which there is none, and for an exception.
    """
    pointer, integer = ir.IntType(8).as_pointer(), ir.IntType(64)
    with builder.goto_entry_block():
        room = [builder.alloca(pointer), builder.alloca(pointer)]
    kind = ir.FunctionType(ir.IntType(32), [pointer.as_pointer()] * 2 + [integer] * len(integers))
    return builder.call(builder.inttoptr(address, kind.as_pointer()), [*room, *integers])


def calls(typing_context: Any, function: Any, *arguments: types.Type, first: int = 0) -> tuple[Any, Callable]:
    """What an intrinsic returns that calls an inner function, chosen by types, with its arguments from `first` on."""
    callee = types.Dispatcher(function)
    called: Any = callee.get_call_type(typing_context, arguments[first:], {})

    def generate(context, builder, signature, values):
        return context.get_function(callee, called)(builder, values[first:])

    return called.return_type(*arguments), generate


def kernel(function: Callable) -> Kernel:
    """Compile a function at its first call, without the GIL, and keep the machine code on disk."""
    return Kernel(function, no_cfunc_wrapper=True)


def c_function(function: Callable) -> CFunction:
    """The same for a function of integers that C can call."""
    return CFunction(function)
