"""A recurrent layer in one direction on CUDA: from arrays of a batch to launches of kernels, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from ...cells import Product
from ...cells.cell import NORM
from ...concurrency import cached_property
from ..contract import LayerSpec, Noise, States
from ..streams import stream_key, threshold
from . import recurrent
from .arrays import DeviceArray, copied, copy, empty, fill, to_device
from .device import Device
from .elementwise import add
from .launching import Kernel
from .layout import layout_of, register
from .moving import gather, scatter, sort, unsort
from .plan import THREADS, Plan, Planner
from .products import column_sums, multiply
from .recurrent import Arguments, GradientArguments
from .schedule import BatchSchedule
from .tables import Launch

SEGMENT = 1 << 27  # numbers that inference keeps at once; longer sequences go through in segments of steps
SCHEDULES_KEPT = 16


class LayerWeights:
    """The parameters of a layer, with its layout, plans and schedules.

    Parameters
    ----------
    device : Device
    spec : LayerSpec
    flat : array
        Parameters, one behind the other.
    """

    def __init__(self, device: Device, spec: LayerSpec, flat: DeviceArray) -> None:
        self.device, self.spec, self.flat = device, spec, flat
        self.digest, self.kind = register(spec.description, spec.bias), spec.compute_dtype or ""
        self.layout = layout_of(self.digest)
        self._plans: dict[tuple[int, bool], tuple[Plan, DeviceArray]] = {}
        self._schedules: dict[tuple[int, int], BatchSchedule] = {}

    def refresh(self) -> None:
        """Follow a change of `flat`: kernels read it at each launch, so there is nothing to do."""

    @cached_property
    def starts(self) -> dict[str, int]:
        """Where each parameter begins, counted from the first number of `flat`."""
        sizes = [math.prod(shape) for shape in self.spec.shapes.values()]
        return dict(zip(self.spec.shapes, accumulate(sizes, initial=0), strict=False))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each of the cell's parameters begins in the memory of `flat`; -1 if the layer has no such parameter."""
        starts = self.starts
        names = [parameter.name for parameter in self.spec.description.parameters]
        return tuple(self.flat.offset + starts[name] if name in starts else -1 for name in names)

    @cached_property
    def planner(self) -> Planner:
        """Makes plans for this layer."""
        return Planner(self.spec, self.layout, {k: self.flat.offset + n for k, n in self.starts.items()}, self.device)

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """H, and the length of a projection or 0."""
        return self.planner.sizes

    def number(self, place: Any) -> int:
        """A place of the layout."""
        return place.number(*self.sizes)

    @cached_property
    def numbers(self) -> tuple[Any, ...]:
        """Constants of the cell, then three of each mask."""
        cell, real = self.spec.description, np.dtype(self.spec.dtype).type
        values = [value for _, value in cell.constants]
        for mask in cell.masks:
            values += [mask.dropped, mask.kept, mask.expected]
        return tuple(map(real, [*values, 0.0]))

    def noise(self, noise: Noise | None) -> tuple[int, ...]:
        """Key and limit of each mask."""
        keys = []
        for mask in self.spec.description.masks:
            key = 0 if noise is None else stream_key(noise, mask.kind, mask.index)
            keys += [key, -1 if noise is None else threshold(mask.probability)]
        return (*keys, 0)

    def schedule(self, rows: int, steps: int, lengths: np.ndarray | None) -> BatchSchedule:
        """The schedule of a batch; schedules without lengths are kept."""
        if lengths is not None:
            return BatchSchedule.of(self.device, rows, steps, lengths)
        schedule = self._schedules.get((rows, steps))
        if schedule is None:
            if len(self._schedules) >= SCHEDULES_KEPT:
                self._schedules.clear()
            schedule = self._schedules[rows, steps] = BatchSchedule.of(self.device, rows, steps, None)
        return schedule

    def plan(self, rows: int, *, forward: bool) -> tuple[Plan, DeviceArray]:
        """The plan for a number of rows, and its table on the device."""
        key = 1 << (rows - 1).bit_length(), forward
        if key not in self._plans:
            plan = self.planner.best(key[0], forward=forward)
            self._plans[key] = plan, to_device(self.device, plan.table)
        return self._plans[key]

    def matrix(self, flat: DeviceArray, product: Product, row: int, count: int, units: int) -> DeviceArray:
        """Some blocks of rows of a product's weights, or of their gradients."""
        name = product.weight or ""
        rows, columns = self.spec.shapes[name]
        whole = flat[self.starts[name] : self.starts[name] + rows * columns].reshape(rows, columns)
        width = self.spec.size(self.spec.description.source_size(product.source))
        return whole[row * units : (row + count) * units, product.column * width : (product.column + 1) * width]


@dataclass
class Segment:
    """Some steps of a batch, and the arrays that kernels write for them.

    Attributes
    ----------
    weights : LayerWeights
    schedule : BatchSchedule
    first, last : int
        Steps first <= s < last.
    keep : bool
        Whether to keep what the way back needs.
    """

    weights: LayerWeights
    schedule: BatchSchedule
    first: int
    last: int
    reverse: bool
    noise: Noise | None
    keep: bool
    x: DeviceArray = field(init=False)
    pre: DeviceArray = field(init=False)
    records: DeviceArray = field(init=False)
    scales: DeviceArray = field(init=False)

    def __post_init__(self) -> None:
        weights = self.weights
        length, row = weights.number(weights.layout.record[self.keep]), weights.number(weights.layout.rows[-1])
        self.x = self._new(self.pairs, weights.spec.input_size)
        self.pre = self._new(self.pairs, row)
        self.records = self._new(self.pairs + 2 * self.schedule.rows, length)
        self.scales = self._new(self.pairs, max(1, weights.planner.scales))

    def _new(self, rows: int, columns: int) -> DeviceArray:
        return empty(self.weights.device, (rows, columns), self.weights.spec.dtype)

    @cached_property
    def pairs(self) -> int:
        """Pairs of a row and a step."""
        return self.schedule.pairs(self.first, self.last)

    @cached_property
    def table(self) -> DeviceArray:
        """Where each step begins, and the number of its rows."""
        return self.schedule.table(self.first, self.last)

    @property
    def final(self) -> int:
        """The first of the records of rows that have ended."""
        return self.pairs + self.schedule.rows

    def rows_at(self, step: int) -> int:
        """Rows that have a step."""
        return int(self.schedule.active[step])

    def states(self, first: int, rows: int) -> DeviceArray:
        """The states of some records, side by side."""
        return self.records[first : first + rows, : self.weights.number(self.weights.layout.state_row)]

    # Forward ------------------------------------------------------------------------------------------------

    def forward(self, x: DeviceArray, states: DeviceArray) -> None:
        """Run over the steps, from states in the order of computing."""
        copy(self.states(0, self.rows_at(self.first)), states)
        gather(self.x, x, self.schedule, self.table, self.first, self.last, self.reverse)
        plan, table = self.weights.plan(self.rows_at(self.first), forward=True)
        self._of_input(plan.fused)
        kernel = recurrent.forward_kernel(self.weights.digest, self.weights.kind)
        stages = 2 * len(self.weights.spec.description.phases)
        if plan.fused:
            self._launch(kernel, plan, table, (0, self.last - self.first), (0, stages))
            return
        for s in range(self.last - self.first):
            for stage in range(0, stages, 2):
                self._multiply_step(s, stage // 2)
                self._launch(kernel, plan, table, (s, s + 1), (stage, stage + 2))

    def _of_input(self, fused: bool) -> None:
        """Products with the input, of all steps at once; pre-activations without such a product are cleared."""
        weights, layout = self.weights, self.weights.layout
        for index, phase in enumerate(weights.spec.description.phases):
            units = weights.spec.size(phase.size)
            for product in layout.of_input(index):
                for run in layout.runs(index, product):
                    matrix = weights.matrix(weights.flat, product, run.row, run.count, units)
                    multiply(
                        self._gates(index, run.gate, run.count),
                        self.x,
                        matrix,
                        transposed=(False, True),
                        kind=weights.kind,
                    )
            if not fused:
                given = {gate for product in layout.of_input(index) for gate in product.gates}
                for k, gate in enumerate(layout.gates[index]):
                    if gate not in given:
                        fill(self._gates(index, k, 1), 0.0)

    def _gates(self, phase: int, gate: int, count: int) -> DeviceArray:
        """The columns of some gates in the rows of pre-activations."""
        weights = self.weights
        units = weights.spec.size(weights.spec.description.phases[phase].size)
        first = weights.number(weights.layout.rows[phase]) + gate * units
        return self.pre[: self.pairs, first : first + count * units]

    def _source(self, product: Product) -> DeviceArray:
        """The vectors that a product multiplies, of all pairs."""
        weights = self.weights
        if product in (
            of_input for k in range(len(weights.spec.description.phases)) for of_input in weights.layout.of_input(k)
        ):
            return self.x
        first = weights.number(weights.layout.source(product.source))
        width = weights.spec.size(weights.spec.description.source_size(product.source))
        return self.records[: self.pairs, first : first + width]

    def _step(self, s: int) -> slice:
        """The pairs of a step, counted from the first."""
        start = self.schedule.pairs(self.first, self.first + s)
        return slice(start, start + self.rows_at(self.first + s))

    def _multiply_step(self, s: int, phase: int) -> None:
        """The recurrent products of a phase at one step."""
        weights, layout, rows = self.weights, self.weights.layout, self._step(s)
        units = weights.spec.size(weights.spec.description.phases[phase].size)
        for product in layout.recurrent(phase):
            source = self._source(product)[rows]
            for run in layout.runs(phase, product):
                matrix = weights.matrix(weights.flat, product, run.row, run.count, units)
                out = self._gates(phase, run.gate, run.count)[rows]
                multiply(out, source, matrix, transposed=(False, True), accumulate=True, kind=weights.kind)

    def _launch(
        self, kernel: Kernel, plan: Plan, table: DeviceArray, steps: tuple[int, int], stages: tuple[int, int],
        *others: Any, doutput_row: int = 0,
    ) -> None:  # fmt: skip
        """Launch a kernel for some steps and stages; `others` are a backward kernel's `GradientArguments`."""
        weights, layout = self.weights, self.weights.layout
        noise = self.noise if weights.spec.description.masks else None
        launch = Launch(
            hidden=weights.sizes[0], projected=weights.sizes[1], record=self.records.shape[1],
            pre_row=self.pre.shape[1], unit_row=weights.number(layout.unit_rows[-1]),
            gradient_row=weights.number(layout.gradient_row), state_row=weights.number(layout.state_row),
            doutput_row=doutput_row, scale_row=self.scales.shape[1], final=self.final, first_step=steps[0],
            last_step=steps[1], first_stage=stages[0], last_stage=stages[1],
            phases=len(weights.spec.description.phases), products=plan.products, slices=plan.slices,
            groups=plan.groups, tile=plan.tile, chunk=plan.chunk, sources=plan.sources, sums=plan.sums,
            factors=plan.factors, fused=plan.fused, keep=self.keep, reverse=self.reverse, noisy=noise is not None,
            origin=self.first,
        )  # fmt: skip
        counters = empty(weights.device, (plan.groups,), "int32")  # of arrivals at barriers
        fill(counters, 0)
        arguments = Arguments(
            records=self.records.base, pre=self.pre.base, scales=self.scales.base, flat=weights.flat.base,
            steps=self.table.base, order=self.schedule.device_order.base, lengths=self.schedule.device_lengths.base,
            table=table.base, offsets=weights.offsets, constants=weights.numbers, noise=weights.noise(noise),
            launch=Launch._make(map(int, launch)), counters=counters.base,
        )  # fmt: skip
        kernel.launch(plan.blocks, THREADS, *arguments, *others, shared=plan.shared)

    # Back ---------------------------------------------------------------------------------------------------

    def backward(self, doutputs: States, grads: DeviceArray, gradient: DeviceArray, dx: DeviceArray | None) -> None:
        """Back over the steps: gradients of parameters are added, and `grads` holds those of states in turns."""
        weights, layout = self.weights, self.weights.layout
        units = self._new(self.pairs, max(1, weights.number(layout.unit_rows[-1])))
        row, given = self._gather_gradients(doutputs)
        plan, table = weights.plan(self.rows_at(self.first), forward=False)
        kernel = recurrent.backward_kernel(weights.digest, weights.kind)
        phases = len(weights.spec.description.phases)
        others = GradientArguments(grads=grads.base, units=units.base, doutputs=row.base, outside=given)
        if plan.fused:
            steps, stages = (0, self.last - self.first), (0, 1 + 3 * phases)
            self._launch(kernel, plan, table, steps, stages, *others, doutput_row=row.shape[1])
        else:
            for s in reversed(range(self.last - self.first)):
                self._launch(kernel, plan, table, (s, s + 1), (0, 1), *others, doutput_row=row.shape[1])
                for phase in reversed(range(phases)):
                    stage = 1 + 3 * (phases - 1 - phase)
                    self._launch(kernel, plan, table, (s, s + 1), (stage, stage + 2), *others)
                    self._multiply_step_back(s, phase, grads)
        self._add_gradients(gradient, units)
        if dx is not None:
            scatter(dx, self._of_input_back(), self.schedule, self.table, self.first, self.last, self.reverse)

    def _gather_gradients(self, doutputs: States) -> tuple[DeviceArray, tuple[int, ...]]:
        """Gradients of states that came from outside, in the order of computing, and the place of each state's."""
        sizes = [0 if array is None else array.shape[2] for array in doutputs]
        row = self._new(self.pairs, max(1, sum(sizes)))
        places = list(accumulate(sizes, initial=0))
        for array, (first, last) in zip(doutputs, pairwise(places), strict=True):
            if array is not None:
                part = row[:, first:last]
                gather(part, array, self.schedule, self.table, self.first, self.last, self.reverse)
        given = tuple(-1 if array is None else place for array, place in zip(doutputs, places, strict=False))
        return row, given

    def _multiply_step_back(self, s: int, phase: int, grads: DeviceArray) -> None:
        """The gradients of what a phase's recurrent products multiply at one step."""
        weights, layout, rows = self.weights, self.weights.layout, self._step(s)
        units = weights.spec.size(weights.spec.description.phases[phase].size)
        for product in layout.recurrent(phase):
            width = weights.spec.size(weights.spec.description.source_size(product.source))
            target = self._gradients_of(product.source, s, width, grads)
            for run in layout.runs(phase, product):
                matrix = weights.matrix(weights.flat, product, run.row, run.count, units)
                multiply(
                    target, self._gates(phase, run.gate, run.count)[rows], matrix, accumulate=True, kind=weights.kind
                )

    def _gradients_of(self, name: str, s: int, width: int, grads: DeviceArray) -> DeviceArray:
        """The gradients of a value at a step, of all rows that have it."""
        weights = self.weights
        region, place = weights.layout.gradient(name)
        now = (self.first + s) % 2
        turn = {"before": 1 - now, "now": now, "values": 0}[region]
        first = turn * weights.number(weights.layout.state_row) + weights.number(place)
        return grads[: self.rows_at(self.first + s), first : first + width]

    def _add_gradients(self, gradient: DeviceArray, units: DeviceArray) -> None:
        """Add what this segment contributes to the gradients of parameters."""
        weights, layout, spec = self.weights, self.weights.layout, self.weights.spec
        sums = empty(weights.device, (self.pre.shape[1],), spec.dtype)
        column_sums(sums, self.pre)
        for index, phase in enumerate(spec.description.phases):
            size, first = spec.size(phase.size), weights.number(layout.rows[index])
            for product in phase.products:
                if not product.weight:
                    continue
                for run in layout.runs(index, product):
                    out = weights.matrix(gradient, product, run.row, run.count, size)
                    gates = self._gates(index, run.gate, run.count)
                    multiply(
                        out, gates, self._source(product), transposed=(True, False), accumulate=True, kind=weights.kind
                    )
                    if product.bias in weights.starts:
                        start = weights.starts[product.bias] + run.row * size
                        of_run = sums[first + run.gate * size : first + (run.gate + run.count) * size]
                        add(gradient[start : start + run.count * size], of_run)
        self._add_unit_gradients(gradient, units)

    def _add_unit_gradients(self, gradient: DeviceArray, units: DeviceArray) -> None:
        """Those of parameters with one number per unit."""
        weights, layout, spec = self.weights, self.weights.layout, self.weights.spec
        if not weights.number(layout.unit_rows[-1]):
            return
        sums = empty(weights.device, (units.shape[1],), spec.dtype)
        column_sums(sums, units)
        for index, phase in enumerate(spec.description.phases):
            size, place = spec.size(phase.size), weights.number(layout.unit_rows[index])
            targets = [(name, block) for _, name, block in phase.parameters]
            if phase.norm:
                blocks = [phase.norm[phase.gates.index(gate)] for gate in layout.gates[index]]
                targets += [(name, block) for block in blocks for name in NORM]
            for k, (name, block) in enumerate(targets):
                start = weights.starts[name] + block * size
                add(gradient[start : start + size], sums[place + k * size : place + (k + 1) * size])

    def _of_input_back(self) -> DeviceArray:
        """The gradient of the input, in the order of computing."""
        weights, layout = self.weights, self.weights.layout
        dx, began = self._new(self.pairs, weights.spec.input_size), False
        for index, phase in enumerate(weights.spec.description.phases):
            units = weights.spec.size(phase.size)
            for product in layout.of_input(index):
                for run in layout.runs(index, product):
                    matrix = weights.matrix(weights.flat, product, run.row, run.count, units)
                    multiply(dx, self._gates(index, run.gate, run.count), matrix, accumulate=began, kind=weights.kind)
                    began = True
        return dx


@dataclass
class Tape:
    """What a forward pass leaves for the backward pass.

    Attributes
    ----------
    x : array
        The input.
    segments : list of (Segment, array or None)
        In the order of computing; with the states before its first step, if nothing else is kept of it.
    """

    x: DeviceArray
    segments: list[tuple[Segment, DeviceArray | None]]


def layer_forward(
    weights: LayerWeights,
    x: DeviceArray,
    initial: States,
    outputs: States,
    lengths: np.ndarray | None,
    reverse: bool,
    training: bool,
    recompute: bool,
    noise: Noise | None,
    traces: Mapping[str, DeviceArray],
) -> tuple[tuple[DeviceArray, ...], Tape | None]:
    """`Backend.sequence_forward` on a device."""
    rows, steps, _ = x.shape
    schedule = weights.schedule(rows, steps, lengths)
    keep = (training and not recompute) or bool(traces)
    final = tuple(empty(weights.device, (rows, size), weights.spec.dtype) for size in weights.spec.state_sizes)
    states, tape = _initial(weights, initial, schedule), Tape(x, [])
    for first, last in _spans(weights, schedule, training, recompute):
        segment = Segment(weights, schedule, first, last, reverse, noise, keep)
        initial_states = copied(states) if training and recompute else None
        segment.forward(x, states)
        _write_outputs(segment, outputs, traces, final)
        states = segment.states(segment.pairs, segment.rows_at(last))
        if training:
            tape.segments.append((segment if initial_states is None else _without_arrays(segment), initial_states))
    return final, tape if training else None


def _without_arrays(segment: Segment) -> Segment:
    """A segment without its arrays."""
    del segment.x, segment.pre, segment.records, segment.scales
    return segment


def _spans(
    weights: LayerWeights, schedule: BatchSchedule, training: bool, recompute: bool
) -> Iterator[tuple[int, int]]:
    """The steps of each segment."""
    steps = schedule.steps
    if training:
        span = math.isqrt(steps - 1) + 1 if recompute else steps
    else:
        of_a_row = weights.number(weights.layout.record[1]) + weights.number(weights.layout.rows[-1])
        span = max(1, min(steps, SEGMENT // (schedule.rows * (of_a_row + weights.spec.input_size))))
    for first in range(0, steps, span):
        yield first, min(first + span, steps)


def _initial(weights: LayerWeights, initial: States, schedule: BatchSchedule) -> DeviceArray:
    """Initial states in the order of computing, side by side."""
    states = empty(weights.device, (schedule.rows, weights.number(weights.layout.state_row)), weights.spec.dtype)
    _sort_states(weights, states, initial, schedule)
    return states


def _sort_states(weights: LayerWeights, out: DeviceArray, values: States, schedule: BatchSchedule) -> None:
    """Write states of the batch side by side in the order of computing; a state that is None becomes zeros."""
    for place, size, value in zip(weights.layout.states, weights.spec.state_sizes, values, strict=True):
        first = weights.number(place)
        part = out[:, first : first + size]
        if value is None:
            fill(part, 0.0)
        else:
            sort(part, value, schedule)


def _write_outputs(
    segment: Segment, outputs: States, traces: Mapping[str, DeviceArray], final: Sequence[DeviceArray]
) -> None:
    """Write outputs, traces, and the final states of rows that end in a segment."""
    weights, layout = segment.weights, segment.weights.layout
    place = segment.schedule, segment.table, segment.first, segment.last, segment.reverse
    for slot, size, output, last in zip(layout.states, weights.spec.state_sizes, outputs, final, strict=True):
        first = weights.number(slot)
        column = segment.records[:, first : first + size]
        if output is not None:
            scatter(output, column, *place, segment.final)
        ended = segment.rows_at(segment.last), segment.rows_at(segment.first)
        unsort(last, column[segment.final :], segment.schedule, *ended)
    values, carried = dict(weights.spec.description.traces), weights.spec.description.carried
    for name, trace in traces.items():
        value = values[name]
        slot = layout.states[carried.index(value)] if value in carried else layout.slots[value]
        column = segment.records[:, weights.number(slot) : weights.number(slot) + trace.shape[2]]
        scatter(trace, column, *place, segment.final if value in carried else -1)


def layer_backward(
    weights: LayerWeights,
    tape: Tape,
    doutputs: States,
    dfinal: States,
    gradient: DeviceArray,
    dx: DeviceArray | None,
) -> tuple[DeviceArray, ...]:
    """`Backend.sequence_backward` on a device."""
    schedule, layout = tape.segments[0][0].schedule, weights.layout
    grads = empty(weights.device, (schedule.rows, weights.number(layout.gradient_row)), weights.spec.dtype)
    region = weights.number(layout.state_row)
    for turn in range(2):
        _sort_states(weights, grads[:, turn * region : (turn + 1) * region], dfinal, schedule)
    fill(gradient, 0.0)
    for segment, initial_states in reversed(tape.segments):
        if initial_states is not None:
            segment = Segment(weights, schedule, segment.first, segment.last, segment.reverse, segment.noise, True)
            segment.forward(tape.x, initial_states)
        segment.backward(doutputs, grads, gradient, dx)
    dinitial = []
    for slot, size in zip(layout.states, weights.spec.state_sizes, strict=True):
        first = region + weights.number(slot)  # the region of the states before the first step
        dstate = empty(weights.device, (schedule.rows, size), weights.spec.dtype)
        unsort(dstate, grads[:, first : first + size], schedule, 0, schedule.rows)
        dinitial.append(dstate)
    return tuple(dinitial)
