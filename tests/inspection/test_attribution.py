"""Attributions are gradients of the scores that users see, add up, and find what decides."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance as of_tables

from numlstm import LSTM, LSTMClassifier, LSTMRegressor, LSTMTagger, LSTMTranscriber
from numlstm.inspection import (
    AttributionDisplay,
    attribute,
    permutation_importance,
    plot_attribution,
    score_function,
)

RNG = np.random.default_rng(0)
X = [RNG.normal([5.0, -3.0], [4.0, 0.5], size=(length, 2)) for length in (6, 4, 5)]
FAST = {"hidden_size": 4, "max_iter": 3, "dtype": "float64", "pooling": "mean", "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def closed():
    """Figures do not pile up."""
    yield
    plt.close("all")


def fitted(kind):
    """A model, a target, and its score of sequences as its own methods say it."""
    y = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    if kind == "binary":
        model = LSTMClassifier(**FAST).fit(X, ["no", "yes", "no"])
        return model, "yes", model.decision_function
    if kind == "first of two":
        model = LSTMClassifier(**FAST).fit(X, ["no", "yes", "no"])
        return model, "no", lambda Z: -model.decision_function(Z)
    if kind == "multiclass":
        model = LSTMClassifier(**FAST, cell="gru").fit(X, [0, 1, 2])
        return model, 2, lambda Z: model.decision_function(Z)[:, 2]
    if kind == "labels":
        model = LSTMClassifier(**FAST, scale_inputs=False).fit(X, y)
        return model, 1, lambda Z: model.decision_function(Z)[:, 1]
    if kind == "number":
        model = LSTMRegressor(**FAST).fit(X, [100.0, 200.0, 400.0])
        return model, None, model.predict
    if kind == "several":
        model = LSTMRegressor(**FAST, num_layers=2).fit(X, 10.0 * y)
        return model, 2, lambda Z: model.predict(Z)[:, 2]
    model = LSTMRegressor(**FAST).fit(X, [np.cumsum(x[:, 0]) for x in X])
    return model, -2, lambda Z: np.array([own[-2] for own in model.predict(Z)])


KINDS = ["binary", "first of two", "multiclass", "labels", "number", "several", "steps"]


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_times_input(kind):
    """Held to central differences of what `predict` or `decision_function` says."""
    model, target, score = fitted(kind)
    base = np.array([1.0, -2.0])
    found = attribute(model, X, target, method="gradient_x_input", baselines=base)
    for i, x in enumerate(X):
        expected = np.empty_like(x)
        for place in np.ndindex(*x.shape):
            shift = np.zeros_like(x)
            shift[place] = 1e-5
            slope = (score([x + shift])[0] - score([x - shift])[0]) / 2e-5
            expected[place] = slope * (x[place] - base[place[1]])
        np.testing.assert_allclose(found.values[i], expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.scores, score(X))
    np.testing.assert_allclose(found.baseline_scores, score([np.tile(base, (len(x), 1)) for x in X]))


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_are_complete(kind):
    model, target, score = fitted(kind)
    found = attribute(model, X, target)
    means = [np.tile(model.channel_mean_ if model.scale_inputs else [0, 0], (len(x), 1)) for x in X]
    sums = [values.sum() for values in found.values]
    np.testing.assert_allclose(sums, score(X) - score(means), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.delta, 0, atol=1e-6)
    with pytest.warns(UserWarning, match="not complete"):
        coarse = attribute(model, X, target, n_steps=1, baselines=0.0)
    np.testing.assert_allclose(
        coarse.delta, [v.sum() for v in coarse.values] - (coarse.scores - coarse.baseline_scores)
    )
    assert np.abs(coarse.delta).max() > 1e-8


@pytest.mark.parametrize("window", [1, 2])
def test_occlusion(window):
    model, target, score = fitted("several")
    other = [x[::-1] for x in X]
    found = attribute(model, X, target, method="occlusion", baselines=other, window=window)
    for i, x in enumerate(X):
        for channel in range(2):
            for first in range(0, len(x), window):
                changed = x.copy()
                changed[first : first + window, channel] = other[i][first : first + window, channel]
                fall = score([x])[0] - score([changed])[0]
                part = found.values[i][first : first + window, channel]
                np.testing.assert_allclose(part, fall / len(part), atol=1e-12)


def test_many_versions_at_once(monkeypatch):
    """What does not fit into memory at once is the same."""
    from numlstm.inspection import attribution, scorer

    model, target, _ = fitted("multiclass")
    methods = ("occlusion", "integrated_gradients")
    whole = [attribute(model, X, target, method=method) for method in methods]
    for module in (attribution, scorer):
        monkeypatch.setattr(module, "STEPS", 7)
    for method, expected in zip(methods, whole, strict=True):
        found = attribute(model, X, target, method=method)
        for own, other in zip(found.values, expected.values, strict=True):
            np.testing.assert_allclose(own, other, atol=1e-12)


def test_forms_of_x():
    model, target, _ = fitted("several")
    padded = np.zeros((3, 6, 2))
    for own, x in zip(padded, X, strict=True):
        own[: len(x)] = x
    expected = attribute(model, X, target)
    found = attribute(model, padded, target, lengths=[6, 4, 5])
    for own, other in zip(found.values, expected.values, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-12)
    one = RNG.normal(size=(6, 5))
    regressor = LSTMRegressor(**FAST).fit(one, np.arange(6))
    assert [values.shape for values in attribute(regressor, one[:2]).values] == [(5, 1)] * 2


def test_static_features_stay():
    static = RNG.normal(size=(3, 2))
    model = LSTMRegressor(**FAST).fit(X, [1.0, 2.0, 4.0], static=static)
    found = attribute(model, X, static=static)
    np.testing.assert_allclose(found.scores, model.predict(X, static=static))
    np.testing.assert_allclose(found.delta, 0, atol=1e-6)
    with pytest.raises(ValueError, match="static"):
        attribute(model, X)
    with pytest.raises(ValueError, match="fitted without static features"):
        score_function(model)


def test_incomplete_gradients_are_told_of():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(200, 5, 1))
    model = LSTMClassifier(hidden_size=16, random_state=0).fit(Z, Z.sum(axis=(1, 2)) > 0)
    with pytest.warns(UserWarning, match="not complete: those of sequence .* Pass more than n_steps=1"):
        attribute(model, 3 * Z[:20], n_steps=1)


def test_timeshap_takes_it():
    """TimeSHAP's convention: arrays (n, T, C) in, (n, 1) out; events before a cut are replaced by a background."""
    model, _, score = fitted("binary")
    function = score_function(model, "yes")
    instance, background = X[0][None], np.median(np.concatenate(X), axis=0)

    def coalitions(f, kept):
        versions = np.repeat(instance, len(kept), axis=0)
        versions[~kept] = background
        scores = f(versions)
        assert isinstance(scores, np.ndarray)
        assert scores.shape == (len(kept), 1)
        return scores[:, 0]

    kept = RNG.integers(0, 2, (8, 6)).astype(bool)
    versions = [np.where(own[:, None], X[0], background) for own in kept]
    np.testing.assert_allclose(coalitions(function, kept), score(versions))


def test_plot():
    model, target, _ = fitted("several")
    display = plot_attribution(model, X, target, row=1, method="occlusion")
    assert isinstance(display, AttributionDisplay)
    found = attribute(model, X, target, method="occlusion").values[1]
    np.testing.assert_allclose(display.image_.get_array(), found.T)
    np.testing.assert_allclose([bar.get_height() for bar in display.bars_], found.sum(axis=1))
    np.testing.assert_array_equal([line.get_ydata() for line in display.lines_], X[1].T)
    low, high = display.image_.get_clim()
    assert low == -high == -np.abs(found).max()
    assert display.ax_[1].get_title() == "occlusion"
    _, axes = plt.subplots(3, 1)
    assert list(AttributionDisplay(attribute(model, X, target), row=2).plot(axes).ax_) == list(axes)
    with pytest.raises(ValueError, match="row must be below 3, the number of sequences, got 3"):
        plot_attribution(model, X, target, row=3)


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "message"),
    [
        ("binary", {"target": "maybe"}, ValueError, r"one of the classes \['no', 'yes'\], got 'maybe'"),
        ("multiclass", {}, ValueError, r"one of the classes \[0, 1, 2\], got None"),
        ("several", {}, ValueError, r"one of the outputs \[0, 1, 2\], got None"),
        ("several", {"target": 3}, ValueError, r"one of the outputs \[0, 1, 2\], got 3"),
        ("steps", {}, TypeError, r"target must be a tuple \(step, output\), got NoneType"),
        ("steps", {"target": (4, 0)}, ValueError, "one of the 4 steps of each sequence, got step 4"),
        ("steps", {"target": ("end", 0)}, TypeError, "an integer for its step, got 'end'"),
        ("binary", {"method": "lime"}, ValueError, "method must be one of"),
        ("binary", {"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        ("binary", {"window": 0}, ValueError, "window must be at least 1, got 0"),
        ("binary", {"baselines": [1.0]}, ValueError, "have 2 channels, or be sequences as X"),
        ("binary", {"baselines": X[:2]}, ValueError, "baselines must be a number, have 2 channels"),
        ("binary", {"baselines": np.nan}, ValueError, "baselines must be finite"),
    ],
)
def test_errors(kind, arguments, error, message):
    model, _, _ = fitted(kind)
    with pytest.raises(error, match=message):
        attribute(model, X, **arguments)


@pytest.mark.parametrize(
    "function", [attribute, plot_attribution, lambda m, X: permutation_importance(m, X, [0, 1, 0])]
)
def test_models_that_do_not_fit(function):
    with pytest.raises(NotFittedError):
        function(LSTMClassifier(), X)
    with pytest.raises(TypeError, match="model must be a fitted classifier or regressor of numlstm, got LSTM"):
        function(LSTM(2, 3), X)
    with pytest.raises(ValueError, match="X has 1 features at each step, but LSTMClassifier was fitted with 2"):
        function(fitted("binary")[0], [x[:, :1] for x in X])


@pytest.fixture(scope="module")
def decided():
    """A model of what channel 1 says in the second half of ragged sequences."""
    rng = np.random.default_rng(1)
    Z = [rng.normal(size=(length, 3)) for length in rng.integers(6, 9, 400)]
    y = np.array([z[len(z) // 2 :, 1].mean() > 0 for z in Z])
    return LSTMClassifier(hidden_size=16, random_state=0).fit(Z[:300], y[:300]), Z[300:], y[300:]


def test_importance_finds_what_decides(decided):
    model, Z, y = decided
    result = permutation_importance(model, Z, y, random_state=0)
    assert result.importances.shape == (3, 5)
    np.testing.assert_allclose(result.importances_mean, result.importances.mean(axis=1))
    np.testing.assert_allclose(result.importances_std, result.importances.std(axis=1))
    assert result.importances_mean.argmax() == 1
    assert result.importances_mean[1] > 0.3
    assert np.abs(result.importances_mean[[0, 2]]).max() < 0.1
    windows = permutation_importance(model, Z, y, n_windows=2, n_repeats=3, random_state=0, scoring="neg_log_loss")
    assert windows.importances.shape == (3, 2, 3)
    assert np.unravel_index(windows.importances_mean.argmax(), (3, 2)) == (1, 1)
    again = permutation_importance(model, Z, y, random_state=0)
    np.testing.assert_array_equal(again.importances, result.importances)


def test_importance_is_that_of_scikit_learn():
    """With one channel of one step, sequences are a table: the same result object, the same numbers on average."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(150, 2))
    y = table @ [3.0, 0.2]
    model = LSTMRegressor(hidden_size=8, random_state=0).fit(table[:, None], y)

    class OfTables(LSTMRegressor):
        def score(self, X, y):
            return model.score(np.asarray(X)[:, None], y)

    ours = permutation_importance(model, table[:, None], y, n_repeats=20, random_state=0)
    theirs = of_tables(OfTables(), table, y, n_repeats=20, random_state=0)
    assert set(ours) == set(theirs)
    assert ours.importances.shape == theirs.importances.shape
    error = np.hypot(ours.importances_std, theirs.importances_std) / 20**0.5  # of the difference of both means
    assert (np.abs(ours.importances_mean - theirs.importances_mean) < 4 * error).all()


def test_importance_refuses(decided):
    model, Z, y = decided
    with pytest.raises(ValueError, match="n_windows must be at most the 6 steps of the shortest sequence, got 7"):
        permutation_importance(model, Z, y, n_windows=7)
    with pytest.raises(ValueError, match="n_repeats must be at least 1, got 0"):
        permutation_importance(model, Z, y, n_repeats=0)


def test_models_with_other_outputs():
    """Where outputs are not one for each target, nothing is guessed."""
    from dataclasses import replace

    from numlstm.inspection.scorer import target_of

    model, _, _ = fitted("number")
    codec = model._model.codec
    model._model = replace(model._model, codec=replace(codec, mean=np.zeros(2), scale=np.ones(2)))
    with pytest.raises(TypeError, match="a regressor with one output for each target, got LSTMRegressor"):
        target_of(model, 0)


def test_labels_of_steps():
    """A model with labels for steps is explained by the score of a label at a step."""
    from dataclasses import replace
    from types import SimpleNamespace

    from numlstm.inspection.scorer import target_of

    model = LSTMRegressor(**FAST).fit(X, [np.column_stack([x, x[:, :1]]) for x in X])
    scores = np.stack([own[-1] for own in model.predict(X)])
    scores = (scores - model.target_mean_) / model.target_scale_
    labels = SimpleNamespace(by_step=True, classes=np.array(["a", "b", "c"]))
    model._model = replace(model._model, codec=labels)
    found = attribute(model, X, (-1, "b"))
    np.testing.assert_allclose(found.scores, scores[:, 1])
    np.testing.assert_allclose(found.delta, 0, atol=1e-6)
    with pytest.raises(ValueError, match=r"one of the labels \['a', 'b', 'c'\], got 'd'"):
        target_of(model, (0, "d"))
    with pytest.raises(TypeError, match=r"target must be a tuple \(step, label\), got str"):
        target_of(model, "b")


@pytest.mark.parametrize("subsample", [1, 2])
def test_transcribers(subsample):
    """Scores are logarithms of `predict_proba` but for a constant of the step; shares are those of the steps of X."""
    options = {name: value for name, value in FAST.items() if name != "pooling"}
    model = LSTMTranscriber(**options, subsample=subsample).fit(X, ["a", "b", "ab"])
    results = [attribute(model, X, (-1, label), n_steps=100) for label in (None, "a", "b")]
    expected = np.log([shares[-1] for shares in model.predict_proba(X)])
    scores = np.stack([result.scores for result in results], axis=1)
    np.testing.assert_allclose(scores - scores[:, :1], expected - expected[:, :1], atol=1e-9)
    for result in results:
        assert [shares.shape for shares in result.values] == [x.shape for x in X]
        np.testing.assert_allclose(result.delta, 0, atol=1e-6)
    padded = np.stack([x[:4] for x in X])
    np.testing.assert_allclose(score_function(model, (0, "a"))(padded)[:, 0], attribute(model, padded, (0, "a")).scores)


def test_steps_of_transcribers():
    """Each of the steps of X has a share of its own: what its change does to the score."""
    options = {name: value for name, value in FAST.items() if name != "pooling"}
    model = LSTMTranscriber(**options, subsample=2, scale_inputs=False).fit(X, ["a", "b", "ab"])
    result = attribute(model, X, (1, "b"), method="occlusion")
    score = score_function(model, (1, "b"))
    for i, x in enumerate(X):
        for step, channel in np.ndindex(x.shape):
            occluded = x.copy()
            occluded[step, channel] = 0.0
            fall = score([x])[0, 0] - score([occluded])[0, 0]
            assert result.values[i][step, channel] == pytest.approx(fall, abs=1e-9)
    gradients = attribute(model, X, (1, "b"), method="gradient_x_input")
    changed = X[1].copy()
    changed[3, 1] *= 1.0 + 1e-5
    slope = (score([changed])[0, 0] - score([X[1]])[0, 0]) / 1e-5
    assert gradients.values[1][3, 1] == pytest.approx(slope, rel=1e-3)


def test_errors_of_transcribers():
    model = LSTMTranscriber(hidden_size=4, subsample=2, max_iter=1).fit(X, ["a", "b", "ab"])
    with pytest.raises(ValueError, match="one of the 3 steps of each sequence, got step 3"):
        attribute(model, X[:1], (3, "a"))
    with pytest.raises(ValueError, match=r"one of the labels \[None, 'a', 'b'\], got 'c'"):
        attribute(model, X, (0, "c"))
    tagger = LSTMTagger(hidden_size=4, max_iter=1).fit(X, [["a", *"b" * (len(x) - 1)] for x in X])
    with pytest.raises(ValueError, match=r"one of the labels \['a', 'b'\], got None"):
        attribute(tagger, X, (0, None))
