"""One layer and its batch, as the benchmarks against other libraries use them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FORWARD, TRAINING = "forward", "forward + BPTT"
BLOCKS = {"lstm": 4, "gru": 3, "rnn": 1, "peepholes": 4, "layer_norm": 4}  # rows of the weights, as multiples of H
KINDS = {"gru": "GRU", "rnn": "RNN"}
OPTIONS = {"peepholes": {"peepholes": True}, "layer_norm": {"layer_norm": True}}
EXTRAS = {"peepholes": {"peephole": 3}, "layer_norm": {"layer_norm_weight": 5, "layer_norm_bias": 5}}
REPEATED = 1048573  # number of random numbers that large arrays repeat: a prime, so that rows differ


@dataclass(frozen=True)
class Problem:
    """T steps of N sequences with D features, through layers of H units."""

    T: int
    N: int
    D: int
    H: int
    layers: int = 1
    bidirectional: bool = False
    ragged: bool = False
    cell: str = "lstm"

    def __str__(self):
        words = [f"({self.T}, {self.N}, {self.D}, {self.H})"]
        words += [f"{self.layers} layers"] if self.layers > 1 else []
        words += ["bidirectional"] if self.bidirectional else []
        words += ["lengths 1..T"] if self.ragged else []
        return ", ".join(words)

    @property
    def directions(self):
        """Number of directions."""
        return 1 + self.bidirectional

    @property
    def outputs(self):
        """Number of output features."""
        return self.H * self.directions

    @property
    def names(self):
        """Suffixes of parameter names and input sizes, for each layer and direction."""
        return [
            (f"_l{layer}{suffix}", self.outputs if layer else self.D)
            for layer in range(self.layers)
            for suffix in ("", "_reverse")[: self.directions]
        ]

    def weights(self):
        """Parameters with PyTorch's names; the same in every process."""
        rng, rows, weights = np.random.default_rng(0), BLOCKS[self.cell] * self.H, {}
        for suffix, inputs in self.names:
            shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, self.H), "bias_ih": (rows,), "bias_hh": (rows,)}
            shapes |= {name: (blocks * self.H,) for name, blocks in EXTRAS.get(self.cell, {}).items()}
            for name, shape in shapes.items():
                weights[name + suffix] = (2 * rng.random(shape, np.float32) - 1) / np.float32(self.H**0.5)
        return weights

    def data(self):
        """Input, gradient of the output, and lengths; the same in every process."""
        rng = np.random.default_rng(1)
        shapes = (self.N, self.T, self.D), (self.N, self.T, self.outputs)
        x, dy = (np.resize(rng.standard_normal(min(REPEATED, np.prod(shape)), np.float32), shape) for shape in shapes)
        lengths = self.lengths()
        if lengths is not None:
            for row, length in enumerate(lengths):
                x[row, length:], dy[row, length:] = 0, 0
        return x, dy, lengths

    def lengths(self):
        """Number of steps of each sequence, one of which is T; None if all have T steps."""
        if not self.ragged:
            return None
        rng = np.random.default_rng(2)
        lengths = rng.integers(1, self.T + 1, self.N)
        lengths[rng.integers(self.N)] = self.T
        return lengths

    @property
    def steps(self):
        """Steps of all sequences."""
        return self.T * self.N if not self.ragged else int(self.lengths().sum())

    def vectors(self, lanes):
        """Vectors of units whose equations are computed."""
        return self.steps * self.layers * self.directions * -(-self.H // lanes)

    def flop(self, training):
        """Number of operations of the products, without padding."""
        per_step = 2 * BLOCKS[self.cell] * self.H * sum(inputs + self.H for _, inputs in self.names)
        return self.steps * per_step * (3 if training else 1)


def layer_of(problem, **options):
    """The layer of numlstm, with the weights of the problem."""
    import numlstm

    kind = getattr(numlstm, KINDS.get(problem.cell, "LSTM"))
    shape = problem.D, problem.H, problem.layers
    layer = kind(*shape, bidirectional=problem.bidirectional, **OPTIONS.get(problem.cell, {}), **options)
    layer.set_parameters(problem.weights())
    return layer


def reference_results(problem):
    """The outputs and all gradients of the reference backend in float64, by name."""
    x, dy, lengths = problem.data()
    y, _, pullback = layer_of(problem, backend="reference", dtype="float64").vjp(x, lengths=lengths)
    dx, _, gradients = pullback(dy)
    return {"y": y, "dx": dx} | gradients


def torch_outputs(torch, net, x, lengths):
    """The outputs of a recurrent module of PyTorch; unequal lengths are packed and unpacked."""
    if lengths is None:
        return net(x)[0]
    rnn = torch.nn.utils.rnn
    packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return rnn.pad_packed_sequence(net(packed)[0], batch_first=True)[0]
