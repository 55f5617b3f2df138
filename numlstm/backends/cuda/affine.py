"""An affine map: the output layer of a network."""

from __future__ import annotations

from ..contract import AffineSpec
from .arrays import DeviceArray, empty
from .device import cuda
from .launching import kernel
from .products import column_sums, multiply


@kernel
def _add_bias(out, bias, at, outputs, count):
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[k] += bias[at + k % outputs]


class AffineWeights:
    """The parameters of an affine map; views of the flat vector, so always up to date."""

    def __init__(self, spec: AffineSpec, flat: DeviceArray) -> None:
        self.spec = spec
        self.weight, self.bias = self.parts(flat)

    def parts(self, flat: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
        """Weight and bias, or their gradients, in a flat vector."""
        weight = weight_of(self.spec, flat)
        return weight, flat[weight.size :]

    def refresh(self) -> None:
        """Follow a change of the flat vector."""


def weight_of(spec: AffineSpec, flat: DeviceArray) -> DeviceArray:
    """The weight in a flat vector, a view."""
    shape = spec.output_size, spec.input_size
    return flat[: shape[0] * shape[1]].reshape(shape)


def affine_forward(weights: AffineWeights, x: DeviceArray) -> DeviceArray:
    """`Backend.affine_forward` for arrays on a device."""
    outputs = weights.spec.output_size
    y = empty(x.device, (len(x), outputs), str(x.dtype))
    multiply(y, x, weights.weight, transposed=(False, True))
    _add_bias.for_all(y.size, y.base, weights.bias.base, weights.bias.offset, outputs, y.size)
    return y


def affine_backward(weights: AffineWeights, x: DeviceArray, dy: DeviceArray, gradient: DeviceArray) -> DeviceArray:
    """`Backend.affine_backward` for arrays on a device."""
    dweight, dbias = weights.parts(gradient)
    multiply(dweight, dy, x, transposed=(True, False))
    column_sums(dbias, dy)
    dx = empty(x.device, x.shape, str(x.dtype))
    multiply(dx, dy, weights.weight)
    return dx
