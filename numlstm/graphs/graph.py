"""Models of several parts as graphs: the operators are ONNX's, wherever the model came from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..backends.contract import BackendUnavailableError, UnsupportedError
from ..backends.dispatch import check_name
from ..concurrency import cached_property
from ..layers.layer import Layer
from ..savable import VERSION, Savable, version
from .operators import DOMAINS, ELEMENTS, FIRST, LAST, MANY, Operator, TooLarge, find, largest_room, room
from .operators.recurrent import Made

GROWTH = 64  # times as many elements as go in, a result may have in any case
LIVE = 32  # bytes that all results at a time may have, for each element that one may have
FOLDED = 1 << 24  # bytes that are computed once for all, beside those for constants of any size
AXES = 32  # of an array
NOTHING = nullcontext()
LISTED = 20  # names in a message
LONGEST = 1000  # characters of a message: it can quote what is in a graph
TEXT = np.dtype(object)
FAILURES = (ArithmeticError, LookupError, MemoryError, TypeError, ValueError)  # of an operator, with what it is given


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    op : str
        The operator's name in ONNX; or in `domain` "numlstm", of one of ours.
    inputs, outputs : tuple of str
        Names of values; "" for one that is left out.
    attributes : mapping of str to value
        ints, floats, texts, arrays (a tensor), and tuples of ints, floats or texts. What is left out is at its default.
    name : str
        For messages; may be empty.
    domain : {"", "ai.onnx.ml", "numlstm"}
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""

    def __str__(self) -> str:
        """As messages name it."""
        return f"node {self.name or ', '.join(self.outputs)!r:.80} ({self.op:.80})"


@dataclass(frozen=True)
class Value:
    """What goes into a graph, or comes out.

    Attributes
    ----------
    name : str
    dtype : str
        NumPy's name; "str" for texts.
    shape : tuple of int, str or None; or None
        Lengths of the axes: known, named, or not known. None where even their number is not known.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None = None

    def check(self) -> None:
        """Refuse one that no array can be."""
        if type(self.name) is not str or type(self.dtype) is not str:
            raise TypeError(f"values must have texts as names and dtypes, got {self.name!r:.80}, {self.dtype!r:.80}")
        if self.dtype not in (*ELEMENTS, "str"):
            raise ValueError(f"{self.name!r:.80}: dtype must be one of {[*ELEMENTS, 'str']}, got {self.dtype!r:.80}")
        shape = () if self.shape is None else self.shape
        if other := [length for length in shape if type(length) not in (int, str, type(None))]:
            raise TypeError(f"{self.name!r:.80}: shape must hold integers, names and None, got {other[0]!r:.80}")
        if len(shape) > AXES or any(isinstance(length, int) and length < 0 for length in shape):
            raise ValueError(f"{self.name!r:.80}: shape must have at most {AXES} lengths, none negative")

    @cached_property
    def _expected(self) -> tuple[np.dtype, int | None, Callable[..., Any] | None, Any]:
        """The dtype, the number of axes if it is known, and what takes from a shape the lengths that are known."""
        dtype = np.dtype(object if self.dtype == "str" else self.dtype)
        if self.shape is None:
            return dtype, None, None, ()
        known = [k for k, size in enumerate(self.shape) if isinstance(size, int)]
        taker = itemgetter(*known) if known else None
        return dtype, len(self.shape), taker, taker(self.shape) if taker else ()

    def read(self, given: Any) -> np.ndarray:
        """What a user gives for it, as an array."""
        array = given if type(given) is np.ndarray else self._array(given)
        dtype, axes, known, lengths = self._expected
        if array.dtype is not dtype or dtype is TEXT:
            array = self._converted(array)
        if axes is not None and (array.ndim != axes or (known and known(array.shape) != lengths)):
            shown = ", ".join("?" if length is None else str(length) for length in self.shape or ())
            raise ValueError(f"input {self.name!r} must have shape ({shown}), got {array.shape}")
        return array

    def _array(self, given: Any) -> np.ndarray:
        """What NumPy makes an array of."""
        try:
            return np.asarray(given)
        except (TypeError, ValueError) as error:
            raise TypeError(f"input {self.name!r} must be an array, got {type(given).__name__}: {error}") from error

    def _converted(self, array: np.ndarray) -> np.ndarray:
        """The array, if it is of the right dtype by another name, or holds texts of any kind."""
        if self.dtype != "str":
            if array.dtype == self.dtype:
                return array
            if not np.can_cast(array.dtype, self.dtype, "same_kind") or array.dtype.kind == "b":
                raise TypeError(f"input {self.name!r} must be an array of {self.dtype}, got {array.dtype}")
            with np.errstate(over="ignore"):
                cast = array.astype(self.dtype)
            if cast.dtype.kind in "iu" and (cast != array).any():
                raise ValueError(f"input {self.name!r} must hold numbers of {self.dtype}, got {array.max()}")
            return cast
        if array.dtype.kind not in "OUT":
            raise TypeError(f"input {self.name!r} must be an array of texts, got {array.dtype}")
        array = array.astype(object)
        if other := [value for value in array.flat if not isinstance(value, str)]:
            raise TypeError(f"input {self.name!r} must hold texts, got {type(other[0]).__name__}")
        return array


class Step(NamedTuple):
    """A node as it is run.

    Attributes
    ----------
    compute : callable
    sources, targets : tuple of int
        Where its inputs are among all values, and where its outputs go; 0 for what is left out.
    dead : tuple of int
        Values that nobody needs afterwards.
    node : Node
    """

    compute: Callable[..., Any]
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    dead: tuple[int, ...]
    node: Node


class Graph(Savable):
    """A model as a graph of ONNX's operators, that runs here.

    Recurrent nodes are layers of numlstm's, on any of its backends; the others are NumPy. A graph serves several
    threads at once.

    Parameters
    ----------
    nodes : iterable of Node
        In an order in which they can run.
    inputs, outputs : iterable of Value
        An input that is among the constants, too, need not be given: that is its default.
    constants : mapping of str to array
        Weights and the like, by name. They are not copied: leave them as they are.
    opset : int
        The version of ONNX's operators, 7 or later.
    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        Of the layers.

    Attributes
    ----------
    nodes, inputs, outputs, constants, opset, backend
        As given.
    layers : tuple of LSTM, GRU or RNN
        Those inside, in the order of their nodes. A node has two where its directions differ in more than weights.
    backwards : tuple of bool
        Of each of `layers`, whether it is given sequences from the last step to the first, as a node of one direction
        alone that is "reverse" is. (A layer of two directions turns one of them itself.)

    Raises
    ------
    ValueError
        If an operator or its attributes are not known in that version, names are missing or defined twice, weights of
        recurrent nodes do not fit or are no constants; the message names the node.
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
        self._slots: dict[str, int] = {"": 0}  # where each value is among all of a run
        self._start: list[np.ndarray | None] = [None]  # all values before a run: constants
        self._kept = {0}  # values that a caller must not get as they are: of inputs, of constants, or parts of others
        self._overridden: dict[str, Node] = {}  # inputs that became part of a layer
        self._steps: list[Step] = []
        self._warns = False  # whether NumPy may tell of overflows, which are nobody's concern here
        self._parts: list[Any] = []  # layers, and whether they go backwards
        self._define_inputs()
        self._made = Made(FOLDED + 4 * sum(array.nbytes for array in self.constants.values()), self.backend)
        for node in self.nodes:
            _check_node(node)
            try:
                self._add(node)
            except (UnsupportedError, *FAILURES) as error:
                raise ValueError(f"{node}: {str(error)[:LONGEST]}") from error
        self.layers: tuple[Layer, ...] = tuple(part.layer for part in self._parts)
        self.backwards: tuple[bool, ...] = tuple(part.backwards for part in self._parts)
        del self._made  # arrays are told apart by their places in memory, which hold for the graph's making
        self._plan = self._planned(self._places([value.name for value in self.outputs]))

    def __reduce__(self) -> Any:
        parts = self.nodes, self.inputs, self.outputs, dict(self.constants), self.opset, self.backend
        return Graph, parts, {VERSION: version()}

    def __repr__(self) -> str:
        names = [", ".join(value.name for value in values) for values in (self.inputs, self.outputs)]
        return f"<Graph of {len(self.nodes)} nodes: {names[0]} -> {names[1]}>"

    # Building ---------------------------------------------------------------------------------------------

    def _define(self, name: str, array: np.ndarray | None, what: str) -> int:
        """A place for a value."""
        if not isinstance(name, str) or not name:
            raise ValueError(f"{what} must have a name")
        if name in self._slots:
            raise ValueError(f"{what} {name!r:.80} is defined twice")
        slot = self._slots[name] = len(self._start)
        self._start.append(array)
        return slot

    def _define_inputs(self) -> None:
        """Places for inputs and constants."""
        for value in (*self.inputs, *self.outputs):
            if not isinstance(value, Value):
                raise TypeError(f"inputs and outputs must be of type Value, got {type(value).__name__}")
            value.check()
        for value in self.inputs:
            default = self.constants.get(value.name)
            self._kept.add(self._define(value.name, default, "input"))
            if default is not None:
                _check_default(value, default)
        names = {value.name for value in self.inputs}
        for name, array in self.constants.items():
            if name not in names:
                self._kept.add(self._define(name, array, "constant"))
        self._wanted = [(value.name, self._slots[value.name], value) for value in self.inputs]
        self._open = {self._slots[name] for name in names}  # what is not known before a run

    def _add(self, node: Node) -> None:
        """Check a node, and make a step of it, or its results if they are known."""
        if node.domain not in DOMAINS:
            raise ValueError(f"domain must be one of {[*DOMAINS]}, got {node.domain!r:.80}")
        operator = find(node.op, node.domain, self.opset)
        _check_number(len(node.inputs), operator.inputs, "inputs")
        _check_number(len(node.outputs), operator.outputs, "outputs")
        for name in node.inputs:
            if name not in self._slots:
                raise ValueError(f"its input {name!r:.80} is not defined, or only after it")
        needed = len(node.inputs) if operator.inputs[1] == MANY else operator.inputs[0]
        if not all(node.inputs[:needed]):
            raise ValueError(f"its first {needed} inputs must not be left out")
        attributes = operator.read(node.attributes, self.opset)
        sources = tuple(self._slots[name] for name in node.inputs)
        compute = self._prepared(node, operator, attributes, sources)
        targets = tuple(self._define(name, None, "its output") if name else 0 for name in node.outputs)
        step = Step(compute, sources, targets, (), node)
        if operator.shares:
            self._kept.update(targets)
        if not operator.prepares and self._open.isdisjoint(sources) and self._fold(step):
            return
        self._steps.append(step)
        self._warns = self._warns or not operator.prepares
        self._open.update(targets)
        self._open.discard(0)

    def _prepared(
        self, node: Node, operator: Operator, attributes: dict[str, Any], sources: tuple[int, ...]
    ) -> Callable[..., Any]:
        """The function of arrays alone."""
        if not operator.prepares:
            counted = {"outputs": len(node.outputs)} if operator.counts else {}
            return partial(operator.compute, **attributes, **counted) if attributes or counted else operator.compute
        known = [... if slot in self._open and self._start[slot] is None else self._start[slot] for slot in sources]
        wanted = tuple(map(bool, node.outputs))
        compute, parts, used = operator.compute(attributes, known, wanted, self._made)
        self._parts.extend(parts)
        self._overridden |= {node.inputs[k]: node for k in used if sources[k] in self._open}
        return compute

    def _fold(self, step: Step) -> bool:
        """Whether a step could be run once for all, as all that it needs is known."""
        try:
            with room(self._made.left // 8), np.errstate(all="ignore"):
                results = _run(step, self._start)
            self._made.take(sum(result.nbytes for result in results))
        except TooLarge:
            return False
        for slot, result in zip(step.targets, results, strict=True):
            if slot:
                self._start[slot] = _constant(result, "")
                self._kept.add(slot)
        return True

    # Running ----------------------------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> list[np.ndarray]:
        """Outputs for inputs.

        Parameters
        ----------
        inputs : mapping of str to array
            One for each of `inputs`, of its number of axes; those that have a default may be left out. Numbers become
            its dtype as layers do it: any real ones become floats, and integers others that can hold them.
        outputs : sequence of str or None, default None
            Names of values, any of those in the graph; None for its `outputs`. Nodes that they do not need are not run.

        Returns
        -------
        list of array
            In the order of `outputs`. Texts are in arrays of objects.

        Raises
        ------
        ValueError
            If an input is missing, unknown, or of a wrong shape; or a node cannot compute what it is to, or would need
            too much memory for it. The message names the input or the node.
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
        fetched, steps = self._plan if outputs is None else self._planned(self._places(outputs))
        values = self._start.copy()
        most, enough = largest_room(), GROWTH * self._read(inputs, values)
        with np.errstate(all="ignore") if self._warns else NOTHING, room(enough) if enough > most else NOTHING:
            _run_all(steps, values, max(most, enough))
        made: list[np.ndarray] = []
        for k, slot in enumerate(fetched):
            value: Any = values[slot]
            alone = slot not in self._kept and value.flags.writeable and slot not in fetched[:k]
            made.append(value if alone else value.copy())
        return made

    def _read(self, inputs: Mapping[str, Any], values: list[np.ndarray | None]) -> int:
        """Put inputs to their places; the number of their elements."""
        if not isinstance(inputs, Mapping):
            raise TypeError(f"inputs must be a mapping of names to arrays, got {type(inputs).__name__}")
        size = found = 0
        for name, slot, value in self._wanted:
            if name in inputs:
                values[slot] = array = value.read(inputs[name])
                size += array.size
                found += 1
            elif values[slot] is None:
                raise ValueError(f"inputs must have {name!r}, which is missing; got {[*inputs]}")
        if found < len(inputs) or self._overridden:
            self._check_names(inputs)
        return size

    def _check_names(self, inputs: Collection[str]) -> None:
        """Refuse inputs that there are not, and weights."""
        known = [name for name, _, _ in self._wanted]
        for name in inputs:
            if name not in known:
                raise ValueError(f"inputs must be among {known}, got {name!r}")
            if name in self._overridden:
                raise ValueError(f"input {name!r} cannot be given: {self._overridden[name]} has it as weights")

    def _places(self, names: Sequence[str]) -> list[int]:
        """Where values are that have names."""
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise TypeError(f"outputs must be a list of names, got {type(names).__name__}")
        names = [*names]
        for name in names:
            if not name or name not in self._slots:
                known = _listed(self._slots)
                raise ValueError(f"outputs must be names of values in the graph, got {name!r:.80}; these are {known}")
        return [self._slots[name] for name in names]

    def _planned(self, fetched: list[int]) -> tuple[list[int], list[Step]]:
        """Places of outputs, and the steps that they need."""
        needed, steps = {*fetched}, []
        keep = {*fetched, *(slot for _, slot, _ in self._wanted)}
        keep.update(slot for slot, value in enumerate(self._start) if value is not None)
        for step in reversed(self._steps):
            if needed.isdisjoint(step.targets):
                continue
            last = {*step.sources, *step.targets} - keep - {0}  # nobody later reads them
            keep |= last
            steps.append(step._replace(dead=tuple(sorted(last))))
            needed.update(step.sources)
        return fetched, steps[::-1]


def _listed(names: Collection[str]) -> str:
    """Names for a message: the first of them."""
    named = [name for name in names if name]
    more = f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
    return f"{named[:LISTED]}{more}"


def _check_opset(opset: Any) -> int:
    if not isinstance(opset, int) or isinstance(opset, bool):
        raise TypeError(f"opset must be an integer, got {type(opset).__name__}")
    if not FIRST <= opset <= LAST:
        raise ValueError(f"opset must be in {FIRST}..{LAST}, got {opset}")
    return opset


def _check_default(value: Value, default: np.ndarray) -> None:
    """Refuse what could not be given for an input."""
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
    """A constant that nobody changes by mistake."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"constant {name!r:.80} must be an array, got {type(array).__name__}")
    if array.dtype.name not in (*ELEMENTS, "object"):
        raise ValueError(f"constant {name!r:.80} must be of one of {[*ELEMENTS, 'str']}, got {array.dtype}")
    if array.dtype == TEXT and (other := [value for value in array.flat if not isinstance(value, str)]):
        raise TypeError(f"constant {name!r:.80} must hold numbers or texts, got {type(other[0]).__name__}")
    view = array.astype(array.dtype.newbyteorder("="), copy=False).view()
    view.flags.writeable = False
    return view


def _run(step: Step, values: list[np.ndarray | None]) -> list[np.ndarray]:
    """Results of a step; those left out are there, too."""
    result = step.compute(*[values[slot] for slot in step.sources])
    several = result if type(result) is tuple else (result,)
    return [each if type(each) is np.ndarray else np.asarray(each) for each in several]


def _run_all(steps: list[Step], values: list[np.ndarray | None], most: int) -> None:
    """Run steps, whose results go among the values."""
    node, live = None, 0
    try:
        for step in steps:
            node = step.node
            results = step.compute(*[values[slot] for slot in step.sources])
            for slot, result in zip(step.targets, results if type(results) is tuple else (results,), strict=False):
                if slot:
                    values[slot] = result = result if type(result) is np.ndarray else np.asarray(result)
                    live += result.nbytes
            if live > LIVE * most:
                raise TooLarge(f"results in memory would have {live} bytes, and must have at most {LIVE * most}")
            for slot in step.dead:
                live -= values[slot].nbytes  # type: ignore[union-attr]
                values[slot] = None
    except (BackendUnavailableError, UnsupportedError):
        raise
    except FAILURES as error:
        raise ValueError(f"{node}: {str(error)[:LONGEST]}") from error
