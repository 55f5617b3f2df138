"""Arrays of CuPy, PyTorch and Numba: taken as they lie on the GPU, and results given back in their kind.

All that this backend launches is on the legacy default stream, which waits for all streams but the non-blocking ones,
and they for it. So those alone are waited for: the stream that an array's ``__cuda_array_interface__`` names, or,
as PyTorch's names none, its current one. Who reads a result on such a stream must have done so before freeing it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import arrays
from .arrays import MOST_AXES, DeviceArray
from .device import SIMULATED, Allocation, Device, cuda, size_of

if not SIMULATED:
    from .device import CudaAPIError, binding, config, driver

LEGACY = 0, 1  # handles of the default stream: where we are ourselves


def adopt(device: Device, array: Any, name: str, dtype: str) -> tuple[DeviceArray, Callable[[DeviceArray], Any]]:
    """An array on the device as `dtype`, and what gives results back in its kind: see the contract."""
    with device.current():
        resident = _viewed(device, array, name)
        if resident.ndim > MOST_AXES:
            raise ValueError(f"{name} must have at most {MOST_AXES} axes, got shape {resident.shape}")
        return _conforming(resident, dtype), _converter(device, array)


def device_of(array: Any) -> int:
    """The number of the device that an array is on."""
    if isinstance(array, DeviceArray):
        return array.device.index
    place = 0 if SIMULATED else _interface(array, "array")["data"][0]
    if not place:  # an array without numbers is everywhere
        return 0
    attribute = binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    try:
        return int(driver.cuPointerGetAttribute(attribute, binding.CUdeviceptr(place)))
    except CudaAPIError as error:
        raise ValueError(f"an array's __cuda_array_interface__ names memory that is on no GPU ({error})") from None


# Into the backend -------------------------------------------------------------------------------------------


def _viewed(device: Device, array: Any, name: str) -> DeviceArray:
    """A view of an array in its own dtype; a copy in the simulator, where memory is the host's anyway."""
    if isinstance(array, DeviceArray):
        _check_device(device, array, name)
        return array
    if SIMULATED:
        values = np.asarray(array.copy_to_host())
        _check_dtype(values.dtype, name)
        return arrays.to_device(device, values)
    interface = _interface(array, name)
    dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
    _check_dtype(dtype, name)
    if interface.get("mask") is not None:
        raise TypeError(f"{name} must have no mask, got one")
    if not size_of(shape):
        return arrays.empty(device, shape, str(dtype))
    _check_device(device, array, name)
    _wait_for(array, interface)
    strides = interface.get("strides")
    if strides is None:
        steps = arrays.contiguous_strides(shape)
    elif any(stride % dtype.itemsize for stride in strides):
        raise ValueError(f"{name} must have strides that are multiples of {dtype.itemsize} bytes, got {strides}")
    else:
        steps = tuple(stride // dtype.itemsize for stride in strides)
    return _view(device, array, dtype, shape, steps, interface["data"][0])


def _view(
    device: Device, owner: Any, dtype: np.dtype, shape: tuple[int, ...], steps: tuple[int, ...], place: int
) -> DeviceArray:
    """A view of numbers that belong to `owner`, the first of them at `place`."""
    ends = [step * (size - 1) for step, size in zip(steps, shape, strict=True)]
    before, after = -sum(min(0, end) for end in ends), sum(max(0, end) for end in ends)
    span = {
        "shape": (before + after + 1,), "typestr": dtype.str, "data": (place - before * dtype.itemsize, False),
        "version": 3,
    }  # fmt: skip
    memory = Allocation(cuda.from_cuda_array_interface(span, owner=owner, sync=False), before + after + 1)
    return DeviceArray(device, memory, shape, steps, before)


def _conforming(array: DeviceArray, dtype: str) -> DeviceArray:
    """The array itself, or a copy on the device if its dtype, or its last axis, is not as the contract says."""
    if array.dtype == dtype and array.steps[-1:] in ((1,), ()):
        return array
    result = arrays.empty(array.device, array.shape, dtype)
    if array.size:
        arrays.copy(result, array)
    return result


def _interface(array: Any, name: str) -> dict[str, Any]:
    try:
        return array.__cuda_array_interface__
    except RuntimeError:  # PyTorch's
        raise TypeError(f"{name} must not require a gradient of PyTorch, got a tensor that does: detach it") from None


def _check_dtype(dtype: np.dtype, name: str) -> None:
    if dtype.kind not in "fiub" or not dtype.isnative:
        raise TypeError(f"{name} must hold real numbers, got dtype {dtype}")


def _check_device(device: Device, array: Any, name: str) -> None:
    index = device_of(array)
    if index != device.index:
        raise ValueError(
            f"{name} must be on CUDA device {device.index}, where the backend computes, got an array on device "
            f"{index}: choose backend='cuda:{index}'"
        )


def _wait_for(array: Any, interface: dict[str, Any]) -> None:
    """Wait until what an array's stream has still to write is there."""
    torch = _torch_of(array)
    if torch is not None:
        stream = torch.cuda.current_stream(array.device)
        if stream.cuda_stream not in LEGACY:
            stream.synchronize()
        return
    handle = interface.get("stream")
    if handle is not None and handle not in LEGACY and config.CUDA_ARRAY_INTERFACE_SYNC:
        cuda.external_stream(handle).synchronize()


# Out of it --------------------------------------------------------------------------------------------------


def _converter(device: Device, array: Any) -> Callable[[DeviceArray], Any]:
    """What makes results of the kind of `array`."""
    cupy, torch = sys.modules.get("cupy"), _torch_of(array)
    if torch is not None:
        return partial(_to_torch, torch, array.device)
    if cupy is not None and isinstance(array, cupy.ndarray):
        return partial(_to_cupy, cupy)
    if getattr(type(array), "__cuda_ndarray__", False):
        return partial(_to_numba, device)
    return _unchanged


def _torch_of(array: Any) -> Any:
    """PyTorch, if the array is a tensor."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else None


def _unchanged(array: DeviceArray) -> DeviceArray:
    return array


def _to_torch(torch: Any, place: Any, array: DeviceArray) -> Any:
    if torch.cuda.current_stream(place).cuda_stream not in LEGACY:
        array.device.synchronize()
    return torch.as_tensor(array, device=place)


def _to_cupy(cupy: Any, array: DeviceArray) -> Any:
    with cupy.cuda.Device(array.device.index):  # elsewhere it would be copied there
        return cupy.asarray(array)  # waits for the stream that the array names


def _to_numba(device: Device, array: DeviceArray) -> Any:
    with device.current():
        if not SIMULATED:
            return cuda.as_cuda_array(array, sync=False)
        values = arrays.to_numpy(array)
        return cuda.to_device(values)
