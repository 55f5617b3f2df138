"""The flow of gradients is held to central differences, and to what is known of cells."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from numlstm import LSTM, LSTMClassifier, LSTMRegressor
from numlstm.inspection import GradientFlowDisplay, gradient_flow, plot_gradient_flow

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(length, 2)) for length in (6, 4, 5)]
LABELS = [0, 1, 1]
EPSILON = 1e-6
FAST = {"hidden_size": 3, "max_iter": 2, "dtype": "float64", "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def closed():
    """Figures do not pile up."""
    yield
    plt.close("all")


def loss_from(model, row, step, h, c=None):
    """The part of one sequence in the mean cross-entropy, with the state after a step replaced."""
    (layer,) = model.layers_
    x = ((X[row] - model.channel_mean_) / model.channel_scale_)[None]
    y_before, state = layer(x[:, : step + 1])
    outputs = y_before.copy()
    outputs[0, step] = h
    state = h[None, None] if c is None else (h[None, None], c[None, None])
    if step + 1 < x.shape[1]:
        after, _ = layer(x[:, step + 1 :], state)
        outputs = np.concatenate([outputs, after], axis=1)
    features = {"last": [outputs[0, -1]], "mean": [outputs[0].mean(axis=0)],
                "concat": [outputs[0, -1], outputs[0].max(axis=0), outputs[0].mean(axis=0)]}[model.pooling]  # fmt: skip
    scores = model.coef_ @ np.concatenate(features) + model.intercept_
    return (np.log(np.exp(scores).sum()) - scores[LABELS[row]]) / len(X)


def central(function, at):
    """The gradient by central differences."""
    return np.array([(function(at + e) - function(at - e)) / (2 * EPSILON) for e in EPSILON * np.eye(len(at))])


@pytest.mark.parametrize("pooling", ["last", "mean", "concat"])
@pytest.mark.parametrize(
    ("cell", "options"), [("lstm", {}), ("lstm", {"peepholes": True}), ("gru", {}), ("rnn", {"nonlinearity": "relu"})]
)
def test_central_differences(cell, options, pooling):
    model = LSTMClassifier(cell=cell, pooling=pooling, bidirectional=False, **FAST, **options).fit(X, LABELS)
    flow = gradient_flow(model, X, LABELS)
    trace = model.trace(X)
    for row, x in enumerate(X):
        for step in range(len(x)):
            h = trace.hidden_state[0, row, step]
            c = trace.cell_state[0, row, step] if cell == "lstm" else None
            expected = np.linalg.norm(central(lambda h: loss_from(model, row, step, h, c), h))  # noqa: B023
            assert flow.hidden[0, row, step] == pytest.approx(expected, rel=1e-6, abs=1e-10)
            if c is not None:
                expected = np.linalg.norm(central(lambda c: loss_from(model, row, step, h, c), c))  # noqa: B023
                assert flow.cell[0, row, step] == pytest.approx(expected, rel=1e-6, abs=1e-10)
        for values in (flow.hidden, flow.kept, *([] if c is None else [flow.cell])):
            assert np.isnan(values[0, row, len(x) :]).all()
    assert (flow.cell is None) == (cell != "lstm")


@pytest.mark.parametrize(
    "options",
    [
        {"bidirectional": True},
        {"bidirectional": True, "merge": "mean", "pooling": "last"},
        {"residual": True, "bidirectional": False},
        {"bidirectional": True, "merge": "sum", "residual": True},
    ],
)
def test_stacks_end_at_the_inputs(options, monkeypatch):
    """Taken back through all layers and steps, the gradient of x is that of the network as a whole."""
    from numlstm.inspection import gradients

    lowest = []
    real = gradients._BackwardWalk.back
    monkeypatch.setattr(gradients._BackwardWalk, "back", lambda *args: lowest.append(real(*args)) or lowest[-1])
    model = LSTMClassifier(
        num_layers=2, **{**FAST, "hidden_size": [3, 3] if "residual" in options else [4, 3]}, **options
    )
    model.fit(X, LABELS)
    lesson = gradients.lesson_of(model, X, LABELS)
    gradient_flow(model, X, LABELS)
    scores, pullback = lesson.model.scores_vjp(lesson.x, lesson.ragged)
    targets, weights = lesson.data.targets.take(np.arange(3), 3)
    dx = pullback(lesson.model.loss(scores, targets, weights)[1])[0]
    assert np.abs(dx).max() > 1e-4
    np.testing.assert_allclose(lowest[-1], np.where(lesson.inside[..., None], dx, 0), rtol=1e-9, atol=1e-15)


def test_loss_is_that_of_fit():
    model = LSTMRegressor(**FAST, scale_targets=False, pooling="last").fit(X, [0.5, 1.0, 2.0])
    expected = np.mean((model.predict(X) - [0.5, 1.0, 2.0]) ** 2)
    assert gradient_flow(model, X, [0.5, 1.0, 2.0]).loss == pytest.approx(expected)


def test_targets_for_steps():
    y = [np.cumsum(x[:, 0]) for x in X]
    model = LSTMRegressor(**FAST).fit(X, y)
    flow = gradient_flow(model, X, y)
    assert (flow.hidden[0, 0, :6] > 0).all()


def set_weights(model, forget_bias, recurrent):
    """An LSTM whose forget gates are ruled by a bias alone, with R a multiple of the identity."""
    size = model.hidden_size
    parameters = {name: np.array(array) for name, array in model.parameters.items()}
    parameters["weight_hh_l0"][:] = np.tile(recurrent * np.eye(size), (4, 1))
    for name in ("weight_hh_l0", "weight_ih_l0"):
        parameters[name][size : 2 * size] = 0
    parameters["bias_ih_l0"][size : 2 * size] = forget_bias
    parameters["bias_hh_l0"][:] = 0
    model.set_parameters(parameters)
    return model


def test_what_forget_gates_carry():
    """Without recurrent weights all that comes back passes the forget gates, and shrinks by f at each step."""
    model = LSTMRegressor(pooling="last", **FAST).fit(X, [0.0, 1.0, 2.0])
    flow = gradient_flow(set_weights(model, 2.0, 0.0), X, [0.0, 1.0, 2.0])
    inside = ~np.isnan(flow.kept)
    assert inside.sum() == 5 + 3 + 4
    np.testing.assert_allclose(flow.kept[inside], 1.0)
    f = 1 / (1 + np.exp(-2.0))
    ratios = flow.cell[0, 0, :4] / flow.cell[0, 0, 1:5]
    np.testing.assert_allclose(ratios, f, rtol=1e-6)
    mixed = gradient_flow(set_weights(model, 2.0, 3.0), X, [0.0, 1.0, 2.0]).kept[inside]
    assert ((mixed > 0) & (mixed < 1)).all()
    rnn = LSTMRegressor(cell="rnn", pooling="last", **FAST).fit(X, [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(gradient_flow(rnn, X, [0.0, 1.0, 2.0]).kept[inside], 0.0)


def test_spectral_radius():
    model = set_weights(LSTMRegressor(**FAST).fit(X, [0.0, 1.0, 2.0]), 0.0, -0.7)
    (radii,) = gradient_flow(model, X, [0.0, 1.0, 2.0]).spectral_radius
    assert radii == pytest.approx({"input_gate": 0.7, "forget_gate": 0, "cell_input": 0.7, "output_gate": 0.7})
    both = LSTMClassifier(cell="gru", **FAST).fit(X, LABELS)
    for radii, suffix in zip(gradient_flow(both, X, LABELS).spectral_radius, ("", "_reverse"), strict=True):
        blocks = both.parameters["weight_hh_l0" + suffix].reshape(3, 3, 3)
        expected = [np.abs(np.linalg.eigvals(block)).max() for block in blocks]
        assert radii == pytest.approx(dict(zip(["reset_gate", "update_gate", "candidate"], expected, strict=True)))
    projected = LSTMRegressor(proj_size=2, **FAST).fit(X, [0.0, 1.0, 2.0])
    weights = projected.parameters
    expected = np.abs(np.linalg.eigvals(weights["weight_hh_l0"][:3] @ weights["weight_hr_l0"])).max()
    assert gradient_flow(projected, X, LABELS).spectral_radius[0]["input_gate"] == pytest.approx(expected)


def test_by_lag():
    model = LSTMClassifier(**FAST).fit(X, LABELS)
    flow = gradient_flow(model, X, LABELS)
    assert flow.reverse == (False, True)
    forwards, backwards = flow.by_lag("hidden", 0), flow.by_lag("hidden", 1)
    assert forwards[0] == pytest.approx(np.mean([flow.hidden[0, k, len(x) - 1] for k, x in enumerate(X)]))
    assert forwards[5] == pytest.approx(flow.hidden[0, 0, 0])
    assert backwards[0] == pytest.approx(flow.hidden[1, :, 0].mean())
    np.testing.assert_allclose(flow.state, np.hypot(flow.hidden, flow.cell))
    with pytest.raises(ValueError, match="name must be one of"):
        flow.by_lag("loss")
    gru = gradient_flow(LSTMClassifier(cell="gru", **FAST).fit(X, LABELS), X, LABELS)
    with pytest.raises(ValueError, match=r"name must be one of \['state', 'hidden', 'kept'\], got 'cell'"):
        gru.by_lag("cell")


def test_plot():
    models = {cell: LSTMClassifier(cell=cell, **FAST).fit(X, LABELS) for cell in ("rnn", "lstm")}
    display = plot_gradient_flow(models, X, LABELS, layer=0)
    assert isinstance(display, GradientFlowDisplay)
    for name, line in display.lines_.items():
        np.testing.assert_allclose(line.get_ydata(), gradient_flow(models[name], X, LABELS).by_lag(layer=0))
    assert display.ax_.get_yscale() == "log"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["rnn", "lstm"]
    _, axes = plt.subplots()
    alone = GradientFlowDisplay.from_estimator(models["rnn"], X, LABELS, ax=axes)
    assert alone.ax_ is axes
    assert [*alone.lines_] == ["RNN"]


@pytest.mark.parametrize("function", [gradient_flow, plot_gradient_flow])
def test_errors(function):
    model = LSTMClassifier(**FAST).fit(X, LABELS)
    with pytest.raises(NotFittedError):
        function(LSTMClassifier(), X, LABELS)
    with pytest.raises(TypeError, match="model must be a fitted classifier or regressor of numlstm, got LSTM"):
        function(LSTM(2, 3), X, LABELS)
    with pytest.raises(ValueError, match="X has 1 features at each step"):
        function(model, [x[:, :1] for x in X], LABELS)
    with pytest.raises(ValueError, match="y"):
        function(model, X, [0, 1])
    with pytest.raises(ValueError, match="layer must be below 2, the number of layers"):
        plot_gradient_flow(model, X, LABELS, layer=2)
