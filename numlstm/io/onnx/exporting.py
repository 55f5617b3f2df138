"""Models as graphs of ONNX's operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...graphs.graph import Graph
from ...layers.layer import Layer
from .layers import FREE, graph_of_layer


def graph_of(model: Any, *, shape: Sequence[int | str] = FREE, state: bool = False, lengths: bool = True) -> Graph:
    """The graph that computes what a model does.

    Parameters
    ----------
    model : Layer, estimator, scaler, Pipeline of scalers and an estimator, or Graph
    shape : (N, T)
        The lengths of the axes of batch and steps, or their names.
    state : bool
        Whether initial states are inputs, for a layer.
    lengths : bool
        Whether the lengths of sequences are an input.

    Raises
    ------
    TypeError
        If it is of another kind.
    ValueError
        If it is not fitted, or has an option that ONNX does not have.
    """
    if isinstance(model, Graph):
        if state or not lengths or (*shape,) != FREE:
            raise ValueError("dynamic and lengths must be True and state False for a Graph: its inputs are fixed")
        return model
    if isinstance(model, Layer):
        return graph_of_layer(model, shape, state, lengths)
    if state:
        raise ValueError(f"state must be False for {type(model).__name__}: only layers take an initial state")
    from .estimators import graph_of_estimator

    return graph_of_estimator(model, shape, lengths)
