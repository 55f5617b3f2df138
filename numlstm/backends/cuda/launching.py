"""Kernels: compiled at their first launch, kept on disk, and launched with little work on the host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ...concurrency import cached_property
from ..caching import cache_directories, kept_in
from .arguments import alike, kind_of, packed
from .device import SIMULATED, THREADS, cuda, current_index

if not SIMULATED:
    from numba.cuda.core.caching import IndexDataCacheFile
    from numba.cuda.cudadrv.driver import _to_core_stream
    from numba.cuda.dispatcher import CUDA_CORE_GE_1_0, CUDACache, LaunchConfig, launch

    from .device import binding, driver, overload

CONFIGURATIONS_KEPT = 256  # of a kernel
SHARED = 48 << 10  # bytes of shared memory that a block has without asking

_lock = threading.RLock()  # guards what all threads share


def device_function(function: Callable) -> Any:
    """A function that kernels call."""
    return cuda.jit(device=True)(function)


def overloads(target: Callable, **options: Any) -> Callable:
    """Compile calls of a plain function as the decorated one says; the simulator runs the plain one."""
    if SIMULATED:
        return lambda chooser: chooser
    return overload(target, target="cuda", **options)


def by_name(make: Callable[[str], Callable]) -> Callable:
    """A function that kernels call with a name and the arguments of the function ``make(name)``.

    Kernels capture the name, a string: a kernel that captures only strings can be kept on disk.
    """
    function_named = cache(lambda name: device_function(make(name)))

    def call(name, *arguments):
        return function_named(name)(*arguments)

    def choose(name, *arguments):  # Numba wants signatures alike, without types
        if not hasattr(name, "literal_value"):
            return None
        function = function_named(name.literal_value)
        return lambda name, *arguments: function(*arguments)

    overloads(call, prefer_literal=True)(choose)
    return call


class Kernel:
    """A kernel.

    Parameters
    ----------
    function : callable
    **options
        Of the compiler.
    """

    def __init__(self, function: Callable, **options: Any) -> None:
        self.function, self.options = function, options
        self._entries: dict[tuple[Any, ...], Entry] = {}

    @cached_property
    def dispatcher(self) -> Any:
        """What compiles it."""
        if SIMULATED:
            return cuda.jit(self.function)
        dispatcher = cuda.jit(**self.options)(self.function)
        dispatcher._cache = kernel_cache()(self.function)
        return dispatcher

    def launch(self, blocks: Any, threads: Any, *arguments: Any, shared: int = 0) -> None:
        """Queue it behind earlier launches, and return at once.

        Parameters
        ----------
        blocks, threads : int or tuple of int
        *arguments
            Contiguous arrays of Numba of one axis, numbers, and tuples of numbers.
        shared : int
            Bytes of shared memory that a block needs.
        """
        if SIMULATED:
            self.dispatcher[blocks, threads, 0, shared](*arguments)
            return
        key = current_index(), *map(kind_of, arguments)
        entry = self._entries.get(key)
        if entry is None:
            with _lock:
                entry = self._entries[key] = self._entries.get(key) or Entry(self._compiled(arguments), arguments)
        entry.launch(blocks, threads, shared, arguments)

    def _compiled(self, arguments: tuple[Any, ...]) -> Any:
        """The machine code for arguments of these types."""
        kernel = self.dispatcher.compile(tuple(map(self.dispatcher.typeof_pyval, arguments)))
        kernel.bind()  # it may have been compiled for another device
        return kernel

    def for_all(self, count: int, *arguments: Any) -> None:
        """Run it on enough threads for `count` items."""
        blocks = max(1, min(-(-count // THREADS), 2 if SIMULATED else 2048))
        self.launch(blocks, THREADS, *arguments)


class Entry:
    """The machine code of a kernel for one device and arguments of certain types.

    Parameters
    ----------
    kernel
        Numba's.
    arguments : tuple
        Those of the first launch. If `packed` agrees with numba-cuda on them, it packs those of later launches.
    """

    def __init__(self, kernel: Any, arguments: tuple[Any, ...]) -> None:
        self.kernel, self.code, self.stream = kernel, kernel.library.get_cufunc(), _to_core_stream(0)
        self.direct = is_direct(kernel, arguments, self.stream)
        self._configurations: dict[tuple[Any, ...], Any] = {}
        self._has_all_shared = False

    def launch(self, blocks: Any, threads: Any, shared: int, arguments: tuple[Any, ...]) -> None:
        """See `Kernel.launch`."""
        if shared > SHARED and not self._has_all_shared:
            self._take_all_shared()
        if not self.direct:
            self.kernel.launch(arguments, _three(blocks), _three(threads), self.stream, shared)
            return
        key = blocks, threads, shared
        configuration = self._configurations.get(key) or self._configure(*key)
        launch(self.stream, configuration, self.code.kernel, *packed(arguments))

    def _configure(self, blocks: Any, threads: Any, shared: int) -> Any:
        if len(self._configurations) >= CONFIGURATIONS_KEPT:
            self._configurations.clear()
        together = {"is_cooperative" if CUDA_CORE_GE_1_0 else "cooperative_launch": self.kernel.cooperative}
        configuration = LaunchConfig(grid=_three(blocks), block=_three(threads), shmem_size=shared, **together)
        self._configurations[blocks, threads, shared] = configuration
        return configuration

    def _take_all_shared(self) -> None:
        """Allow blocks all the shared memory of the device; without this they get 48 KiB."""
        device = cuda.get_current_device()
        attribute = binding.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        most = device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN - self.code.attrs.shared
        driver.cuKernelSetAttribute(attribute, most, self.code.handle, device.id)
        self._has_all_shared = True


def is_direct(kernel: Any, arguments: tuple[Any, ...], stream: Any) -> bool:
    """Whether `packed` agrees with numba-cuda."""
    theirs: list[Any] = []
    for kind, argument in zip(kernel.argument_types, arguments, strict=True):
        kernel._prepare_args(kind, argument, stream, [], theirs)
    try:
        return alike(packed(arguments), theirs)
    except KeyError:  # a type that `packed` does not know
        return False


def _three(sizes: Any) -> tuple[int, ...]:
    """Sizes of a grid or a block."""
    return (*(sizes if isinstance(sizes, tuple) else (sizes,)), 1, 1)[:3]


def kernel(function: Callable) -> Kernel:
    """Compile a function as a kernel."""
    return Kernel(function)


@cache
def kernel_cache() -> Any:
    """The class of the dispatchers' caches."""
    return kept_in(cache_directories(Path(__file__).parent), CUDACache, IndexDataCacheFile)
