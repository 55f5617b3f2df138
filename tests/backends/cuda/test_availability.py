"""Every reason for which CUDA cannot be used is told, with a remedy; the errors are those that numba-cuda raises."""

import re
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from numlstm.backends.contract import BackendUnavailableError
from numlstm.backends.cuda import availability

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
driver = pytest.importorskip("numba.cuda.cudadrv.driver")
error = pytest.importorskip("numba.cuda.cudadrv.error")
if not hasattr(driver, "CudaAPIError") or not hasattr(driver, "binding"):
    pytest.skip("the simulator has no errors of a driver", allow_module_level=True)

RESULT = driver.binding.CUresult
NOT_FOUND = f"Error at driver init: \n{driver.DRIVER_NOT_FOUND_MSG}:"


def api_error(code):
    """What numba-cuda raises when a call of the driver fails."""
    return driver.CudaAPIError(getattr(RESULT, code), f"Call to cuLibraryLoadData results in {code}")


def core_error(code, text="something"):
    """What cuda.core raises then."""
    from cuda.core._utils.cuda_utils import CUDAError

    return CUDAError(f"{code}: {text}")


def init_error(code):
    """What numba-cuda raises when the driver does not start."""
    return error.CudaSupportError(
        f"Error at driver init: Call to cuInit results in {code} ({int(getattr(RESULT, code))})"
    )


def missing_library():
    from cuda.pathfinder import DynamicLibNotFoundError

    return DynamicLibNotFoundError('Failure finding "libnvrtc.so"')


class Gpus(list):
    """Devices; or what is raised when they are counted."""

    def __init__(self, devices, failure=None):
        super().__init__(devices)
        self.failure = failure

    def __len__(self):
        if self.failure is not None:
            raise self.failure
        return super().__len__()


class FakeDevice:
    """What `device.Device` is to availability."""

    def __init__(self, index):
        if index > 1:
            raise BackendUnavailableError(f"backend 'cuda:{index}' is not available: there are 2 CUDA devices here")
        self.index, self.description = index, "NVIDIA H100, compute capability 9.0"

    def current(self):
        return nullcontext()

    def synchronize(self):
        pass


class Machine:
    """A machine with two GPUs, where all is well at first."""

    def __init__(self):
        self.versions = {"numba-cuda": "0.30.4", "nvidia-nvvm": "13.0.48"}
        self.packages = {"numba_cuda"}
        self.visible = None
        self.import_failure = self.init_failure = self.run_failure = None
        self.capability, self.driver, self.count = (9, 0), 13000, 2
        self.kernel_module = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build"

    def shim(self):
        gpu = SimpleNamespace(compute_capability=self.capability, name="NVIDIA H100", id=0)
        return SimpleNamespace(
            SIMULATED=False,
            Device=FakeDevice,
            cuda=SimpleNamespace(gpus=Gpus([gpu] * self.count, self.init_failure)),
            binding=SimpleNamespace(cuDriverGetVersion=lambda: (RESULT.CUDA_SUCCESS, self.driver)),
            driver=SimpleNamespace(cuDeviceTotalMem=lambda index: 80 * 2**30),
        )

    def module(self, name, package=None):
        if self.import_failure is not None:
            raise self.import_failure
        return {
            ".device": self.shim(),
            ".arrays": SimpleNamespace(empty=lambda *arguments: np.zeros(1), fill=self.run),
            ".backend": SimpleNamespace(CudaBackend=lambda index: ("made", index)),
            ".foreign": SimpleNamespace(device_of=lambda array: 1),
        }[name]

    def run(self, *arguments):
        if self.run_failure is not None:
            raise self.run_failure

    def version(self, package):
        if package not in self.versions:
            raise availability.PackageNotFoundError(package)
        return self.versions[package]

    def read_text(self):
        if self.kernel_module is None:
            raise FileNotFoundError
        return self.kernel_module


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(availability, "find_spec", lambda name: name if name in machine.packages else None)
    monkeypatch.setattr(availability, "_driver_found", lambda: True)
    monkeypatch.setattr(availability, "import_module", machine.module)
    monkeypatch.setattr(availability, "version", machine.version)
    monkeypatch.setattr(availability, "KERNEL_MODULE", machine)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return machine


def reason(index=0):
    """Why there is no backend on a GPU."""
    with pytest.raises(BackendUnavailableError) as caught:
        availability.cuda_backend(index)
    name = f"cuda:{index}" if index else "cuda"
    start = f"backend '{name}' is not available: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def test_all_is_well(machine):
    assert availability.cuda_backend(1) == ("made", 1)
    assert availability.device_of(object()) == 1
    assert availability.gpus() == (
        "NVIDIA H100, compute capability 9.0, 80.0 GiB; NVIDIA H100, compute capability 9.0, 80.0 GiB, "
        "driver 580.65.06 for CUDA 13.0, toolkit 13.0"
    )


def test_numba_cuda_is_not_installed(machine):
    machine.packages.clear()
    assert reason() == (
        'the package numba-cuda is not installed; pip install "numlstm[cuda13]" (or, with a driver for CUDA 12, '
        '"numlstm[cuda12]")'
    )
    with pytest.raises(BackendUnavailableError, match="numba-cuda is not installed"):
        availability.device_of(object())
    assert availability.gpus().startswith("none used: the package numba-cuda is not installed")


def test_there_is_no_driver(machine, monkeypatch):
    monkeypatch.setattr(availability, "_driver_found", lambda: False)
    monkeypatch.setattr(availability, "_simulated", lambda: False)
    assert reason(1).startswith("no NVIDIA driver or GPU was found: the driver's library cannot be loaded; install")


def test_numba_cuda_cannot_be_imported(machine):
    machine.import_failure = ModuleNotFoundError("No module named 'cuda.bindings'")
    assert reason().startswith("numba-cuda 0.30.4 cannot be imported (No module named 'cuda.bindings'); pip install")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (error.CudaSupportError(NOT_FOUND), "the CUDA driver does not start (CUDA driver library cannot be found.)"),
        (error.CudaSupportError("CUDA is disabled due to setting NUMBA_DISABLE_CUDA=1"), "NUMBA_DISABLE_CUDA=1"),
        (init_error("CUDA_ERROR_NO_DEVICE"), "no NVIDIA GPU was found; choose backend='cpu'"),
        (init_error("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"), "of different versions; restart the machine"),
        (init_error("CUDA_ERROR_UNKNOWN"), "the CUDA driver does not start (Error at driver init: Call to cuInit"),
    ],
    ids=str,
)
def test_the_driver_does_not_start(machine, failure, told):
    machine.init_failure = failure
    assert told in reason()
    assert availability.gpus().startswith("none used: ")
    assert told in availability.gpus()


def test_gpus_are_hidden(machine, monkeypatch):
    machine.count = 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert reason() == "no NVIDIA GPU was found (CUDA_VISIBLE_DEVICES='' hides the others); choose backend='cpu'"


def test_there_is_no_gpu_of_that_number(machine):
    assert reason(2) == "there are 2 CUDA devices here"


def test_gpu_is_too_old(machine):
    machine.capability = (6, 1)
    assert reason().startswith("NVIDIA H100 has compute capability 6.1, and 7.0 (Volta, 2017) is needed")


@pytest.mark.parametrize(
    "failure",
    [
        api_error("CUDA_ERROR_UNSUPPORTED_PTX_VERSION"),
        core_error(
            "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."
        ),
        api_error("CUDA_ERROR_INVALID_IMAGE"),
        RuntimeError("ptxas application ptx input, line 9; fatal : Unsupported .version 9.3; current version is '9.0'"),
    ],
    ids=str,
)
def test_driver_is_too_old_for_the_toolkit(machine, failure):
    machine.run_failure = failure
    machine.versions["nvidia-nvvm"] = "13.5.37"
    assert reason() == (
        "driver 580.65.06 supports CUDA 13.0, the installed toolkit is 13.5: pip install "
        '"cuda-toolkit[cccl,cudart,nvrtc,nvvm]==13.0.*" "nvidia-nvvm==13.0.*" "nvidia-nvjitlink==13.0.*", or update '
        "the driver"
    )


def test_driver_is_of_an_older_major_version(machine):
    machine.run_failure = api_error("CUDA_ERROR_INVALID_IMAGE")
    machine.driver, machine.kernel_module = 12040, None
    assert reason() == (
        "the driver supports CUDA 12.4, the installed toolkit is 13.0: pip install \"numlstm[cuda12]\", or update the "
        "driver"
    )  # fmt: skip


def test_driver_is_older_than_any_toolkit(machine):
    machine.run_failure, machine.driver = api_error("CUDA_ERROR_UNSUPPORTED_PTX_VERSION"), 11080
    machine.versions.pop("nvidia-nvvm")
    assert reason() == "driver 580.65.06 supports CUDA 11.8, the installed toolkit is newer: update the driver"


def test_a_bad_image_is_not_put_down_to_the_toolkit_if_that_is_no_newer(machine):
    machine.run_failure = api_error("CUDA_ERROR_INVALID_IMAGE")
    assert reason().startswith("the GPU runs no kernel (CudaAPIError: ")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (
            error.CCSupportError("GPU compute capability 7.0 is not supported(requires >=7.5)"),
            "toolkit 13.0 has no code",
        ),
        (ValueError("Can't use arch-specific compute_130a with closest found compute capability"), "a newer toolkit"),
        (missing_library(), "a library of the CUDA toolkit is missing"),
        (error.NvvmSupportError("libNVVM is not available"), "a library of the CUDA toolkit is missing"),
        (MemoryError("CUDA device 0 is out of memory: 1,024 bytes asked for, 0 free"), "the GPU has no memory left"),
        (core_error("CUDA_ERROR_OUT_OF_MEMORY"), "the GPU has no memory left"),
        (core_error("CUDA_ERROR_DEVICE_UNAVAILABLE"), "another process has the GPU for itself"),
        (OSError("disk full"), "the GPU runs no kernel (OSError: disk full); `python -m numlstm` shows"),
    ],
    ids=str,
)
def test_a_first_kernel_fails(machine, failure, told):
    machine.run_failure = failure
    assert told in reason()
    with pytest.raises(BackendUnavailableError) as caught:
        availability.cuda_backend(0)
    assert caught.value.__cause__ is failure


def test_ctrl_c_is_no_reason(machine):
    machine.run_failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        availability.cuda_backend(0)


def test_simulator_is_a_gpu(machine, monkeypatch):
    monkeypatch.setattr(availability, "_driver_found", lambda: False)
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    shim = SimpleNamespace(SIMULATED=True, Device=FakeDevice)
    module = machine.module
    monkeypatch.setattr(
        availability, "import_module", lambda name, package: shim if name == ".device" else module(name)
    )
    assert availability.cuda_backend(0) == ("made", 0)
    assert availability.gpus() == "NVIDIA H100, compute capability 9.0"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.65.06  Release Build  (root@x)", "580.65.06"),
    ],
)
def test_version_of_the_driver(machine, text, name):
    machine.kernel_module = text
    assert availability._driver_name() == f"driver {name}"


def test_first_line_of_an_error():
    assert re.match("CUDA driver library cannot be found.", availability._first_line(ImportError(NOT_FOUND)))
    assert availability._first_line(ImportError()) == "ImportError"
