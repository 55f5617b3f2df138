"""Metrics of targets at every step, and scikit-learn's model selection with them."""

import numpy as np
import pytest
from sklearn.metrics import make_scorer, mean_absolute_error, mean_squared_error, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score

import numlstm
from numlstm.metrics import (
    character_error_rate,
    edit_distance,
    flat_accuracy,
    flat_f1,
    sequence_accuracy,
    step_mean_absolute_error,
    step_mean_squared_error,
    step_r2,
    word_error_rate,
)

LENGTHS = [4, 2, 5, 3, 5, 1, 2, 4, 3]
PAIRS = [
    (step_mean_squared_error, mean_squared_error),
    (step_mean_absolute_error, mean_absolute_error),
    (step_r2, r2_score),
]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def padded(arrays, value):
    array = np.full((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), value)
    for row, each in zip(array, arrays, strict=True):
        row[: len(each)] = each
    return array


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("weighing", [None, "sequences", "steps"])
def test_metrics_are_those_of_scikit_learn_of_all_labelled_steps(rng, ours, theirs, weighing):
    true, said = ([rng.normal(size=(steps, 2)) for steps in LENGTHS] for _ in range(2))
    for own in true:
        own[rng.random(own.shape) < 0.2] = np.nan
    weights = {"sequences": rng.random(9), "steps": [rng.random(steps) for steps in LENGTHS]}.get(weighing)
    of_steps = np.concatenate([
        np.broadcast_to(weight, steps)
        for weight, steps in zip(np.ones(9) if weights is None else weights, LENGTHS, strict=True)
    ])  # fmt: skip
    expected = []
    for own, predicted in zip(np.concatenate(true).T, np.concatenate(said).T, strict=True):
        there = ~np.isnan(own)
        expected.append(theirs(own[there], predicted[there], sample_weight=of_steps[there]))
    arrays = weights if weighing != "steps" else padded(weights, 0.0)
    forms = [
        (true, said, weights),
        (padded(true, np.nan), padded(said, 0.0), arrays),
        (padded(true, 8.0), said, arrays),
        (true, padded(said, 8.0), arrays),
        (np.array(true, object), said, weights),
    ]
    for own, predicted, weight in forms:
        assert ours(own, predicted, sample_weight=weight) == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_one_target_may_do_without_its_axis(rng, ours, theirs):
    true, said = rng.normal(size=(2, 6, 4))
    assert ours(true, said) == pytest.approx(theirs(true.ravel(), said.ravel()))
    assert ours(list(true), said[:, :, None]) == pytest.approx(theirs(true.ravel(), said.ravel()))


@pytest.mark.parametrize(
    ("true", "said", "message"),
    [
        ([[1.0, 2.0]], [[1.0]], r"y_pred\[0\] must have the shape of y_true\[0\], \(2, 1\), got \(1, 1\)"),
        ([[1.0, 2.0]], np.ones((1, 1, 1)), r"y_pred\[0\] must have the shape of y_true\[0\]"),
        ([[1.0]], [[1.0], [2.0]], "y_pred must have 1 entries, one for each sequence of y_true, got 2"),
        ([[np.nan]], [[1.0]], "y_true must have a label with a positive weight for each target"),
        ([[np.inf]], [[1.0]], "y_true must be finite, or NaN"),
        ([[1.0]], [[np.nan]], "y_pred must be finite"),
        ([1.0, 2.0], [1.0, 2.0], r"y_true must be a list of .* but y_true\[0\] has shape \(\)"),
        ([], [], "y_true must hold the targets of at least one sequence"),
        (None, [[1.0]], "y_true must hold the targets of at least one sequence"),
    ],
)
def test_what_is_wrong_is_named(true, said, message):
    with pytest.raises(ValueError, match=message):
        step_r2(true, said)


# Model selection ------------------------------------------------------------------------------------------


def data(form, rng):
    """Sequences and the sum so far, of which some is unlabelled."""
    lengths = LENGTHS if form == "unequal list" else [4] * 9
    X = [rng.normal(size=(steps, 2)) for steps in lengths]
    y = [x[:, :1].cumsum(axis=0) for x in X]
    y[4][0] = np.nan
    return (np.stack(X), np.stack(y)) if form == "array" else (X, y)


def part(values, rows):
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]


def by_hand(X, y, scorer=None, **parameters):
    """Scores and predictions of folds, without scikit-learn's functions."""
    scores, predictions = [], [None] * len(X)
    for train, test in KFold(3).split(X):
        model = numlstm.LSTMRegressor(**(PARAMETERS | parameters)).fit(part(X, train), part(y, train))
        said = model.predict(part(X, test))
        scores.append(model.score(part(X, test), part(y, test)) if scorer is None else scorer(part(y, test), said))
        for row, each in zip(test, said, strict=True):
            predictions[row] = each
    return scores, predictions


PARAMETERS = {"hidden_size": 2, "max_iter": 2, "random_state": 0}
FORMS = ["unequal list", "equal list", "array"]


@pytest.mark.parametrize("form", FORMS)
def test_cross_val_score(form, rng):
    X, y = data(form, rng)
    model = numlstm.LSTMRegressor(**PARAMETERS)
    expected, _ = by_hand(X, y)
    assert cross_val_score(model, X, y, cv=3).tolist() == expected
    for scoring in (numlstm.metrics.step_r2_scorer, make_scorer(step_r2)):
        np.testing.assert_allclose(cross_val_score(model, X, y, cv=3, scoring=scoring), expected)
    expected, _ = by_hand(X, y, step_mean_absolute_error)
    scorer = numlstm.metrics.neg_step_mean_absolute_error_scorer
    np.testing.assert_allclose(cross_val_score(model, X, y, cv=3, scoring=scorer), -np.array(expected))


@pytest.mark.parametrize("form", FORMS)
def test_cross_val_predict(form, rng):
    X, y = data(form, rng)
    said = cross_val_predict(numlstm.LSTMRegressor(**PARAMETERS), X, y, cv=3)
    _, expected = by_hand(X, y)
    assert len(said) == len(X)
    for own, other in zip(said, expected, strict=True):
        np.testing.assert_array_equal(own, other)
    assert step_r2(y, said) == step_r2(y, expected)


@pytest.mark.parametrize("form", FORMS)
def test_grid_search(form, rng):
    X, y = data(form, rng)
    scorer = numlstm.metrics.neg_step_mean_squared_error_scorer
    search = GridSearchCV(numlstm.LSTMRegressor(**PARAMETERS), {"hidden_size": [2, 3]}, cv=3, scoring=scorer)
    search.fit(X, y)
    expected = [-np.mean(by_hand(X, y, step_mean_squared_error, hidden_size=size)[0]) for size in (2, 3)]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected)
    assert search.best_params_ == {"hidden_size": 2 + int(np.argmax(expected))}
    assert search.score(X, y) == pytest.approx(-step_mean_squared_error(y, search.predict(X)))


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_steps_are_split_with_their_sequences(form, rng):
    X, y = data(form, rng)
    weights = [rng.random(len(x)) for x in X] if form != "array" else rng.random(np.shape(X)[:2])
    found = cross_val_score(numlstm.LSTMRegressor(**PARAMETERS), X, y, cv=3, params={"sample_weight": weights})
    expected = []
    for train, test in KFold(3).split(X):
        model = numlstm.LSTMRegressor(**PARAMETERS).fit(part(X, train), part(y, train), part(weights, train))
        expected.append(model.score(part(X, test), part(y, test)))
    assert found.tolist() == expected


def test_predictions_of_lists_are_lists_that_numpy_takes_for_objects(rng):
    X, y = data("equal list", rng)
    said = numlstm.LSTMRegressor(**PARAMETERS).fit(X, y).predict(X)
    assert isinstance(said, list)
    assert np.asarray(said).shape == (9,)
    np.testing.assert_array_equal(np.asarray(said, float), np.stack(said))
    np.testing.assert_array_equal(np.concatenate(said), np.vstack([*said]))


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("", "", 0),
        ("abc", "", 3),
        ("", "ab", 2),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        ([1, 2, 3], [2, 3, 4], 2),
    ],
)
def test_edit_distance(a, b, distance):
    assert edit_distance(a, b) == edit_distance(b, a) == distance


def test_edit_distance_is_the_least_of_all_ways():
    """Against the recursion of the definition."""

    def slow(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b = ("".join(rng.choice(list("abc"), size=rng.integers(0, 6))) for _ in range(2))
        assert edit_distance(a, b) == slow(a, b)


def test_error_rates():
    assert character_error_rate(["abcd", ""], ["abd", "x"]) == 0.5
    assert character_error_rate([[1, 2], [3]], [[1, 2], [4]]) == pytest.approx(1 / 3)
    assert word_error_rate(["a b c", "d"], ["a c", "d e"]) == 0.5
    assert sequence_accuracy(["ab", "cd"], ["ab", "ce"]) == 0.5


def test_flat_metrics():
    true = [["a", None, "b"], ["b"], ["a", float("nan")]]
    said = [["a", "b", "a"], ["b"], ["a", "a"]]
    assert flat_accuracy(true, said) == 0.75
    assert flat_f1(true, said, average="micro") == 0.75
    assert flat_f1(true, said) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert flat_f1(true, said, labels=["b"]) == pytest.approx(2 / 3)
    assert sequence_accuracy(true, said) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (edit_distance, ("a", 3), "b must be a text or a sequence of labels, got 3"),
        (character_error_rate, ("abc", ["abc"]), "y_true must be a list with a row of labels"),
        (character_error_rate, (["a"], ["a", "b"]), "y_pred must have 1 entries"),
        (character_error_rate, ([""], ["a"]), "y_true must hold at least one label"),
        (word_error_rate, ([["a"]], ["a"]), "y_true must be a list of texts"),
        (flat_accuracy, ([["a", "b"]], [["a"]]), r"y_pred\[0\] must have 2 labels, as y_true\[0\], got 1"),
        (flat_accuracy, ([[None]], [["a"]]), "y_true must hold a label for at least one step"),
        (sequence_accuracy, ([], []), "y_true must be a list with a row of labels"),
    ],
)
def test_bad_rows(function, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        function(*arguments)
