"""`to_onnx`: models as ONNX files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ...checks import check_flag, check_integer
from ...graphs.graph import Graph, Node, Value
from ...graphs.operators.shapes import NUMBERS
from ..paths import write
from .exporting import graph_of
from .layers import FREE
from .masks import without_own

IR_VERSION = 8  # of the format; it fits the operators in use
VERSIONS = {"ai.onnx.ml": 3, "com.microsoft": 1}  # of domains besides ONNX's own
LARGEST = 2**31 - 1  # bytes that a protobuf message can have


def to_onnx(
    model: Any,
    path: str | os.PathLike[str] | None = None,
    dynamic: bool = True,
    *,
    shape: tuple[int, int] | None = None,
    state: bool = False,
    lengths: bool = True,
) -> Any:
    """Make an ONNX model, which other runtimes run, from a layer or an estimator.

    Parameters
    ----------
    model : LSTM, GRU, RNN, LSTMClassifier, LSTMRegressor, SequenceScaler, Pipeline or Graph
        A Pipeline may have `SequenceScaler` before an estimator; a `Graph` is what `from_onnx` and `from_keras` give.
    path : str or path-like, optional
        The file to write. A file that is there is replaced at once.
    dynamic : bool, default True
        Whether the numbers of sequences N and of steps T are free; otherwise `shape` fixes them.
    shape : (N, T), each at least 1, optional
        Only with ``dynamic=False``.
    state : bool, default False
        Whether a layer has initial states as inputs: ``h_0``, and for an LSTM ``c_0``, (layers · directions, N, H).
    lengths : bool, default True
        Whether the lengths of sequences are an input, ``sequence_lens``; otherwise every sequence has T steps.

    Returns
    -------
    onnx.ModelProto
        Opset 17, checked by `onnx.checker`. Inputs are ``x`` (N, T, D), in the dtype of the model, or float64 where a
        `SequenceScaler` comes first; with ``lengths=True`` ``sequence_lens`` (N,), int32 in 1..T, the steps of each
        sequence; for an estimator with static features ``static`` (N, F), float64, not scaled. A `Graph` keeps its own
        opset, inputs and outputs. The outputs of others are:

        - for a layer ``y`` (N, T, H · directions), zeros past each length, and the final states ``h_n`` and, for an
          LSTM, ``c_n``, (layers · directions, N, H); if layers differ in size ``h_n_l0`` (directions, N, H), ...
        - for a classifier ``label`` (N,), of the type of its classes, and ``probabilities`` (N, K)
        - for a regressor ``predictions`` (N,), (N, K) or (N, T, K), float64, as from `predict`
        - for a scaler ``scaled`` (N, T, C)

    Raises
    ------
    ValueError
        If `dynamic`, `shape`, `state` or `lengths` is given for a `Graph`, whose inputs are fixed. If ONNX does not
        have an option or a number, which the message names: `layer_norm`, `proj_size`, `cell_clip`, `zoneout`,
        `full_gate_recurrence`; for an LSTM whose gates are not logistic, gates that are coupled (except ``"input"``) or
        missing; classes that are neither numbers nor texts; masks in a `Graph` of `from_keras` with an opset below 15.
    NotFittedError
        If an estimator is not fitted.
    TypeError
        If the model is of another kind.
    ImportError
        If the package onnx is not installed.
    OSError
        If the file cannot be written; a file that is there stays as it was.

    See Also
    --------
    from_onnx : The way back.

    Notes
    -----
    Options that matter only in training, all kinds of dropout and `recompute`, are left out; so are `backend` and
    `compute_dtype`. ONNX Runtime (1.32) computes no recurrent layers in float64, and ends its process if an LSTM or a
    GRU gets a batch of no sequences.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTM
    >>> from numlstm.io import from_onnx, to_onnx
    >>> layer = LSTM(3, 5, bidirectional=True, random_state=0)
    >>> graph = from_onnx(to_onnx(layer))
    >>> x = np.ones((2, 7, 3), "float32")
    >>> y, h_n, c_n = graph.run({"x": x, "sequence_lens": np.array([7, 4], "int32")})
    >>> y.shape, h_n.shape
    ((2, 7, 10), (2, 2, 5))
    >>> bool((y == layer(x, lengths=[7, 4])[0]).all())
    True

    If all sequences have the same number of steps, no lengths are needed:

    >>> y, h_n, c_n = from_onnx(to_onnx(layer, lengths=False)).run({"x": x})
    >>> bool((y == layer(x)[0]).all())
    True
    """
    onnx = _package()
    path = None if path is None else os.fsdecode(os.fspath(path))
    axes = _axes(check_flag(dynamic, "dynamic"), shape)
    state, lengths = check_flag(state, "state"), check_flag(lengths, "lengths")
    graph = without_own(graph_of(model, shape=axes, state=state, lengths=lengths))
    proto = _proto(onnx, graph)
    if proto.ByteSize() > LARGEST:
        raise ValueError(f"model must have at most {LARGEST} bytes for ONNX, got {proto.ByteSize()}")
    _check(onnx, proto)
    if path is not None:
        write(path, proto.SerializeToString())
    return proto


def _check(onnx: Any, proto: Any) -> None:
    """Infer unknown shapes of outputs, and check the model by ONNX's own rules.

    Raises
    ------
    ValueError
        With the message of ONNX's checker.
    """
    try:
        if not all(value.type.tensor_type.HasField("shape") for value in proto.graph.output):
            proto.CopyFrom(onnx.shape_inference.infer_shapes(proto))
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"model must be one that ONNX's checker accepts: {error}") from error


def _package() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.shape_inference
    except ImportError as error:
        raise ImportError('ONNX models need the package onnx: pip install "numlstm[onnx]"') from error
    return onnx


def _axes(dynamic: bool, shape: Any) -> tuple[int | str, int | str]:
    """The lengths of the axes of batch and steps, or their names."""
    if dynamic:
        if shape is not None:
            raise ValueError(f"shape must be None with dynamic=True, got {shape!r}")
        return FREE
    if not isinstance(shape, list | tuple) or len(shape) != 2:
        raise ValueError(f"shape must be (N, T) with dynamic=False, got {shape!r}")
    rows, steps = (check_integer(length, f"shape[{k}]", 1) for k, length in enumerate(shape))
    return rows, steps


def _proto(onnx: Any, graph: Graph) -> Any:
    """A graph in ONNX's own form."""
    onnx_graph = onnx.helper.make_graph(
        [_node(onnx, graph, node) for node in graph.nodes],
        "numlstm",
        [_value(onnx, value) for value in graph.inputs],
        [_value(onnx, value) for value in graph.outputs],
        [_tensor(onnx, name, array) for name, array in graph.constants.items()],
    )
    domains = {"": graph.opset} | {node.domain: VERSIONS[node.domain] for node in graph.nodes if node.domain}
    return onnx.helper.make_model(
        onnx_graph,
        opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in domains.items()],
        ir_version=max(IR_VERSION, onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", graph.opset)])),
        producer_name="numlstm",
    )


def _node(onnx: Any, graph: Graph, node: Node) -> Any:
    """A node, with attributes of the types of its operator."""
    if node.op == "DynamicQuantizeLSTM":  # ONNX Runtime's; its attributes are ONNX's
        schema = onnx.defs.get_schema("LSTM", graph.opset, "")
    else:
        schema = onnx.defs.get_schema(node.op, VERSIONS.get(node.domain, graph.opset), node.domain)
    proto = onnx.helper.make_node(node.op, node.inputs, node.outputs, node.name or None, domain=node.domain)
    for name, value in node.attributes.items():
        if value is None:
            continue
        if isinstance(value, np.ndarray):
            value = _tensor(onnx, name, value)
        kind = schema.attributes[name].type.value
        if kind == onnx.AttributeProto.FLOAT:
            value = float(value)
        elif kind == onnx.AttributeProto.FLOATS:
            value = [*map(float, value)]
        proto.attribute.append(onnx.helper.make_attribute(name, value, attr_type=kind))
    return proto


def _value(onnx: Any, value: Value) -> Any:
    return onnx.helper.make_tensor_value_info(
        value.name, NUMBERS["object" if value.dtype == "str" else value.dtype], value.shape
    )


def _tensor(onnx: Any, name: str, array: np.ndarray) -> Any:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(array) if array.ndim else array, name)
