"""Displays of gates and memory show what the trace holds."""

import builtins
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from numlstm import GRU, LSTM, RNN, LSTMClassifier, LSTMRegressor
from numlstm.inspection import GatesDisplay, MemoryDisplay, plot_gates, plot_memory

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(length, 2)) for length in (9, 12, 7)]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
GATES = {"input_gate", "forget_gate", "output_gate"}


@pytest.fixture(autouse=True)
def closed():
    """Figures do not pile up."""
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def model():
    return LSTMClassifier(hidden_size=5, num_layers=2, max_iter=1, random_state=0).fit(X, [0, 1, 0])


def test_images_are_the_trace(model):
    trace = model.trace(X)
    display = plot_gates(model, X, row=2, layer=3)
    assert isinstance(display, GatesDisplay)
    kept = trace.forget_gate[3, 2, :7]
    constants = -1 / np.log(kept.mean(axis=0, dtype=float))
    assert (np.diff(constants[display.order]) <= 0).all()
    assert set(display.images_) == set(trace)
    for name, image in display.images_.items():
        np.testing.assert_array_equal(image.get_array(), trace[name][3, 2, :7].T[display.order])
        low, high = image.get_clim()
        assert (low, high) == (0, 1) if name in GATES else low == -high < 0
    np.testing.assert_array_equal([line.get_ydata() for line in display.lines_], X[2].T)
    assert len(display.ax_) == 7
    assert all(axes.get_shared_x_axes().joined(axes, display.ax_[0]) for axes in display.ax_)
    assert display.figure_ is display.ax_[0].figure


def test_from_a_trace(model):
    trace = model.trace(X)
    bare = GatesDisplay.from_trace(trace, row=1)
    assert len(bare.ax_) == 6
    assert bare.lines_ == []
    full, same = plot_gates(trace, X, row=1), GatesDisplay.from_estimator(model, X, row=1)
    for name in trace:
        np.testing.assert_array_equal(full.images_[name].get_array(), same.images_[name].get_array())
    memory = plot_memory(trace, X, layer=1)
    np.testing.assert_allclose(memory.time_constants, plot_memory(model, X, layer=1).time_constants)


@pytest.mark.parametrize(("cell", "panels"), [(LSTM, 6), (GRU, 4), (RNN, 1)])
def test_layers_and_cells(cell, panels):
    layer = cell(6, 4, random_state=0)
    one = RNG.normal(size=(10, 6))
    display = plot_gates(layer, one)
    assert len(display.ax_) == panels + 1
    assert not display.lines_  # six channels are a heat map
    np.testing.assert_array_equal(display.images_["input"].get_array(), one.T)
    if cell is GRU:
        constants = -1 / np.log(layer.trace(one).update_gate[0].mean(axis=0, dtype=float))
        np.testing.assert_array_equal(display.order, np.argsort(-constants))
    if cell is RNN:
        np.testing.assert_array_equal(display.order, range(4))


def test_projection():
    display = plot_gates(LSTM(2, 6, proj_size=3, random_state=0), X[0])
    assert display.images_["hidden_state"].get_array().shape == (3, 9)
    assert display.images_["cell_state"].get_array().shape == (6, 9)


def test_axes_of_ones_own(model):
    figure, axes = plt.subplots(7, 1)
    display = plot_gates(model, X, ax=axes)
    assert display.figure_ is figure
    assert list(display.ax_) == list(axes)
    _, (left, _) = plt.subplots(1, 2)
    inside = plot_gates(model, X, ax=left)
    assert inside.figure_ is left.figure
    assert len(inside.ax_) == 7
    with pytest.raises(ValueError, match="ax must hold 7 axes, one for each panel, got 2"):
        plot_gates(model, X, ax=plt.subplots(1, 2)[1])


def test_memory_is_what_was_set():
    """Biases alone rule the gates: f is the sigmoid of 3, -1 and 5; i follows channel 1 in unit 0 alone."""
    layer = LSTM(2, 3, random_state=0)
    parameters = {name: np.zeros_like(array) for name, array in layer.parameters.items()}
    parameters["bias_ih_l0"][3:6] = [3, -1, 5]
    parameters["bias_ih_l0"][9:12] = [0, 2, -2]
    parameters["weight_ih_l0"][0] = [0, 0.01]
    layer.set_parameters(parameters)
    display = plot_memory(layer, X)
    sigmoid = 1 / (1 + np.exp([-3.0, 1.0, -5.0]))
    np.testing.assert_allclose(display.time_constants, -1 / np.log(sigmoid), rtol=1e-4)
    np.testing.assert_array_equal(display.order, [2, 0, 1])
    np.testing.assert_allclose(display.constants_.get_ydata(), display.time_constants[[2, 0, 1]])
    np.testing.assert_allclose(display.read, 1 / (1 + np.exp([0, -2, 2])), rtol=1e-5)
    np.testing.assert_allclose(display.read_.get_ydata(), display.read[[2, 0, 1]])
    assert display.written_by[0, 1] == pytest.approx(1, abs=1e-3)
    assert abs(display.written_by[0, 0]) < 0.5
    np.testing.assert_array_equal(display.written_by[1:], 0)
    np.testing.assert_array_equal(display.image_.get_array(), display.written_by[[2, 0, 1]].T)
    assert isinstance(MemoryDisplay.from_estimator(layer, X), MemoryDisplay)


def test_memory_of_gru_reads_past_no_length():
    layer = GRU(2, 4, random_state=0)
    padded = np.zeros((3, 12, 2))
    for own, x in zip(padded, X, strict=True):
        own[: len(x)] = x
    display = plot_memory(layer, padded, lengths=[9, 12, 7])
    update = [layer.trace(x).update_gate[0] for x in X]
    np.testing.assert_allclose(
        display.time_constants, -1 / np.log(np.concatenate(update).mean(axis=0, dtype=float)), rtol=1e-5
    )
    assert display.names == ("update_gate", "update_gate", "reset_gate")


@pytest.mark.parametrize("plot", [plot_gates, plot_memory])
def test_errors(plot, model):
    with pytest.raises(NotFittedError):
        plot(LSTMRegressor(), X)
    with pytest.raises(ValueError, match="X has 3 features at each step, but LSTMClassifier was fitted with 2"):
        plot(model, [np.zeros((4, 3))])
    with pytest.raises(ValueError, match="layer must be below 4, the number of layers"):
        plot(model, X, layer=4)
    with pytest.raises(TypeError, match="model must be a fitted estimator, a layer or a Trace of numlstm, got str"):
        plot("model", X)
    with pytest.raises(TypeError, match="X must be given with a LSTMClassifier"):
        plot(model, None)


def test_rows_that_are_not_there(model):
    with pytest.raises(ValueError, match="row must be below 3, the number of sequences, got 3"):
        plot_gates(model, X, row=3)
    with pytest.raises(TypeError, match="row must be an integer, got float"):
        plot_gates(model, X, row=1.0)
    with pytest.raises(ValueError, match="X must be what was traced: sequence 0 has 12 steps, and 9 in the trace"):
        plot_gates(model.trace(X), X[1:])


def test_memory_needs_a_gate_that_keeps():
    with pytest.raises(ValueError, match="cells with a forget gate or an update gate, got a trace of hidden_state"):
        plot_memory(RNN(2, 3, random_state=0), X)
    with pytest.raises(TypeError, match="X must hold sequences of numbers, those that were traced"):
        plot_memory(LSTM(2, 3, random_state=0).trace(X), None)


def test_without_matplotlib(model, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r'pip install "numlstm\[plot\]"'):
        plot_gates(model, X)


def test_imports_without_matplotlib():
    code = "import sys, numlstm; numlstm.inspection.plot_gates; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
