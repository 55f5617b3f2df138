"""The reference against PyTorch and ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
    OF_ACTIVATION,
    assert_close,
    make_problem,
    make_sources,
)

from numlstm.backends.reference import activations


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("name", "cell", "options", "theirs"),
    [
        ("LSTM", "lstm", (), {}),
        ("LSTM", "lstm", (("proj_size", 2),), {"proj_size": 2}),
        ("GRU", "gru", (), {}),
        ("RNN", "rnn", (), {}),
        ("RNN", "rnn", (("nonlinearity", ("relu",)),), {"nonlinearity": "relu"}),
    ],
    ids=["lstm", "lstm with projection", "gru", "rnn", "rnn of relu"],
)
def test_torch(name, cell, options, theirs, reverse):
    """Outputs, final states, and all gradients."""
    torch = pytest.importorskip("torch")
    problem = make_problem(cell=cell, options=options)
    module = getattr(torch.nn, name)(3, 4, batch_first=True, dtype=torch.float64, **theirs)
    parameters = BACKEND.unpack(problem.spec, problem.flat)
    assert {f"{each}_l0" for each in parameters} == {each for each, _ in module.named_parameters()}
    x, *initial = (torch.tensor(array, requires_grad=True) for array in (problem.x, *problem.initial))
    with torch.no_grad():
        for each, value in parameters.items():
            getattr(module, f"{each}_l0").copy_(torch.tensor(value))
    given = torch.flip(x, [1]) if reverse else x
    y, final = module(given, tuple(s[None] for s in initial) if len(initial) > 1 else initial[0][None])
    y, final = torch.flip(y, [1]) if reverse else y, final if isinstance(final, tuple) else (final,)

    problem.reverse = reverse
    outputs, our_final, _ = problem.forward()
    np.testing.assert_allclose(outputs[0], y.detach(), rtol=1e-12)
    for ours, other in zip(our_final, final, strict=True):
        np.testing.assert_allclose(ours, other[0].detach(), rtol=1e-12)

    doutputs, dfinal = make_sources(problem)["all"]
    doutputs = [doutputs[0], *[None] * (len(doutputs) - 1)]
    loss = (y * torch.tensor(doutputs[0])).sum()
    (loss + sum((f[0] * torch.tensor(d)).sum() for f, d in zip(final, dfinal, strict=True))).backward()
    gradients = problem.backward(doutputs, dfinal)
    by_name = BACKEND.unpack(problem.spec, gradients.pop("flat"))
    expected = {each: getattr(module, f"{each}_l0").grad for each in by_name} | {"x": x.grad}
    expected |= {f"initial {k}": s.grad for k, s in enumerate(initial)}
    for each, value in (by_name | gradients).items():
        assert_close(value, expected[each].numpy(), 1e-12)


def run_onnx(problem, operator, order, attributes):
    """What ONNX Runtime makes of a problem, in float32: Y, and the final states.

    Where gates are coupled, its forget gate is 1 - i; with σ(-a) = 1 - σ(a) ours that is 1 - f comes to the same.
    """
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    parameters = BACKEND.unpack(problem.spec, problem.flat)
    if dict(problem.spec.options).get("coupled_gates") is True:
        for value in parameters.values():
            value[:4] = -value[4:8]

    def blocks(name, order=order):
        return np.concatenate([np.split(parameters[name], len(order))[k] for k in order])

    inputs = {"X": problem.x.swapaxes(0, 1), "W": blocks("weight_ih")[None], "R": blocks("weight_hh")[None],
              "B": np.concatenate([blocks("bias_ih"), blocks("bias_hh")])[None]}  # fmt: skip
    inputs |= {f"initial_{s}": value[None] for s, value in zip("hc", problem.initial, strict=False)}
    if "peephole" in parameters:
        inputs["P"] = blocks("peephole", (0, 2, 1))[None]
    names = ["X", "W", "R", "B", "", "initial_h", *["initial_c", "P"][: len(inputs) - 5]]
    finals = [f"Y_{s}" for s, _ in zip("hc", problem.initial, strict=False)]
    node = onnx.helper.make_node(operator, names, ["Y", *finals], hidden_size=problem.spec.hidden_size, **attributes)
    typed = {name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ["Y", *finals]}
    given = [onnx.helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, v.shape) for k, v in inputs.items()]
    graph = onnx.helper.make_graph([node], "one", given, list(typed.values()))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    y, *final = session.run(None, {name: np.float32(value) for name, value in inputs.items()})
    return y[:, 0].swapaxes(0, 1), [f[0] for f in final]


ONNX_NAMES = {"identity": "Affine", "scaled_tanh": "ScaledTanh", "leaky_relu": "LeakyRelu",
              "thresholded_relu": "ThresholdedRelu", "hard_sigmoid": "HardSigmoid"}  # fmt: skip
LSTM_DEFAULTS = {"recurrent": ("sigmoid",), "input": ("tanh",), "output": ("tanh",)}


def onnx_activations(chosen, places=(*LSTM_DEFAULTS,)):
    """Attributes for activations of the gates, the input and the output, or some of them, and our options."""
    those = [chosen.get(place, LSTM_DEFAULTS[place]) for place in places]
    parameters = [(1.0, 0.0) if each[0] == "identity" else each[1:] for each in those]
    attributes = {
        "activations": [ONNX_NAMES.get(name, name.capitalize()) for name, *_ in those],
        "activation_alpha": [each[0] for each in parameters if each],
        "activation_beta": [each[1] for each in parameters if each[1:]],
    }
    options = tuple((f"{place}_activation", each) for place, each in chosen.items())
    return options, {name: value for name, value in attributes.items() if value}


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ((("peepholes", True),), {}),
        ((("coupled_gates", True),), {"input_forget": 1}),
        ((("coupled_gates", True), ("peepholes", True)), {"input_forget": 1}),
        *(((("coupled_gates", "input"), *options), {"input_forget": 1} | more) for options, more in [
            ((), {}), ((("peepholes", True),), {}), onnx_activations({"recurrent": ("hard_sigmoid", 0.3, 0.4)}),
            onnx_activations({"recurrent": ("tanh",)}),
        ]),
        ((("preactivation_clip", 0.7),), {"clip": 0.7}),
        ((("peepholes", True), ("preactivation_clip", 0.9)), {"clip": 0.9}),
        *(onnx_activations({place: (name, *OF_ACTIVATION[name])}) for name in activations.VALUES
          for place in ("recurrent", "input", "output")),
        onnx_activations({"recurrent": ("hard_sigmoid", 0.2, 0.5), "input": ("scaled_tanh", 1.7, 0.6),
                          "output": ("affine", 0.3, 0.1)}),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_lstm_of_onnx(options, attributes):
    problem = make_problem(options=tuple(sorted(options)))
    expected, expected_final = run_onnx(problem, "LSTM", (0, 3, 1, 2), attributes)
    outputs, final, _ = problem.forward()
    np.testing.assert_allclose(outputs[0], expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(final, expected_final, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("clip", [None, 0.6])
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"recurrent": ("hard_sigmoid", 0.3, 0.4)},
        {"input": ("elu", 0.7)},
        {"recurrent": ("affine", 0.3, 0.4), "input": ("scaled_tanh", 1.7, 0.6)},
    ],
)
def test_gru_of_onnx(reset_after, clip, chosen):
    options, attributes = onnx_activations(chosen, ("recurrent", "input"))
    options += () if reset_after else (("reset_after", False),)
    if clip:
        options, attributes = (*options, ("preactivation_clip", clip)), attributes | {"clip": clip}
    problem = make_problem(cell="gru", options=tuple(sorted(options)))
    attributes |= {"linear_before_reset": int(reset_after)}
    expected, expected_final = run_onnx(problem, "GRU", (1, 0, 2), attributes)
    outputs, final, _ = problem.forward()
    np.testing.assert_allclose(outputs[0], expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(final, expected_final, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("clip", [None, 0.6])
@pytest.mark.parametrize("name", activations.VALUES)
def test_rnn_of_onnx(name, clip):
    chosen = (name, *OF_ACTIVATION[name])
    _, attributes = onnx_activations({"input": chosen}, ("input",))
    options = (("nonlinearity", chosen),)
    if clip:
        options, attributes = (*options, ("preactivation_clip", clip)), attributes | {"clip": clip}
    problem = make_problem(cell="rnn", options=options)
    expected, expected_final = run_onnx(problem, "RNN", (0,), attributes)
    outputs, final, _ = problem.forward()
    np.testing.assert_allclose(outputs[0], expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(final, expected_final, rtol=2e-5, atol=1e-5)
