"""All classes of layers, by the names of their cells."""

from __future__ import annotations

from typing import TypeVar

from .. import cells
from .layer import Layer

Kind = TypeVar("Kind", bound=type[Layer])

LAYERS: dict[str, type[Layer]] = {}


def register(layer: Kind) -> Kind:
    """Make a class of layers known by the name of its cell: estimators take ``cell=name``, files hold its layers.

    Parameters
    ----------
    layer : subclass of Layer
        Its attribute `cell` names a cell that `numlstm.cells.register` knows.

    Returns
    -------
    subclass of Layer
        The same, so that this may be a decorator.

    Raises
    ------
    TypeError
        If it is no subclass of `Layer`.
    ValueError
        If there is no such cell, or another class has its name or that of the cell.

    Examples
    --------
    ``CONTRIBUTING.md`` writes the minimal gated unit of Zhou et al. 2016, and a class for it::

        numlstm.cells.register("mgu", MGU_CELL)


        @numlstm.layers.register
        class MGU(numlstm.layers.Layer):
            cell = "mgu"
    """
    if not (isinstance(layer, type) and issubclass(layer, Layer)):
        raise TypeError(f"layer must be a subclass of numlstm.layers.Layer, got {layer!r}")
    cells.get(layer.cell)
    for name, known in LAYERS.items():
        if known is not layer and (name == layer.cell or known.__name__ == layer.__name__):
            raise ValueError(
                f"layer {layer.__name__} of cell {layer.cell!r} must have a name and a cell of its own: there is "
                f"{known.__name__} of {name!r}"
            )
    LAYERS[layer.cell] = layer
    return layer
