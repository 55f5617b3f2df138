"""Layers as the kernel of a step takes them: each either direct or whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....cells.cell import PREVIOUS
from ..machine.arrays import Room, address_of
from .arguments import table
from .direct import DirectLayer, StepState
from .prepared import PreparedLayer
from .step import CALL_BYTES, PLACE_BYTES, WholeLayer

STEP_STATE = table(StepState)


def state_table(layer: PreparedLayer, offsets: Any) -> np.ndarray:
    """The table of the states of a layer, which begin so many bytes behind the starts of arrays."""
    packing = layer.weights.packing
    read = [any(name + PREVIOUS in phase.reads for phase in packing.cell.phases) for name in packing.cell.states]
    return np.array([*zip(packing.spec.state_sizes, offsets, read, strict=True)], STEP_STATE)


def is_direct(layer: PreparedLayer) -> bool:
    """Whether one row of a layer needs no `forward`.

    It has one phase, whose products are of x and of the first state. Its pre-activations go to the equations as they
    are, and no product takes fewer bits, nor a mask a part.
    """
    weights, packing = layer.weights, layer.weights.packing
    (phase, *others), sources = packing.phases, layer.tables.sources.tolist()
    special = phase.norm or phase.copied or packing.cell.masks or weights.narrowing
    return not (others or special) and [(slot, now) for slot, now, _ in sources] == [(0, 0)]


def direct_layer(layer: PreparedLayer, states: np.ndarray, room: Room) -> DirectLayer:
    """A layer that needs no `forward`, with the table of its states; `room` shares memory out."""
    weights, packing, tables = layer.weights, layer.weights.packing, layer.tables
    slot, sizes = packing.groups * weights.vector, {*packing.spec.state_sizes}
    in_place = len(states) <= 2 and sizes == {packing.groups * packing.lanes}
    return DirectLayer(
        phase=address_of(tables.phases), tiles=address_of(tables.tiles), constants=tables.constants,
        states=address_of(states), state_count=len(states), in_place=int(in_place),
        groups=packing.groups, slot=slot, addresses=room.take(16),
        sums=room.take(packing.phases[0].columns * weights.flat.itemsize), record=room.take(len(states) * slot),
    )  # fmt: skip


def whole_layer(layer: PreparedLayer, masks: np.ndarray, rows: int, room: Room) -> WholeLayer:
    """A layer that `forward` takes."""
    weights, tables, packing = layer.weights, layer.tables, layer.weights.packing
    states, sources = len(packing.spec.state_sizes), len(tables.sources) + 1
    room.take(CALL_BYTES + 2 * states * PLACE_BYTES)
    row, sums_row = (size * weights.flat.itemsize for size in (packing.record_sizes[False], packing.sums_columns))
    return WholeLayer(
        layer=address_of(tables.arguments), state_count=states, inputs=packing.spec.input_size, groups=packing.groups,
        record_row=row, slot=packing.groups * weights.vector, sums_row=sums_row,
        narrow_row=weights.narrow_row, narrowing=weights.narrowing,
        masks=address_of(masks), mask_count=len(masks),
        addresses=room.take(8 * sources * rows), sums=room.take(rows * sums_row),
        narrow=room.take(sources * rows * weights.narrow_row), records=room.take(2 * rows * row),
    )  # fmt: skip
