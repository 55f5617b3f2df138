"""What `peers.py` compares on processors: this library and others."""

from __future__ import annotations

import logging
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from problems import KINDS, OPTIONS, Problem, layer_of, reference_results, torch_outputs


class Ours:
    """This library, through its public layer."""

    def __init__(self, problem, threads):
        self.x, self.dy, self.lengths = problem.data()
        self.layer = layer_of(problem, backend="cpu")

    def forward(self):
        return (self.layer(self.x, lengths=self.lengths)[0],)

    def training(self):
        y, _, pullback = self.layer.vjp(self.x, lengths=self.lengths)
        dx, _, gradients = pullback(self.dy)
        return y, dx, gradients["weight_ih_l0"], gradients["weight_hh_l0"]


class Reference:
    """The reference backend, in float64."""

    def __init__(self, problem, threads):
        self.problem = problem

    def training(self):
        results = reference_results(self.problem)
        return tuple(results[name] for name in ("y", "dx", "weight_ih_l0", "weight_hh_l0"))


def torch_loop(torch, problem):
    """An LSTM with peepholes or layer normalisation: the loop that users of PyTorch write."""
    H, cell = problem.H, problem.cell

    class Loop(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in problem.weights().items():
                setattr(self, name, torch.nn.Parameter(torch.from_numpy(value)))

        def norm(self, a, block):
            rows = slice(block * H, (block + 1) * H)
            return torch.nn.functional.layer_norm(
                a, (H,), self.layer_norm_weight_l0[rows], self.layer_norm_bias_l0[rows]
            )

        def forward(self, x):
            h = c = x.new_zeros(len(x), H)
            sums = x @ self.weight_ih_l0.T + self.bias_ih_l0 + self.bias_hh_l0
            outputs = []
            for t in range(x.shape[1]):
                i, f, g, o = torch.chunk(sums[:, t] + h @ self.weight_hh_l0.T, 4, dim=1)
                if cell == "layer_norm":
                    i, f, g, o = (self.norm(a, block) for block, a in enumerate((i, f, g, o)))
                    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                    h = torch.sigmoid(o) * torch.tanh(self.norm(c, 4))
                else:
                    p_i, p_f, p_o = torch.chunk(self.peephole_l0, 3)
                    c = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
                    h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
                outputs.append(h)
            return (torch.stack(outputs, dim=1),)

    return Loop()


class Torch:
    """torch.nn.LSTM, GRU or RNN, or a loop over the steps; unequal lengths are a PackedSequence."""

    def __init__(self, problem, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        x, dy, lengths = problem.data()
        if problem.cell in OPTIONS:
            self.net = torch_loop(torch, problem)
        else:
            kind = getattr(torch.nn, KINDS.get(problem.cell, "LSTM"))
            shape = problem.D, problem.H, problem.layers
            self.net = kind(*shape, batch_first=True, bidirectional=problem.bidirectional)
            self.net.load_state_dict({name: torch.from_numpy(value) for name, value in problem.weights().items()})
        self.x, self.dy = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)
        self.lengths = None if lengths is None else torch.from_numpy(lengths)

    def run(self):
        return torch_outputs(self.torch, self.net, self.x, self.lengths)

    def forward(self):
        with self.torch.inference_mode():
            return (self.run().numpy(),)

    def training(self):
        self.net.zero_grad(set_to_none=True)
        self.x.grad = None
        y = self.run()
        y.backward(self.dy)
        gradients = self.x.grad, self.net.weight_ih_l0.grad, self.net.weight_hh_l0.grad
        return y.detach().numpy(), *(gradient.numpy() for gradient in gradients)


class Onnx:
    """ONNX Runtime's LSTM, which does not train."""

    def __init__(self, problem, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            self.model(problem).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.feeds = self.feeds_of(problem)

    @staticmethod
    def feeds_of(problem):
        x, _, lengths = problem.data()
        feeds = {"x": np.ascontiguousarray(x.transpose(1, 0, 2))}
        return feeds if lengths is None else feeds | {"lengths": lengths.astype(np.int32)}

    @staticmethod
    def model(problem):
        from onnx import TensorProto, helper, numpy_helper

        H, weights, single = problem.H, problem.weights(), problem.layers == problem.directions == 1
        blocks = np.repeat(np.array([0, 3, 1, 2]), H) * H + np.tile(np.arange(H), 4)  # i, o, f, c
        arrays, nodes, previous = {} if single else {"shape": np.array([0, 0, -1])}, [], "x"
        for layer in range(problem.layers):
            suffixes = [suffix for suffix, _ in problem.names if suffix.startswith(f"_l{layer}")]
            for name, parts in {"W": ["weight_ih"], "R": ["weight_hh"], "B": ["bias_ih", "bias_hh"]}.items():
                rows = [np.concatenate([weights[part + suffix][blocks] for part in parts]) for suffix in suffixes]
                arrays[f"{name}{layer}"] = np.stack(rows)
            input_names = [previous, *(f"{name}{layer}" for name in "WRB"), *(["lengths"] if problem.ragged else [])]
            direction = "bidirectional" if problem.bidirectional else "forward"
            nodes.append(helper.make_node("LSTM", input_names, [f"Y{layer}"], hidden_size=H, direction=direction))
            previous = f"Y{layer}"
            if not single:
                nodes.append(helper.make_node("Transpose", [previous], [f"Z{layer}"], perm=[0, 2, 1, 3]))
                nodes.append(helper.make_node("Reshape", [f"Z{layer}", "shape"], [f"y{layer}"]))
                previous = f"y{layer}"
        real = TensorProto.FLOAT
        inputs = [helper.make_tensor_value_info("x", real, [problem.T, problem.N, problem.D])]
        if problem.ragged:
            inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [problem.N]))
        graph = helper.make_graph(
            nodes, "lstm", inputs,
            [helper.make_tensor_value_info(previous, real, None)],
            [numpy_helper.from_array(value, name) for name, value in arrays.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)

    def forward(self):
        return (self.batch_first(self.session.run(None, self.feeds)[0]),)

    @staticmethod
    def batch_first(y):
        """Outputs (N, T, outputs); a single node gives an axis of directions, too."""
        return (y[:, 0] if y.ndim == 4 else y).transpose(1, 0, 2)

    training = None


class OpenVino:
    """OpenVINO, with the model that ONNX Runtime runs, in float32; it does not train."""

    def __init__(self, problem, threads):
        import openvino

        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        core, self.feeds = openvino.Core(), Onnx.feeds_of(problem)
        model = core.read_model(Onnx.model(problem).SerializeToString())
        self.request = core.compile_model(model, "CPU", settings).create_infer_request()

    def forward(self):
        return (Onnx.batch_first(self.request.infer(self.feeds)[0]),)

    training = None


class OursBfloat16(Ours):
    """This library, with products in bfloat16; its layer trains as it predicts."""

    def __init__(self, problem, threads):
        self.x, self.dy, self.lengths = problem.data()
        self.layer = layer_of(problem, backend="cpu", compute_dtype="bfloat16")


class TorchBfloat16(Torch):
    """torch.nn.LSTM under PyTorch's automatic mixed precision."""

    def run(self):
        with self.torch.autocast("cpu", self.torch.bfloat16):
            return super().run().float()


class OursInt8(Ours):
    """This library, with products in int8."""

    def __init__(self, problem, threads):
        self.x, _, self.lengths = problem.data()
        self.layer = layer_of(problem, backend="cpu", compute_dtype="int8")

    training = None


class TorchInt8(Torch):
    """torch.nn.LSTM after PyTorch's dynamic quantisation."""

    def __init__(self, problem, threads):
        super().__init__(problem, threads)
        torch, net = self.torch, self.torch.nn.Sequential(self.net.eval())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            quantised = torch.ao.quantization.quantize_dynamic(net, {torch.nn.LSTM}, dtype=torch.qint8)
        self.net = quantised[0]

    training = None


class OnnxInt8(Onnx):
    """ONNX Runtime's LSTM after its own dynamic quantisation."""

    @staticmethod
    def model(problem):
        import onnx
        from onnxruntime.quantization import quantize_dynamic

        logging.getLogger().setLevel(logging.ERROR)
        with tempfile.TemporaryDirectory() as folder:
            before, after = (Path(folder) / name for name in ("before.onnx", "after.onnx"))
            before.write_bytes(Onnx.model(problem).SerializeToString())
            quantize_dynamic(before, after)
            return onnx.load(after)


class FromOnnx:
    """This library, with the model that ONNX Runtime runs."""

    def __init__(self, problem, threads):
        from numlstm.io import from_onnx

        self.graph, self.feeds = from_onnx(Onnx.model(problem), backend="cpu"), Onnx.feeds_of(problem)

    def forward(self):
        return (Onnx.batch_first(self.graph.run(self.feeds)[0]),)

    training = None


class Keras:
    """keras.layers.LSTM on JAX, compiled."""

    def __init__(self, problem, threads):
        import jax
        import keras

        x, dy, lengths = problem.data()
        layers = []
        for _ in range(problem.layers):
            layer = keras.layers.LSTM(problem.H, return_sequences=True, zero_output_for_mask=True)
            layers.append(keras.layers.Bidirectional(layer) if problem.bidirectional else layer)
        net = keras.Sequential(layers)
        net.build(x.shape)
        net.set_weights(list(self.arrays(problem)))
        mask = None if lengths is None else np.arange(problem.T) < lengths[:, None]
        trainable = [variable.value for variable in net.trainable_variables]
        others = [variable.value for variable in net.non_trainable_variables]

        def run(trainable, x):
            return net.stateless_call(trainable, others, x, mask=mask)[0]

        def step(trainable, x, dy):
            y, pullback = jax.vjp(run, trainable, x)
            return y, *pullback(dy)

        self.weights, self.x, self.dy = trainable, jax.numpy.asarray(x), jax.numpy.asarray(dy)
        self.run, self.step = jax.jit(run), jax.jit(step)

    @staticmethod
    def arrays(problem):
        """Weights in Keras's layout: gates i, f, c, o as in PyTorch, but transposed, and the sum of both biases."""
        weights = problem.weights()
        for suffix, _ in problem.names:
            yield weights["weight_ih" + suffix].T
            yield weights["weight_hh" + suffix].T
            yield weights["bias_ih" + suffix] + weights["bias_hh" + suffix]

    def forward(self):
        return (np.asarray(self.run(self.weights, self.x)),)

    def training(self):
        y, gradients, dx = self.step(self.weights, self.x, self.dy)
        return np.asarray(y), np.asarray(dx), np.asarray(gradients[0]).T, np.asarray(gradients[1]).T


class Limits:
    """What the processor can do with as many threads, by all runs so far."""

    def __init__(self, problem, threads):
        from limit import Limit

        self.limit = Limit(threads)

    def forward(self):
        return (self.limit.measure(),)


CONTESTANTS = {
    "numlstm": Ours, "from_onnx": FromOnnx, "torch": Torch, "onnxruntime": Onnx, "openvino": OpenVino, "keras": Keras,
    "numlstm bfloat16": OursBfloat16, "torch bfloat16": TorchBfloat16,
    "numlstm int8": OursInt8, "torch int8": TorchInt8, "onnxruntime int8": OnnxInt8,
}  # fmt: skip
SHAPES = [
    Problem(1, 1, 16, 64),
    Problem(50, 1, 16, 64),
    Problem(200, 1, 64, 512),
    Problem(50, 32, 8, 64),
    Problem(24, 256, 8, 32),
    Problem(200, 16, 32, 32),
    Problem(168, 64, 8, 128),
    Problem(100, 64, 64, 128),
    Problem(100, 64, 128, 256),
    Problem(784, 128, 1, 128),
    Problem(512, 8, 80, 320, layers=2),
    Problem(50, 64, 512, 512),
    Problem(35, 20, 650, 650),
    Problem(100, 32, 40, 128, layers=2, bidirectional=True),
    Problem(100, 64, 64, 128, ragged=True),
]


def problems(cell):
    """The problems that are measured for a cell."""
    simple = [p for p in SHAPES if cell == "lstm" or (p.layers == 1 and not p.bidirectional and not p.ragged)]
    return [replace(problem, cell=cell) for problem in simple]
