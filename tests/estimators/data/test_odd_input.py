"""Input that is odd but right works; what is wrong is named, before it can do harm."""

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, cross_val_score

from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler, pad_sequences, sliding_windows

SMALL = {"hidden_size": 4, "max_iter": 2, "random_state": 0, "batch_size": 8}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6, 2))
LENGTHS = RNG.integers(1, 7, 24)
RAGGED = [x[:length] for x, length in zip(X, LENGTHS, strict=True)]
LABELS, NUMBERS = np.arange(24) % 2, RNG.normal(size=24)


# One channel, and targets for each step ---------------------------------------------------------------------


def test_sequences_of_one_channel_may_be_of_any_length():
    lists = [x[:, 0].tolist() for x in RAGGED]
    model = LSTMClassifier(**SMALL).fit(lists, LABELS)
    whole = model.predict_proba(lists)
    for i, each in enumerate(lists):
        for form in ([each], [np.array(each)], np.array([each]), np.array(each)[None, :, None]):
            np.testing.assert_array_equal(model.predict_proba(form)[0], whole[i])
    scaler = SequenceScaler().fit(lists)
    assert [each.shape for each in scaler.transform([np.ones(3), np.ones(3)])] == [(3,), (3,)]
    scores = cross_val_score(LSTMRegressor(**SMALL), lists, NUMBERS, cv=KFold(24), scoring="neg_max_error")
    assert np.isfinite(scores).all()


def test_a_table_keeps_its_number_of_steps():
    model = LSTMClassifier(**SMALL).fit(X[:, :, 0], LABELS)
    with pytest.raises(ValueError, match="X has 5 features, but LSTMClassifier is expecting 6 features"):
        model.predict(X[:, :5, 0])
    with pytest.raises(ValueError, match="X_val has 5 features, but LSTMClassifier is expecting 6 features"):
        model.fit(X[:, :, 0], LABELS, X_val=X[:, :5, 0], y_val=LABELS)
    np.testing.assert_array_equal(model.predict_proba(X[:, :, :1]), model.predict_proba(X[:, :, 0]))


def test_lists_in_lists_out_whatever_the_lengths():
    model = LSTMRegressor(**SMALL).fit(RAGGED, [x.cumsum(axis=0) for x in RAGGED])
    for part in (RAGGED, RAGGED[:1], [X[0], X[1]], [x[:1] for x in RAGGED]):
        assert [each.shape for each in model.predict(part)] == [x.shape for x in part]
        assert [each.shape for each in model.predict(tuple(part))] == [x.shape for x in part]


def test_arrays_of_arrays():
    y = np.empty(24, object)
    y[:] = [x[:, 0] for x in RAGGED]
    expected = LSTMRegressor(**SMALL).fit(RAGGED, list(y))
    assert LSTMRegressor(**SMALL).fit(RAGGED, y).loss_curve_ == expected.loss_curve_
    assert LSTMRegressor(**SMALL).fit(pd.Series(RAGGED), y).loss_curve_ == expected.loss_curve_


def test_a_scaler_passes_lengths_on():
    both = SequenceScaler().fit_transform(X, lengths=LENGTHS)
    np.testing.assert_array_equal(both, SequenceScaler().fit(X, lengths=LENGTHS).transform(X, lengths=LENGTHS))
    assert not both[np.arange(6) >= LENGTHS[:, None]].any()


def test_integers_of_numpy_are_integers():
    expected = LSTMClassifier(**SMALL | {"batch_size": 32}).fit(X, LABELS).loss_curve_
    for size in (np.int8(32), 10**9):
        assert LSTMClassifier(**SMALL | {"batch_size": size}).fit(X, LABELS).loss_curve_ == expected
    assert sliding_windows(np.arange(400.0), np.uint8(200), np.uint8(100))[0].shape == (101, 200, 1)


def test_a_sequence_alone_is_told_from_many():
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"X has 1 features at each step, .* pass a single sequence as \[x\]"):
        model.predict(X[0])
    assert model.predict([X[0]]).shape == (1,)


# Weights and penalties --------------------------------------------------------------------------------------


def test_a_penalty_knows_how_many_sequences_there_are():
    options = SMALL | {"alpha": 20.0, "solver": "sgd", "learning_rate_init": 0.1}
    coefficients = [LSTMClassifier(**options | {"batch_size": size}).fit(X, LABELS).coef_ for size in (24, 240)]
    np.testing.assert_array_equal(*coefficients)


def test_only_ratios_of_weights_matter_however_large():
    for estimator, y in ((LSTMClassifier, LABELS), (LSTMRegressor, NUMBERS)):
        expected = estimator(**SMALL).fit(X, y).loss_curve_
        for size in (1e308, 1e-300):
            np.testing.assert_allclose(estimator(**SMALL).fit(X, y, np.full(24, size)).loss_curve_, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("heavy", "class_weight must be a dict, 'balanced' or None, got 'heavy'"),
        (np.ones(2), "class_weight must be a dict"),
        ({0: -1.0, 1: 3.0}, "class_weight must hold finite weights of at least 0"),
        ({0: np.nan}, "class_weight must hold finite weights of at least 0"),
        ({0: "a"}, "class_weight must hold real numbers"),
        ({0: 1.0, 7: 3.0}, r"class_weight must name classes among \[0, 1\], got \[7\]"),
        ({0: 0.0, 1: 0.0}, "sample_weight and class_weight must give a positive weight to some sequence"),
    ],
)
def test_wrong_class_weights_are_named(class_weight, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LSTMClassifier(**SMALL, class_weight=class_weight).fit(X, LABELS)


def test_a_class_that_is_not_named_weighs_one():
    some = LSTMClassifier(**SMALL, class_weight={0: 2.0}).fit(X, LABELS)
    assert some.loss_curve_ == LSTMClassifier(**SMALL, class_weight={0: 2.0, 1: 1.0}).fit(X, LABELS).loss_curve_
    model = LSTMClassifier(**SMALL, class_weight={0: 2.0, 2: 5.0}).partial_fit(X, np.arange(24) % 3, classes=[0, 1, 2])
    assert model.partial_fit(X, np.ones(24, int)).n_iter_ == 2


def test_scores_take_weights_as_fit_does():
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    assert model.score(X, LABELS, 3.0) == model.score(X, LABELS)
    with pytest.raises(ValueError, match="sample_weight must be finite and not negative"):
        model.score(X, LABELS, -np.ones(24))


# What is wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(0, 5), (-1, 1), (1, 2)])
def test_labels_at_once_are_0_and_1(values):
    Y = np.where(RNG.uniform(size=(24, 3)) > 0.5, *values)
    with pytest.raises(ValueError, match="y must hold only 0 and 1 if it has a column per label"):
        LSTMClassifier(**SMALL).fit(X, Y)


def test_numbers_too_large_for_the_type_are_named():
    large = [x.copy() for x in RAGGED]
    large[3][0, 0] = 1e300
    model = LSTMClassifier(**SMALL, bidirectional=False, pooling="mean").fit(RAGGED, LABELS)
    for call in (model.predict, lambda x: model.fit(x, LABELS)):
        with pytest.raises(
            ValueError, match=r"X\[3\] must be in the range of float32 when scaled|X must have a finite"
        ):
            call(large)
    plain = LSTMClassifier(**SMALL, scale_inputs=False).fit(RAGGED, LABELS)
    for call in (plain.predict, lambda x: plain.fit(x, LABELS)):
        with pytest.raises(ValueError, match=r"X\[3\] must be finite, .* too large for float32"):
            call(large)
    stream = model.stream()
    with pytest.raises(ValueError, match=r"x_t must be finite, .* too large for float32"):
        stream.step([1e39, 1e39])
    np.testing.assert_allclose(stream.step(X[0, 0]), model.predict_proba(X[:1, :1])[0], rtol=1e-5)
    LSTMClassifier(**SMALL, dtype="float64", scale_inputs=False).fit(large, LABELS)
    with pytest.raises(ValueError, match=r"X must have a finite standard deviation, got numbers of up to 1e\+300"):
        LSTMClassifier(**SMALL, dtype="float64").fit(large, LABELS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "X must hold numbers, in shape .*, got NoneType"),
        (3.0, "X must hold numbers, in shape .*, got float"),
        ((x for x in RAGGED), "X must hold numbers, in shape .*, got generator"),
        ({"a": 1}, "X must hold numbers, in shape .*, got dict"),
        (np.zeros((24, 3), "datetime64[D]"), r"X must hold numbers, in shape .*, got dtype datetime64\[D\]"),
        ([np.ones((3, 2)), np.ones(3)], r"X\[1\] must have as many axes as X\[0\], 2, got 1"),
        ([np.ones((3, 2)), 5.0], r"X\[1\] must have as many axes as X\[0\], 2, got 0"),
        ([np.ones((3, 2)), None], r"X\[1\] must have as many axes"),
    ],
)
def test_what_is_no_x_is_named(wrong, message):
    for model in (LSTMClassifier(**SMALL), LSTMRegressor(**SMALL), SequenceScaler()):
        with pytest.raises((TypeError, ValueError), match=message):
            model.fit(wrong, [0, 1])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([x[:, 0] for x in RAGGED[:-1]] + [X[0]], "all \\(T_i,\\) or all \\(T_i, K\\), got some of both"),
        (np.zeros((24, 10, 1)), "with T = 6 steps as X, got"),
        (np.zeros(24, "datetime64[D]"), "y must hold real numbers, got dtype datetime64"),
    ],
)
def test_what_are_no_targets_is_named(y, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LSTMRegressor(**SMALL).fit(X, y)


@pytest.mark.parametrize("seed", ["abc", -1, 1.5, np.random.default_rng(0)])
def test_wrong_seeds_are_named(seed):
    with pytest.raises(ValueError, match="random_state must be an integer from 0"):
        LSTMRegressor(**SMALL | {"random_state": seed}).fit(X, NUMBERS)


@pytest.mark.parametrize("classes", [[0, "a", None], {0, 1}, [0.0, np.nan], [[0, 1], [1, 2]], [0.5, 0.7]])
def test_wrong_classes_are_named(classes):
    with pytest.raises(ValueError, match="classes must"):
        LSTMClassifier(**SMALL).partial_fit(X, LABELS, classes=classes)


@pytest.mark.parametrize("value", [np.array([1, 2]), None, ""])
def test_padding_is_a_number(value):
    with pytest.raises(TypeError, match="value must be a number"):
        pad_sequences(RAGGED, value=value)


def test_verbosity():
    LSTMRegressor(**SMALL, verbose=np.bool_(False)).fit(X, NUMBERS)
    with pytest.raises(ValueError, match="verbose must be at least 0, got -1"):
        LSTMRegressor(**SMALL, verbose=-1).fit(X, NUMBERS)


# A fitted model ---------------------------------------------------------------------------------------------


def test_scaling_cannot_change_under_a_model_that_goes_on():
    model = LSTMRegressor(**SMALL, warm_start=True).fit(X, NUMBERS).set_params(scale_targets=False)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="scale_targets must be True, as in the last fit, got False"):
            method(X, NUMBERS)
    model.set_params(scale_targets=True).fit(X, NUMBERS[:, None])
    assert model.predict(X).shape == (24, 1)


def test_parameters_set_after_fit_do_not_change_the_network():
    model = LSTMRegressor(**SMALL, pooling="attention").fit(X, NUMBERS)
    expected = model.predict(X)
    model.set_params(pooling="last", hidden_size=9, dtype="float64", num_layers=3)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert model.attention_weights(X[:1])[0].shape == (6,)
    assert not hasattr(LSTMRegressor(**SMALL).fit(X, NUMBERS).set_params(pooling="attention"), "attention_weights")
    with pytest.raises(ValueError, match="backend must be"):
        model.set_params(backend="bogus").predict(X)


def test_a_callback_may_have_a_length():
    class Calls(list):
        def __call__(self, progress):
            self.append(progress.epoch)

    model = LSTMRegressor(**SMALL, callback=Calls())
    model.fit(X, NUMBERS)
    assert model.callback == [1, 2]


def test_a_range_test_leaves_random_state_alone():
    state = np.random.RandomState(0)
    before = copy.deepcopy(state.get_state())
    LSTMRegressor(**SMALL | {"random_state": state}).learning_rate_range_test(X, NUMBERS)
    assert str(state.get_state()) == str(before)


@pytest.mark.skipif(not hasattr(LSTMClassifier, "set_callbacks"), reason="this scikit-learn has no callbacks")
def test_callbacks_get_an_estimator_that_is_whole():
    seen = []

    class Look:
        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            seen.append((fitted_estimator.score(X, y), fitted_estimator.loss_curve_, fitted_estimator))

    table = pd.DataFrame(X[:, :, 0], columns=list("abcdef"))
    model = LSTMClassifier(**SMALL).set_callbacks(Look()).fit(table, LABELS)
    assert [curve for _, curve, _ in seen] == [model.loss_curve_[:1], model.loss_curve_, model.loss_curve_]
    seen[0][2].partial_fit(table, LABELS)
    seen.clear()
    model.fit(X, LABELS, lengths=LENGTHS)
    assert seen[-1][0] == model.score(X, LABELS, lengths=LENGTHS)
