"""What a recurrent cell is: states, gates, and phases that turn products into new states.

A backend interprets a `Cell`; it knows none by name. Every value of a cell is a vector of `H` hidden
units per sequence and step, and has a name:

- a state of the step before carries the suffix ``_prev`` (``"h_prev"``), the new one none (``"h"``);
- whatever a phase gives or keeps is known to the phases after it by the name written there.

The first state is the cell's output, the ``y`` of a layer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

PREVIOUS = "_prev"


@dataclass(frozen=True)
class Phase:
    """One round of a step: products first, then equations, unit by unit.

    For every gate of the phase the backend computes the pre-activation ``W x + R v + b``, where ``v`` is
    the vector named by `source`, and hands it to the equations. `forward` and `backward` are plain
    module-level functions of "numbers" (floats, SIMD vectors, CUDA scalars). They contain no numeric
    literal: ``one`` is the number 1 in the caller's type.

    Attributes
    ----------
    gates : tuple of str
        Names of the pre-activations; each owns a block of `H` rows in the weights.
    source : str
        The vector multiplied by the recurrent weights: ``"h_prev"``, or a value given by an earlier phase.
    reads : tuple of str
        Values that `forward` takes unit by unit, besides the pre-activations.
    gives : tuple of str
        New states, and values for later phases.
    keeps : tuple of str
        Further results of `forward`, kept for `backward` and for whoever wants to look at them.
    uses : tuple of str
        Values that `backward` takes.
    forward : callable
        ``forward(one, *gates, *reads) -> (*gives, *keeps)``
    backward : callable
        ``backward(one, *gradients of gives, *uses) -> (*gradients of gates, *gradients of reads)``
    """

    gates: tuple[str, ...]
    source: str
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    keeps: tuple[str, ...]
    uses: tuple[str, ...]
    forward: Callable = field(repr=False)
    backward: Callable = field(repr=False)


@dataclass(frozen=True)
class Cell:
    """A named recurrent cell.

    Attributes
    ----------
    name : str
        The name it is registered under.
    states : tuple of str
        What a step hands to the next; the first one is the output.
    phases : tuple of Phase
        In the order in which a step computes them.
    """

    name: str
    states: tuple[str, ...]
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        known = {state + PREVIOUS for state in self.states}
        for phase in self.phases:
            if phase.source not in known:
                raise ValueError(
                    f"cell {self.name!r}: source {phase.source!r} is not known yet; known: {sorted(known)}"
                )
            if missing := set(phase.reads) - known:
                raise ValueError(f"cell {self.name!r}: reads {sorted(missing)} before they are given")
            made = [*phase.gives, *phase.keeps]
            if again := {name for name in made if name in known or made.count(name) > 1}:
                raise ValueError(f"cell {self.name!r}: {sorted(again)} given twice")
            known |= {*made}
            if missing := set(phase.uses) - known:
                raise ValueError(f"cell {self.name!r}: backward uses unknown values {sorted(missing)}")
        if missing := set(self.states) - known:
            raise ValueError(f"cell {self.name!r}: no phase gives the states {sorted(missing)}")
        wanted = {value for phase in self.phases for value in (phase.source, *phase.reads)}
        given = {value for phase in self.phases for value in phase.gives} - set(self.states)
        if unused := ({state + PREVIOUS for state in self.states} | given) - wanted:
            raise ValueError(f"cell {self.name!r}: nothing reads {sorted(unused)}")

    @property
    def gates(self) -> tuple[str, ...]:
        """All gates, in the order of their row blocks in the weights."""
        return tuple(gate for phase in self.phases for gate in phase.gates)

    @cached_property
    def digest(self) -> str:
        """A fingerprint of the equations: compiled kernels of one cell never serve another of its name."""
        text = [self.name, repr(self.states), repr(self.phases)]
        for phase in self.phases:
            for function in (phase.forward, phase.backward):
                code = function.__code__
                text += [code.co_code.hex(), repr(code.co_consts), repr(code.co_names), repr(code.co_varnames)]
        return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]
