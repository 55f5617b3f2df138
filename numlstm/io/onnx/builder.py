"""A list of nodes and constants that grows: what is written to ONNX is built with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graphs.graph import Node


class NodeBuilder:
    """Nodes and constants of a graph that is being built.

    Parameters
    ----------
    prefix : str, default ""
        What the names of nodes, and of outputs without a name of their own, begin with.

    Attributes
    ----------
    nodes : list of Node
    constants : dict of str to array
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, name: str, array: Any) -> str:
        """Add a constant; its name."""
        self.constants[name] = np.asarray(array)
        return name

    def integers(self, *values: int) -> str:
        """Add a vector of integers, once for all uses; its name."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def add(self, op: str, *inputs: str, out: str = "", outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node; the name of its output, or of the first of its outputs."""
        name = f"{self._prefix}{op}_{len(self.nodes)}"
        outputs = tuple(outputs) or (out or name,)
        self.nodes.append(Node(op, inputs, outputs, attributes, name))
        return outputs[0]
