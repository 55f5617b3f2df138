"""Numlstm's own operators in ONNX's: how masks as Keras has them go to other runtimes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...graphs.graph import Graph, Node
from ...graphs.operators.shapes import NUMBERS

OLDEST = 15  # version of ONNX's operators that has all that is used
ZERO, ONE, *AXES = (f"numlstm_{name}" for name in ("zero", "one", "axis_0", "axis_1", "axis_2"))
CONSTANTS = {ZERO: 0, ONE: 1} | {name: [axis] for axis, name in enumerate(AXES)}


def without_own(graph: Graph) -> Graph:
    """The same graph with operators of ONNX's alone.

    Raises
    ------
    ValueError
        If the version of its operators is too old to say it.
    """
    own = [node for node in graph.nodes if node.domain == "numlstm"]
    if not own:
        return graph
    if graph.opset < OLDEST:
        raise ValueError(f"{own[0]}: to write it in ONNX's operators takes opset {OLDEST} or later, got {graph.opset}")
    nodes: list[Node] = []
    for number, node in enumerate(graph.nodes):
        nodes += [node] if node.domain != "numlstm" else _Part(f"numlstm_{number}").instead_of(node)
    constants = {name: np.array(value, np.int64) for name, value in CONSTANTS.items()}
    return Graph(nodes, graph.inputs, graph.outputs, {**graph.constants, **constants}, graph.opset, graph.backend)


class _Part:
    """Nodes in the place of one; `prefix` is what their names begin with."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._nodes: list[Node] = []

    def instead_of(self, node: Node) -> list[Node]:
        """What computes the same."""
        given = node.attributes
        if node.op == "Compact":
            self._compact(*node.inputs, *node.outputs)
        else:
            self._spread(*node.inputs, *node.outputs, zeros=bool(given.get("zeros")), turned=bool(given.get("reverse")))
        return self._nodes

    def _add(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """A new node; its output, or the last of two."""
        name = out or f"{self._prefix}_{len(self._nodes)}"
        outputs = (f"{name}_values", name) if op == "TopK" else (name,)
        self._nodes.append(Node(op, inputs, outputs, attributes, f"{self._prefix}_{op}_{len(self._nodes)}"))
        return name

    def _compact(self, x: str, mask: str, y: str, lengths: str) -> None:
        """The largest of keys that are in the order of the steps, but for those that count, which come first."""
        counts = self._add("Cast", mask, to=NUMBERS["int64"])
        shape = self._add("Shape", mask)
        steps = self._add("Gather", shape, ONE, axis=0)
        order = self._add("Range", ZERO, steps, ONE)
        keys = self._add("Sub", self._add("Mul", counts, steps), order)
        index = self._add("TopK", keys, self._add("Unsqueeze", steps, AXES[0]), axis=1)
        length = self._add("ReduceSum", counts, AXES[1], keepdims=1)
        self._pick(x, index, self._add("Less", order, length), y)
        self._add("Cast", self._add("Squeeze", length, AXES[1]), out=lengths, to=NUMBERS["int32"])

    def _spread(self, y: str, mask: str, out: str, *, zeros: bool, turned: bool) -> None:
        """For each step the number, among those that count, of the one whose output it has."""
        turned = turned and not zeros
        counts = self._add("Cast", mask, to=NUMBERS["int64"])
        before = self._add("CumSum", counts, ONE, exclusive=int(turned))
        last = self._add("Sub", self._add("ReduceSum", counts, AXES[1], keepdims=1), ONE)
        index = before if turned else self._add("Sub", before, ONE)
        if zeros:
            there = mask
        elif turned:
            there = self._add("LessOrEqual", index, last)
        else:
            there = self._add("GreaterOrEqual", index, ZERO)
        within = self._add("Max", self._add("Min", index, last), ZERO)
        self._pick(y, within, there, out)

    def _pick(self, x: str, index: str, kept: str, out: str) -> None:
        """Steps (N, T, F) of x at an index (N, T) where they are to be kept, else zeros."""
        wide = self._add("Expand", self._add("Unsqueeze", index, AXES[2]), self._add("Shape", x))
        picked = self._add("GatherElements", x, wide, axis=1)
        zero = self._add("CastLike", ZERO, x)
        self._add("Where", self._add("Unsqueeze", kept, AXES[2]), picked, zero, out=out)
