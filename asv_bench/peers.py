"""This library next to its peers on one machine: `python asv_bench/peers.py [--threads 2] [--cell gru]`.

Peepholes and layer normalisation PyTorch does not have: there it is what its users write, a loop over the steps.

Every contestant lives in a process of its own and waits, asleep, for its turn; rounds alternate. Results are
compared with float64 before anything is timed. Prints a Markdown table of the minimum times, ratios to the
best peer, and the share of the FMA peak, which is measured in the same run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time

import numpy as np

SHAPES = (
    (1, 1, 16, 64),
    (50, 1, 16, 64),
    (50, 32, 8, 64),
    (100, 64, 64, 128),
    (100, 64, 128, 256),
    (50, 64, 512, 512),
    (784, 128, 1, 128),
)
ROUNDS = 9
PAUSE = 0.3  # seconds before each turn: the threads of some peers spin for a while after theirs
FORWARD, TRAINING = "forward", "forward + BPTT"


CELLS = {  # blocks of rows, class, options, further parameters in blocks
    "lstm": (4, "LSTM", {}, {}),
    "gru": (3, "GRU", {}, {}),
    "rnn": (1, "RNN", {}, {}),
    "peepholes": (4, "LSTM", {"peepholes": True}, {"peephole": 3}),
    "layer_norm": (4, "LSTM", {"layer_norm": True}, {"layer_norm_weight": 5, "layer_norm_bias": 5}),
}


def problem(cell, shape):
    """Weights, input and output gradient of a shape (T, N, I, H); the same in every process."""
    T, N, D, H = shape
    gates, _, _, others = CELLS[cell]
    rng = np.random.default_rng(0)
    shapes = {
        "weight_ih": (gates * H, D),
        "weight_hh": (gates * H, H),
        "bias_ih": (gates * H,),
        "bias_hh": (gates * H,),
    }
    shapes |= {name: (blocks * H,) for name, blocks in others.items()}
    weights = {k: rng.uniform(-1, 1, s).astype(np.float32) / np.float32(H**0.5) for k, s in shapes.items()}
    x = rng.standard_normal((N, T, D), np.float32)
    return weights, x, rng.standard_normal((N, T, H), np.float32)


def layer_of(cell, shape, **more):
    """Our layer, with the weights of the problem."""
    import numlstm

    _, kind, options, _ = CELLS[cell]
    layer = getattr(numlstm, kind)(shape[2], shape[3], **options, **more)
    layer.set_parameters({f"{name}_l0": value for name, value in problem(cell, shape)[0].items()})
    return layer


class Ours:
    """numlstm, through its public layer."""

    def __init__(self, cell, shape, threads):
        _, self.x, self.dy = problem(cell, shape)
        self.layer = layer_of(cell, shape, backend="cpu")

    def forward(self):
        return self.layer(self.x)[0]

    def training(self):
        y, _, pullback = self.layer.vjp(self.x)
        dx, _, gradients = pullback(self.dy)
        return y, dx, gradients["weight_ih_l0"], gradients["weight_hh_l0"]


def torch_loop(torch, cell, shape, weights):
    """An LSTM with peepholes or layer normalisation, as PyTorch's users write it."""
    H = shape[3]

    class Loop(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in weights.items():
                setattr(self, f"{name}_l0", torch.nn.Parameter(torch.from_numpy(value)))

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
    """torch.nn.LSTM, GRU or RNN, or a loop."""

    def __init__(self, cell, shape, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        weights, x, dy = problem(cell, shape)
        _, kind, options, _ = CELLS[cell]
        if options:
            self.net = torch_loop(torch, cell, shape, weights)
        else:
            self.net = getattr(torch.nn, kind)(shape[2], shape[3], batch_first=True)
            self.net.load_state_dict({f"{name}_l0": torch.from_numpy(value) for name, value in weights.items()})
        self.x, self.dy = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)

    def forward(self):
        with self.torch.inference_mode():
            return self.net(self.x)[0].numpy()

    def training(self):
        self.net.zero_grad(set_to_none=True)
        self.x.grad = None
        y = self.net(self.x)[0]
        y.backward(self.dy)
        gradients = (self.x.grad, self.net.weight_ih_l0.grad, self.net.weight_hh_l0.grad)
        return y.detach().numpy(), *(g.numpy() for g in gradients)


class Onnx:
    """ONNX Runtime's LSTM; it does not train."""

    def __init__(self, cell, shape, threads):
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        T, N, D, H = shape
        weights, x, _ = problem(cell, shape)
        blocks = np.repeat(np.array([0, 3, 1, 2]), H) * H + np.tile(np.arange(H), 4)  # i, o, f, c
        biases = np.concatenate([weights["bias_ih"][blocks], weights["bias_hh"][blocks]])
        arrays = {"W": weights["weight_ih"][blocks], "R": weights["weight_hh"][blocks], "B": biases}
        node = helper.make_node("LSTM", ["X", *arrays], ["Y"], hidden_size=H)
        graph = helper.make_graph(
            [node],
            "lstm",
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, [T, N, D])],
            [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [T, 1, N, H])],
            [numpy_helper.from_array(value[None], name) for name, value in arrays.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.x = np.ascontiguousarray(x.transpose(1, 0, 2))

    def forward(self):
        return self.session.run(None, {"X": self.x})[0][:, 0].transpose(1, 0, 2)

    training = None


class Peak:
    """The FMA peak: a product whose operands stay in the first cache, on the same number of threads."""

    def __init__(self, cell, shape, threads):
        from numlstm.backends.cpu import peak

        self.measure = lambda: peak.flops(threads)

    def forward(self):
        return np.array(self.measure())

    training = None


CONTESTANTS = {"numlstm": Ours, "torch": Torch, "onnxruntime": Onnx}


def serve(connection, name, cell, shape, threads):
    """A contestant's process: do what is asked, and answer."""
    os.environ["NUMLSTM_NUM_THREADS"] = str(threads)
    contestant = ({"peak": Peak} | CONTESTANTS)[name](cell, shape, threads)
    connection.send("ready")
    while (request := connection.recv()) is not None:
        task, repeats = request
        call = getattr(contestant, "forward" if task == FORWARD else "training")
        if call is None:
            connection.send(None)
        elif repeats == 0:
            connection.send(call())
        else:
            times = []
            call()
            for _ in range(repeats):
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
            connection.send(times)


class Process:
    """A contestant, seen from here."""

    def __init__(self, name, cell, shape, threads):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, cell, shape, threads), daemon=True)
        self.process.start()
        self.connection.recv()

    def ask(self, task, repeats):
        self.connection.send((task, repeats))
        return self.connection.recv()

    def close(self):
        self.connection.send(None)
        self.process.join()


def reference(cell, shape):
    """The same in float64, by the reference backend."""
    _, x, dy = problem(cell, shape)
    layer = layer_of(cell, shape, backend="reference", dtype="float64")
    y, _, pullback = layer.vjp(x.astype(float))
    dx, _, gradients = pullback(dy.astype(float))
    return y, dx, gradients["weight_ih_l0"], gradients["weight_hh_l0"]


def validate(name, result, expected):
    """Refuse to time what is wrong."""
    for got, want in zip(result, expected, strict=True):
        error, size = abs(got - want).max(), abs(want).max()
        if not error <= 1e-4 * size:
            raise SystemExit(f"{name}: error {error:.1e} where the largest number is {size:.1e}")


def flop(cell, shape, task):
    """Operations of the products."""
    T, N, D, H = shape
    return 2 * T * N * CELLS[cell][0] * H * (D + H) * (1 if task == FORWARD else 3)


def compare(cell, shape, threads, names):
    """Times of every contestant, by task."""
    processes = {name: Process(name, cell, shape, threads) for name in names}
    expected = reference(cell, shape) if flop(cell, shape, FORWARD) < 2e9 else None
    results = {}
    for task in (FORWARD, TRAINING):
        times = {name: [] for name in names}
        for name, process in processes.items():
            result = process.ask(task, 0)
            if result is None:
                del times[name]
            elif expected:
                validate(name, (result,) if task == FORWARD else result, expected[: 1 if task == FORWARD else 4])
        repeats = max(2, min(200, int(2e9 / flop(cell, shape, task))))
        for _ in range(ROUNDS):
            for name in times:
                time.sleep(PAUSE)
                times[name] += processes[name].ask(task, repeats)
        results[task] = times
    for process in processes.values():
        process.close()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cell", choices=CELLS, default="lstm")
    parser.add_argument("--only", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--shapes", nargs="*", type=int, help="indices into the table of shapes")
    options = parser.parse_args()
    if options.cell != "lstm":
        options.only = [name for name in options.only if name != "onnxruntime"]
    peak_process = Process("peak", "lstm", None, options.threads)
    peak = max(float(peak_process.ask(FORWARD, 0)) for _ in range(5))
    print(f"{options.threads} threads; FMA peak {peak / 1e9:.0f} GFLOP/s in float32; milliseconds, minimum (median)\n")
    ratios = {FORWARD: [], TRAINING: []}
    print("| (T, N, I, H) | | " + " | ".join(options.only) + " | best peer / numlstm | of peak |")
    print("|---|---|" + "---|" * (len(options.only) + 2))
    for shape in [SHAPES[i] for i in options.shapes or range(len(SHAPES))]:
        for task, times in compare(options.cell, shape, options.threads, options.only).items():
            best = {name: min(values) for name, values in times.items()}
            cells = [
                f"{1e3 * best[name]:.3g} ({1e3 * np.median(times[name]):.3g})" if name in times else "-"
                for name in options.only
            ]
            peers = [value for name, value in best.items() if name != "numlstm"]
            if "numlstm" in best and peers:
                ratios[task].append(min(peers) / best["numlstm"])
            ratio = f"{ratios[task][-1]:.2f}" if ratios[task] else ""
            share = f"{flop(options.cell, shape, task) / best[options.only[0]] / peak:.0%}"
            print(f"| {shape} | {task} | " + " | ".join(cells) + f" | {ratio} | {share} |", flush=True)
    for task, values in ratios.items():
        if values:
            print(f"\n{task}: geometric mean {np.exp(np.mean(np.log(values))):.2f}")


if __name__ == "__main__":
    main()
