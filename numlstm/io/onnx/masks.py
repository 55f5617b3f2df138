"""Numlstm's own operators, for masks as Keras has them, as nodes of ONNX's operators: other runtimes run these."""

from __future__ import annotations

import numpy as np

from ...graphs.graph import Graph, Node
from ...graphs.operators.shapes import NUMBERS
from .builder import NodeBuilder

OLDEST = 15  # version of ONNX's operators that has all that is used
ZERO, ONE, *AXES = (f"numlstm_{name}" for name in ("zero", "one", "axis_0", "axis_1", "axis_2"))
CONSTANTS = {ZERO: 0, ONE: 1} | {name: [axis] for axis, name in enumerate(AXES)}


def without_own(graph: Graph) -> Graph:
    """The same graph with operators of ONNX's alone.

    Raises
    ------
    ValueError
        If the version of its operators is too old.
    """
    own = [node for node in graph.nodes if node.domain == "numlstm"]
    if not own:
        return graph
    if graph.opset < OLDEST:
        raise ValueError(f"{own[0]}: opset must be at least {OLDEST} for ONNX to have masks, got {graph.opset}")
    nodes: list[Node] = []
    for number, node in enumerate(graph.nodes):
        nodes += _replaced(node, f"numlstm_{number}_") if node.domain == "numlstm" else [node]
    constants = {name: np.array(value, np.int64) for name, value in CONSTANTS.items()}
    return Graph(nodes, graph.inputs, graph.outputs, {**graph.constants, **constants}, graph.opset, graph.backend)


def _replaced(node: Node, prefix: str) -> list[Node]:
    """The nodes that compute what one of numlstm's own operators does."""
    builder = NodeBuilder(prefix)
    if node.op == "Compact":
        _compact(builder, *node.inputs, *node.outputs)
    else:
        zeros, reverse = (bool(node.attributes.get(name)) for name in ("zeros", "reverse"))
        _spread(builder, *node.inputs, *node.outputs, zeros=zeros, reverse=reverse and not zeros)
    return builder.nodes


def _compact(builder: NodeBuilder, x: str, mask: str, y: str, lengths: str) -> None:
    """Steps that count come first. TopK sorts by keys: high ones for steps that count, each group in its order."""
    counts = builder.add("Cast", mask, to=NUMBERS["int64"])
    steps = builder.add("Gather", builder.add("Shape", mask), ONE, axis=0)
    order = builder.add("Range", ZERO, steps, ONE)
    keys = builder.add("Sub", builder.add("Mul", counts, steps), order)
    index = f"{y}_index"
    builder.add("TopK", keys, builder.add("Unsqueeze", steps, AXES[0]), outputs=(f"{y}_keys", index), axis=1)
    length = builder.add("ReduceSum", counts, AXES[1], keepdims=1)
    _pick(builder, x, index, builder.add("Less", order, length), y)
    builder.add("Cast", builder.add("Squeeze", length, AXES[1]), out=lengths, to=NUMBERS["int32"])


def _spread(builder: NodeBuilder, y: str, mask: str, out: str, *, zeros: bool, reverse: bool) -> None:
    """Each step gets the output of a step that counts: its own, the last before it, or with `reverse` the next."""
    counts = builder.add("Cast", mask, to=NUMBERS["int64"])
    before = builder.add("CumSum", counts, ONE, exclusive=int(reverse))
    last = builder.add("Sub", builder.add("ReduceSum", counts, AXES[1], keepdims=1), ONE)
    index = before if reverse else builder.add("Sub", before, ONE)
    if zeros:
        kept = mask
    elif reverse:
        kept = builder.add("LessOrEqual", index, last)
    else:
        kept = builder.add("GreaterOrEqual", index, ZERO)
    within = builder.add("Max", builder.add("Min", index, last), ZERO)
    _pick(builder, y, within, kept, out)


def _pick(builder: NodeBuilder, x: str, index: str, kept: str, out: str) -> None:
    """The steps of x (N, T, F) at an index (N, T), and zeros where `kept` is false."""
    wide = builder.add("Expand", builder.add("Unsqueeze", index, AXES[2]), builder.add("Shape", x))
    picked = builder.add("GatherElements", x, wide, axis=1)
    zero = builder.add("CastLike", ZERO, x)
    builder.add("Where", builder.add("Unsqueeze", kept, AXES[2]), picked, zero, out=out)
