"""ONNX's operators in all their versions: by ONNX's own tests, and against ONNX Runtime where these have none."""

import fnmatch

import numpy as np
import pytest
from onnx_models import array_of, model_of, node_cases, ort_run

from numlstm.graphs.graph import Graph, Node, Value
from numlstm.graphs.operators import FIRST, LAST, operators
from numlstm.graphs.operators.shapes import TYPES
from numlstm.io import from_onnx

RECURRENT = ("LSTM", "GRU", "RNN")
# ONNX's own tests of operators that are known here which are refused, and what the refusal says.
REFUSED = {
    "test_batchnorm_*_training_mode": "it must have 1 outputs, got 3",
    **dict.fromkeys(
        [f"test_training_dropout{rest}" for rest in ("", "_default", "_mask", "_default_mask")],
        "training_mode must be false",
    ),
    "test_maxpool_with_argmax_*": "it must have 1 output, got 2: the places of the largest are not supported",
    "test_identity_sequence": "must be a tensor, got sequence_type",
    "test_identity_opt": "must be a tensor, got optional_type",
}
OTHER_TYPES = "must be of one of ONNX's types|to must be one of"
# Those where half-precision numbers are rounded in between, and differ in the last place: reference implementations do
# so after other steps.
ROUNDED = {"test_attention_*fp16*": 1e-3}


def operators_of(case):
    return {(node.domain, node.op_type) for node in case.model.graph.node}


def of_other_types(model):
    """Whether a model has a type that is not known here."""
    values = [*model.graph.input, *model.graph.output]
    types = {value.type.tensor_type.elem_type for value in values if value.type.HasField("tensor_type")}
    for node in model.graph.node:
        types.update(each.i for each in node.attribute if node.op_type == "Cast" and each.name == "to")
        types.update(each.t.data_type for each in node.attribute if each.HasField("t"))
    return not types <= {*TYPES}


# Recurrent ones have a test of their own, as weights are inputs in these cases.
@pytest.mark.parametrize(
    "domain_and_name", [pair for pair in sorted(operators()) if pair[1] not in RECURRENT], ids=lambda pair: pair[1]
)
def test_own_cases_of_onnx_pass(domain_and_name):
    onnx = pytest.importorskip("onnx")
    for case in node_cases():
        if domain_and_name not in operators_of(case) or not operators_of(case) <= operators().keys():
            continue
        model = onnx.ModelProto.FromString(case.model.SerializeToString())
        for entry in model.opset_import:
            entry.version = max(entry.version, FIRST if not entry.domain else 1)
        if any(entry.version > LAST for entry in model.opset_import):
            continue  # of a version to come
        reasons = [reason for pattern, reason in REFUSED.items() if fnmatch.fnmatch(case.name, pattern)]
        reasons += [OTHER_TYPES] if of_other_types(model) else []
        if reasons:
            with pytest.raises(ValueError, match=reasons[0]):
                results_and_truth(model, case)
            continue
        for array, truth in results_and_truth(model, case):
            same(array, truth, case)


def results_and_truth(model, case):
    graph = from_onnx(model)
    names = [value.name for value in graph.inputs]
    pairs = []
    for given, expected in case.data_sets:
        found = graph.run(dict(zip(names, map(array_of, given), strict=True)))
        pairs += zip(found, map(array_of, expected), strict=True)
    return pairs


def same(array, truth, case):
    assert array.dtype == truth.dtype, case.name
    assert array.shape == truth.shape, case.name
    if array.dtype == object:
        assert (array == truth).all(), case.name
    else:
        loose = [error for pattern, error in ROUNDED.items() if fnmatch.fnmatch(case.name, pattern)]
        np.testing.assert_allclose(array, truth, case.rtol, (*loose, case.atol)[0], err_msg=case.name)


def test_many_of_them_are_run():
    pytest.importorskip("onnx")
    known = [case for case in node_cases() if operators_of(case) <= operators().keys()]
    assert len(known) > 700
    assert sum(not of_other_types(case.model) for case in known) > 600


# Against ONNX Runtime -----------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4)).astype("float32")
Y = RNG.normal(size=(2, 3, 4)).astype("float32")
M = RNG.normal(size=(3, 5)).astype("float32")
WIDE = RNG.normal(size=(3, 5)) * 40
INTEGERS = RNG.integers(-9, 10, (2, 3, 4))
NOT_ZERO = np.where(INTEGERS == 0, 3, INTEGERS)
BYTES = RNG.integers(0, 256, (2, 3, 4)).astype("uint8")
STEPS = RNG.uniform(0.1, 1.0, (2, 3)).astype("float32")
SIGNED = RNG.integers(-128, 128, (4, 3)).astype("int8")
SMALL = SIGNED // 2  # sums of two products with BYTES fit 16 bits: on some processors ONNX Runtime keeps no more
SPECIAL = np.array([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0, np.inf, np.nan], "float32")
FLAGS = RNG.normal(size=(3, 5)) > 0
CHANNELS = [np.abs(RNG.normal(size=3)).astype("float32") + 0.1 for _ in range(4)]


def i64(*values):
    return np.array(values, "int64")


def f32(*values):
    return np.array(values, "float32")


# Operator, versions, inputs, attributes, and the number of outputs where it is not 1.
CASES = [
    ("DynamicQuantizeLinear", (11,), [X], {}, 3),
    ("DynamicQuantizeLinear", (11,), [np.abs(X)], {}, 3),
    ("DynamicQuantizeLinear", (11,), [0 * X], {}, 3),
    ("MatMulInteger", (10,), [BYTES, SMALL, BYTES[0, 0, 0], SMALL[0, 0]], {}),
    ("MatMulInteger", (10,), [BYTES[0], SMALL, BYTES[0, 0, 0], SMALL[0]], {}),
    ("MatMulInteger", (10,), [BYTES, BYTES[0].T.copy()], {}),
    ("DequantizeLinear", (10, 13, 19, 21), [BYTES, f32(0.3)[0], BYTES[0, 0, 0]], {}),
    ("DequantizeLinear", (13, 19, 21), [BYTES, f32(0.3, 0.2, 0.1), BYTES[0, :3, 0]], {}),
    ("DequantizeLinear", (13, 21), [SIGNED, f32(0.3, 0.2, 0.1, 0.4)], {"axis": -2}),
    ("DequantizeLinear", (21,), [SIGNED, STEPS], {"axis": 0, "block_size": 2}),
    ("Softmax", (7, 11, 13), [X], {}),
    ("Softmax", (7, 11, 13, 21), [X], {"axis": 1}),
    ("Softmax", (11, 13), [X], {"axis": -1}),
    ("Softmax", (11, 13), [WIDE.astype("float32")], {"axis": 0}),
    ("LogSoftmax", (7, 11, 13), [X], {}),
    ("LogSoftmax", (11, 13), [WIDE.astype("float32")], {"axis": -2}),
    ("Squeeze", (7, 11), [X[:, :1, :1]], {"axes": [1]}),
    ("Squeeze", (7, 11, 13, 21), [X[:, :1, :1]], {}),
    ("Squeeze", (11,), [X[:, :1, :1]], {"axes": [-1, 1]}),
    ("Squeeze", (13, 21), [X[:, :1, :1], i64(-2)], {}),
    ("Unsqueeze", (7, 11), [X], {"axes": [0, 3]}),
    ("Unsqueeze", (11,), [X], {"axes": [-1, 1]}),
    ("Unsqueeze", (13, 21), [X, i64(-1, 1)], {}),
    ("Flatten", (7, 9, 11, 13), [X], {}),
    ("Flatten", (9, 11, 13), [X], {"axis": 0}),
    ("Flatten", (11, 13, 21), [X], {"axis": -1}),
    ("Flatten", (9, 11, 13), [X], {"axis": 3}),
    ("Reshape", (7, 13, 14, 21), [X, i64(0, -1, 2)], {}),
    ("Reshape", (7, 14), [X[:0], i64(0, 6, 2)], {}),
    ("Reshape", (14, 21), [X[:0], i64(3, 0)], {"allowzero": 1}),
    ("Transpose", (7, 13), [X], {}),
    ("Transpose", (7, 13, 21), [X], {"perm": [1, 2, 0]}),
    ("Concat", (7, 11, 13), [X, Y, X], {"axis": 1}),
    ("Concat", (11, 13), [X, Y], {"axis": -1}),
    ("Split", (7, 11), [X], {"axis": 2}, 2),
    ("Split", (7, 11), [X], {"axis": 1, "split": [1, 2]}, 2),
    ("Split", (13, 18), [X, i64(1, 0, 3)], {"axis": -1}, 3),
    ("Split", (13,), [X], {"axis": 1}, 3),
    ("Split", (18,), [M], {"axis": 1, "num_outputs": 2}, 2),
    ("Slice", (7, 9), [X], {"starts": [1, 0], "ends": [100, -1], "axes": [1, 2]}),
    ("Slice", (7, 9), [X], {"starts": [-1], "ends": [5]}),
    ("Slice", (10, 11, 13), [X, i64(0, -1), i64(2**62, -(2**62)), i64(2, 1), i64(2, -1)], {}),
    ("Slice", (10, 13), [X, i64(1), i64(3)], {}),
    ("Slice", (11, 13), [X, i64(-1), i64(0), i64(-1), i64(-2)], {}),
    ("Slice", (11, 13), [X, i64(-100), i64(100), i64(-1)], {}),
    ("Pad", (7, 10), [M], {"pads": [0, 2, 1, 0], "value": 1.5}),
    ("Pad", (7, 10), [M], {"pads": [2, 1, 0, 3], "mode": "reflect"}),
    ("Pad", (7, 10), [M], {"pads": [2, 1, 0, -3], "mode": "edge"}),
    ("Pad", (11, 13, 18, 21), [M, i64(1, -1, 0, 2), f32(2.5)], {}),
    ("Pad", (13, 18, 21), [M, i64(1, 1, 0, 2)], {"mode": "reflect"}),
    ("Pad", (18, 21), [M, i64(1, 2), f32(7.0), i64(-1)], {}),
    ("Pad", (19, 21), [M, i64(1, 2), None, i64(-1)], {"mode": "wrap"}),
    ("Clip", (7, 10), [X], {"min": -0.5, "max": 0.25}),
    ("Clip", (7, 10), [SPECIAL], {"max": 0.25}),
    ("Clip", (11, 12, 13), [SPECIAL, np.float32(-0.5), np.float32(0.25)], {}),
    ("Clip", (12, 13), [INTEGERS, None, np.int64(2)], {}),
    ("Dropout", (7, 10), [X], {"ratio": 0.3}),
    ("Dropout", (12, 13), [X, np.float32(0.3)], {}),
    ("Dropout", (12, 13), [X, np.float32(0.3), np.bool_(False)], {}, 2),
    ("BatchNormalization", (7, 9, 14, 15), [X, *CHANNELS], {"epsilon": 0.1}),
    ("BatchNormalization", (9, 15), [M.T[:, :, None][:, :3], *CHANNELS], {}),
    ("LayerNormalization", (17, 21), [X, X[0], X[1]], {"axis": 1, "epsilon": 0.01}, 3),
    ("LayerNormalization", (17,), [X, X[0, 0]], {}),
    ("TopK", (7, 9), [X], {"k": 2}, 2),
    ("TopK", (10, 11), [X, i64(2)], {"axis": 1}, 2),
    ("TopK", (11,), [INTEGERS, i64(4)], {"axis": 2, "largest": 0}, 2),
    ("ReduceSum", (7, 11), [X], {"axes": [0, 2]}),
    ("ReduceSum", (13,), [X, i64(0, -1)], {"keepdims": 0}),
    ("ReduceSum", (13,), [X, i64()], {"noop_with_empty_axes": 1}),
    ("ReduceSum", (7, 13), [INTEGERS], {}),
    ("ReduceMean", (7, 13), [X], {"axes": [1], "keepdims": 0}),
    ("ReduceMean", (18,), [X, i64(1)], {"keepdims": 0}),
    ("ReduceMax", (7, 12, 13), [X], {"axes": [-1]}),
    ("ReduceMax", (18, 20), [INTEGERS.astype("int32"), i64(-1)], {}),
    ("ReduceMin", (7, 13), [X], {}),
    ("ReduceProd", (7, 13), [X], {"axes": [0]}),
    ("ReduceL1", (7, 18), [X], {}),
    ("ReduceL2", (7, 13), [X], {"axes": [0, 1], "keepdims": 0}),
    *((name, (18,), [np.abs(X), i64()], {"noop_with_empty_axes": 1})
      for name in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean")),
    ("ReduceLogSumExp", (7, 18), [X * 100], {}),
    ("ReduceLogSum", (13,), [np.abs(X)], {"axes": [1]}),
    ("ReduceSumSquare", (13,), [X], {"axes": [1]}),
    ("ArgMax", (7, 11, 12, 13), [INTEGERS.astype("int32")], {"axis": 2, "keepdims": 0}),
    ("ArgMin", (12, 13), [INTEGERS.astype("float32")], {"axis": -1, "select_last_index": 1}),
    ("CumSum", (11, 14), [X, np.int64(-1)], {"exclusive": 1, "reverse": 1}),
    ("CumSum", (11, 14), [INTEGERS, np.int32(0)], {"exclusive": 1}),
    ("Gather", (7, 11, 13), [X, INTEGERS[0] % 3], {"axis": 1}),
    ("Gather", (11, 13), [X, np.int64(-1)], {"axis": -1}),
    ("GatherElements", (11, 13), [X, INTEGERS[:, :2] % 3 - 1], {"axis": 1}),
    ("GatherND", (11, 13), [X, i64(0, 2, 1, -1).reshape(2, 2)], {}),
    ("GatherND", (12, 13), [X, i64(0, -1).reshape(2, 1)], {"batch_dims": 1}),
    ("ScatterElements", (11, 13), [X, i64(0, 1, 2, -1).reshape(1, 1, 4), Y[:1, :1]], {"axis": 2}),
    ("ScatterElements", (16, 18), [X, i64(0, 0, 2, -1).reshape(1, 1, 4), Y[:1, :1]], {"axis": 2, "reduction": "add"}),
    ("OneHot", (9, 11), [i64(0, 3, -1, 9), i64(4), f32(0, 5)], {}),
    ("OneHot", (11,), [i64(0, 3, -1, 9), i64(4), f32(-1, 5)], {"axis": 0}),
    ("NonZero", (9, 13), [INTEGERS], {}),
    ("Where", (9, 16), [FLAGS, M, np.float32(2)], {}),
    ("Expand", (8, 13), [M[:, None], i64(2, 1)], {}),
    ("Tile", (7, 13), [M, i64(2, 3)], {}),
    ("Shape", (7, 13, 15), [X], {}),
    ("Shape", (15, 21), [X], {"start": -2, "end": 5}),
    ("Size", (7, 13), [X], {}),
    ("ConstantOfShape", (9, 20), [i64(2, 3)], {}),
    ("Range", (11,), [np.float32(1), np.float32(-2.1), np.float32(-0.5)], {}),
    ("Range", (11,), [np.int64(7), np.int64(1), np.int64(-2)], {}),
    ("Range", (11,), [np.int32(7), np.int32(9), np.int32(-2)], {}),
    ("ReverseSequence", (10,), [X, i64(2, 0)], {"batch_axis": 0, "time_axis": 1}),
    ("ReverseSequence", (10,), [X, i64(2, 0, 1)], {}),
    ("MatMul", (7, 9, 13), [X, M[:3].T[:4]], {}),
    ("MatMul", (9, 13), [X[0, 0], Y.swapaxes(1, 2)], {}),
    ("MatMul", (9,), [INTEGERS.astype("int32")[0], INTEGERS.astype("int32")[1].T], {}),
    ("Gemm", (7, 9, 11, 13), [M, M, M[:, :3]], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", (11, 13), [M, M], {"transA": 1}),
    ("Gemm", (7, 13), [M, M.T[:, :2], f32(1, 2)], {}),
    *((name, (7, 13, 14), [INTEGERS, NOT_ZERO], {}) for name in ("Add", "Sub", "Mul", "Div")),
    *((name, (7, 14), [X, Y[:, :1]], {}) for name in ("Add", "Sub", "Mul", "Div", "Pow")),
    ("Pow", (12, 13, 15), [np.abs(X), INTEGERS[:, :1]], {}),
    ("Pow", (12, 15), [INTEGERS, f32(0.5, 1, 2, 3)], {}),
    ("Mod", (10, 13), [INTEGERS, NOT_ZERO], {}),
    ("Mod", (10, 13), [X, Y], {"fmod": 1}),
    *((name, (8, 13), [X, Y[:, :1], X[0]], {}) for name in ("Min", "Max", "Mean", "Sum")),
    *((name, (8, 12, 13), [SPECIAL, SPECIAL[::-1].copy()], {}) for name in ("Min", "Max")),
    ("Max", (12, 13), [INTEGERS, NOT_ZERO], {}),
    *((name, (9, 13), [INTEGERS, NOT_ZERO], {}) for name in ("Greater", "Less")),
    *((name, (12, 16), [SPECIAL, SPECIAL[::-1].copy()], {}) for name in ("GreaterOrEqual", "LessOrEqual")),
    ("Equal", (7, 11, 13), [INTEGERS, NOT_ZERO], {}),
    ("Equal", (11, 13), [SPECIAL, SPECIAL], {}),
    *((name, (7,), [FLAGS, FLAGS[0]], {}) for name in ("And", "Or", "Xor")),
    ("Not", (7,), [FLAGS], {}),
    *((name, (7, 13), [SPECIAL], {}) for name in ("Sqrt", "Exp", "Log", "Reciprocal", "Abs", "Neg", "Floor", "Ceil")),
    *((name, (9, 13), [SPECIAL], {}) for name in ("Sign", "Erf", "IsNaN")),
    ("IsInf", (10,), [SPECIAL], {"detect_negative": 0}),
    ("Round", (11,), [f32(-1.5, -0.5, 0.5, 1.5, 2.5, 2.4)], {}),
    *((name, (7, 13, 14), [SPECIAL], {}) for name in ("Relu", "Sigmoid", "Tanh")),
    *((name, (7,), [WIDE.astype("float32")], {}) for name in
      ("Sigmoid", "Tanh", "Softplus", "Softsign", "HardSigmoid", "Elu", "Selu", "LeakyRelu")),
    ("HardSigmoid", (7,), [X], {"alpha": 0.3, "beta": 0.1}),
    ("Elu", (7,), [X], {"alpha": 0.3}),
    ("Selu", (7,), [X], {"alpha": 0.3, "gamma": 1.5}),
    ("Celu", (12,), [X], {"alpha": 0.3}),
    ("LeakyRelu", (7, 16), [X], {"alpha": 0.3}),
    ("ThresholdedRelu", (10,), [X], {}),
    ("ThresholdedRelu", (10,), [X], {"alpha": 0.3}),
    ("HardSwish", (14,), [X * 4], {}),
    ("Gelu", (20,), [X], {}),
    ("Gelu", (20,), [X], {"approximate": "tanh"}),
    ("PRelu", (7, 9, 16), [X, f32(0.1, 0.2, 0.3, 0.4)], {}),
    ("Cast", (7, 9, 13, 19), [X], {"to": 11}),
    ("Cast", (9, 13), [INTEGERS], {"to": 1}),
    ("Cast", (9, 13), [X * 5], {"to": 7}),
    ("Cast", (9, 13), [INTEGERS], {"to": 9}),
    ("Cast", (9, 13), [FLAGS], {"to": 10}),
    ("Cast", (9, 13), [INTEGERS], {"to": 8}),
    ("CastLike", (15, 19), [X, INTEGERS], {}),
    ("Trilu", (14,), [X, np.int64(1)], {}),
    ("Trilu", (14,), [X, np.int64(-1)], {"upper": 0}),
    ("Compress", (9, 11), [X, np.array([True, False, True])], {"axis": 1}),
    ("Compress", (11,), [X, np.array([True, False, True])], {}),
    ("Identity", (7, 13, 16), [X], {}),
    ("Constant", (12, 13), [], {"value_ints": [1, 2]}),
    ("Constant", (12, 13), [], {"value_float": 0.25}),
    ("ArrayFeatureExtractor", (13,), [M, i64(0, 3)], {}, 1, "ai.onnx.ml"),
    ("Scaler", (13,), [M], {"offset": [0.5, 1, 0, 0.25, 2], "scale": [2.0, 1, 0.5, 3, 4]}, 1, "ai.onnx.ml"),
    ("Scaler", (13,), [INTEGERS[0]], {"offset": [0.5], "scale": [2.0]}, 1, "ai.onnx.ml"),
    *(("Normalizer", (13,), [np.abs(M)], {"norm": norm}, 1, "ai.onnx.ml") for norm in ("MAX", "L1", "L2")),
    ("Binarizer", (13,), [M], {"threshold": 0.25}, 1, "ai.onnx.ml"),
    ("LabelEncoder", (13,), [INTEGERS], {
        "keys_int64s": [1, 2, -3], "values_floats": [0.5, 1.5, 2.5], "default_float": 9.0,
    }, 1, "ai.onnx.ml"),
    ("LabelEncoder", (13,), [INTEGERS], {"keys_int64s": [1, 2], "values_strings": ["a", "b"]}, 1, "ai.onnx.ml"),
    ("LabelEncoder", (13,), [np.array(["a", "x", "b"], object)], {
        "keys_strings": ["a", "b"], "values_int64s": [5, 6],
    }, 1, "ai.onnx.ml"),
]  # fmt: skip
EACH = [(*case[:1], version, *case[2:]) for case in CASES for version in case[1]]


def model_for(op, opset, arrays, attributes, outputs=1, domain=""):
    """A model of one node, whose inputs are the model's; and these."""
    names = ["" if array is None else f"x{k}" for k, array in enumerate(arrays)]
    results = [f"y{k}" for k in range(outputs)]
    inputs = {name: np.asarray(array) for name, array in zip(names, arrays, strict=True) if name}
    shapes = {name: (array.dtype.name, [None] * array.ndim) for name, array in inputs.items()}
    domains = [(domain, 3)] if domain else []
    node = (op, names, results, attributes, domain)
    return model_of([node], shapes, [(name, "float32") for name in results], {}, opset, domains=domains), inputs


def with_types(model, arrays):
    """The model, with its outputs as they are."""
    onnx = pytest.importorskip("onnx")
    for value, array in zip(model.graph.output, arrays, strict=True):
        kind = 8 if array.dtype == object else onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        value.type.tensor_type.elem_type = kind
    return model


@pytest.mark.parametrize("case", EACH, ids=lambda case: f"{case[0]}-{case[1]}")
def test_operators_do_what_they_do_in_onnx_runtime(case):
    model, inputs = model_for(*case)
    found = from_onnx(model).run(inputs)
    expected = ort_run(with_types(model, found), inputs)
    for array, truth in zip(found, expected, strict=True):
        truth = np.asarray(truth)
        assert array.dtype == truth.dtype
        assert array.shape == truth.shape
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, truth, 2e-5, 1e-6)
        else:
            assert np.array_equal(array, truth)


def test_no_operator_is_left_out():
    pytest.importorskip("onnx")
    tried = {case[0] for case in CASES} | {*RECURRENT}
    for case in node_cases():
        tried |= {name for _, name in operators_of(case)}
    assert {name for domain, name in operators() if domain not in ("numlstm", "com.microsoft")} <= tried


def test_attributes_and_numbers_of_inputs_are_those_of_onnx():
    onnx = pytest.importorskip("onnx")
    schemas = [schema for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""]
    for (domain, name), versions in operators().items():
        if domain:
            continue
        for opset in range(FIRST, min(LAST, onnx.defs.onnx_opset_version()) + 1):
            own = [each for each in versions if each.since <= opset <= each.until]
            there = [each for each in schemas if each.name == name and each.since_version <= opset]
            there = max(there, key=lambda each: each.since_version, default=None)
            gone = there is None or there.deprecated
            assert len(own) == (0 if gone else 1), (name, opset)
            if gone:
                continue
            known = {key for key, each in own[0].attributes.items() if each.since <= opset <= each.until}
            assert {*there.attributes} - {"sparse_value"} == known, (name, opset)
            required = {key for key, each in there.attributes.items() if each.required}
            if name != "Constant":
                assert required == {key for key in known if own[0].attributes[key].default is ...}, (name, opset)
            assert own[0].inputs[0] == there.min_input, (name, opset)
            assert own[0].inputs[1] == min(there.max_input, 1 << 16), (name, opset)
            if name != "BatchNormalization":  # with more it is for training
                assert own[0].outputs == (there.min_output, min(there.max_output, 1 << 16)), (name, opset)
            for key, each in there.attributes.items():
                if key in known and each.default_value.name:
                    expected = onnx.helper.get_attribute_value(each.default_value)
                    expected = expected.decode() if isinstance(expected, bytes) else expected
                    default = own[0].attributes[key].default
                    same_number = not isinstance(expected, float) or np.float32(default) == np.float32(expected)
                    assert same_number or default == expected, (name, key)
                    if not isinstance(expected, float | list):
                        assert default == expected, (name, key, opset)


# Limits -------------------------------------------------------------------------------------------------------


def graph_of(op, arrays, attributes=None, opset=21, outputs=1, domain=""):
    inputs = [Value(f"x{k}", "str" if a.dtype == object else a.dtype.name) for k, a in enumerate(arrays)]
    results = tuple(f"y{k}" for k in range(outputs))
    node = Node(op, tuple(value.name for value in inputs), results, attributes or {}, "it", domain)
    return Graph([node], inputs, [Value(name, "float32") for name in results], {}, opset)


def results_of(op, arrays, *rest, **options):
    arrays = [np.asarray(array) for array in arrays]
    return graph_of(op, arrays, *rest, **options).run({f"x{k}": array for k, array in enumerate(arrays)})


BIG = 1 << 40
COLUMN, ROW = np.ones((1 << 15, 1), "float32"), np.ones((1, 1 << 14), "float32")


@pytest.mark.parametrize(
    ("op", "arrays", "attributes"),
    [
        ("ConstantOfShape", [i64(BIG)], {}), ("ConstantOfShape", [i64(1 << 20, 1 << 20)], {}),
        ("Expand", [M[0], i64(BIG, 5)], {}), ("Tile", [M, i64(BIG, 1)], {}), ("Pad", [M, i64(BIG, 0, 0, 0)], {}),
        ("Range", [np.int64(0), np.int64(BIG), np.int64(1)], {}),
        ("Range", [np.float64(0), np.float64(1), np.float64(1e-30)], {}),
        ("OneHot", [i64(0, 1), i64(BIG), f32(0, 1)], {}),
        ("Add", [COLUMN, ROW], {}), ("MatMul", [COLUMN, ROW], {}), ("Gemm", [COLUMN, ROW], {}),
        ("Where", [COLUMN > 0, ROW, ROW], {}), ("Max", [COLUMN, ROW], {}), ("Sum", [COLUMN, ROW, ROW], {}),
        ("Pow", [COLUMN, ROW], {}), ("PRelu", [COLUMN, ROW], {}),
        ("Gather", [np.ones((1, 1 << 15)), np.zeros(1 << 14, "int64")], {}),
        ("GatherND", [np.ones((1, 1 << 15)), np.zeros((1 << 14, 1), "int64")], {}),
    ],
)  # fmt: skip
def test_large_results_of_little_are_refused_before_there_is_memory(op, arrays, attributes):
    with pytest.raises(ValueError, match=r"^node 'it' \(.*\): .*(would have \d+ elements, and must have at most|must)"):
        results_of(op, arrays, attributes)


@pytest.mark.parametrize(
    ("op", "arrays", "attributes", "message"),
    [
        ("Add", [X, X.astype("float64")], {}, "inputs must be of one type, got float32, float64"),
        ("Add", [X, M], {}, "could not be broadcast|mismatch"),
        ("Sqrt", [INTEGERS], {}, "Sqrt of int64 is not known"),
        ("Gather", [X, i64(3)], {"axis": 1}, r"indices must be in \[-3, 2\], got 3 to 3"),
        ("Gather", [X, f32(1)], {}, "indices must be integers"),
        ("Squeeze", [X, i64(1)], {}, "size not equal to one"),
        ("Transpose", [X], {"perm": (0, 1)}, "perm must be an order of 3 axes"),
        ("Reshape", [X, i64(5, -1)], {}, "cannot reshape"),
        ("Reshape", [X, i64(-2)], {}, "no length below -1"),
        ("Concat", [X, M], {"axis": 0}, "dimensions"),
        ("Concat", [X], {"axis": 3}, r"axis must be in \[-3, 2\], got 3"),
        ("Slice", [X, i64(0), i64(1), i64(0), i64(0)], {}, "steps must not be 0"),
        ("Split", [X, i64(1, 1)], {"axis": 1}, "split must be 1 lengths"),
        ("Pad", [X, i64(1, 1)], {}, "pads must be two numbers for each of 3 axes"),
        ("Dropout", [X, np.float32(0.5), np.bool_(True)], {}, "training_mode must be false"),
        ("TopK", [X, i64(5)], {}, "k must be in 0..4"),
        ("Softmax", [INTEGERS], {}, "must hold floating-point numbers, got int64"),
        ("Scaler", [M], {"offset": (0.0,), "scale": (1.0, 2.0)}, "offset and scale must be one number each"),
        ("LabelEncoder", [M], {"keys_int64s": (1,), "values_int64s": (1,)}, "there must be int64, as keys are"),
        ("LabelEncoder", [M], {"classes_strings": ("a",)}, "attributes must be among"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_refused_by_node(op, arrays, attributes, message):
    domain = "ai.onnx.ml" if op in ("Scaler", "LabelEncoder") else ""
    outputs = 2 if op == "TopK" else 1
    with pytest.raises(ValueError, match=rf"^node 'it' \({op}\): .*({message})"):
        results_of(op, arrays, attributes, domain=domain, outputs=outputs)


# Our own ------------------------------------------------------------------------------------------------------


def test_compact_moves_steps_that_count_to_the_front():
    x = np.arange(1.0, 9.0).reshape(2, 4, 1)
    mask = np.array([[False, True, False, True], [False, False, False, False]])
    moved, lengths = results_of("Compact", [x, mask], domain="numlstm", outputs=2)
    assert moved[:, :, 0].tolist() == [[2, 4, 0, 0], [0, 0, 0, 0]]
    assert lengths.tolist() == [2, 0]
    assert lengths.dtype == "int32"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, [[0, 1, 1, 2, 2], [7, 8, 9, 10, 11]]),
        ({"reverse": 1}, [[1, 1, 2, 2, 0], [7, 8, 9, 10, 11]]),
        ({"zeros": 1}, [[0, 1, 0, 2, 0], [7, 8, 9, 10, 11]]),
        ({"zeros": 1, "reverse": 1}, [[0, 1, 0, 2, 0], [7, 8, 9, 10, 11]]),
    ],
)
def test_spread_puts_them_back(attributes, expected):
    y = np.array([[1, 2, 0, 0, 0], [7, 8, 9, 10, 11], [0, 0, 0, 0, 0]], "float32")[:, :, None]
    mask = np.array([[False, True, False, True, False], [True] * 5, [False] * 5])
    (spread,) = results_of("Spread", [y, mask], attributes, domain="numlstm")
    assert spread[:, :, 0].tolist() == [*expected, [0] * 5]
    with pytest.raises(ValueError, match=r"mask must be bool of shape \(3, 5\), got bool of shape \(2, 5\)"):
        results_of("Spread", [y, mask[:2]], attributes, domain="numlstm")


def test_what_is_masked_does_not_come_out():
    y = np.array([[1, np.nan, np.nan]], "float32")[:, :, None]
    mask = np.array([[False, True, False]])
    for attributes in ({}, {"zeros": 1}, {"reverse": 1}):
        (spread,) = results_of("Spread", [y, mask], attributes, domain="numlstm")
        assert not np.isnan(spread).any()
