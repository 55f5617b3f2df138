"""The equations of a cell for one unit of one row at one step: written out from its description, then compiled.

Kernels name a cell by its fingerprint, a string that they have captured, and a phase by its number.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from ...cells import Phase
from ...cells.cell import NORM, PREVIOUS
from .elementary import device_equation
from .launching import by_name
from .layout import CellLayout, Place, layout_of, normalised
from .masks import is_dropped

# What the functions below take besides the phase and u, the unit: named tuples, whose fields are names in their code.


class ForwardArrays(NamedTuple):
    """Records, pre-activations, parameters, and the block's shared memory."""

    records: Any
    pre: Any
    flat: Any
    shared: Any


class ForwardSettings(NamedTuple):
    """What is the same for all units.

    Attributes
    ----------
    offsets : where each parameter begins in `flat`, -1 if it is not there
    constants : numbers of the cell, then three of each mask
    noise : key and limit of each mask, -1 without noise
    hidden, projected : H and the length of a projection
    keep : whether to write what the way back needs
    fused : whether sums of products are in shared memory
    """

    offsets: Any
    constants: Any
    noise: Any
    hidden: int
    projected: int
    keep: int
    fused: int


class ForwardPlace(NamedTuple):
    """Where the values of a row at a step begin.

    Attributes
    ----------
    record, following : the record of this step, and that of the row's next step
    row : the row of `pre`
    at, step : in shared memory, the sum of gate k of the unit is at ``at + k * step``
    factor : in shared memory, mean and factor of each gate's normalisation
    t, n : the step of x and the row of the batch, for masks
    """

    record: int
    following: int
    row: int
    at: int
    step: int
    factor: int
    t: int
    n: int


class BackwardArrays(NamedTuple):
    """As forward, `pre` with gradients; and gradients of values, and of parameters with one number per unit."""

    records: Any
    pre: Any
    flat: Any
    shared: Any
    grads: Any
    units: Any


class BackwardSettings(NamedTuple):
    """As forward."""

    offsets: Any
    constants: Any
    noise: Any
    hidden: int
    projected: int


class BackwardPlace(NamedTuple):
    """As forward; and where the values of a row begin in gradients.

    Attributes
    ----------
    grad, unit : the rows of `grads` and `units`
    now, before : regions in a row of `grads`: states after the step, and before it
    factor : in shared memory, two means and the factor of each gate's normalisation
    """

    record: int
    following: int
    row: int
    grad: int
    now: int
    before: int
    unit: int
    factor: int
    t: int
    n: int


class StartArrays(NamedTuple):
    """Records, gradients of values, and gradients of states that came from outside."""

    records: Any
    grads: Any
    doutputs: Any


class StartSettings(NamedTuple):
    """The place of each state among gradients from outside, -1 if it has none; H and the length of a projection."""

    outside: Any
    hidden: int
    projected: int


class StartPlace(NamedTuple):
    """Where a row begins in `grads`, its two regions, and where it begins in `doutputs`."""

    grad: int
    now: int
    before: int
    doutput: int


FORWARD = ForwardArrays, ForwardSettings, ForwardPlace
BACKWARD = BackwardArrays, BackwardSettings, BackwardPlace
START = StartArrays, StartSettings, StartPlace


class Writer:
    """Writes the code of one phase.

    Parameters
    ----------
    layout : CellLayout
    index : int
        Number of the phase.
    """

    def __init__(self, layout: CellLayout, index: int) -> None:
        self.layout, self.index, self.cell = layout, index, layout.cell
        self.phase: Phase = self.cell.phases[index]
        self.gates = layout.gates[index]
        self.names = [parameter.name for parameter in self.cell.parameters]
        self.constants = [name for name, _ in self.cell.constants]
        self.masks = [mask.name for mask in self.cell.masks]
        self.loaded: dict[str, str] = {}

    # Where things are ---------------------------------------------------------------------------------------

    def value(self, name: str) -> str:
        """A value, as a place in the records."""
        if not name.endswith(PREVIOUS) and name in self.cell.carried:
            return f"records[following + {self.layout.states[self.cell.carried.index(name)]} + u]"
        return f"records[record + {self.layout.source(name)} + u]"

    def gate(self, name: str) -> str:
        """A pre-activation, or its gradient."""
        place = self.layout.rows[self.index].after(self.phase.size, self.gates.index(name))
        return f"pre[row + {place} + u]"

    def unit(self, number: int) -> str:
        """The gradient of a parameter with one number per unit."""
        return f"units[unit + {self.layout.unit_rows[self.index].after(self.phase.size, number)} + u]"

    def norm_units(self, gate: str) -> tuple[str, str]:
        """The gradients of the weight and the bias that a normalised gate is scaled and shifted with."""
        first = len(self.phase.parameters) + 2 * self.gates.index(gate)
        return self.unit(first), self.unit(first + 1)

    def parameter(self, name: str, block: int) -> str:
        """A number of a parameter for this unit."""
        start = Place(0, 0).after(self.phase.size, block)
        return f"flat[offsets[{self.names.index(name)}] + {start} + u]"

    def norm_parameters(self, gate: str) -> tuple[str, str]:
        """Weight and bias of a normalised gate."""
        block = self.phase.norm[self.phase.gates.index(gate)]
        weight, bias = (self.parameter(name, block) for name in NORM)
        return weight, bias

    def gradient(self, name: str) -> str:
        """The gradient of a value."""
        region, place = self.layout.gradient(name)
        return f"grads[grad + {'' if region == 'values' else region + ' + '}{place} + u]"

    # Lines --------------------------------------------------------------------------------------------------

    def load(self, place: str) -> str:
        """A variable for what is at a place. All are loaded first, so that no load waits for another."""
        return self.loaded.setdefault(place, f"l{len(self.loaded)}")

    def lines(self, body: Iterator[str]) -> list[str]:
        """The lines of a body, behind what they take."""
        written = list(body)
        return [*(f"{name} = {place}" for place, name in self.loaded.items()), *written]

    def sums(self) -> Iterator[str]:
        """Every pre-activation z0, z1, ...: what products gave, biases, and vectors that are added as they are."""
        of_input = {gate for product in self.layout.of_input(self.index) for gate in product.gates}
        multiplied = {gate for product in self.layout.recurrent(self.index) for gate in product.gates}
        for k, gate in enumerate(self.gates):
            terms = [self.load(self.gate(gate))] if gate in of_input else []
            for product in self.phase.products:
                if gate in product.gates and not product.weight:
                    terms.append(self.load(self.value(product.source)))
                elif gate in product.gates and product.bias and self.layout.bias:
                    row = product.rows[product.gates.index(gate)]
                    terms.append(self.load(self.parameter(product.bias, row)))
            yield f"z{k} = {' + '.join(terms) or 'one - one'}"
        if multiplied:
            yield "if fused:"
            for k, gate in enumerate(self.gates):
                if gate in multiplied:
                    yield f"    z{k} = z{k} + shared[at + {k} * step]"
        if multiplied - of_input:
            yield "else:"
            for k, gate in enumerate(self.gates):
                if gate in multiplied - of_input:
                    yield f"    z{k} = z{k} + {self.gate(gate)}"

    def normalise(self) -> Iterator[str]:
        """Every pre-activation, normalised."""
        for k, gate in enumerate(self.gates):
            weight, bias = map(self.load, self.norm_parameters(gate))
            yield f"z{k} = ({self.load(self.gate(gate))} - shared[factor + {2 * k}]) * shared[factor + {2 * k + 1}]"
            yield "if keep:"
            yield f"    {self.value(normalised(self.index, gate))} = z{k}"
            yield f"z{k} = z{k} * {weight} + {bias}"

    def others(self) -> Iterator[str]:
        """Constants and masks, as variables."""
        for name in self.phase.constants:
            yield f"{name} = constants[{self.constants.index(name)}]"
        for name in self.phase.masks:
            k = self.masks.index(name)
            first = len(self.constants) + 3 * k
            time = "t" if self.cell.masks[k].per_step else "0"
            yield f"{name} = constants[{first + 2}]"
            yield f"if noise[{2 * k + 1}] >= 0:"
            yield f"    {name} = constants[{first + 1}]"
            yield f"    if is_dropped(noise[{2 * k}], noise[{2 * k + 1}], {time}, n, u):"
            yield f"        {name} = constants[{first}]"

    def equation_arguments(self, values: Sequence[str]) -> str:
        """Arguments for equations: values of records, parameters, constants, masks."""
        parameters = [self.load(self.parameter(name, block)) for _, name, block in self.phase.parameters]
        loaded = [self.load(self.value(name)) for name in values]
        return ", ".join([*loaded, *parameters, *self.phase.constants, *self.phase.masks])

    def other_names(self) -> list[str]:
        """The names of what `equation_arguments` adds to values."""
        return [*(name for name, _, _ in self.phase.parameters), *self.phase.constants, *self.phase.masks]

    def store(self, name: str, result: str) -> Iterator[str]:
        """Keep a result."""
        if name in self.phase.keeps:
            yield "if keep:"
            yield f"    {self.value(name)} = {result}"
            return
        yield f"{self.value(name)} = {result}"
        if name in self.cell.carried and name in self.layout.slots:
            yield f"records[record + {self.layout.slots[name]} + u] = {result}"

    def forward(self) -> Iterator[str]:
        """The phase, products apart."""
        phase = self.phase
        yield from self.normalise() if phase.norm else self.sums()
        yield from self.others()
        of_gates = [f"z{self.gates.index(gate)}" for gate in phase.gates]
        arguments = ", ".join(filter(None, [*of_gates, self.equation_arguments(phase.reads)]))
        results = [f"r{k}" for k in range(len(phase.results))]
        yield f"{', '.join(results)}, = equations(one, Values({arguments}))"
        by_name = dict(zip(phase.results, results, strict=True))
        if phase.finish:
            given = [*(by_name[name] for name in phase.finish_reads), *phase.constants]
            finished = [f"f{k}" for k in range(len(phase.finish_gives))]
            yield f"{', '.join(finished)}, = finish(one, Finish({', '.join(given)}))"
            by_name |= dict(zip(phase.finish_gives, finished, strict=True))
        for name in (*phase.gives, *phase.keeps):
            yield from self.store(name, by_name[name])

    def sum_preactivations(self) -> Iterator[str]:
        """What comes before normalisation: pre-activations are written where all can see them."""
        yield from self.sums()
        for k, gate in enumerate(self.gates):
            yield f"{self.gate(gate)} = z{k}"

    def backward(self) -> Iterator[str]:
        """The gradients of a phase, products apart."""
        phase = self.phase
        yield from self.others()
        yield f"d = Gradients({', '.join(self.load(self.gradient(name)) for name in phase.gives)})"
        yield f"v = Values({self.equation_arguments(phase.uses)})"
        results = [f"r{k}" for k in range(len(phase.gradients))]
        yield f"{', '.join(results)}, = equations(one, d, v)"
        by_name = dict(zip(phase.gradients, results, strict=True))
        for gate in self.gates:
            if phase.norm:
                weight, bias = self.norm_units(gate)
                yield f"{weight} = {by_name[gate]} * {self.load(self.value(normalised(self.index, gate)))}"
                yield f"{bias} = {by_name[gate]}"
            else:
                yield from self.gate_gradient(gate, by_name[gate])
        for name in phase.reads:
            yield from self.accumulate(name, by_name[name])
        for k, (name, _, _) in enumerate(phase.parameters):
            yield f"{self.unit(k)} = {by_name[name]}"

    def gate_gradient(self, gate: str, result: str) -> Iterator[str]:
        """Keep the gradient of a pre-activation, and add it to those of vectors that were added as they are."""
        yield f"{self.gate(gate)} = {result}"
        for product in self.layout.as_they_are(self.index):
            if gate in product.gates:
                yield from self.accumulate(product.source, result)

    def accumulate(self, name: str, result: str) -> Iterator[str]:
        """Add to the gradient of a value."""
        place = self.gradient(name)
        variable = self.load(place)
        yield f"{variable} = {variable} + {result}"
        yield f"{place} = {variable}"

    def normalisation_backward(self) -> Iterator[str]:
        """From the gradients of what was scaled and shifted to those of pre-activations."""
        for k, gate in enumerate(self.gates):
            (weight, _), (_, delta) = self.norm_parameters(gate), self.norm_units(gate)
            means = f"shared[factor + {3 * k}]", f"shared[factor + {3 * k + 1}]"
            delta, weight, value = map(self.load, (delta, weight, self.value(normalised(self.index, gate))))
            yield f"d = {delta} * {weight} - {means[0]} - {value} * {means[1]}"
            yield f"d = d * shared[factor + {3 * k + 2}]"
            yield from self.gate_gradient(gate, "d")


def _start_gradients(layout: CellLayout, size: str) -> Iterator[str]:
    """The start of a step back: it adds gradients from outside, and clears the gradients that the step computes."""
    for k, (state, of_size) in enumerate(zip(layout.states, layout.cell.state_sizes, strict=True)):
        if of_size == size:
            yield f"if outside[{k}] >= 0:"
            yield f"    grads[grad + now + {state} + u] += doutputs[doutput + outside[{k}] + u]"
            yield f"grads[grad + before + {state} + u] = one - one"
    for name, place in layout.value_gradients.items():
        if layout.cell.sizes[name] == size:
            yield f"grads[grad + {place} + u] = one - one"


def _written(tuples: tuple[type[Any], ...], parts: list[tuple[list[str], dict[str, Any]]]) -> Callable:
    """A function whose parts are the lines of each phase, with the names that they use."""
    lines, names = ["def written(phase, arrays, settings, place, u):"], {"is_dropped": is_dropped}
    for argument, kind in zip(("arrays", "settings", "place"), tuples, strict=True):
        lines.append(f"    {', '.join(kind._fields)} = {argument}")
    lines.append("    one = records.dtype.type(1)")
    for k, (body, functions) in enumerate(parts):
        text = body
        for name, value in functions.items():
            names[f"{name}{k}"] = value
            text = [line.replace(f"{name}(", f"{name}{k}(") for line in text]
        lines += [f"    if phase == {k}:", *(f"        {line}" for line in [*text, "pass"])]
    exec("\n".join(lines), names)
    return names["written"]


def _tuple(kind: str, names: Any) -> Any:
    """A named tuple; names that no attribute can have are reached by their places."""
    return namedtuple(kind, names, rename=True)


def _if_normed(writer: Writer, body: Callable[[], Iterator[str]]) -> list[str]:
    """The lines of a body for phases that are normalised, and none for others."""
    return writer.lines(body()) if writer.phase.norm else []


def _writers(digest: str) -> list[Writer]:
    layout = layout_of(digest)
    return [Writer(layout, index) for index in range(len(layout.cell.phases))]


@cache
def forward_code(digest: str) -> Callable:
    """The function behind `forward_equations`."""
    parts = []
    for writer in _writers(digest):
        phase = writer.phase
        others = writer.other_names()
        names = {
            "equations": device_equation(phase.forward), "finish": device_equation(phase.finish),
            "Values": _tuple("Values", [*phase.gates, *phase.reads, *others]),
            "Finish": _tuple("Finish", [*phase.finish_reads, *phase.constants]),
        }  # fmt: skip
        parts.append((writer.lines(writer.forward()), names))
    return _written(FORWARD, parts)


@cache
def sum_preactivations_code(digest: str) -> Callable:
    """The function behind `sum_preactivations`."""
    return _written(FORWARD, [(_if_normed(writer, writer.sum_preactivations), {}) for writer in _writers(digest)])


@cache
def backward_code(digest: str) -> Callable:
    """The function behind `backward_equations`."""
    parts = []
    for writer in _writers(digest):
        phase = writer.phase
        names = {
            "equations": device_equation(phase.backward), "Gradients": _tuple("Gradients", phase.gives),
            "Values": _tuple("Values", [*phase.uses, *writer.other_names()]),
        }  # fmt: skip
        parts.append((writer.lines(writer.backward()), names))
    return _written(BACKWARD, parts)


@cache
def normalisation_backward_code(digest: str) -> Callable:
    """The function behind `normalisation_backward`."""
    parts: list[Any] = [
        (writer.lines(writer.normalisation_backward()) if writer.phase.norm else [], {}) for writer in _writers(digest)
    ]
    return _written(BACKWARD, parts)


@cache
def start_gradients_code(digest: str) -> Callable:
    """The function behind `start_gradients`: its phases are sizes, the hidden one and that of a projection."""
    layout = layout_of(digest)
    return _written(START, [(list(_start_gradients(layout, size)), {}) for size in ("hidden", "projected")])


# What kernels call, with the fingerprint of a cell that they have captured; the others take (phase, arrays, settings,
# place, u). They compute the equations of a phase for a unit; write its pre-activations, to be normalised; compute its
# gradients; write those of its pre-activations that were normalised; and begin a step back, where a phase is a size.
forward_equations, sum_preactivations, backward_equations, normalisation_backward, start_gradients = map(
    by_name, (forward_code, sum_preactivations_code, backward_code, normalisation_backward_code, start_gradients_code)
)
