"""What `gpu_peers.py` compares: this library and PyTorch on one GPU, each in a process of its own."""

from __future__ import annotations

import time

import numpy as np
from problems import FORWARD, TRAINING, layer_of, torch_outputs

PRECISIONS = {"fp32": None, "tf32": "tf32", "fp16": "float16", "bf16": "bfloat16"}  # and their names in this library
SAMPLE = 1 << 16  # greatest number of numbers of an array that are compared
TURN = 0.25  # approximate duration of a turn, in seconds
CALLS = 3, 300  # least and greatest number of calls in a turn


def sample(flat):
    """Some numbers of a vector. Their distance is odd, so that they come from all units."""
    return flat[:: max(1, len(flat) // SAMPLE) | 1]


class Contestant:
    """Base class of contestants: the data are PyTorch's tensors, on the GPU from the start."""

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
        """The dtype of the data."""
        return self.torch.float32

    def results(self, task):
        """A sample of every array that a task computes, by name."""
        return {name: self.sampled(array) for name, array in self.calls[task]().items()}

    def sampled(self, array):
        """A sample of the numbers in an array, in the host's memory."""
        if not isinstance(array, np.ndarray | self.torch.Tensor):
            array = self.torch.as_tensor(array, device=self.place)
        if isinstance(array, np.ndarray):
            return sample(array.reshape(-1))
        return sample(array.detach().reshape(-1)).float().cpu().numpy()

    def times(self, task):
        """Seconds of each call in a turn, from an idle GPU to an idle GPU; a first call does not count."""
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
        """Wait until the GPU is idle."""
        self.torch.cuda.synchronize()

    def facts(self):
        """Facts for the report."""
        return {}


class Torch(Contestant):
    """torch.nn.LSTM, which calls cuDNN; unequal lengths are a PackedSequence."""

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
        """The dtype of data, parameters and states."""
        return {"fp16": self.torch.float16, "bf16": self.torch.bfloat16}.get(self.precision, self.torch.float32)

    def run(self):
        """The outputs."""
        return torch_outputs(self.torch, self.net, self.x, self.lengths)

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


class Ours(Contestant):
    """This library: inference with the public layer, and training as in `fit`.

    In this way gradients stay on the GPU, as in PyTorch; `layer.vjp` copies them to NumPy arrays.
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
        dx, _ = stack.backward(backend, self.weights, tapes, x.shape[:2], dy, none, self.parts, input_shape=x.shape)
        return {"y": y, "dx": dx}

    def results(self, task):
        """A sample of every array that a task computes, by name."""
        results = super().results(task)
        if task == TRAINING:
            gradients = self.stack.unpack(self.backend, self.gradient)
            results |= {name: self.sampled(array) for name, array in gradients.items()}
        return results

    def facts(self):
        """The library that computes products."""
        from numlstm.backends.cuda.cublas import cublas

        with self.backend.device.current():
            library = cublas()
            return {"cuBLAS of numlstm": "none: products by a plain kernel" if library is None else library.version()}


class OursByVjp(Ours):
    """This library with `vjp` and its pullback, which returns the gradients of parameters as NumPy arrays."""

    def training(self):
        """Outputs and all gradients."""
        y, _, pullback = self.layer.vjp(self.x, lengths=self.lengths)
        dx, _, gradients = pullback(self.dy)
        return {"y": y, "dx": dx} | gradients

    results = Contestant.results


class Peak:
    """The speed of the GPU: products of large matrices with PyTorch, and copies."""

    SIZE, BYTES, CALLS = 8192, 1 << 30, 5

    def __init__(self, problem, precision):
        import torch

        self.torch = torch

    def seconds(self, call):
        """The least duration of several calls."""
        best = np.inf
        for _ in range(self.CALLS):
            self.torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            self.torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return best

    def rate(self, precision):
        """Operations per second of a product of large matrices."""
        torch = self.torch
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
        a, b = (torch.randn(self.SIZE, self.SIZE, device="cuda", dtype=dtype) for _ in range(2))
        return 2 * self.SIZE**3 / self.seconds(lambda: a @ b)

    def facts(self):
        """Operations per second, copied bytes per second, and the name of the GPU."""
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
    """The process of a contestant: it answers requests; errors are answers, too."""
    contestant = None
    try:
        contestant = KINDS[kind](problem, precision)
        connection.send((True, contestant.facts()))
        while (request := connection.recv()) is not None:
            method, task = request
            connection.send((True, getattr(contestant, method)(task)))
    except Exception as error:
        connection.send((False, f"{type(error).__name__}: {error}"))
