"""Where `numlstm.graphs.graph` was: pickles and programs of that time name it."""

from ..graphs.graph import Graph, Node, Value

__all__ = ["Graph", "Node", "Value"]
