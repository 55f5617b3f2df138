"""Launches without a GPU: what the driver would be given, by stand-ins for it and for memory."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
from cuda_compiling import Compiled, compute_capability
from numba.cuda.cudadrv import devicearray
from variants import variant

from numlstm.backends.contract import LayerSpec
from numlstm.backends.cuda import arguments, arrays, launching, layout, moving, recurrent, tables

ONE = (9, 0)


class Pointer:
    """Memory at an address."""

    __cuda_memory__, is_managed = True, False

    def __init__(self, address):
        self.device_ctypes_pointer = SimpleNamespace(value=address)
        self.device_pointer_value = self.handle = address


def array(dtype, size=1000, address=4096):
    dtype = np.dtype(dtype)
    return devicearray.DeviceNDArray((size,), (dtype.itemsize,), dtype, gpu_data=Pointer(address))


def recurrent_arguments(back):
    cell = LayerSpec(input_size=3, hidden_size=8, **variant("lstm", zoneout=(0.2, 0.4))).description
    reals, integers = array("float32"), array("int32", 7, 1 << 40)
    numbers = tuple(np.float32(k) for k in range(len(cell.constants) + 3 * len(cell.masks) + 1))
    noise = (-(2**63), *range(2 * len(cell.masks)))
    launch = tables.Launch(*range(len(tables.Launch._fields)))
    given = *[reals] * 4, *[integers] * 4, (1, 2, 3, -1), numbers, noise, launch, integers
    make = recurrent.backward_kernel if back else recurrent.forward_kernel
    return make(layout.register(cell)), (*given, reals, reals, reals, (0, -1)) if back else given


CASES = {
    "forward": lambda: recurrent_arguments(False),
    "backward": lambda: recurrent_arguments(True),
    "fill": lambda: (arrays._fill, (array("float64"), (0, 0, 0, 1), (1, 5), 5, np.float64(0.5))),
    "fill of integers": lambda: (arrays._fill, (array("int32"), (0, 0, 0, 1), (1, 5), 5, np.int32(-3))),
    "gather": lambda: (
        moving._gather,
        (array("float32"), (0, 3), array("float32"), (1, 2, 3, 4), *[array("int32")] * 3, (1, 2, 3), 0, True),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_arguments_are_packed_as_numba_packs_them(name):
    kernel, given = CASES[name]()
    compiled = Compiled(kernel, given, ONE).kernel
    assert launching.is_direct(compiled, given, 0)


@pytest.mark.parametrize("back", [False, True])
def test_arguments_are_in_the_order_in_which_kernels_take_them(back):
    kernel, _ = recurrent_arguments(back)
    fields = (*recurrent.Arguments._fields, *(recurrent.GradientArguments._fields if back else ()))
    assert tuple(inspect.signature(kernel.function).parameters) == fields


def test_what_is_not_packed_alike_is_left_to_numba():
    kernel, given = CASES["fill"]()
    compiled = Compiled(kernel, given, ONE).kernel
    other = (*given[:-1], np.float16(0.5))
    assert not launching.is_direct(compiled, other, 0)
    assert not arguments.alike([1, 2], [1, 3])
    assert not arguments.alike([1], [1, 2])
    assert not arguments.alike([np.bool_(True)], [1])


@pytest.fixture
def driver(monkeypatch):
    """Records launches; there is one device."""
    log = []
    code = SimpleNamespace(kernel="code", handle="handle", attrs=SimpleNamespace(shared=100))
    monkeypatch.setattr(launching, "launch", lambda *given: log.append(("launch", *given)))
    monkeypatch.setattr(launching, "LaunchConfig", lambda **given: given)
    monkeypatch.setattr(launching, "current_index", lambda: 0)
    device = SimpleNamespace(id=0, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN=200_000)
    monkeypatch.setattr(launching.cuda, "get_current_device", lambda: device)
    attribute = SimpleNamespace(cuKernelSetAttribute=lambda *given: log.append(("attribute", *given)))
    monkeypatch.setattr(launching, "driver", attribute)
    monkeypatch.setattr(launching, "_to_core_stream", lambda handle: "stream")

    def compiled(kernel, given):
        with compute_capability(ONE):
            made = Compiled(kernel, given, ONE).kernel
        monkeypatch.setattr(made._codelibrary, "get_cufunc", lambda: code)
        return made

    monkeypatch.setattr(launching.Kernel, "_compiled", compiled)
    return log


def test_launch(driver):
    kernel, given = recurrent_arguments(False)
    kernel = launching.Kernel(kernel.function, **kernel.options)
    for shared in (1000, 100_000, 150_000):
        kernel.launch(5, 256, *given, shared=shared)
    launches = [entry for entry in driver if entry[0] == "launch"]
    assert [entry[2]["shmem_size"] for entry in launches] == [1000, 100_000, 150_000]
    for _, stream, configuration, code, *packed in launches:
        assert (stream, code) == ("stream", "code")
        assert (configuration["grid"], configuration["block"]) == ((5, 1, 1), (256, 1, 1))
        assert configuration.get("is_cooperative", configuration.get("cooperative_launch"))
        assert arguments.alike(packed, arguments.packed(given))
    ((_, attribute, most, handle, device),) = [entry for entry in driver if entry[0] == "attribute"]
    assert "MAX_DYNAMIC_SHARED_SIZE_BYTES" in str(attribute)
    assert (most, handle, device) == (199_900, "handle", 0)
    assert len(kernel._entries) == 1


def test_other_types_are_other_entries(driver):
    kernel = launching.Kernel(arrays._fill.function)
    for dtype in ("float32", "float64", "float32"):
        kernel.launch((2, 1), 4, array(dtype), (0, 0, 0, 1), (1, 5), 5, np.dtype(dtype).type(1))
    assert len(kernel._entries) == 2
    assert [entry[2]["grid"] for entry in driver] == [(2, 1, 1)] * 3
    assert not driver[0][2].get("is_cooperative", driver[0][2].get("cooperative_launch"))
