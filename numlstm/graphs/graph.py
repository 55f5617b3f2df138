"""Models of several parts as graphs: the operators are ONNX's, whatever library a model comes from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from ..backends.contract import UnsupportedError
from ..backends.dispatch import check_name
from ..layers.layer import Layer
from ..savable import VERSION, Savable, version
from .nodes import TEXT, Node, Value
from .operators import DOMAINS, ELEMENTS, FIRST, LAST, MANY, Operator, TooLarge, find, largest_room, room
from .operators.layers import DirectedLayer, LayerCache
from .running import FAILURES, LONGEST, Operation, run_all, run_one

__all__ = ["Graph", "Node", "Value"]

GROWTH = 64  # times as many elements as the inputs have, a result may have in any case
FOLDED = 1 << 24  # bytes of results that are computed once for all, beside those for constants of any size
NOTHING = nullcontext()
LISTED = 20  # names in a message


class Graph(Savable):
    """A model as a graph of ONNX's operators, which numlstm runs.

    Recurrent nodes are layers of numlstm's, on any of its backends; NumPy computes the others. Several threads can use
    one graph at once.

    Parameters
    ----------
    nodes : iterable of Node
        In an order in which they can run.
    inputs, outputs : iterable of Value
        A constant of the name of an input is its default.
    constants : mapping of str to array
        Weights and the like, by name. They are not copied: do not change them later.
    opset : int
        The version of ONNX's operators, 7 or later.
    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        Of the layers.

    Attributes
    ----------
    nodes, inputs, outputs, constants, opset, backend
        The parameters.
    layers : tuple of LSTM, GRU or RNN
        The layers inside, in the order of their nodes. A node has two if its directions differ in more than weights.
    backwards : tuple of bool
        For each of `layers`, whether it reads sequences from the last step to the first, as a node with the direction
        "reverse" does. (A bidirectional layer reverses one of its directions itself.)

    Raises
    ------
    ValueError
        If an operator or its attributes are unknown in that version, if names are missing or defined twice, or if the
        weights of a recurrent node do not fit or are no constants; the message names the node.
    TypeError
        If a parameter is of the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm.graphs.graph import Graph, Node, Value
    >>> graph = Graph(
    ...     [Node("MatMul", ("x", "W"), ("z",)), Node("Softmax", ("z",), ("p",), {"axis": -1})],
    ...     [Value("x", "float32", ("N", 3))],
    ...     [Value("p", "float32", ("N", 2))],
    ...     {"W": np.zeros((3, 2), "float32")},
    ...     opset=22,
    ... )
    >>> graph.run({"x": np.ones((1, 3), "float32")})
    [array([[0.5, 0.5]], dtype=float32)]
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        inputs: Iterable[Value],
        outputs: Iterable[Value],
        constants: Mapping[str, np.ndarray],
        opset: int,
        backend: str | None = None,
    ) -> None:
        self.nodes, self.inputs, self.outputs = tuple(nodes), tuple(inputs), tuple(outputs)
        self.opset, self.backend = _check_opset(opset), None if backend is None else check_name(backend)
        self.constants = MappingProxyType({name: _constant(array, name) for name, array in constants.items()})
        self._slots: dict[str, int] = {"": 0}  # the number of each value
        self._known: list[np.ndarray | None] = [None]  # the values before a run, by number: constants
        self._copied = {0}  # values that a caller gets as copies: inputs, constants, and parts of others
        self._unknown: set[int] = set()  # values that depend on inputs
        self._overridden: dict[str, Node] = {}  # inputs that became part of a layer
        self._operations: list[Operation] = []
        self._warns = False  # whether NumPy may warn of overflows, which are no concern here
        self._layers: list[DirectedLayer] = []
        self._define_inputs()
        # The cache tells arrays apart by their addresses, which hold only while the graph is built.
        cache = LayerCache(FOLDED + 4 * sum(array.nbytes for array in self.constants.values()), self.backend)
        for node in self.nodes:
            _check_node(node)
            try:
                self._add(node, cache)
            except (UnsupportedError, *FAILURES) as error:
                raise ValueError(f"{node}: {str(error)[:LONGEST]}") from error
        self.layers: tuple[Layer, ...] = tuple(directed.layer for directed in self._layers)
        self.backwards: tuple[bool, ...] = tuple(directed.backwards for directed in self._layers)
        self._plan = self._plan_for(self._slots_of([value.name for value in self.outputs]))

    def __reduce__(self) -> Any:
        arguments = self.nodes, self.inputs, self.outputs, dict(self.constants), self.opset, self.backend
        return Graph, arguments, {VERSION: version()}

    def __repr__(self) -> str:
        names = [", ".join(value.name for value in values) for values in (self.inputs, self.outputs)]
        return f"<Graph of {len(self.nodes)} nodes: {names[0]} -> {names[1]}>"

    # Building ---------------------------------------------------------------------------------------------

    def _define(self, name: str, array: np.ndarray | None, what: str) -> int:
        """Number a new value; `array` is the value if it is known."""
        if not isinstance(name, str) or not name:
            raise ValueError(f"{what} must have a name")
        if name in self._slots:
            raise ValueError(f"{what} {name!r:.80} is defined twice")
        slot = self._slots[name] = len(self._known)
        self._known.append(array)
        return slot

    def _define_inputs(self) -> None:
        """Number inputs and constants."""
        for value in (*self.inputs, *self.outputs):
            if not isinstance(value, Value):
                raise TypeError(f"inputs and outputs must be of type Value, got {type(value).__name__}")
            value.check()
        for value in self.inputs:
            default = self.constants.get(value.name)
            self._copied.add(self._define(value.name, default, "input"))
            if default is not None:
                _check_default(value, default)
        names = {value.name for value in self.inputs}
        for name, array in self.constants.items():
            if name not in names:
                self._copied.add(self._define(name, array, "constant"))
        self._input_slots = [(value.name, self._slots[value.name], value) for value in self.inputs]
        self._unknown.update(self._slots[name] for name in names)

    def _add(self, node: Node, cache: LayerCache) -> None:
        """Check a node, and add its operation; or its results, if they are known."""
        operator = self._operator_of(node)
        attributes = operator.read(node.attributes, self.opset)
        sources = tuple(self._slots[name] for name in node.inputs)
        compute = self._function(node, operator, attributes, sources, cache)
        targets = tuple(self._define(name, None, "its output") if name else 0 for name in node.outputs)
        operation = Operation(compute, sources, targets, (), node)
        if operator.shares:
            self._copied.update(targets)
        if not operator.prepares and self._unknown.isdisjoint(sources) and self._fold(operation, cache):
            return
        self._operations.append(operation)
        self._warns = self._warns or not operator.prepares
        self._unknown.update(targets)
        self._unknown.discard(0)

    def _operator_of(self, node: Node) -> Operator:
        """The operator of a node, if it takes as many inputs and outputs, and the inputs are defined."""
        if node.domain not in DOMAINS:
            raise ValueError(f"domain must be one of {[*DOMAINS]}, got {node.domain!r:.80}")
        operator = find(node.op, node.domain, self.opset)
        _check_number(len(node.inputs), operator.inputs, "inputs")
        _check_number(len(node.outputs), operator.outputs, "outputs")
        for name in node.inputs:
            if name not in self._slots:
                raise ValueError(f"its input {name!r:.80} must be defined before it")
        needed = len(node.inputs) if operator.inputs[1] == MANY else operator.inputs[0]
        if not all(node.inputs[:needed]):
            raise ValueError(f"its first {needed} inputs must not be left out")
        return operator

    def _function(
        self,
        node: Node,
        operator: Operator,
        attributes: dict[str, Any],
        sources: tuple[int, ...],
        cache: LayerCache,
    ) -> Callable[..., Any]:
        """The function that takes only a node's arrays."""
        if not operator.prepares:
            counted = {"outputs": len(node.outputs)} if operator.counts else {}
            return partial(operator.compute, **attributes, **counted) if attributes or counted else operator.compute
        known = [... if slot in self._unknown and self._known[slot] is None else self._known[slot] for slot in sources]
        wanted = tuple(map(bool, node.outputs))
        compute, layers, used = operator.compute(attributes, known, wanted, cache)
        self._layers.extend(layers)
        self._overridden |= {node.inputs[k]: node for k in used if sources[k] in self._unknown}
        return compute

    def _fold(self, operation: Operation, cache: LayerCache) -> bool:
        """Run an operation of known values once for all; whether there was memory for it."""
        try:
            with room(cache.left // 8), np.errstate(all="ignore"):
                results = run_one(operation, self._known)
            cache.reserve(sum(result.nbytes for result in results))
        except TooLarge:
            return False
        for slot, result in zip(operation.targets, results, strict=True):
            if slot:
                self._known[slot] = _constant(result, "")
                self._copied.add(slot)
        return True

    # Running ----------------------------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> list[np.ndarray]:
        """Compute outputs from inputs.

        Parameters
        ----------
        inputs : mapping of str to array
            An array for each of `inputs`, with its number of axes; an input with a default may be left out. Numbers
            are converted to its dtype, as layers do it: real numbers to floats, and integers to a type that holds them.
        outputs : sequence of str or None, default None
            Names of any values in the graph; None for its `outputs`. Nodes that they do not need are not run.

        Returns
        -------
        list of array
            In the order of `outputs`. Texts are in arrays of objects.

        Raises
        ------
        ValueError
            If an input is missing, unknown, or of a wrong shape; or if a node cannot compute its outputs, or would need
            too much memory. The message names the input or the node.
        TypeError
            If an input is of a wrong dtype.
        BackendUnavailableError, UnsupportedError
            If the backend of the layers is not available, or does not do what a layer asks for.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm.graphs.graph import Graph, Node, Value
        >>> nodes = [Node("Relu", ("x",), ("y",)), Node("Neg", ("y",), ("z",))]
        >>> graph = Graph(nodes, [Value("x", "float32", (2,))], [Value("z", "float32", (2,))], {}, 22)
        >>> graph.run({"x": np.array([1, -1], "float32")}, ["y"])
        [array([1., 0.], dtype=float32)]
        """
        fetched, operations = self._plan if outputs is None else self._plan_for(self._slots_of(outputs))
        values = self._known.copy()
        most, enough = largest_room(), GROWTH * self._read(inputs, values)
        with np.errstate(all="ignore") if self._warns else NOTHING, room(enough) if enough > most else NOTHING:
            run_all(operations, values, max(most, enough))
        results: list[np.ndarray] = []
        for k, slot in enumerate(fetched):
            value: Any = values[slot]
            alone = slot not in self._copied and value.flags.writeable and slot not in fetched[:k]
            results.append(value if alone else value.copy())
        return results

    def _read(self, inputs: Mapping[str, Any], values: list[np.ndarray | None]) -> int:
        """Put inputs among the values; the number of their elements."""
        if not isinstance(inputs, Mapping):
            raise TypeError(f"inputs must be a mapping of names to arrays, got {type(inputs).__name__}")
        size = number = 0
        for name, slot, value in self._input_slots:
            if name in inputs:
                values[slot] = array = value.read(inputs[name])
                size += array.size
                number += 1
            elif values[slot] is None:
                raise ValueError(f"inputs must have {name!r}, which is missing; got {[*inputs]}")
        if number < len(inputs) or self._overridden:
            self._check_names(inputs)
        return size

    def _check_names(self, inputs: Collection[str]) -> None:
        """Refuse unknown inputs, and weights of layers."""
        known = [name for name, _, _ in self._input_slots]
        for name in inputs:
            if name not in known:
                raise ValueError(f"inputs must be among {known}, got {name!r}")
            if name in self._overridden:
                raise ValueError(f"input {name!r} must be left out: {self._overridden[name]} has it as weights")

    def _slots_of(self, names: Sequence[str]) -> list[int]:
        """The numbers of values, by their names."""
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise TypeError(f"outputs must be a list of names, got {type(names).__name__}")
        names = [*names]
        for name in names:
            if not name or name not in self._slots:
                known = _listed(self._slots)
                raise ValueError(f"outputs must be names of values in the graph, {known}, got {name!r:.80}")
        return [self._slots[name] for name in names]

    def _plan_for(self, fetched: list[int]) -> tuple[list[int], list[Operation]]:
        """The numbers of outputs, and the operations that they need."""
        needed, operations = {*fetched}, []
        kept = {*fetched, *(slot for _, slot, _ in self._input_slots)}
        kept.update(slot for slot, value in enumerate(self._known) if value is not None)
        for operation in reversed(self._operations):
            if needed.isdisjoint(operation.targets):
                continue
            last = {*operation.sources, *operation.targets} - kept - {0}  # no later operation reads them
            kept |= last
            operations.append(operation._replace(dead=tuple(sorted(last))))
            needed.update(operation.sources)
        return fetched, operations[::-1]


def _listed(names: Collection[str]) -> str:
    """The first of some names, for a message."""
    named = [name for name in names if name]
    rest = f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
    return f"{named[:LISTED]}{rest}"


def _check_opset(opset: Any) -> int:
    if not isinstance(opset, int) or isinstance(opset, bool):
        raise TypeError(f"opset must be an integer, got {type(opset).__name__}")
    if not FIRST <= opset <= LAST:
        raise ValueError(f"opset must be in {FIRST}..{LAST}, got {opset}")
    return opset


def _check_default(value: Value, default: np.ndarray) -> None:
    """Refuse a default that the input would refuse."""
    try:
        if value.read(default).dtype != default.dtype:
            raise TypeError(f"input {value.name!r} must be an array of {value.dtype}, got {default.dtype}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"constant {value.name!r:.80} does not fit: {error}") from error


def _check_node(node: Any) -> None:
    if not isinstance(node, Node):
        raise TypeError(f"nodes must be of type Node, got {type(node).__name__}")
    if wrong := [
        text for text in (node.op, node.name, node.domain, *node.inputs, *node.outputs) if type(text) is not str
    ]:
        raise TypeError(f"nodes must have texts as names, got {wrong[0]!r:.80}")


def _check_number(number: int, bounds: tuple[int, int], what: str) -> None:
    least, most = bounds
    if not least <= number <= most:
        expected = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"it must have {expected} {what}, got {number}")


def _constant(array: Any, name: str) -> np.ndarray:
    """A read-only view of a constant."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"constant {name!r:.80} must be an array, got {type(array).__name__}")
    if array.dtype.name not in (*ELEMENTS, "object"):
        raise ValueError(f"constant {name!r:.80} must be of one of {[*ELEMENTS, 'str']}, got {array.dtype}")
    if array.dtype == TEXT and (other := [value for value in array.flat if not isinstance(value, str)]):
        raise TypeError(f"constant {name!r:.80} must hold numbers or texts, got {type(other[0]).__name__}")
    view = array.astype(array.dtype.newbyteorder("="), copy=False).view()
    view.flags.writeable = False
    return view
