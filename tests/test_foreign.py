"""How arrays of other libraries are read where they lie: without a GPU, with the host's memory instead of one's."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numba import config

if config.ENABLE_CUDASIM:
    pytest.skip("in the simulator arrays are copied", allow_module_level=True)
pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

from numlstm.backends.cuda import foreign

WHOLE = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)


class Foreign:
    """What other libraries' arrays have in common."""

    def __init__(self, array, **interface):
        self.array = array
        here = array.__array_interface__
        self.__cuda_array_interface__ = {
            "shape": here["shape"], "typestr": here["typestr"], "data": here["data"], "strides": array.strides,
            "version": 3,
        } | interface  # fmt: skip


class OfTorch(Foreign):
    """A tensor of which a gradient is wanted."""

    def __init__(self):
        pass

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")


def array_at(interface, owner, sync):
    """The vector that an interface describes, as Numba would give it."""
    (count,), dtype = interface["shape"], np.dtype(interface["typestr"])
    assert not sync
    flat = np.frombuffer(owner.array.base if owner.array.base is not None else owner.array, dtype)
    first = (interface["data"][0] - flat.ctypes.data) // dtype.itemsize
    return flat[first : first + count]


@pytest.fixture
def machine(monkeypatch):
    """A machine with GPU 0 where all arrays are; what is waited for is written down."""
    machine = SimpleNamespace(where=0, waited=[])
    stream = SimpleNamespace(synchronize=lambda: machine.waited.append("stream"))
    monkeypatch.setattr(foreign, "cuda", SimpleNamespace(
        from_cuda_array_interface=array_at, external_stream=lambda handle: machine.waited.append(handle) or stream
    ))  # fmt: skip
    monkeypatch.setattr(
        foreign, "driver", SimpleNamespace(cuPointerGetAttribute=lambda attribute, place: machine.where)
    )
    return machine


DEVICE = SimpleNamespace(index=0)


def viewed(array, **interface):
    return foreign._viewed(DEVICE, Foreign(array, **interface), "x")


VIEWS = {
    "whole": WHOLE,
    "rows": WHOLE[1:3],
    "steps": WHOLE[:, ::2],
    "features": WHOLE[:, :, 1:4],
    "every other feature": WHOLE[:, :, ::2],
    "transposed": WHOLE.transpose(2, 0, 1),
    "backwards": WHOLE[::-1, ::-2, 1:],
    "all backwards": WHOLE[::-1, ::-1, ::-1],
    "repeated": np.broadcast_to(WHOLE[:1], (3, 5, 6)),
    "one axis": WHOLE[1, 2],
    "one number": WHOLE[1:2, 2:3, 3:4],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_found_in_memory(machine, name):
    array = VIEWS[name]
    view = viewed(array)
    assert (view.shape, view.strides, view.dtype) == (array.shape, array.strides, array.dtype)
    numbers = np.lib.stride_tricks.as_strided(view.base[view.offset :], view.shape, view.strides)
    np.testing.assert_array_equal(numbers, array)
    assert view.memory.size == len(view.base) <= WHOLE.size


def test_no_strides_are_those_of_a_contiguous_array(machine):
    assert viewed(WHOLE, strides=None).strides == WHOLE.strides


@pytest.mark.parametrize(
    ("array", "interface", "error", "message"),
    [
        (WHOLE.astype("complex64"), {}, TypeError, "x must hold real numbers, got dtype complex64"),
        (WHOLE.astype(">f4"), {}, TypeError, "x must hold real numbers, got dtype >f4"),
        (WHOLE, {"typestr": "|V2"}, TypeError, "x must hold real numbers, got dtype |V2"),
        (WHOLE, {"mask": object()}, TypeError, "x must have no mask, got one"),
        (WHOLE, {"strides": (121, 24, 4)}, ValueError, "x must have strides that are multiples of 4 bytes, got (121"),
    ],
)
def test_what_cannot_be_read(machine, array, interface, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        viewed(array, **interface)


def test_array_on_another_gpu(machine):
    machine.where = 2
    message = (
        "x must be on CUDA device 0, where the backend computes, got an array on device 2: choose backend='cuda:2'"
    )
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        viewed(WHOLE)
    assert foreign.device_of(Foreign(WHOLE)) == 2


def test_tensor_that_wants_a_gradient():
    with pytest.raises(TypeError, match=r"^x must not require a gradient of PyTorch, got a tensor that does"):
        foreign._viewed(DEVICE, OfTorch(), "x")


@pytest.mark.parametrize(("stream", "waited"), [(None, []), (1, []), (2, [2, "stream"]), (99, [99, "stream"])])
def test_streams_are_waited_for(machine, stream, waited):
    viewed(WHOLE, stream=stream)
    assert machine.waited == waited


@pytest.mark.parametrize(("handle", "waited"), [(0, []), (99, ["torch"])])
def test_current_stream_of_torch_is_waited_for(machine, monkeypatch, handle, waited):
    stream = SimpleNamespace(cuda_stream=handle, synchronize=lambda: machine.waited.append("torch"))
    torch = SimpleNamespace(Tensor=Foreign, cuda=SimpleNamespace(current_stream=lambda device: stream))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(Foreign, "device", "cuda:0", raising=False)
    viewed(WHOLE)
    assert machine.waited == waited
