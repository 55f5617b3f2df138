"""One LSTM layer on a backend, called the way the layers above call it: its buffers, and all results by name."""

from dataclasses import dataclass, replace

import numpy as np

from numlstm.backends.contract import LayerSpec
from numlstm.backends.cpu.backend import CpuBackend

CPU = CpuBackend()
OF_ROWS = (
    "h",
    "c",
    "final h",
    "final c",
    "dx",
    "dinitial h",
    "dinitial c",
)  # results that have a row for each sequence


@dataclass(frozen=True)
class Problem:
    """A layer, and everything that goes into a forward and a backward pass."""

    spec: LayerSpec
    parameters: dict[str, np.ndarray]
    x: np.ndarray
    initial: tuple[np.ndarray, ...]
    doutputs: tuple[np.ndarray, ...]
    dfinal: tuple[np.ndarray, ...]
    lengths: np.ndarray | None = None
    reverse: bool = False

    def of_rows(self, rows) -> "Problem":
        """The same layer on some of the rows, in that order."""
        initial, doutputs, dfinal = (
            tuple(array[rows] for array in arrays) for arrays in (self.initial, self.doutputs, self.dfinal)
        )
        lengths = None if self.lengths is None else self.lengths[rows]
        return replace(self, x=self.x[rows], initial=initial, doutputs=doutputs, dfinal=dfinal, lengths=lengths)


def make_problem(rows, steps, inputs, units, *, ragged=False, reverse=False, dtype="float32", seed=0) -> Problem:
    """A random problem; `ragged` lengths are anything from 1 to `steps`, both included."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(dtype)

    spec = LayerSpec("lstm", inputs, units, dtype=dtype)
    return Problem(
        spec,
        {name: (0.4 * draw(*shape)).astype(dtype) for name, shape in spec.shapes.items()},
        draw(rows, steps, inputs),
        (draw(rows, units), draw(rows, units)),
        (draw(rows, steps, units), draw(rows, steps, units)),
        (draw(rows, units), draw(rows, units)),
        rng.permutation([1, steps, *rng.integers(1, steps + 1, rows)])[:rows] if ragged else None,
        reverse,
    )


def packed(problem, backend=CPU):
    """The flat vector of a problem's parameters."""
    flat = np.zeros(backend.size(problem.spec), problem.spec.dtype)
    backend.pack(problem.spec, problem.parameters, flat)
    return flat


def forward(problem, backend=CPU, *, training=True):
    """Results of a forward pass by name, with the weights and the tape."""
    shape = (*problem.x.shape[:2], problem.spec.hidden_size)
    outputs = [np.full(shape, np.nan, problem.spec.dtype) for _ in problem.initial]
    weights = backend.prepare(problem.spec, packed(problem, backend))
    final, tape = backend.sequence_forward(
        weights, problem.x, problem.initial, outputs,
        lengths=problem.lengths, reverse=problem.reverse, training=training,
    )  # fmt: skip
    return named(outputs, final), weights, tape


def run(problem, backend=CPU):
    """All results of a forward and a backward pass, by name."""
    results, weights, tape = forward(problem, backend)
    gradient, dx = np.full(backend.size(problem.spec), np.nan, problem.spec.dtype), np.full_like(problem.x, np.nan)
    dinitial = backend.sequence_backward(weights, tape, problem.doutputs, problem.dfinal, gradient, dx)
    return results | named_gradients(dx, dinitial, backend.unpack(problem.spec, gradient))


def named(outputs, final):
    """Results of a forward pass by name."""
    return {"h": outputs[0], "c": outputs[1], "final h": final[0], "final c": final[1]}


def named_gradients(dx, dinitial, dparameters):
    """Results of a backward pass by name."""
    return {"dx": dx, "dinitial h": dinitial[0], "dinitial c": dinitial[1]} | dparameters


def assert_same_bits(results, expected):
    """All arrays named in `expected` are equal to the bit."""
    for name, array in expected.items():
        got = results[name]
        assert got.shape == array.shape, name
        assert got.tobytes() == array.tobytes(), f"{name}: {np.count_nonzero(got != array)} of {array.size} differ"
