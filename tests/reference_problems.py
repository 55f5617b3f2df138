"""Problems for the reference backend, and finite differences."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from numlstm.backends.contract import (
    LayerSpec,
    Noise,
)
from numlstm.backends.reference import ReferenceBackend, activations

BACKEND = ReferenceBackend()
UNEQUAL = np.array([2, 5, 3])
NOISE = Noise(2**64 - 3, 5)
OF_ACTIVATION = dict.fromkeys(activations.VALUES, ()) | {
    "affine": (0.7, 0.2), "scaled_tanh": (1.7, 0.6), "leaky_relu": (0.1,), "thresholded_relu": (0.3,),
    "hard_sigmoid": (0.4, 0.5), "elu": (0.8,),
}  # fmt: skip


@dataclass
class Problem:
    """A layer, and everything that `sequence_forward` takes."""

    spec: LayerSpec
    flat: np.ndarray
    x: np.ndarray
    initial: tuple[np.ndarray | None, ...]
    lengths: np.ndarray | None = None
    reverse: bool = False
    noise: Noise | None = None

    @property
    def past(self) -> np.ndarray:
        """Mask (N, T) of what lies past the rows' lengths."""
        n_rows, n_steps, _ = self.x.shape
        lengths = np.full(n_rows, n_steps) if self.lengths is None else self.lengths
        return np.arange(n_steps) >= lengths[:, np.newaxis]

    def forward(self, outputs=None, training=True, traces=None):
        """Outputs, final states and tape; what is to be overwritten is NaN before."""
        if outputs is None:
            outputs = [np.full((*self.x.shape[:2], size), np.nan, self.spec.dtype) for size in self.spec.state_sizes]
        weights = BACKEND.prepare(self.spec, self.flat, training)
        final, tape = BACKEND.sequence_forward(
            weights,
            self.x,
            self.initial,
            outputs,
            lengths=self.lengths,
            reverse=self.reverse,
            training=training,
            noise=self.noise,
            traces=traces,
        )
        return outputs, final, tape

    def gates(self):
        """The gates at every step, by their public names."""
        shape = (*self.x.shape[:2], self.spec.hidden_size)
        traces = {name: np.full(shape, np.nan) for name, _ in self.spec.description.traces}
        self.forward(training=False, traces=traces)
        return traces

    def backward(self, doutputs, dfinal):
        """Gradients by name; entries of `doutputs` past the lengths are NaN for the backend."""
        doutputs = [None if d is None else np.where(self.past[..., np.newaxis], np.nan, d) for d in doutputs]
        _, _, tape = self.forward([None] * len(self.initial))
        weights = BACKEND.prepare(self.spec, self.flat, True)
        gradient, dx = np.full_like(self.flat, np.nan), np.full_like(self.x, np.nan)
        dinitial = BACKEND.sequence_backward(weights, tape, doutputs, dfinal, gradient, dx)
        return {"flat": gradient, "x": dx} | {f"initial {k}": d for k, d in enumerate(dinitial)}


def make_problem(
    n=3, t=5, d=3, h=4, *, bias=True, given=True, lengths=None, reverse=False, noise=None,
    cell="lstm", options=(), **added,
):  # fmt: skip
    """A random problem in float64, whose x is NaN past the lengths."""
    rng = np.random.default_rng(7)
    spec = LayerSpec(cell, d, h, bias, "float64", options, **added)
    x, flat = rng.normal(size=(n, t, d)), rng.normal(0.0, 0.6, BACKEND.size(spec))
    initial = tuple(rng.normal(size=(n, size)) if given else None for size in spec.state_sizes)
    problem = Problem(spec, flat, x, initial, lengths, reverse, noise)
    x[problem.past] = np.nan
    return problem


def make_sources(problem):
    """Where gradients may come from: pairs (doutputs, dfinal), by name."""
    rng = np.random.default_rng(11)
    n, t, _ = problem.x.shape
    sizes = problem.spec.state_sizes
    none = [None] * len(sizes)
    every_step = [rng.normal(size=(n, t, size)) for size in sizes]
    at_end = [rng.normal(size=(n, size)) for size in sizes]
    return {
        "output": ([every_step[0], *none[1:]], none),
        "last state": ([*none[1:], every_step[-1]], none),
        "final": (none, at_end),
        "all": (every_step, at_end),
    }


def dot(gradients, values):
    return sum(np.vdot(g, v) for g, v in zip(gradients, values, strict=True) if g is not None)


def differences(function, array, eps=1e-5):
    """Central differences with respect to `array`, changed in place; a vector's axis comes first."""
    columns = []
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + eps
        above = np.array(function())
        array[index] = value - eps
        columns.append((above - function()) / (2 * eps))
        array[index] = value
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *array.shape)


def assert_close(actual, expected, tolerance=1e-6):
    """Within `tolerance` of the largest entry; zeros where all is zero."""
    assert actual.shape == expected.shape
    assert np.max(np.abs(actual - expected)) <= tolerance * np.max(np.abs(expected))


def expected_gradients(problem, sources):
    """What `backward` should give, by finite differences, with an axis for the sources in front."""
    # A state that is None stands for zeros, and has a gradient all the same.
    zeros = (np.zeros((len(problem.x), size)) for size in problem.spec.state_sizes)
    initial = tuple(z if s is None else s for z, s in zip(zeros, problem.initial, strict=True))
    problem = replace(problem, initial=initial)

    def losses():
        outputs, final, _ = problem.forward(training=False)
        return [dot(doutputs, outputs) + dot(dfinal, final) for doutputs, dfinal in sources.values()]

    arrays = {"flat": problem.flat, "x": problem.x}
    arrays |= {f"initial {k}": array for k, array in enumerate(problem.initial)}
    return {name: differences(losses, array) for name, array in arrays.items()}


def assert_gradients(problem):
    sources = make_sources(problem)
    expected = expected_gradients(problem, sources)
    for k, (doutputs, dfinal) in enumerate(sources.values()):
        actual = problem.backward(doutputs, dfinal)
        assert actual.keys() == expected.keys()
        by_name = BACKEND.unpack(problem.spec, actual.pop("flat"))
        for name, value in BACKEND.unpack(problem.spec, expected["flat"][k]).items():
            assert_close(by_name[name], value)
        for name in actual:
            assert_close(actual[name], expected[name][k])


def steps_before(problem, output, initial):
    """A state before each step (not in reverse)."""
    return np.concatenate([initial[:, np.newaxis], output[:, :-1]], axis=1)
