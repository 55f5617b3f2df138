"""The former place of `numlstm.graphs.graph`, which older pickles and programs name."""

from ..graphs.graph import Graph, Node, Value

__all__ = ["Graph", "Node", "Value"]
