"""Layers as ONNX's nodes: a node of a layer is read back as that layer."""

import re

import numpy as np
import pytest
from onnx_models import model_of

from numlstm import GRU, LSTM, RNN
from numlstm.io import from_onnx
from numlstm.io.onnx.nodes import node_of

ON_REFERENCE = {"backend": "reference"}
LAYERS = [
    LSTM(3, 2, bidirectional=True, **ON_REFERENCE, random_state=0),
    LSTM(3, 4, peepholes=True, bias=False, **ON_REFERENCE, random_state=1),
    LSTM(
        2,
        3,
        3,
        bidirectional=True,
        peepholes=True,
        preactivation_clip=0.4,
        coupled_gates="input",
        **ON_REFERENCE,
        random_state=2,
    ),
    LSTM(
        2, 3, recurrent_activation=("hard_sigmoid", 0.3), output_activation="identity", **ON_REFERENCE, random_state=3
    ),
    LSTM(
        2,
        3,
        input_activation=("affine", 0.5, 0.25),
        output_activation=("elu", 0.5),
        dtype="float64",
        **ON_REFERENCE,
        random_state=4,
    ),
    GRU(3, 2, bidirectional=True, **ON_REFERENCE, random_state=5),
    GRU(
        3, 2, 2, reset_after=False, input_activation="softsign", preactivation_clip=0.5, **ON_REFERENCE, random_state=6
    ),
    RNN(3, 2, bidirectional=True, **ON_REFERENCE, random_state=7),
    RNN(3, 2, nonlinearity="relu", bias=False, **ON_REFERENCE, random_state=8),
    RNN(3, 2, nonlinearity=("scaled_tanh", 1.5, 0.5), **ON_REFERENCE, random_state=9),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_layer_as_a_node_is_that_layer(layer):
    index = layer.num_layers - 1
    op, attributes, weights = node_of(layer, index)
    arrays = {name: array for name, array in weights._asdict().items() if array is not None}
    inputs = ["X", "W", "R", "B" if "B" in arrays else "", *(["", "", "", "P"] if "P" in arrays else [])]
    shape = [None, None, weights.W.shape[2]]
    model = model_of([(op, inputs, ["Y"], attributes)], {"X": (layer.dtype, shape)}, [("Y", layer.dtype)], arrays)
    (read,) = from_onnx(model, backend="reference").layers
    directions = ("", "_reverse")[: 1 + layer.bidirectional]
    for name, array in read.parameters.items():
        of_layer = name.replace("_l0", f"_l{index}")
        assert np.array_equal(array, layer.parameters[of_layer]), name
    assert len(read.parameters) == len(directions) * sum(name.endswith("_l0") for name in layer.parameters)
    assert node_of(read)[:2] == (op, attributes)
    if layer.num_layers == 1:
        x = np.random.default_rng(0).normal(size=(2, 5, shape[2])).astype(layer.dtype)
        assert np.array_equal(read(x)[0], layer(x)[0])


@pytest.mark.parametrize(
    ("layer", "option"),
    [
        (LSTM(3, 4, proj_size=2), "proj_size=2"), (LSTM(3, 4, coupled_gates=True), "coupled_gates=True"),
        (LSTM(3, 4, forget_gate=False), "forget_gate=False"), (LSTM(3, 4, cell_clip=1.0), "cell_clip=1.0"),
        (LSTM(3, 4, full_gate_recurrence=True), "full_gate_recurrence=True"),
        (GRU(3, 4, layer_norm=True), "layer_norm=True"), (RNN(3, 4, zoneout=0.5), "zoneout=(0.5,)"),
    ],
)  # fmt: skip
def test_what_no_node_can_be_is_refused(layer, option):
    with pytest.raises(ValueError, match=f"layer must have only options that ONNX's .* has, got {re.escape(option)}"):
        node_of(layer)
