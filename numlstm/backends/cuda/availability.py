"""Whether CUDA can be used here; if not, why, and what to do about it.

Nothing of CUDA is imported before the driver's library is known to be there.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..contract import FORKED, Backend, BackendUnavailableError

LEAST_CAPABILITY = 7, 0
INSTALL = 'pip install "numlstm[cuda13]" (or, with a driver for CUDA 12, "numlstm[cuda12]")'
DRIVER = "install NVIDIA's driver, or choose backend='cpu'"
# What wrote the machine code that the driver may be too old for, the first that is installed.
TOOLKITS = ("nvidia-nvvm", "nvidia-cuda-nvcc-cu12", "cuda-toolkit", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")
# Packages of a toolkit that make kernels, by its major version; {} is the version that they must have.
PINNED = {
    12: '"cuda-toolkit[cccl,cudart,nvcc,nvrtc]=={}.*" "nvidia-nvjitlink-cu12=={}.*"',
    13: '"cuda-toolkit[cccl,cudart,nvrtc,nvvm]=={}.*" "nvidia-nvvm=={}.*" "nvidia-nvjitlink=={}.*"',
}
REFUSED = ("INVALID_IMAGE", "INVALID_PTX", "NO_BINARY_FOR_GPU")  # a driver's errors with code that is too new, or bad
KERNEL_MODULE = Path("/proc/driver/nvidia/version")

Version = tuple[int, int]


class Unusable(Exception):
    """Why CUDA cannot be used, and what to do."""


def cuda_backend(index: int) -> Backend:
    """The backend on the GPU of that number, which has run a kernel.

    Raises
    ------
    BackendUnavailableError
        Naming the cause and the remedy.
    """
    try:
        shim = _shim()
        with _explained(shim):
            device = shim.Device(index)
        if not shim.SIMULATED:
            with _explained(shim):
                _check_capability(shim.cuda.gpus[index])
                _run_a_kernel(device)
    except Unusable as reason:
        name = f"cuda:{index}" if index else "cuda"
        raise BackendUnavailableError(f"backend {name!r} is not available: {reason}") from reason.__cause__
    return import_module(".backend", __package__).CudaBackend(index)


def device_of(array: Any) -> int:
    """The number of the GPU that an array is on.

    Raises
    ------
    BackendUnavailableError
        If nothing can be computed there.
    """
    try:
        _shim()
    except Unusable as reason:
        raise BackendUnavailableError(
            f"an array on a GPU needs backend 'cuda', which is not available: {reason}"
        ) from reason
    return import_module(".foreign", __package__).device_of(array)


def gpus() -> str:
    """The GPUs, their driver and toolkit; or why there is none to use. Runs nothing on them."""
    try:
        shim = _shim()
        if shim.SIMULATED:
            return shim.Device(0).description
        with _explained(shim):
            descriptions = [_described(shim, index) for index in range(len(shim.cuda.gpus))]
    except Unusable as reason:
        return f"none used: {reason}"
    toolkit = _toolkit_version()
    parts = ["; ".join(descriptions), f"{_driver_name()} for CUDA {_text(_driver_version(shim))}"]
    return ", ".join([*parts, f"toolkit {_text(toolkit)}"] if toolkit else parts)


def _described(shim: Any, index: int) -> str:
    total = shim.driver.cuDeviceTotalMem(shim.cuda.gpus[index].id)
    return f"{shim.Device(index).description}, {total / 2**30:.1f} GiB"


# Steps, in the order in which they can fail -----------------------------------------------------------------


def _shim() -> Any:
    """The module that imports CUDA, with a GPU to be seen by it."""
    if find_spec("numba_cuda") is None:
        raise Unusable(f"the package numba-cuda is not installed; {INSTALL}")
    if not _simulated() and not _driver_found():
        raise Unusable(f"no NVIDIA driver or GPU was found: the driver's library cannot be loaded; {DRIVER}")
    try:
        shim = import_module(".device", __package__)
    except ImportError as error:
        raise Unusable(
            f"numba-cuda {version('numba-cuda')} cannot be imported ({_first_line(error)}); {INSTALL}"
        ) from error
    if not shim.SIMULATED:
        with _explained(shim):
            count = len(shim.cuda.gpus)
        if not count:
            raise Unusable(_no_gpu())
    return shim


def _simulated() -> bool:
    """Whether Numba will simulate CUDA; that of an environment, as Numba reads it."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def _driver_found() -> bool:
    """Whether the driver's library can be loaded, from where Numba looks for it: long before Numba is imported."""
    if sys.platform == "win32":
        names = ["nvcuda.dll"]
    else:
        names = [os.path.join(folder, f"libcuda.so{end}") for folder in ("", "/usr/lib", "/usr/lib64") for end in
                 ("", ".1")]  # fmt: skip
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _check_capability(gpu: Any) -> None:
    """Refuse GPUs that are too old."""
    capability = tuple(gpu.compute_capability[:2])
    if capability < LEAST_CAPABILITY:
        raise Unusable(
            f"{_gpu_name(gpu)} has compute capability {_text(capability)}, and {_text(LEAST_CAPABILITY)} (Volta, 2017) "
            "is needed; choose backend='cpu'"
        )


def _run_a_kernel(device: Any) -> None:
    """Compile, load and run one: only then a driver shows that it is too old for the toolkit."""
    arrays = import_module(".arrays", __package__)
    with device.current():
        arrays.fill(arrays.empty(device, (1,), "float32"), 0.0)
    device.synchronize()


# Errors -----------------------------------------------------------------------------------------------------


@contextmanager
def _explained(shim: Any) -> Iterator[None]:
    """Say what an error of CUDA's means."""
    try:
        yield
    except (Unusable, BackendUnavailableError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise Unusable(_explanation(error, shim)) from error


def _explanation(error: Exception, shim: Any) -> str:
    """What has happened, and what to do.

    Numba's `CudaAPIError` and the `CUDAError` of cuda.core differ in type, but both name the driver's code.
    """
    text, kinds = str(error), {kind.__name__ for kind in type(error).__mro__}
    match = re.search(r"CUDA_ERROR_(\w+)", text)
    code = match[1] if match else ""
    if code == "NO_DEVICE":
        return _no_gpu()
    if code == "NOT_INITIALIZED":  # the driver was, in the process that this one was forked from
        return FORKED
    if "Unsupported .version" in text or code == "UNSUPPORTED_PTX_VERSION" or (code in REFUSED and _too_new(shim)):
        return _driver_too_old(shim)
    if "CCSupportError" in kinds or "arch-specific" in text or "less than the minimum supported" in text:
        return _other_toolkit(error)
    if kinds & {"DynamicLibNotFoundError", "NvvmSupportError", "NvrtcSupportError"}:
        return f"a library of the CUDA toolkit is missing ({_first_line(error)}); {INSTALL}"
    if isinstance(error, MemoryError) or code == "OUT_OF_MEMORY":
        return f"the GPU has no memory left ({_first_line(error)}); end what else runs on it, or choose backend='cpu'"
    if code == "DEVICE_UNAVAILABLE":
        return "another process has the GPU for itself; end that, or choose backend='cpu'"
    if code == "SYSTEM_DRIVER_MISMATCH":
        return "the driver's library and its kernel module are of different versions; restart the machine"
    if "CudaSupportError" in kinds:
        return f"the CUDA driver does not start ({_first_line(error)}); {DRIVER}"
    return (
        f"the GPU runs no kernel ({type(error).__name__}: {_first_line(error)}); `python -m numlstm` shows what is "
        "installed"
    )


def _no_gpu() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r} hides the others)"
    return f"no NVIDIA GPU was found{hidden}; choose backend='cpu'"


def _driver_too_old(shim: Any) -> str:
    driver, toolkit = _driver_version(shim), _toolkit_version()
    installed = f"the installed toolkit is {_text(toolkit)}" if toolkit else "the installed toolkit is newer"
    remedy = "update the driver"
    if toolkit and driver[0] == toolkit[0] and driver[0] in PINNED:
        remedy = f"pip install {PINNED[driver[0]].replace('{}', _text(driver))}, or {remedy}"
    elif driver[0] in PINNED:
        remedy = f'pip install "numlstm[cuda{driver[0]}]", or {remedy}'
    return f"{_driver_name()} supports CUDA {_text(driver)}, {installed}: {remedy}"


def _other_toolkit(error: Exception) -> str:
    toolkit = _toolkit_version()
    installed = f"toolkit {_text(toolkit)}" if toolkit else "the installed toolkit"
    older = 'pip install "numlstm[cuda12]" for a GPU older than that'
    return f"{installed} has no code for this GPU ({_first_line(error)}); {older}, or a newer toolkit for a newer one"


def _too_new(shim: Any) -> bool:
    toolkit = _toolkit_version()
    return toolkit is not None and toolkit > _driver_version(shim)


def _first_line(error: BaseException) -> str:
    """The first words of an error that say anything, on one line."""
    lines = [line.strip(" :") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("Error at driver init")]
    return (telling or [str(error).strip() or type(error).__name__])[0]


# Versions ---------------------------------------------------------------------------------------------------


def _driver_version(shim: Any) -> Version:
    """The newest CUDA that the driver supports."""
    _, number = shim.binding.cuDriverGetVersion()
    return number // 1000, number % 1000 // 10


def _driver_name() -> str:
    """The driver with its own version, where the kernel tells it."""
    try:
        match = re.search(r"Module.*?\s(\d+\.[\d.]+)", KERNEL_MODULE.read_text())
    except OSError:
        match = None
    return f"driver {match[1]}" if match else "the driver"


def _toolkit_version() -> Version | None:
    """The CUDA version of the installed toolkit, if it came as a package."""
    for package in TOOLKITS:
        try:
            major, minor = version(package).split(".")[:2]
            return int(major), int(minor)
        except (PackageNotFoundError, ValueError):
            continue
    return None


def _text(number: tuple[int, ...]) -> str:
    return ".".join(map(str, number))


def _gpu_name(gpu: Any) -> str:
    return gpu.name.decode() if isinstance(gpu.name, bytes) else str(gpu.name)
