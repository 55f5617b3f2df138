"""What can be added to any cell: layer normalisation, dropout of the recurrent input, zoneout."""

from __future__ import annotations

from dataclasses import replace

from .cell import NORM, PREVIOUS, Cell, Mask, Parameter, Phase


def normalised(cell: Cell) -> Cell:
    """`cell` with every pre-activation normalised, unless one of its phases is normalised already."""
    if any(phase.norm for phase in cell.phases):
        return cell
    phases, rows = [], 0
    for phase in cell.phases:
        if phase.gates:
            phase = replace(phase, norm=tuple(range(rows, rows + len(phase.gates))))
            rows += len(phase.gates)
        phases.append(phase)
    return replace(cell, phases=tuple(phases), parameters=(*cell.parameters, *(Parameter(name, rows) for name in NORM)))


def with_recurrent_dropout(cell: Cell, probability: float) -> Cell:
    """`cell` with a mask for each sequence on every vector that ``weight_hh`` multiplies."""
    name, phases = "recurrent_dropout", []
    for phase in cell.phases:
        products = []
        for product in phase.products:
            if product.weight == "weight_hh":
                dropped = f"{product.source}_dropped"
                phases.append(
                    Phase(
                        gates=(), products=(), reads=(product.source,), gives=(dropped,), keeps=(), uses=(),
                        forward=drop, backward=drop_backward, masks=(name,), size=cell.source_size(product.source),
                    )
                )  # fmt: skip
                product = replace(product, source=dropped)
            products.append(product)
        phases.append(replace(phase, products=tuple(products)))
    mask = Mask(name, name, 0, probability, False, 0.0, 1.0 / (1.0 - probability), 1.0)
    return replace(cell, phases=tuple(phases), masks=(*cell.masks, mask))


def drop(one, v):
    """A vector times its mask."""
    vector, mask = v
    return (vector * mask,)


def drop_backward(one, d, v):
    """Its gradient."""
    (gradient,), (mask,) = d, v
    return (gradient * mask,)


def with_zoneout(cell: Cell, probabilities: tuple[float, ...]) -> Cell:
    """`cell`, except that its states keep some units of the step before."""
    phases, masks, carried = list(cell.phases), list(cell.masks), list(cell.carried)
    for index, probability in enumerate(probabilities):
        if probability:
            state, name = cell.states[index], f"zoneout_{index}"
            carried[index] = f"{carried[index]}_zoned"
            masks.append(Mask(name, "zoneout", index, probability, True, 1.0, 0.0, probability))
            phases.append(
                Phase(
                    gates=(), products=(), reads=(cell.carried[index], state + PREVIOUS), gives=(carried[index],),
                    keeps=(), uses=(), forward=zone, backward=zone_backward, masks=(name,),
                    size=cell.sizes[cell.carried[index]],
                )
            )  # fmt: skip
    return replace(cell, phases=tuple(phases), masks=tuple(masks), carried=tuple(carried))


def zone(one, v):
    """The new state, the old one, or a mixture of both."""
    new, old, keep = v
    return (new + keep * (old - new),)


def zone_backward(one, d, v):
    """Gradients of both."""
    (gradient,), (keep,) = d, v
    kept = gradient * keep
    return gradient - kept, kept
