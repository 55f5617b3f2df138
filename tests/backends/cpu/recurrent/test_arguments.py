"""Arguments of kernels are kept from step to step of training: another array, length or direction makes new ones."""

import numpy as np

from numlstm.backends.contract import LayerSpec, Noise
from numlstm.backends.cpu.backend import CpuBackend

CPU = CpuBackend()
ROWS, STEPS, INPUTS, UNITS = 7, 5, 3, 9
RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype("f4")


def prepared():
    spec = LayerSpec("lstm", INPUTS, UNITS, recurrent_dropout=0.5)
    flat = CPU.zeros((CPU.size(spec),), "float32")
    rng = np.random.default_rng(1)
    CPU.pack(spec, {name: rng.normal(size=shape).astype("f4") for name, shape in spec.shapes.items()}, flat)
    return CPU.prepare(spec, flat, training=True)


def step(weights, call):
    """All results of a step of training."""
    y = np.full((ROWS, STEPS, UNITS), np.nan, "f4")
    final, tape = CPU.sequence_forward(
        weights, call["x"], call["initial"], [y, None], lengths=call["lengths"], reverse=call["reverse"],
        training=True, noise=Noise(call["seed"], 0),
    )  # fmt: skip
    gradient, dx = np.full(CPU.size(weights.weights.packing.spec), np.nan, "f4"), np.full_like(call["x"], np.nan)
    dinitial = CPU.sequence_backward(weights, tape, [call["dy"], None], call["dfinal"], gradient, dx)
    return [np.array(array) for array in (y, *final, gradient, dx, *dinitial)]


def test_each_call_reads_its_own_arrays():
    first = {
        "x": draw(ROWS, STEPS, INPUTS), "initial": [None, None], "lengths": None, "reverse": False, "seed": 1,
        "dy": draw(ROWS, STEPS, UNITS), "dfinal": [None, None],
    }  # fmt: skip
    changes = [
        {},
        {"x": draw(ROWS, STEPS, INPUTS)},
        {"x": draw(STEPS, ROWS, INPUTS).swapaxes(0, 1)},
        {"initial": [draw(ROWS, UNITS), draw(ROWS, UNITS)]},
        {"lengths": RNG.integers(1, STEPS + 1, ROWS)},
        {"lengths": RNG.integers(1, STEPS + 1, ROWS)},
        {"reverse": True},
        {"seed": 2},
        {"dy": draw(ROWS, STEPS, UNITS)},
        {"dy": None, "dfinal": [draw(ROWS, UNITS), None]},
        {"dfinal": [draw(ROWS, UNITS), draw(ROWS, UNITS)]},
    ]
    kept = prepared()
    for change in (*changes, *changes[::-1]):
        for ours, expected in zip(step(kept, first | change), step(prepared(), first | change), strict=True):
            assert ours.tobytes() == expected.tobytes(), change


def test_a_step_with_the_same_arrays_finds_its_arguments():
    spec = LayerSpec("lstm", INPUTS, UNITS)
    weights = CPU.prepare(spec, np.zeros(CPU.size(spec), "f4"), training=True)
    x, dh = draw(ROWS, STEPS, INPUTS), draw(ROWS, UNITS)
    gradient = np.empty(CPU.size(spec), "f4")
    for _ in range(3):
        _, tape = CPU.sequence_forward(weights, x, [None, None], [None, None], training=True)
        CPU.sequence_backward(weights, tape, [None, None], [dh, None], gradient)
    assert (len(tape.buffers.calls), len(tape.buffers.backward.calls)) == (1, 1)
