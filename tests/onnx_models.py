"""Models in ONNX's format, made for tests."""

import warnings
from functools import cache

import numpy as np
import pytest


def model_of(nodes, inputs, outputs, weights=None, opset=22, ir_version=8, domains=()):
    """A model.

    Parameters
    ----------
    nodes : list of (op, inputs, outputs, attributes) or (op, inputs, outputs, attributes, domain)
    inputs : mapping of name to (dtype, shape)
    outputs : list of (name, dtype)
    weights : mapping of name to array
    """
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper

    def kind(dtype):
        return onnx.TensorProto.STRING if dtype == "object" else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    made = [
        helper.make_node(op, given, results, name=f"{op}_{k}", domain=(*rest, "")[0], **attributes)
        for k, (op, given, results, attributes, *rest) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "model",
        [helper.make_tensor_value_info(name, kind(dtype), shape) for name, (dtype, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind(dtype), None) for name, dtype in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, version) for domain, version in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


def ort_run(model, inputs, outputs=None):
    """What ONNX Runtime computes."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(outputs, dict(inputs))


@cache
def node_cases():
    """ONNX's own tests of operators that are models."""
    loader = pytest.importorskip("onnx.backend.test.loader")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return [case for case in loader.load_model_tests(kind="node") if case.model is not None]


def array_of(value):
    """An input or output of ONNX's tests as an array; texts as objects."""
    onnx = pytest.importorskip("onnx")
    array = onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    return array.astype(object) if array.dtype.kind in "SU" else array
