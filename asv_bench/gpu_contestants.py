"""What `gpu_peers.py` compares: this library and PyTorch on one GPU, each in a process of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from contestants import Problem as Base
from contestants import layer_of

FORWARD, TRAINING = "forward", "forward + BPTT"
PRECISIONS = {"fp32": None, "tf32": "tf32", "fp16": "float16", "bf16": "bfloat16"}  # and our names for them
SAMPLE = 1 << 16  # numbers of an array that are compared
BLOCK = 1048573  # random numbers that are repeated in large arrays: a prime, so that rows differ
TURN = 0.25  # seconds of a turn, about
CALLS = 3, 300  # in a turn


@dataclass(frozen=True)
class Problem(Base):
    """T steps of N sequences with D features, through layers of H units; made fast, however large it is."""

    def weights(self):
        """Parameters by PyTorch's names; the same in every process."""
        rng, made = np.random.default_rng(0), {}
        for suffix, inputs in self.names:
            shapes = {"weight_ih": (4 * self.H, inputs), "weight_hh": (4 * self.H, self.H)}
            shapes |= {"bias_ih": (4 * self.H,), "bias_hh": (4 * self.H,)}
            for name, shape in shapes.items():
                made[name + suffix] = (2 * rng.random(shape, np.float32) - 1) / np.float32(self.H**0.5)
        return made

    def data(self):
        """Input, gradient of the output, and lengths, one of which is T; lengths are None where all are."""
        rng = np.random.default_rng(1)
        shapes = (self.N, self.T, self.D), (self.N, self.T, self.outputs)
        x, dy = (np.resize(rng.standard_normal(min(BLOCK, np.prod(shape)), np.float32), shape) for shape in shapes)
        lengths = self.lengths()
        if lengths is not None:
            for row, length in enumerate(lengths):
                x[row, length:], dy[row, length:] = 0, 0
        return x, dy, lengths

    def lengths(self):
        """Steps of each sequence, or None where all have T."""
        if not self.ragged:
            return None
        rng = np.random.default_rng(2)
        lengths = rng.integers(1, self.T + 1, self.N)
        lengths[rng.integers(self.N)] = self.T
        return lengths

    def flop(self, training):
        """Operations of the products on steps that exist."""
        pairs = self.T * self.N if not self.ragged else int(self.lengths().sum())
        return pairs * 8 * self.H * sum(inputs + self.H for _, inputs in self.names) * (3 if training else 1)


def sample(flat):
    """Some numbers of a vector; an odd number apart, so that all units are among them."""
    return flat[:: max(1, len(flat) // SAMPLE) | 1]


class OnGpu:
    """What the contestants have in common: PyTorch holds the data, on the GPU from the start."""

    place = "cuda"

    def __init__(self, problem, precision):
        import torch

        self.torch, self.problem, self.precision = torch, problem, precision
        for backend in (torch.backends.cudnn, torch.backends.cuda.matmul):
            backend.allow_tf32 = precision == "tf32"
        *self.arrays, self.lengths = problem.data()
        self.x, self.dy = (torch.from_numpy(array).to(self.place).to(self.dtype) for array in self.arrays)
        self.calls = {FORWARD: self.forward, TRAINING: self.training}

    @property
    def dtype(self):
        """Of the data."""
        return self.torch.float32

    def results(self, task):
        """Some of every array that a task gives, by name."""
        return {name: self.taken(array) for name, array in self.calls[task]().items()}

    def taken(self, array):
        """Some of its numbers, in the host's memory."""
        if not isinstance(array, np.ndarray | self.torch.Tensor):
            array = self.torch.as_tensor(array, device=self.place)
        if isinstance(array, np.ndarray):
            return sample(array.reshape(-1))
        return sample(array.detach().reshape(-1)).float().cpu().numpy()

    def times(self, task):
        """Seconds of each call of a turn, from an idle GPU to an idle GPU, after one that is not counted."""
        call = self.calls[task]

        def seconds():
            start = time.perf_counter()
            call()
            self.wait()
            return time.perf_counter() - start

        self.wait()
        seconds()
        calls = int(np.clip(TURN / seconds(), *CALLS))
        return [seconds() for _ in range(calls)]

    def wait(self):
        """Until the GPU is idle."""
        self.torch.cuda.synchronize()

    def facts(self):
        """What is worth saying of it."""
        return {}


class Torch(OnGpu):
    """torch.nn.LSTM, which is cuDNN's; unequal lengths as PackedSequence."""

    def __init__(self, problem, precision):
        super().__init__(problem, precision)
        torch, shape = self.torch, (problem.D, problem.H, problem.layers)
        self.net = torch.nn.LSTM(
            *shape, batch_first=True, bidirectional=problem.bidirectional, device=self.place, dtype=self.dtype
        )
        self.net.load_state_dict({name: torch.from_numpy(value) for name, value in problem.weights().items()})
        self.x.requires_grad_()
        if self.lengths is not None:
            self.lengths = torch.from_numpy(self.lengths)

    @property
    def dtype(self):
        """Of data, parameters, and states."""
        return {"fp16": self.torch.float16, "bf16": self.torch.bfloat16}.get(self.precision, self.torch.float32)

    def run(self):
        """The outputs."""
        if self.lengths is None:
            return self.net(self.x)[0]
        rnn = self.torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(self.x, self.lengths, batch_first=True, enforce_sorted=False)
        return rnn.pad_packed_sequence(self.net(packed)[0], batch_first=True)[0]

    def forward(self):
        """Inference."""
        with self.torch.inference_mode():
            return {"y": self.run()}

    def training(self):
        """Outputs and all gradients."""
        self.net.zero_grad(set_to_none=True)
        self.x.grad = None
        y = self.run()
        y.backward(self.dy)
        return {"y": y, "dx": self.x.grad} | {name: value.grad for name, value in self.net.named_parameters()}

    def facts(self):
        """Versions."""
        torch = self.torch
        return {
            "torch": torch.__version__,
            "CUDA of torch": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
        }


class Ours(OnGpu):
    """This library: inference by its public layer, training as `fit` does it.

    So gradients stay on the GPU, as PyTorch's do; `layer.vjp` gives them as NumPy arrays.
    """

    def __init__(self, problem, precision):
        super().__init__(problem, precision)
        from numlstm.backends.dispatch import backend_for

        self.backend = backend_for(self.place)
        self.layer = layer_of(problem, backend=self.place, compute_dtype=PRECISIONS[precision])
        self.stack = self.layer._stack
        self.flat, self.gradient = (self.backend.zeros((self.stack.size(self.backend),), "float32") for _ in range(2))
        self.stack.pack(self.backend, self.layer.parameters, self.flat)
        self.weights = self.stack.prepare(self.backend, self.flat, training=True)
        self.parts = self.stack.split(self.backend, self.gradient)
        self.resident = [self.backend.to_device(array, "float32") for array in self.arrays]

    def forward(self):
        """Inference."""
        return {"y": self.layer(self.x, lengths=self.lengths)[0]}

    def training(self):
        """Outputs and all gradients."""
        (x, dy), backend, stack = self.resident, self.backend, self.stack
        y, final, tapes = stack.forward(backend, self.weights, x, None, self.lengths, training=True)
        none = [[None] * len(states) for states in final]
        dx, _ = stack.backward(backend, self.weights, tapes, x.shape[:2], dy, none, self.parts)
        return {"y": y, "dx": dx}

    def results(self, task):
        """Some of every array that a task gives, by name."""
        made = super().results(task)
        if task == TRAINING:
            gradients = self.stack.unpack(self.backend, self.gradient)
            made |= {name: self.taken(array) for name, array in gradients.items()}
        return made

    def facts(self):
        """What multiplies."""
        from numlstm.backends.cuda.cublas import cublas

        with self.backend.device.current():
            library = cublas()
            return {"cuBLAS of numlstm": "none: products by a plain kernel" if library is None else library.version()}


class OursByVjp(Ours):
    """As users write it: `vjp` and its pullback, which gives the gradients of parameters as NumPy arrays."""

    def training(self):
        """Outputs and all gradients."""
        y, _, pullback = self.layer.vjp(self.x, lengths=self.lengths)
        dx, _, gradients = pullback(self.dy)
        return {"y": y, "dx": dx} | gradients

    results = OnGpu.results


class Peak:
    """What the GPU can do: products of large matrices by PyTorch, and copies."""

    SIZE, BYTES, CALLS = 8192, 1 << 30, 5

    def __init__(self, problem, precision):
        import torch

        self.torch = torch

    def seconds(self, call):
        """The best of some."""
        best = np.inf
        for _ in range(self.CALLS):
            self.torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            self.torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return best

    def rate(self, precision):
        """Operations per second."""
        torch = self.torch
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
        a, b = (torch.randn(self.SIZE, self.SIZE, device="cuda", dtype=dtype) for _ in range(2))
        return 2 * self.SIZE**3 / self.seconds(lambda: a @ b)

    def facts(self):
        """Rates, bytes per second, and what the GPU is."""
        torch = self.torch
        source = torch.zeros(self.BYTES, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        gpu = torch.cuda.get_device_properties(0)
        return {
            "rates": {precision: self.rate(precision) for precision in PRECISIONS},
            "copy": 2 * self.BYTES / self.seconds(lambda: target.copy_(source)),
            "GPU": f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, {gpu.multi_processor_count} multiprocessors",
        }


KINDS = {"numlstm": Ours, "numlstm vjp": OursByVjp, "torch": Torch, "peak": Peak}


def serve(connection, kind, precision, problem):
    """A contestant's process: do what is asked, and answer; errors are answers too."""
    contestant = None
    try:
        contestant = KINDS[kind](problem, precision)
        connection.send((True, contestant.facts()))
        while (request := connection.recv()) is not None:
            method, task = request
            connection.send((True, getattr(contestant, method)(task)))
    except Exception as error:
        connection.send((False, f"{type(error).__name__}: {error}"))
