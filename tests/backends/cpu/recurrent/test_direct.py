"""Steps of one row that go past `forward`: they have its bits."""

import numba
import numpy as np
import pytest

from numlstm import GRU, LSTM, RNN, cells
from numlstm.backends.cpu.linear import halves
from numlstm.backends.cpu.recurrent import jit_step
from numlstm.cells.elementary import sigmoid, tanh
from numlstm.layers import Layer

RNG = np.random.default_rng(0)
STEPS, INPUTS = 200, 3
SIZES = (1, 4, 7, 16, 17, 33, 64)  # less than a vector, whole vectors, several panels; with AVX2 and AVX-512
DIRECT = {
    "lstm": (LSTM, {}),
    "lstm, without biases": (LSTM, {"bias": False}),
    "lstm, peepholes": (LSTM, {"peepholes": True}),
    "lstm, coupled": (LSTM, {"coupled_gates": True}),
    "lstm, no output gate": (LSTM, {"output_gate": False}),
    "lstm, clipped": (LSTM, {"cell_clip": 0.5, "preactivation_clip": 1.0, "input_activation": ("elu", 0.7)}),
    "gru": (GRU, {}),
    "gru, squashed otherwise": (GRU, {"recurrent_activation": "hard_sigmoid", "input_activation": ("elu", 0.7)}),
    "rnn": (RNN, {}),
    "rnn, rectified": (RNN, {"nonlinearity": "relu"}),
}
OTHERS = {
    "lstm, projected": (LSTM, {"proj_size": 2}),
    "lstm, normalised": (LSTM, {"layer_norm": True}),
    "lstm, all gates seen": (LSTM, {"full_gate_recurrence": True}),
    "lstm, dropped": (LSTM, {"recurrent_dropout": 0.4, "recurrent_dropout_mode": "candidate"}),
    "gru, reset before": (GRU, {"reset_after": False}),
}


PARTS = ("inner",), ("outer",)
TWO_PHASES = cells.Cell(  # it hands nothing on but its states, and its second phase has a product of x alone
    name="two phases",
    states=("h", "c"),
    phases=(
        cells.Phase(
            gates=PARTS[0],
            products=(cells.Product(PARTS[0], "x", "w", rows=(0,)), cells.Product(PARTS[0], "h_prev", "r", rows=(0,))),
            reads=("c_prev",), gives=("c",), keeps=(), uses=(),
            forward=lambda one, v: (tanh(v.inner) + v.c_prev,), backward=None,
        ),
        cells.Phase(
            gates=PARTS[1], products=(cells.Product(PARTS[1], "x", "w", rows=(1,)),),
            reads=("c",), gives=("h",), keeps=(), uses=(),
            forward=lambda one, v: (sigmoid(v.outer) * v.c,), backward=None,
        ),
    ),
    parameters=(cells.Parameter("w", 2, columns="input"), cells.Parameter("r", 1, columns="hidden")),
)  # fmt: skip


class TwoPhases(Layer):
    """A layer of such cells."""

    cell = "two phases"


@numba.njit
def run(step, x, state, y):
    for t in range(len(x)):
        step(x[t], state, y[t])


def step_of(layer, rows=1):
    return layer.stream(rows).jit_step


def with_biases(layer):
    """The layer, with a bias of its own for each unit."""
    biases = {name: value for name, value in layer.parameters.items() if name.startswith("bias")}
    layer.set_parameters(layer.parameters | {name: RNG.normal(size=value.shape) for name, value in biases.items()})
    return layer


def direct_layers(step):
    """For each layer whether it is direct."""
    return [bool(at) for at in step._layers["direct"]]


class Arrays:
    """A state and outputs in the middle of an array of ones, each behind one number: on no vector's boundary."""

    def __init__(self, layer, steps, sizes):
        kind = layer.dtype
        ends = np.cumsum([1 + size for size in (*sizes, steps * layer.output_size)])
        self.memory = np.ones(ends[-1] + 1, kind)
        starts = [0, *ends[:-1]]
        *self.state, self.y = (self.memory[start + 1 : end] for start, end in zip(starts, ends, strict=True))
        self.inside = np.zeros(len(self.memory), bool)
        for start, end in zip(starts, ends, strict=True):
            self.inside[start + 1 : end] = True
        for k, array in enumerate(self.state):
            array[...] = np.random.default_rng(k).normal(size=len(array))
        self.y = self.y.reshape(steps, -1)

    def run(self, step, x):
        """All numbers after some steps; those around the arrays must be as they were."""
        run(step, x, tuple(self.state) if len(self.state) > 1 else self.state[0], self.y)
        assert (self.memory[~self.inside] == 1).all()
        return self.memory.tobytes()


def check(layer, monkeypatch, direct):
    """A layer has the bits of `forward`, in all steps and the last state."""
    x = RNG.normal(size=(STEPS, layer.input_size)).astype(layer.dtype)
    step = step_of(with_biases(layer))
    assert direct_layers(step) == direct
    got = Arrays(layer, STEPS, step.state_sizes).run(step, x)
    with monkeypatch.context() as patched:
        patched.setattr(jit_step, "is_direct", lambda layer: False)
        whole = step_of(layer)
    assert not any(direct_layers(whole))
    assert got == Arrays(layer, STEPS, step.state_sizes).run(whole, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "options"), DIRECT.values(), ids=DIRECT)
def test_they_have_the_bits_of_forward(kind, options, dtype, monkeypatch):
    for size in SIZES:
        check(kind(INPUTS, size, dtype=dtype, random_state=size, backend="cpu", **options), monkeypatch, [True])


@pytest.mark.parametrize(("kind", "options"), OTHERS.values(), ids=OTHERS)
def test_other_layers_take_forward(kind, options):
    layer = kind(INPUTS, 16, random_state=0, backend="cpu", **options)
    assert direct_layers(step_of(layer)) == [False]


def test_a_cell_of_two_phases_takes_forward(monkeypatch):
    monkeypatch.setitem(cells._registry, "two phases", cells.Family({}, lambda options, **_: TWO_PHASES))
    layer = TwoPhases(INPUTS, 16, random_state=0, backend="cpu")
    step, x = step_of(layer), RNG.normal(size=(STEPS, INPUTS)).astype("f4")
    assert direct_layers(step) == [False]
    w, r = layer.parameters["w_l0"], layer.parameters["r_l0"]
    h, c, y = np.zeros(16), np.zeros(16), np.empty((STEPS, 16), "f4")
    run(step, x, (np.zeros(16, "f4"), np.zeros(16, "f4")), y)
    for x_t, y_t in zip(x, y, strict=True):
        inner, outer = np.split(w @ x_t, 2)
        c = np.tanh(inner + r @ h) + c
        h = c / (1 + np.exp(-outer))
        np.testing.assert_allclose(y_t, h, rtol=1e-4, atol=1e-4)


def test_products_of_fewer_bits_take_forward(monkeypatch):
    monkeypatch.setattr(halves, "supported", lambda: True)
    layer = LSTM(INPUTS, 16, compute_dtype="bfloat16", random_state=0, backend="cpu")
    assert direct_layers(step_of(layer)) == [False]


def test_several_rows_take_forward():
    assert direct_layers(step_of(LSTM(INPUTS, 16, random_state=0, backend="cpu"), rows=2)) == [False]


@pytest.mark.parametrize(
    ("kind", "hidden", "options"),
    [
        (LSTM, 16, {}),
        (LSTM, 9, {"residual": True}),
        (LSTM, 16, {"residual": True}),
        (LSTM, [16, 7, 33], {}),
        (GRU, 16, {"residual": True}),
        (GRU, [4, 20, 64], {}),
        (RNN, [5, 64, 5], {}),
    ],
)
def test_layers_on_top_of_one_another(kind, hidden, options, monkeypatch):
    layer = kind(INPUTS, hidden, num_layers=3, random_state=0, backend="cpu", **options)
    check(layer, monkeypatch, [True] * 3)


@pytest.mark.parametrize("units", [5, 16])
@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_the_state_may_be_the_input_and_the_output(kind, units):
    step, layers = step_of(kind(units, units, random_state=0, backend="cpu")), 2 if kind is LSTM else 1
    first = RNG.normal(size=(layers, units)).astype("f4")
    state, y = list(first.copy()), np.empty((1, units), "f4")
    run(step, first[:1].copy(), tuple(state) if layers > 1 else state[0], y)
    h, *others = first.copy()
    run(step, h[None], (h, *others) if others else h, h[None])
    assert h.tobytes() == y.tobytes()
    assert np.array(others).tobytes() == np.array(state[1:]).tobytes()
