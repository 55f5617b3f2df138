"""A step of layers on top of one another, as Python, compiled functions and C call it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numba import types

from ..machine.arrays import Room, address_of, integers
from ..machine.board import ShardCall
from .batch import is_shared
from .buffers import mask_entries
from .forward import forward
from .prepared import PreparedLayer
from .step import (
    STEP_LAYER,
    StepLayer,
    StepPlan,
    step_float32,
    step_float64,
)
from .step_layers import direct_layer, is_direct, state_table, whole_layer

X, OUT = StepPlan._fields.index("x"), StepPlan._fields.index("out")
KERNELS = {"float32": step_float32, "float64": step_float64}
ARGUMENTS = (types.intp,) * 4  # types of the arguments of each


class JitStep:
    """A step of layers on top of one another: what it takes, as kernels read it.

    Any number of threads may use it at once.

    Parameters
    ----------
    layers : sequence of PreparedLayer
    rows : int
        N.
    residual : bool
        Whether every layer but the first adds its input to its output.

    Attributes
    ----------
    plan : int
        The address of the plan, the first argument of each call.
    address : int
        Of the C function ``void step(const void *plan, const void *x, void *const states[], void *out)``.
    state_sizes : tuple of int
        Numbers of each state, all layers together.
    """

    def __init__(self, layers: Sequence[PreparedLayer], rows: int, residual: bool) -> None:
        weights = [layer.weights for layer in layers]
        self.dtype = weights[0].flat.dtype
        self.kernel = KERNELS[self.dtype.name]
        self.address = self.kernel.c_address(*ARGUMENTS)
        sizes = np.array([layer.packing.spec.state_sizes for layer in weights])  # (layers, states)
        self.state_sizes = tuple((rows * sizes.sum(axis=0)).tolist())
        self._states = [self._state_table(layer, sizes[:k], rows) for k, layer in enumerate(layers)]
        self._order, self._lengths = np.arange(rows), np.ones(rows, np.int64)
        self._masks = [mask_entries(layer, None, self._order) for layer in weights]
        self._arguments: list[np.ndarray] = []  # of layers
        entries = [self._layer(k, layer, rows) for k, layer in enumerate(layers)]
        self._layers = np.array([entry for entry, _ in entries], STEP_LAYER)
        whole = any(entry.whole for entry, _ in entries)
        self._sizes, self._kept = np.array(self.state_sizes), tuple(layers)  # kernels know their addresses alone
        self._plan = integers(
            StepPlan(
                entry=self.address, x=rows * weights[0].packing.spec.input_size, out=int(rows * sizes[-1, 0]),
                states=address_of(self._sizes), code=self.kernel.code_address(*ARGUMENTS), rows=rows,
                layers=address_of(self._layers), layer_count=len(layers), residual=int(residual),
                forward=forward.address(ShardCall, weights[0].types[0]) if whole else 0, order=address_of(self._order),
                lengths=address_of(self._lengths), room=max(end for _, end in entries),
            )
        )  # fmt: skip
        self.plan = address_of(self._plan)

    def __getstate__(self) -> None:
        raise TypeError("a jit_step cannot be pickled or copied; take that of another stream")

    def __call__(self, x_t: np.ndarray, state: Any, out: np.ndarray) -> None:
        """Take a step, as in a compiled function."""
        states = state if isinstance(state, tuple) else (state,)
        if len(states) != len(self.state_sizes):
            raise TypeError(f"state must have {len(self.state_sizes)} arrays, got {len(states)}")
        for name, array, size in zip(
            ("x_t", "out", *["state"] * len(states)), (x_t, out, *states),
            (int(self._plan[X]), int(self._plan[OUT]), *self.state_sizes), strict=True,
        ):  # fmt: skip
            self._check(name, array, size)
        addresses = np.array([address_of(array) for array in states])
        self.kernel[None](self.plan, address_of(x_t), address_of(addresses), address_of(out))

    def _check(self, name: str, array: Any, size: int) -> None:
        """An error if an argument is no array that a step can use."""
        if not isinstance(array, np.ndarray) or array.dtype != self.dtype or not array.flags.c_contiguous:
            raise TypeError(f"{name} must be a C-contiguous array of {self.dtype}, got {array!r}")
        if name != "x_t" and not array.flags.writeable:
            raise TypeError(f"{name} must be writeable, got a read-only array")
        if array.size != size:
            raise ValueError(f"{name} must have {size} numbers, got {array.size}")

    def _state_table(self, layer: PreparedLayer, sizes: np.ndarray, rows: int) -> np.ndarray:
        """The table of the states of a layer, from the sizes of those of the layers before it."""
        return state_table(layer, rows * sizes.sum(axis=0) * self.dtype.itemsize)

    def _layer(self, number: int, layer: PreparedLayer, rows: int) -> tuple[StepLayer, int]:
        """A layer as kernels take it, and the bytes of memory that it needs."""
        room, states, direct = Room(), self._states[number], rows == 1 and is_direct(layer)
        if direct:
            arguments = integers(direct_layer(layer, states, room))
        else:
            arguments = integers(whole_layer(layer, self._masks[number], rows, room))
        self._arguments.append(arguments)
        at = address_of(arguments)
        return StepLayer(address_of(states), direct=at if direct else 0, whole=0 if direct else at), room.end


def step_runner(
    layers: Sequence[PreparedLayer], x: np.ndarray, states: Sequence[np.ndarray], y: np.ndarray, residual: bool
) -> Callable[[], None] | None:
    """`Backend.step_runner` for NumPy arrays; None where threads share a step."""
    rows = len(x)
    for layer in layers:
        if is_shared(layer.weights, rows, 1):
            return None
    step, addresses = JitStep(layers, rows, residual), np.array([address_of(state) for state in states])
    run: Any = partial(
        step.kernel.entry(*[types.intp] * 4), step.plan, address_of(x), address_of(addresses), address_of(y)
    )
    run.kept = step, x, states, y, addresses  # the kernel knows their addresses alone
    return run
