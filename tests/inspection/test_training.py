"""How training went, as estimators and the recorder keep it."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from numlstm import LSTM, LSTMClassifier, LSTMRegressor
from numlstm.inspection import TrainingCurveDisplay, TrainingRecordDisplay, TrainingRecorder, plot_learning_curve

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6, 2))
Y = X[:, -1, 0] > 0
FAST = {"hidden_size": 4, "max_iter": 4, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def closed():
    """Figures do not pile up."""
    yield
    plt.close("all")


def test_learning_curve():
    model = LSTMClassifier(**FAST).fit(X[:40], Y[:40], X_val=X[40:], y_val=Y[40:])
    display = plot_learning_curve(model)
    assert isinstance(display, TrainingCurveDisplay)
    for name, line in display.lines_.items():
        np.testing.assert_array_equal(line.get_ydata(), getattr(model, name))
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    assert display.score_ax_.get_ylabel() == "accuracy"
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["training loss", "validation loss", "validation accuracy"]


def test_learning_curve_alone():
    _, axes = plt.subplots()
    display = plot_learning_curve(LSTMRegressor(**FAST).fit(X, X[:, 0, 0]), ax=axes)
    assert display.ax_ is axes
    assert display.figure_ is axes.figure
    assert [*display.lines_] == ["loss_curve_"]
    assert display.score_ax_ is None
    assert display.ax_.get_yscale() == "log"
    assert TrainingCurveDisplay([-1.0, -2.0]).plot().ax_.get_yscale() == "linear"


def test_learning_curve_refuses():
    with pytest.raises(NotFittedError):
        plot_learning_curve(LSTMClassifier())
    with pytest.raises(TypeError, match="model must be a fitted classifier or regressor of numlstm, got LSTM"):
        plot_learning_curve(LSTM(2, 3))


def test_recorder():
    recorder, parameters = TrainingRecorder(), []

    def both(progress):
        recorder(progress)
        parameters.append(progress.parameters())
        gradients = progress.gradients()
        for name in gradients:
            assert recorder.gradients[name][-1] == pytest.approx(np.linalg.norm(gradients[name]))
        assert {name: values[-1] for name, values in recorder.saturated.items()} == progress.saturation()

    model = LSTMClassifier(**FAST, callback=both).fit(X, Y)
    assert recorder.losses == model.loss_curve_
    for name, norms in recorder.weights.items():
        np.testing.assert_allclose(norms, [np.linalg.norm(each[name]) for each in parameters], rtol=1e-6)
        changes = [np.linalg.norm(b[name] - a[name]) for a, b in itertools.pairwise(parameters)]
        np.testing.assert_allclose(recorder.updates[name], [np.nan, *changes], rtol=1e-5)
    assert set(recorder.saturated) == {
        f"{gate}_gate_l0{suffix}" for gate in ("input", "forget", "output") for suffix in ("", "_reverse")
    }


def test_recorder_goes_on_and_starts_anew():
    recorder = TrainingRecorder()
    model = LSTMClassifier(**FAST, callback=recorder)
    model.partial_fit(X, Y, classes=[False, True])
    model.partial_fit(X, Y)
    assert len(recorder.losses) == 2
    assert np.isfinite(recorder.updates["weight_hh_l0"][1])
    recorder.clear()
    model.fit(X, Y)
    assert len(recorder.losses) == 4
    assert clone(model).fit(X, Y).n_iter_ == 4  # a copy of the callback goes with a clone


def test_recorder_is_drawn():
    recorder = TrainingRecorder()
    LSTMClassifier(**FAST, cell="gru", bidirectional=False, callback=recorder).fit(X, Y)
    display = recorder.plot()
    assert isinstance(display, TrainingRecordDisplay)
    assert [*display.lines_] == ["weights", "gradients", "updates", "saturated"]
    for kind, lines in display.lines_.items():
        assert [*lines] == [*getattr(recorder, kind)]
        for name, line in lines.items():
            np.testing.assert_array_equal(line.get_ydata(), getattr(recorder, kind)[name])
    assert len(display.ax_) == 4
    with pytest.raises(ValueError, match="recorder must have seen an epoch"):
        TrainingRecorder().plot()
