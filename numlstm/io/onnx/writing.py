"""Models as ONNX files."""

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

IR_VERSION = 8  # of the format, which goes with the operators used
OF_ML = 3  # the version of ai.onnx.ml
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
    """A layer or an estimator as an ONNX model, which other runtimes run.

    Parameters
    ----------
    model : LSTM, GRU, RNN, LSTMClassifier, LSTMRegressor, SequenceScaler, Pipeline or Graph
        A Pipeline may have `SequenceScaler` before an estimator; a `Graph` is what `from_onnx` and `from_keras` give.
    path : str or path-like, optional
        Where to write it, too; what is there is replaced, all at once.
    dynamic : bool, default True
        Whether the number of sequences N and that of steps T are free; else they are fixed by `shape`.
    shape : (N, T), each at least 1, optional
        With ``dynamic=False``.
    state : bool, default False
        Whether initial states are inputs, ``h_0`` and of an LSTM ``c_0``, each (layers · directions, N, H); of a layer.
    lengths : bool, default True
        Whether the lengths of sequences are an input, ``sequence_lens``; else every sequence has T steps.

    Returns
    -------
    onnx.ModelProto
        Opset 17, checked by `onnx.checker`. Inputs are ``x`` (N, T, D), in the dtype of the model, or float64 where a
        `SequenceScaler` comes first, and with ``lengths=True`` ``sequence_lens`` (N,), int32 in 1..T, the steps of
        each sequence; of an estimator with static features ``static`` (N, F), float64, not scaled. A `Graph` has its
        own opset, inputs and outputs. Others' outputs:

        - of a layer ``y`` (N, T, H · directions), zeros past each length, and the final states ``h_n`` and, of an
          LSTM, ``c_n``, (layers · directions, N, H); where layers differ in size ``h_n_l0`` (directions, N, H), ...
        - of a classifier ``label`` (N,), of the type of its classes, and ``probabilities`` (N, K)
        - of a regressor ``predictions`` (N,), (N, K) or (N, T, K), float64, as of `predict`
        - of a scaler ``scaled`` (N, T, C)

    Raises
    ------
    ValueError
        If `dynamic`, `shape`, `state` or `lengths` is given for a `Graph`, whose inputs are what they are; if ONNX has
        no place for an option or a number, which the message names: `layer_norm`, `proj_size`, `cell_clip`,
        `zoneout`, `full_gate_recurrence`; of the LSTM gates that are coupled (but for ``"input"``) or left out, where
        the activation of gates is not the logistic function; classes that are neither numbers nor texts; masks as
        `from_keras` makes them in a `Graph`, if its opset is below 15.
    NotFittedError
        If an estimator is not fitted.
    TypeError
        If it is of another kind.
    ImportError
        If the package onnx is not installed.
    OSError
        If the file cannot be written; what is there is left as it was.

    See Also
    --------
    from_onnx : The way back.

    Notes
    -----
    What matters in training alone, all kinds of dropout and `recompute`, is left out; so are `backend` and
    `compute_dtype`. ONNX Runtime (1.32) computes no recurrent layers in float64, and ends its process when an LSTM or a
    GRU is given a batch of no sequences.

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

    Where all sequences have as many steps, there need be no lengths:

    >>> y, h_n, c_n = from_onnx(to_onnx(layer, lengths=False)).run({"x": x})
    >>> bool((y == layer(x)[0]).all())
    True
    """
    onnx = _package()
    path = None if path is None else os.fsdecode(os.fspath(path))
    axes = _axes(check_flag(dynamic, "dynamic"), shape)
    state, lengths = check_flag(state, "state"), check_flag(lengths, "lengths")
    graph = without_own(graph_of(model, shape=axes, state=state, lengths=lengths))
    made = _proto(onnx, graph)
    if made.ByteSize() > LARGEST:
        raise ValueError(f"model must have at most {LARGEST} bytes for ONNX, got {made.ByteSize()}")
    _check(onnx, made)
    if path is not None:
        write(path, made.SerializeToString())
    return made


def _check(onnx: Any, made: Any) -> None:
    """Find the shapes of outputs that are not known, and refuse what is no model by ONNX's own rules.

    Raises
    ------
    ValueError
        With what its checker says.
    """
    try:
        if not all(value.type.tensor_type.HasField("shape") for value in made.graph.output):
            made.CopyFrom(onnx.shape_inference.infer_shapes(made))
        onnx.checker.check_model(made, full_check=True)
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
    """Lengths of the axes of batch and steps, or their names."""
    if dynamic:
        if shape is not None:
            raise ValueError(f"shape must be None with dynamic=True, got {shape!r}")
        return FREE
    if not isinstance(shape, list | tuple) or len(shape) != 2:
        raise ValueError(f"shape must be (N, T) with dynamic=False, got {shape!r}")
    rows, steps = (check_integer(each, f"shape[{k}]", 1) for k, each in enumerate(shape))
    return rows, steps


def _proto(onnx: Any, graph: Graph) -> Any:
    """A graph in ONNX's own form."""
    made = onnx.helper.make_graph(
        [_node(onnx, graph, node) for node in graph.nodes],
        "numlstm",
        [_value(onnx, value) for value in graph.inputs],
        [_value(onnx, value) for value in graph.outputs],
        [_tensor(onnx, name, array) for name, array in graph.constants.items()],
    )
    domains = {"": graph.opset} | {node.domain: OF_ML for node in graph.nodes if node.domain}
    return onnx.helper.make_model(
        made,
        opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in domains.items()],
        ir_version=max(IR_VERSION, onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", graph.opset)])),
        producer_name="numlstm",
    )


def _node(onnx: Any, graph: Graph, node: Node) -> Any:
    """A node, with attributes of the types that its operator has."""
    version = OF_ML if node.domain else graph.opset
    schema = onnx.defs.get_schema(node.op, version, node.domain)
    made = onnx.helper.make_node(node.op, node.inputs, node.outputs, node.name or None, domain=node.domain)
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
        made.attribute.append(onnx.helper.make_attribute(name, value, attr_type=kind))
    return made


def _value(onnx: Any, value: Value) -> Any:
    return onnx.helper.make_tensor_value_info(
        value.name, NUMBERS["object" if value.dtype == "str" else value.dtype], value.shape
    )


def _tensor(onnx: Any, name: str, array: np.ndarray) -> Any:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(array) if array.ndim else array, name)
