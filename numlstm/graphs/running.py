"""Running a graph: its nodes as functions of numbered values, one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backends.contract import BackendUnavailableError, UnsupportedError
from .nodes import Node
from .operators import TooLarge

LIVE = 32  # bytes that all results at a time may have, for each element that one may have
LONGEST = 1000  # characters of a message: it can quote what is in a graph
FAILURES = (ArithmeticError, LookupError, MemoryError, TypeError, ValueError)  # of an operator, with what it is given


class Operation(NamedTuple):
    """A node as a function of numbered values.

    Attributes
    ----------
    compute : callable
    sources, targets : tuple of int
        The numbers of its inputs and outputs; 0 for one that is left out.
    dead : tuple of int
        Values that no later operation needs.
    node : Node
    """

    compute: Callable[..., Any]
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    dead: tuple[int, ...]
    node: Node


def run_one(operation: Operation, values: list[np.ndarray | None]) -> list[np.ndarray]:
    """All results of an operation, also those that the node leaves out."""
    result = operation.compute(*[values[slot] for slot in operation.sources])
    results = result if type(result) is tuple else (result,)
    return [array if type(array) is np.ndarray else np.asarray(array) for array in results]


def run_all(operations: list[Operation], values: list[np.ndarray | None], most: int) -> None:
    """Run operations and put their results among the values; a result may have `most` elements.

    Raises
    ------
    ValueError
        If one fails, or results need too much memory; the message names the node.
    """
    node, live = None, 0
    try:
        for operation in operations:
            node = operation.node
            results = operation.compute(*[values[slot] for slot in operation.sources])
            for slot, result in zip(operation.targets, results if type(results) is tuple else (results,), strict=False):
                if slot:
                    values[slot] = result = result if type(result) is np.ndarray else np.asarray(result)
                    live += result.nbytes
            if live > LIVE * most:
                raise TooLarge(f"results in memory would have {live} bytes, and must have at most {LIVE * most}")
            for slot in operation.dead:
                live -= values[slot].nbytes  # type: ignore[union-attr]
                values[slot] = None
    except (BackendUnavailableError, UnsupportedError):
        raise
    except FAILURES as error:
        raise ValueError(f"{node}: {str(error)[:LONGEST]}") from error
