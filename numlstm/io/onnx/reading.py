"""`from_onnx`: models in ONNX's format as graphs; the package onnx is needed only to decode them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ...graphs.graph import Graph, Node, Value
from ...graphs.operators import LAST
from ...graphs.operators.shapes import TYPES
from ..paths import check_file
from .tensors import External, array_of, text_of

OLDEST_FORMAT = 3  # first version of the format that is known
CONSTANT_INITIALIZERS = 4  # first version in which weights need not be inputs, too
ML_VERSIONS = range(1, 6)
LONGEST = 1000  # characters of a message: it can quote what a file says
MOST_NODES = 1 << 17  # after all functions are inlined
DEEPEST = 64  # nested functions
PROTOBUF_LIMIT = (1 << 31) - 1  # bytes of a message


def from_onnx(model: Any, *, backend: str | None = None) -> Graph:
    """Make the graph that computes what a model in ONNX's format does.

    LSTM, GRU and RNN nodes become layers of numlstm's, with all of ONNX's options; other operators run in NumPy.
    Neither ONNX Runtime nor the framework that wrote the model is needed.

    Parameters
    ----------
    model : str, path-like, bytes or onnx.ModelProto
        A file, or its content. If `model` is a path, weights can be in other files in the same folder, or below it.
    backend : {"auto", "cpu", "cuda", "cuda:N", "reference"}, optional
        The backend of the layers.

    Returns
    -------
    Graph
        Its `run` takes a mapping of inputs and gives a list of outputs. `layers` has the recurrent layers.

    Raises
    ------
    ValueError
        If it is no model, damaged, of an unknown version, or has an operator, a type or an option that numlstm does not
        have. The message names the node.
    OSError
        If a file cannot be read.
    TypeError
        If `model` is of another type.
    ImportError
        If the package onnx is not installed.

    Notes
    -----
    Versions 7 to 28 of ONNX's operators are known. A file may come from anywhere: only known operators run, nothing is
    written, no file outside its folder is read, and no result takes more memory than its inputs, or a fixed limit,
    justify.

    Loops, conditions and sequences are refused, and so are complex numbers, bfloat16 and smaller types. Recurrent nodes
    with half-precision weights are computed in single precision. The weights of recurrent nodes must be constants, or
    follow from constants. Dropout and batch normalisation do what they do in inference.

    What ONNX Runtime's `quantize_dynamic` writes for LSTMs, dense layers and tables of vectors is known. If the backend
    has products in int8 when the graph is made, the layer of a quantised LSTM has ``compute_dtype="int8"`` and stays on
    that backend; else it computes in float32. Its weights are the same as in ONNX Runtime, to the last bit where they
    are int8; but numlstm quantises the vectors of each sequence and step by themselves, and ONNX Runtime all at once.

    Activations of recurrent nodes are ONNX's; their names may be in any case. A missing parameter of an activation is
    the default of ONNX's operator of that name; "Affine" and "ScaledTanh", which are no operators, must have both
    parameters. A sequence of length 0 gives zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import TensorProto, helper, numpy_helper
    >>> from numlstm.io import from_onnx
    >>> rng = np.random.default_rng(0)
    >>> weights = {"W": rng.normal(size=(1, 20, 3)), "R": rng.normal(size=(1, 20, 5))}
    >>> model = helper.make_model(
    ...     helper.make_graph(
    ...         [helper.make_node("LSTM", ["x", "W", "R"], ["", "h"], hidden_size=5)],
    ...         "model",
    ...         [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "N", 3])],
    ...         [helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, "N", 5])],
    ...         [numpy_helper.from_array(array.astype("float32"), name) for name, array in weights.items()],
    ...     ),
    ...     opset_imports=[helper.make_opsetid("", 22)],
    ... )
    >>> graph = from_onnx(model)
    >>> graph.layers
    (LSTM(3, 5, bias=False),)
    >>> (h,) = graph.run({"x": np.ones((7, 2, 3), "float32")})
    >>> h.shape
    (1, 2, 5)
    """
    try:
        onnx: Any = import_module("onnx")
    except ImportError as error:
        raise ImportError('from_onnx needs the package onnx: pip install "numlstm[onnx]"') from error
    if isinstance(model, str | os.PathLike):
        path = Path(os.fsdecode(os.fspath(model)))
        check_file(path)
        data = path.read_bytes()
        try:
            return _graph(onnx, _parsed(onnx, data), External(path.parent), backend)
        except ValueError as error:
            raise ValueError(f"{path}: {str(error)[:LONGEST]}") from error
    if isinstance(model, bytes | bytearray | memoryview):
        model = _parsed(onnx, bytes(model))
    elif not isinstance(model, onnx.ModelProto):
        raise TypeError(f"model must be a path, bytes or an onnx.ModelProto, got {type(model).__name__}")
    return _graph(onnx, model, External(None), backend)


def _parsed(onnx: Any, data: bytes) -> Any:
    """A model from its encoding."""
    from google.protobuf.message import DecodeError

    if len(data) > PROTOBUF_LIMIT:
        raise ValueError(f"it must have at most {PROTOBUF_LIMIT} bytes, got {len(data)}")
    try:
        return onnx.ModelProto.FromString(data)
    except (DecodeError, RuntimeError) as error:
        raise ValueError(f"it is no model in ONNX's format, or damaged: {error}") from None


# Models -------------------------------------------------------------------------------------------------------


def _graph(onnx: Any, model: Any, external: External, backend: str | None) -> Graph:
    """The graph of a model."""
    opset = _check_versions(onnx, model)
    if model.functions:
        model = _inlined(model)
    return _Reader(onnx, model, external).graph(opset, backend)


def _check_versions(onnx: Any, model: Any) -> int:
    """The version of ONNX's operators; refuses unknown versions."""
    if not OLDEST_FORMAT <= model.ir_version <= onnx.IR_VERSION:
        expected = f"ir_version must be in {OLDEST_FORMAT}..{onnx.IR_VERSION}"
        raise ValueError(f"{expected}, got {model.ir_version}: it is no model in ONNX's format, or of another version")
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = _domain(entry.domain)
        if versions.setdefault(domain, entry.version) != entry.version:
            raise ValueError(f"operators of domain {domain!r:.80} must be of one version, got two")
    if "" not in versions and not all(_domain(node.domain) for node in model.graph.node):
        raise ValueError("it must have the version of ONNX's operators (opset_import), which is missing")
    if versions.get("ai.onnx.ml", ML_VERSIONS[0]) not in ML_VERSIONS:
        known = f"{ML_VERSIONS[0]}..{ML_VERSIONS[-1]}"
        raise ValueError(f"version of the domain ai.onnx.ml must be in {known}, got {versions['ai.onnx.ml']}")
    return versions.get("", LAST)  # without nodes of ONNX's domain any version will do


def _domain(name: Any) -> str:
    """A domain; "ai.onnx" is another name of ""."""
    return "" if name == "ai.onnx" else text_of(name)


def _inlined(model: Any) -> Any:
    """The model with the nodes of its functions in place of their calls."""
    functions = {(_domain(function.domain), function.name, function.overload): function for function in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}

    def size(nodes: Any, depth: int) -> int:
        """The number of nodes after inlining."""
        if depth > DEEPEST:
            raise ValueError(f"its functions must not call themselves, and be nested at most {DEEPEST} deep")
        total = 0
        for node in nodes:
            key = _domain(node.domain), node.op_type, node.overload
            if key in functions and key not in sizes:
                sizes[key] = size(functions[key].node, depth + 1)
            total += 1 + sizes.get(key, 0)
        return total

    if (number := size(model.graph.node, 0)) > MOST_NODES:
        raise ValueError(f"it must have at most {MOST_NODES} nodes after its functions are inlined, got {number}")
    if any(attribute.HasField("g") or attribute.graphs for node in _all_nodes(model) for attribute in node.attribute):
        raise ValueError("it must have no graphs inside nodes, as loops and conditions have")
    try:
        return import_module("onnx.inliner").inline_local_functions(model)
    except Exception as error:  # of many kinds, from its C++ code
        raise ValueError(f"its functions cannot be inlined: {error}") from error


def _all_nodes(model: Any) -> Iterator[Any]:
    """Nodes of the graph and of functions."""
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


class _Reader:
    """Makes a graph from a model.

    Parameters
    ----------
    onnx : module
    model : onnx.ModelProto
    external : External
        The other files that hold weights.
    """

    def __init__(self, onnx: Any, model: Any, external: External) -> None:
        self._onnx, self._model, self._external = onnx, model, external

    def graph(self, opset: int, backend: str | None) -> Graph:
        """The graph."""
        proto = self._model.graph
        if proto.sparse_initializer:
            raise ValueError("it must have no sparse weights (sparse_initializer)")
        constants: dict[str, np.ndarray] = {}
        for tensor in proto.initializer:
            if (name := text_of(tensor.name)) in constants:
                raise ValueError(f"constant {name!r:.80} is defined twice")
            constants[name] = array_of(tensor, self._external)
        inputs = [_value(value, "input") for value in proto.input]
        if self._model.ir_version < CONSTANT_INITIALIZERS:
            inputs = [value for value in inputs if value.name not in constants]
        outputs = [_value(value, "output") for value in proto.output]
        return Graph(map(self._node, proto.node), inputs, outputs, constants, opset, backend)

    def _node(self, proto: Any) -> Node:
        """A node, with its attributes."""
        attributes: dict[str, Any] = {}
        inputs, outputs = (tuple(map(text_of, names)) for names in (proto.input, proto.output))
        name, domain = text_of(proto.name), _domain(proto.domain)
        node = Node(text_of(proto.op_type), inputs, outputs, attributes, name, domain)
        for attribute in proto.attribute:
            key = text_of(attribute.name)
            try:
                if key in attributes:
                    raise ValueError("it is there twice")
                attributes[key] = self._attribute(attribute)
            except ValueError as error:
                raise ValueError(f"{node}: attribute {key!r:.80}: {error}") from error
        return node

    def _attribute(self, attribute: Any) -> Any:
        """The value of an attribute."""
        kinds = self._onnx.AttributeProto
        if attribute.ref_attr_name:
            raise ValueError("it must be a value, got a reference outside a function")
        if attribute.type == kinds.INT:
            return attribute.i
        if attribute.type == kinds.FLOAT:
            return attribute.f
        if attribute.type == kinds.STRING:
            return attribute.s.decode()
        if attribute.type == kinds.TENSOR:
            return array_of(attribute.t, self._external)
        if attribute.type == kinds.INTS:
            return (*attribute.ints,)
        if attribute.type == kinds.FLOATS:
            return (*attribute.floats,)
        if attribute.type == kinds.STRINGS:
            return tuple(text.decode() for text in attribute.strings)
        if attribute.type in (kinds.GRAPH, kinds.GRAPHS):
            raise ValueError("it must be no graph: If, Loop and Scan are not supported")
        raise ValueError("it must be a number, a text, a tensor, or several numbers or texts")


def _value(proto: Any, what: str) -> Value:
    """An input or output of a graph."""
    kind, name = proto.type, text_of(proto.name)
    if not kind.HasField("tensor_type"):
        form = kind.WhichOneof("value") or "no type"
        hint = "; a classifier's is one with the option zipmap=False" if form == "sequence_type" else ""
        raise ValueError(f"{what} {name!r:.80} must be a tensor, got {form}{hint}")
    number = kind.tensor_type.elem_type
    if number not in TYPES:
        raise ValueError(f"{what} {name!r:.80} must be of one of ONNX's types {[*TYPES]}, got {number}")
    dtype = {"object": "str"}.get(TYPES[number], TYPES[number])
    if not kind.tensor_type.HasField("shape"):
        return Value(name, dtype)
    return Value(name, dtype, tuple(map(_length, kind.tensor_type.shape.dim)))


def _length(dimension: Any) -> int | str | None:
    """The length of an axis: known, named or unknown; some exporters write -1 for an unknown length."""
    if dimension.HasField("dim_value"):
        return dimension.dim_value if dimension.dim_value >= 0 else None
    return text_of(dimension.dim_param) or None
