"""What a recurrent cell is: parameters, states, and phases that turn products into new states.

A backend interprets a `Cell`; it knows none by name. Every value of a cell is a vector of units per sequence and
step, and has a name:

- a state of the step before carries the suffix ``_prev`` (``"h_prev"``), the new one none (``"h"``);
- values that a phase gives or keeps have the names written there, and later phases may read them;
- ``"x"`` is the input.

The first state is the cell's output, the ``y`` of a layer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from ..concurrency import cached_property

PREVIOUS = "_prev"
INPUT = "x"


@dataclass(frozen=True)
class Parameter:
    """A named array of parameters, in blocks of as many rows as a vector of units has.

    Attributes
    ----------
    name : str
        The name in PyTorch, where it has one.
    blocks : int
        Blocks of rows.
    size : {"hidden", "projected"}
        Rows of a block.
    columns : {"input", "hidden", "projected"} or None
        Size of a block of columns; None for one number per row.
    column_blocks : int
        Blocks of columns.
    optional : bool
        Whether a layer without biases does without it.
    """

    name: str
    blocks: int
    size: str = "hidden"
    columns: str | None = None
    column_blocks: int = 1
    optional: bool = False


@dataclass(frozen=True)
class Product:
    """Weights times a vector, added to some pre-activations of a phase.

    Attributes
    ----------
    gates : tuple of str
        Pre-activations that it is added to.
    source : str
        The vector: ``"x"``, a state of the step before, or a value given by an earlier phase.
    weight : str or None
        The matrix; None takes the vector as it is, unit by unit.
    bias : str or None
        A vector that is added too.
    rows : tuple of int
        For each of `gates` its block of rows in `weight` and `bias`.
    column : int
        Block of columns of `weight`.
    """

    gates: tuple[str, ...]
    source: str
    weight: str | None
    bias: str | None = None
    rows: tuple[int, ...] = ()
    column: int = 0


@dataclass(frozen=True)
class Phase:
    """One round of a step: products first, then equations, unit by unit.

    `forward` and `backward` are plain functions of "numbers" (floats, SIMD vectors, CUDA scalars). They contain no
    numeric literal: ``one`` is the number 1 in the caller's type. `v` holds what they take, as attributes; where
    they branch, they branch on values that are known before a backend compiles them, so that one side alone is
    compiled.

    Attributes
    ----------
    gates : tuple of str
        The pre-activations that the equations take.
    products : tuple of Product
        The products that are summed to the pre-activations.
    reads : tuple of str
        Values that `forward` takes unit by unit, besides the pre-activations.
    gives : tuple of str
        New states, and values for later phases.
    keeps : tuple of str
        Further results of `forward`, kept for `backward` and for traces.
    uses : tuple of str
        Values that `backward` takes.
    forward : callable
        ``forward(one, v) -> results``, with ``v`` the `gates`, `reads`, `parameters`, `constants` and `masks`.
    backward : callable
        ``backward(one, d, v) -> gradients``, with ``d`` the gradients of what the phase `gives`, and ``v`` the `uses`,
        `parameters`, `constants` and `masks`.
    parameters : tuple of (str, str, int)
        Parameters with one number per unit: the equations' name, the parameter's, and its block of rows.
    constants : tuple of str
        Numbers, by their names in `Cell.constants`.
    masks : tuple of str
        Masks, by their names in `Cell.masks`.
    norm : tuple of int, or empty
        For each gate a block of rows of ``layer_norm_weight`` and ``layer_norm_bias``. Its pre-activation is normalised
        over the units, scaled and shifted by these, before the equations take it.
    size : {"hidden", "projected"}
        The number of units.
    results : tuple of str
        What `forward` returns, by name: by default what it gives and keeps.
    gradients : tuple of str
        What `backward` returns the gradients of: by default gates, reads and parameters.
    finish : callable or None
        ``finish(one, v) -> results``, with ``v`` the `finish_reads` and `constants`: the end of the forward equations.
        A backend may run `forward` for many units first, so that no unit waits for its own results.
    finish_reads : tuple of str
        Results of `forward`.
    finish_gives : tuple of str
        What `finish` returns, by name: some of what the phase `gives`.
    """

    gates: tuple[str, ...]
    products: tuple[Product, ...]
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    keeps: tuple[str, ...]
    uses: tuple[str, ...]
    forward: Callable = field(repr=False)
    backward: Callable = field(repr=False)
    parameters: tuple[tuple[str, str, int], ...] = ()
    constants: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    norm: tuple[int, ...] = ()
    size: str = "hidden"
    results: tuple[str, ...] = ()
    gradients: tuple[str, ...] = ()
    finish: Callable | None = field(default=None, repr=False)
    finish_reads: tuple[str, ...] = ()
    finish_gives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.results:
            object.__setattr__(self, "results", (*self.gives, *self.keeps))
        if not self.gradients:
            names = (*self.gates, *self.reads, *(name for name, _, _ in self.parameters))
            object.__setattr__(self, "gradients", names)


@dataclass(frozen=True)
class Mask:
    """A random factor of each unit: one for a unit that is dropped, another for a unit that is kept.

    Attributes
    ----------
    name : str
    kind : str
        Its stream of random numbers, a key of `numlstm.backends.contract.STREAMS`.
    index : int
        The number of its state, where each state has a mask; else 0.
    probability : float
        The probability that a unit is dropped.
    per_step : bool
        Whether each step has a mask of its own.
    dropped, kept, expected : float
        The factors of dropped and of kept units in training, and of all units at other times.
    """

    name: str
    kind: str
    index: int
    probability: float
    per_step: bool
    dropped: float
    kept: float
    expected: float


@dataclass(frozen=True)
class Cell:
    """A recurrent cell.

    Attributes
    ----------
    name : str
    states : tuple of str
        The vectors that a step hands to the next; the first one is the output.
    phases : tuple of Phase
        In the order in which a step computes them.
    parameters : tuple of Parameter
        Everything that is trained. Blocks that no phase uses never change.
    traces : tuple of (str, str)
        What a trace shows besides the states: the public name of a gate, and the name of its value.
    constants : tuple of (str, float)
        Numbers that equations take. Cells that differ in them alone share machine code.
    masks : tuple of Mask
        Masks that equations take. Cells that differ in their numbers alone share machine code, too.
    carried : tuple of str
        For each state, the value that the next step reads as that state; by default the value of the same name.
    """

    name: str
    states: tuple[str, ...]
    phases: tuple[Phase, ...]
    parameters: tuple[Parameter, ...]
    traces: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[str, float], ...] = ()
    masks: tuple[Mask, ...] = ()
    carried: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.carried:
            object.__setattr__(self, "carried", self.states)
        known = {INPUT, *self._previous}
        for phase in self.phases:
            self._check_products(phase, known)
            self._check_equations(phase, known)
            known |= {*phase.gives, *phase.keeps}
            if missing := set(phase.uses) - known:
                raise self._wrong(f"backward uses unknown values {sorted(missing)}")
        if missing := {*self.carried, *dict(self.traces).values()} - known:
            raise self._wrong(f"no phase gives {sorted(missing)}")
        self._check_all_is_read()

    @property
    def _previous(self) -> set[str]:
        """The names of the states of the step before."""
        return {state + PREVIOUS for state in self.states}

    def _check_products(self, phase: Phase, known: set[str]) -> None:
        """Refuse products of unknown values or parameters, and gates without a product."""
        parameters = {parameter.name: parameter for parameter in self.parameters}
        for product in phase.products:
            if product.source not in known:
                raise self._wrong(f"source {product.source!r} is not known yet; known: {sorted(known)}")
            if set(product.gates) - set(phase.gates):
                raise self._wrong(f"a product is added to {product.gates}, the phase has {phase.gates}")
            used = {name for name in (product.weight, product.bias) if name is not None}
            if unknown := used - parameters.keys():
                raise self._wrong(f"products use {sorted(unknown)}, which are no parameters")
            if any(parameters[name].blocks <= max(product.rows) for name in used):
                raise self._wrong(f"rows {product.rows} lie outside of {sorted(used)}")
        if missing := set(phase.gates) - {gate for product in phase.products for gate in product.gates}:
            raise self._wrong(f"no product is added to {sorted(missing)}")

    def _check_equations(self, phase: Phase, known: set[str]) -> None:
        """Refuse equations that read unknown values, or do not return the values that the phase promises."""
        if missing := set(phase.reads) - known:
            raise self._wrong(f"reads {sorted(missing)} before they are given")
        new = [*phase.gives, *phase.keeps]
        if missing := {*new, *phase.finish_reads} - {*phase.results, *phase.finish_gives}:
            raise self._wrong(f"forward does not return {sorted(missing)}")
        parameters = (name for name, _, _ in phase.parameters)
        if missing := {*phase.gates, *phase.reads, *parameters} - {*phase.gradients}:
            raise self._wrong(f"backward does not return the gradients of {sorted(missing)}")
        if again := {name for name in new if name in known or new.count(name) > 1}:
            raise self._wrong(f"{sorted(again)} given twice")

    def _check_all_is_read(self) -> None:
        """Refuse states and given values that nothing reads."""
        read = {name for phase in self.phases for name in phase.reads}
        read |= {product.source for phase in self.phases for product in phase.products}
        new = {value for phase in self.phases for value in phase.gives}
        if unused := (self._previous | new - {*self.carried}) - read:
            raise self._wrong(f"nothing reads {sorted(unused)}")

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"cell {self.name!r}: {what}")

    @cached_property
    def sizes(self) -> dict[str, str]:
        """The size of every value that a phase gives or keeps: ``"hidden"`` or ``"projected"``."""
        return {value: phase.size for phase in self.phases for value in (*phase.gives, *phase.keeps)}

    @property
    def state_sizes(self) -> tuple[str, ...]:
        """The size of every state."""
        return tuple(self.sizes[value] for value in self.carried)

    def source_size(self, name: str) -> str:
        """The size of a vector that a product multiplies."""
        if name == INPUT:
            return "input"
        if name.endswith(PREVIOUS):
            return self.state_sizes[self.states.index(name.removesuffix(PREVIOUS))]
        return self.sizes[name]

    @cached_property
    def digest(self) -> str:
        """A fingerprint of the equations: compiled kernels of one cell never serve another of its name."""
        text = [self.name, repr(self.states), repr(self.carried), repr(self.phases)]
        for phase in self.phases:
            text += _description(phase.forward) + _description(phase.backward) + _description(phase.finish)
        return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


NORM = ("layer_norm_weight", "layer_norm_bias")


def _description(function: Any) -> list[str]:
    """The code of a function, and the values that its closure holds."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return [repr(function)]
    text = [code.co_code.hex(), repr(code.co_consts), repr(code.co_names), repr(code.co_varnames)]
    for captured in function.__closure__ or ():
        text += _description(captured.cell_contents)
    return text
