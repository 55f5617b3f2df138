"""Kernels compiled for GPUs that are not here, and what they need there."""

import contextlib
import re
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from numba import config

pytest.importorskip("numba_cuda", reason="to compile for GPUs takes numba-cuda (the extra cuda12 or cuda13)")
if config.ENABLE_CUDASIM:
    pytest.skip("the simulator compiles nothing", allow_module_level=True)

from numba.cuda import dispatcher, types
from numba.cuda.cudadrv import devices
from numba.cuda.typing.typeof import typeof

CAPABILITIES = [(7, 5), (8, 0), (9, 0), (10, 0)]  # Turing, Ampere, Hopper, Blackwell


class _Device:
    id = 0

    def __init__(self, capability):
        self.compute_capability = capability


class _Context:
    def __init__(self, capability):
        self.device = _Device(capability)


@contextlib.contextmanager
def compute_capability(capability):
    """Answer numba-cuda's question for the current device: functions called by kernels are compiled for it."""
    kept = dispatcher.get_current_device, devices.get_context
    dispatcher.get_current_device = lambda: _Device(capability)
    devices.get_context = lambda devnum=None: _Context(capability)
    try:
        yield
    finally:
        dispatcher.get_current_device, devices.get_context = kept


@dataclass(frozen=True)
class Resources:
    """What a kernel needs, by ptxas: registers of a thread; bytes of its stack, of spills, of a block's static memory.

    And `doubles`, the instructions in double precision.
    """

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int
    doubles: int


class Compiled:
    """A kernel of `numlstm.backends.cuda.device.kernel`, compiled as it would be on a device, for one there is not.

    Parameters
    ----------
    kernel : Kernel
    arguments : tuple
        Examples of the arguments, or their Numba types.
    capability : (int, int)
    **options
        Of ``cuda.jit``, beside the kernel's own.
    """

    def __init__(self, kernel, arguments, capability, **options):
        self.capability, self.options = capability, kernel.dispatcher.targetoptions | options
        kinds = tuple(each if isinstance(each, types.Type) else typeof(each) for each in arguments)
        with compute_capability(capability):
            self.kernel = dispatcher._Kernel(kernel.function, kinds, **self.options)
            self.ptx = _assembled(self.kernel.library, self.options.get("lto"))

    @property
    def cubin(self):
        """Machine code, from the linker that is used on a device."""
        with compute_capability(self.capability):
            return self.kernel.library.get_cubin().code

    @property
    def normal_ptx(self):
        """PTX without the numbers that functions are given in the order of compilation."""
        names = {}
        return re.sub(r"_ZN\w+|_cudapy_\w+", lambda found: names.setdefault(found[0], f"f{len(names)}"), self.ptx)

    def resources(self):
        """What it needs."""
        log = _ptxas(self.ptx, self.options.get("max_registers"), self.kernel.cooperative)
        # Functions that are called and not inlined have stacks of their own.
        frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
        stack, stores, loads = (sum(map(int, each)) for each in zip(*frames, strict=True))
        registers = max(map(int, re.findall(r"Used (\d+) registers", log)))
        shared = sum(map(int, re.findall(r"(\d+) bytes smem", log)))
        return Resources(registers, stack, stores, loads, shared, doubles(self.ptx))


def _assembled(library, optimised_when_linked):
    """The PTX that a device's code is made of: it differs, in registers too, from that of the first compilation."""
    if not optimised_when_linked:
        return library.get_asm_str()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Not adding .*cudadevrt")  # whose functions are called, not optimised
        return library.get_lto_ptx().rstrip("\0")


def doubles(ptx):
    """Instructions in double precision; declarations are none."""
    return len(re.findall(r"^\s*(?:@!?%\w+\s+)?[a-z][\w.:]*\.f64\b", ptx, re.MULTILINE))


@cache
def ptxas():
    """The assembler's path, or None."""
    from cuda.pathfinder import find_nvidia_binary_utility

    return find_nvidia_binary_utility("ptxas")


def _ptxas(ptx, max_registers, cooperative):
    """What the assembler says of a PTX."""
    target = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)[1]
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "kernel.ptx"
        source.write_text(ptx)
        command = [ptxas(), "-v", f"-arch={target}", str(source), "-o", str(source.with_suffix(".cubin"))]
        command += ["-c"] if cooperative else []  # calls what is linked later
        command += [f"-maxrregcount={max_registers}"] if max_registers else []
        return subprocess.run(command, check=True, capture_output=True, text=True).stderr
