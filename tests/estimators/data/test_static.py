"""Static features: what is known of whole sequences, beside them."""

import pickle
from itertools import product

import numpy as np
import pandas as pd
import pytest
import sklearn
from numba import config
from scipy.special import logsumexp
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline

import numlstm
from numlstm import LSTM, LSTMClassifier, LSTMRegressor, LSTMTagger, LSTMTranscriber, SequenceScaler

RNG = np.random.default_rng(0)
LENGTHS = [5, 3, 4, 1, 5, 2, 3, 4]
X = [RNG.normal(size=(steps, 2)) for steps in LENGTHS]
S = RNG.normal([50.0, -3.0, 1e4], [10.0, 0.1, 1.0], size=(8, 3))
FRAME = pd.DataFrame(S, columns=["age", "dose", "place"])
LABELS = np.array(["a", "b", "c", "a"] * 2)
NUMBERS = S[:, 0] + RNG.normal(size=8)
TAGS = [[*"abcca"[:steps]] for steps in LENGTHS]
TEXTS = [*"abbaabba"]
STEPS = [x.cumsum(axis=0) + s[:2] for x, s in zip(X, S, strict=True)]
TINY = {"hidden_size": 2, "bidirectional": False, "scale_inputs": False, "dtype": "float64", "random_state": 0,
        "max_iter": 3}  # fmt: skip
PLAIN = {"solver": "sgd", "momentum": 0.0, "clip_norm": None, "learning_rate": "constant", "scale_inputs": False}
ONE_STEP = TINY | PLAIN | {"learning_rate_init": 0.1, "max_iter": 1}


def padded(arrays):
    array = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]))
    for row, each in zip(array, arrays, strict=True):
        row[: len(each)] = each
    return array


# What is computed -----------------------------------------------------------------------------------------


def pooled(model, x):
    """What the output layer is given of a sequence."""
    y = model.layers_[0](x)[0]
    if model._model.network.pooling == "attention":
        energy = np.exp(np.tanh(y @ model.parameters["weight_attention"] + model.parameters["bias_attention"]))
        return energy @ y / energy.sum()
    ways = {"last": lambda: y[-1], "mean": lambda: y.mean(axis=0), "max": lambda: y.max(axis=0), "none": lambda: y}
    ways["concat"] = lambda: np.concatenate([ways[part]() for part in ("last", "max", "mean")])
    return ways[model._model.network.pooling]()


def scores_by_hand(model):
    """Scores of all sequences, or of all steps."""
    scaled, found = (S - S.mean(axis=0)) / S.std(axis=0), []
    for x, static in zip(X, scaled, strict=True):
        features = np.atleast_2d(pooled(model, x))
        beside = np.tile(static, (len(features), 1))
        found.append(np.hstack([features, beside]) @ model.coef_.T + model.intercept_)
    return np.concatenate(found)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention", "concat"])
def test_a_classifier_reads_them_beside_the_sequence(pooling):
    model = LSTMClassifier(**TINY, pooling=pooling).fit(X, LABELS, static=S)
    assert model.coef_.shape == (3, (6 if pooling == "concat" else 2) + 3)
    scores = scores_by_hand(model)
    odds = np.exp(scores)
    expected = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.decision_function(X, static=S), scores, rtol=1e-9)
    np.testing.assert_allclose(model.predict_proba(X, static=S), expected, rtol=1e-9)
    np.testing.assert_allclose(model.predict_log_proba(X, static=S), np.log(expected), rtol=1e-9)
    predicted = model.classes_[expected.argmax(axis=1)]
    assert (model.predict(X, static=S) == predicted).all()
    assert model.score(X, LABELS, static=S) == np.mean(predicted == LABELS)
    if pooling == "attention":
        assert [len(each) for each in model.attention_weights(X)] == LENGTHS


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_regressor_of_steps_reads_them_at_each(bidirectional):
    model = LSTMRegressor(**TINY | {"bidirectional": bidirectional}).fit(X, STEPS, static=S)
    expected = scores_by_hand(model) * model.target_scale_ + model.target_mean_
    np.testing.assert_allclose(np.concatenate(model.predict(X, static=S)), expected, rtol=1e-9)
    array = model.predict(padded(X), lengths=LENGTHS, static=S)
    np.testing.assert_allclose(array[np.arange(5) < np.array(LENGTHS)[:, None]], expected, rtol=1e-9)


@pytest.mark.parametrize("crf", [False, True])
def test_a_tagger_reads_them_at_each_step(crf):
    model = LSTMTagger(**TINY, crf=crf).fit(X, TAGS, static=S, X_val=X[:3], y_val=TAGS[:3], static_val=S[:3])
    scores = np.split(scores_by_hand(model), np.cumsum(LENGTHS)[:-1])
    for x, row, tags, own, static in zip(scores, model.predict_proba(X, static=S), TAGS, X, S, strict=True):
        paths = np.array(list(product(range(3), repeat=len(x))))
        weights = x[np.arange(len(x)), paths].sum(axis=1)
        if crf:
            weights += model.transitions_[paths[:, :-1], paths[:, 1:]].sum(axis=1)
            weights += model.parameters["start_crf"][paths[:, 0]] + model.parameters["end_crf"][paths[:, -1]]
        shares = np.exp(weights - logsumexp(weights))
        expected = [[shares[paths[:, t] == k].sum() for k in range(3)] for t in range(len(x))]
        np.testing.assert_allclose(row, expected, rtol=1e-9)
        best = model.classes_[paths[weights.argmax()]].tolist()
        assert model.predict_single(own, static=static) == best
        assert model.score([own], [tags], static=[static]) == np.mean(np.array(best) == tags)
        if not crf:
            np.testing.assert_allclose([*map(model.stream(static=[static]).step, own)], row, rtol=1e-9)
    assert model.validation_scores_[-1] == pytest.approx(model.score(X[:3], TAGS[:3], static=S[:3]))
    marginals = model.predict_marginals(X[:1], static=S[:1])[0]
    assert marginals[0]["a"] == model.predict_proba(X[:1], static=S[:1])[0][0, 0]
    with pytest.raises(ValueError, match="static must be an array"):
        model.predict(X)
    assert model.partial_fit(X, TAGS, static=S).n_iter_ == 4


def test_a_transcriber_reads_them_at_each_step():
    options = TINY | {"max_iter": 30, "learning_rate_init": 0.1}
    model = LSTMTranscriber(**options).fit(X, TEXTS, static=S, X_val=X[:3], y_val=TEXTS[:3], static_val=S[:3])
    scores = scores_by_hand(model)
    shares = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
    np.testing.assert_allclose(np.concatenate(model.predict_proba(X, static=S)), shares, rtol=1e-9)
    said = model.predict(X, static=S)
    assert said != [""] * len(X)
    assert model.score(X, said, static=S) == 1
    assert model.validation_scores_[-1] == pytest.approx(model.score(X[:3], TEXTS[:3], static=S[:3]))
    aligned = model.predict_alignment(X, static=S)
    assert ["".join(label for label, *_ in row) for row in aligned] == said
    candidates = model.predict_n_best(X, static=S)
    assert [row[0][0] for row in candidates] == model.predict(X, static=S, beam_size=10)
    for row, part in zip(candidates, np.split(shares, np.cumsum(LENGTHS)[:-1]), strict=True):
        assert dict(row)[""] == pytest.approx(np.log(part[:, 0]).sum())
    for call in (model.predict, model.predict_n_best, model.predict_proba, model.predict_alignment):
        with pytest.raises(ValueError, match="static must be an array"):
            call(X)
    assert model.partial_fit(X, TEXTS, static=S).n_iter_ == 31


@pytest.mark.parametrize("subsample", [1, 2])
def test_streams_of_transcribers_have_them(subsample):
    options = TINY | {"max_iter": 30, "learning_rate_init": 0.1, "subsample": subsample}
    model = LSTMTranscriber(**options).fit(X, TEXTS, static=S)
    said = model.predict(X, static=S)
    assert len({*said}) > 1
    for x, static, text in zip(X, S, said, strict=True):
        stream = model.stream(static=[static])
        assert "".join(map(stream.step, x)) + stream.end()[0] == text


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(
    ("y", "options"),
    [
        (NUMBERS, {"pooling": "last"}),
        (NUMBERS, {"pooling": "attention", "bidirectional": True}),
        (NUMBERS, {"pooling": "concat", "bidirectional": True}),
        (STEPS, {"num_layers": 2}),
        (NUMBERS, {"residual": True, "num_layers": 2, "batch_size": 3,
                   "gradient_accumulation_steps": 3}),
    ],
)  # fmt: skip
def test_a_step_of_training_goes_down_the_slope_of_the_loss(y, options, backend):
    model = LSTMRegressor(**ONE_STEP | {"batch_size": 8} | options, backend=backend, warm_start=True)
    model.fit(X, y, static=S)
    before, scale = {name: array.copy() for name, array in model.parameters.items()}, model.target_scale_
    truth = np.concatenate(y) if isinstance(y, list) else y

    def loss(name, place, change):
        changed = {each: array.copy() for each, array in before.items()}
        changed[name][place] += change
        model.set_parameters(changed)
        said = model.predict(X, static=S)
        return np.mean(((np.concatenate(said) if isinstance(y, list) else said) - truth) ** 2 / scale**2)

    slopes = {name: np.zeros_like(array) for name, array in before.items()}
    for name, slope in slopes.items():
        for place in np.ndindex(slope.shape):
            slope[place] = (loss(name, place, 1e-5) - loss(name, place, -1e-5)) / 2e-5
    model.set_parameters(before)
    model.fit(X, y, static=S)
    for name, slope in slopes.items():
        np.testing.assert_allclose(model.parameters[name], before[name] - 0.1 * slope, atol=2e-8, err_msg=name)


@pytest.mark.parametrize("backend", ["cpu", *(["cuda"] if config.ENABLE_CUDASIM else [])])
@pytest.mark.parametrize(
    ("kind", "y"),
    [
        (LSTMClassifier, LABELS),
        (LSTMRegressor, NUMBERS),
        (LSTMRegressor, STEPS),
        (LSTMRegressor, [np.where(np.arange(2) == len(each) % 2, each, np.nan) for each in STEPS]),
    ],
)
def test_backends_agree(kind, y, backend):
    ours, plain = (kind(**TINY, batch_size=3, backend=name).fit(X, y, static=S) for name in (backend, "reference"))
    np.testing.assert_allclose(ours.loss_curve_, plain.loss_curve_, rtol=1e-9)
    for name, array in ours.parameters.items():
        np.testing.assert_allclose(array, plain.parameters[name], rtol=1e-7, atol=1e-9)
    score = ours.score(X, STEPS if isinstance(y, list) else y, static=S)
    assert score == pytest.approx(plain.score(X, STEPS if isinstance(y, list) else y, static=S))


def test_they_are_learnt_alone():
    """From noise, a classifier and a regressor learn what only the static features tell, in whatever unit."""
    rng = np.random.default_rng(1)
    noise, static = rng.normal(size=(400, 4, 1)), rng.normal([1000.0, 0.01], [100.0, 1e-4], size=(400, 2))
    label, number = static[:, 0] > 1000, static[:, 1] * 3 + 7
    options = {"hidden_size": 4, "random_state": 0}
    model = LSTMClassifier(**options).fit(noise[:300], label[:300], static=static[:300])
    assert model.score(noise[300:], label[300:], static=static[300:]) > 0.95
    assert LSTMClassifier(**options).fit(noise[:300], label[:300]).score(noise[300:], label[300:]) < 0.65
    model = LSTMRegressor(**options).fit(noise[:300], number[:300], static=static[:300])
    assert model.score(noise[300:], number[300:], static=static[300:]) > 0.95


# Scale and names ------------------------------------------------------------------------------------------


def test_they_are_scaled_by_the_sequences_that_count():
    weights = np.array([1.0, 0.0, 2.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    static = np.column_stack([S, np.full(8, 4.0)])
    model = LSTMRegressor(**TINY).fit(X, NUMBERS, weights, static=static)
    counted = static[weights > 0]
    np.testing.assert_allclose(model.static_mean_, counted.mean(axis=0))
    np.testing.assert_allclose(model.static_scale_, [*counted.std(axis=0)[:3], 1.0])


def test_going_on_keeps_the_scale():
    first = LSTMRegressor(**TINY, warm_start=True).fit(X, NUMBERS, static=S)
    mean = first.static_mean_.copy()
    first.fit(X, NUMBERS, static=S + 5.0)
    np.testing.assert_array_equal(first.static_mean_, mean)
    part = LSTMRegressor(**TINY).partial_fit(X, NUMBERS, static=S)
    part.partial_fit(X, NUMBERS, static=S + 5.0)
    np.testing.assert_array_equal(part.static_mean_, mean)
    assert part.score(X, NUMBERS, static=S) <= 1.0


def test_partial_fit_takes_the_step_of_fit():
    one = LSTMClassifier(**ONE_STEP).fit(X, LABELS, static=S)
    other = LSTMClassifier(**ONE_STEP).partial_fit(X, LABELS, ["a", "b", "c"], static=S)
    for name, array in one.parameters.items():
        np.testing.assert_array_equal(array, other.parameters[name])


def test_names_are_those_of_fit():
    model = LSTMRegressor(**TINY).fit(X, NUMBERS, static=FRAME)
    assert model.static_feature_names_in_.tolist() == ["age", "dose", "place"]
    expected = LSTMRegressor(**TINY).fit(X, NUMBERS, static=S).predict(X, static=S)
    np.testing.assert_array_equal(model.predict(X, static=FRAME), expected)
    with pytest.raises(ValueError, match=r"must have the columns of fit in the same order, \['age', 'dose', 'place'\]"):
        model.predict(X, static=FRAME[["dose", "age", "place"]])
    with pytest.warns(UserWarning, match="static had feature names in fit, and has none now"):
        np.testing.assert_array_equal(model.predict(X, static=S), expected)
    model = LSTMRegressor(**TINY).fit(X, NUMBERS, static=S)
    with pytest.warns(UserWarning, match="static had no feature names in fit, and has some now"):
        model.predict(X, static=FRAME)
    with pytest.raises(AttributeError, match="static had no column names in fit"):
        model.static_feature_names_in_  # noqa: B018
    with pytest.raises(TypeError, match="names that are all strings"):
        model.fit(X, NUMBERS, static=pd.DataFrame(S, columns=["a", "b", 3]))


# What is wrong --------------------------------------------------------------------------------------------


def test_they_are_asked_for_ever_after():
    model = LSTMClassifier(**TINY, warm_start=True).fit(X, LABELS, static=S)
    before = model.predict_proba(X, static=S)
    calls = [
        lambda: model.predict(X),
        lambda: model.predict_proba(X),
        lambda: model.decision_function(X),
        lambda: model.score(X, LABELS),
        lambda: model.fit(X, LABELS),
        lambda: model.partial_fit(X, LABELS),
        lambda: model.stream(),
        lambda: numlstm.stream(model),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"static must be an array \(\d, 3\), because fit had static"):
            call()
    with pytest.raises(ValueError, match=r"static must have 3 features, as in fit, got 2"):
        model.fit(X, LABELS, static=S[:, :2])
    np.testing.assert_array_equal(model.predict_proba(X, static=S), before)


def test_they_are_refused_where_there_were_none():
    model = LSTMRegressor(**TINY, warm_start=True).fit(X, NUMBERS)
    for call in (model.predict, lambda each, static: model.fit(each, NUMBERS, static=static)):
        with pytest.raises(ValueError, match="static must be None, because fit had no static features"):
            call(X, static=S)
    with pytest.raises(AttributeError, match="fitted without static features, so it has no static_mean"):
        model.static_mean_  # noqa: B018
    with pytest.raises(ValueError, match="static must be None for LSTM, because layers have no static features"):
        numlstm.stream(LSTM(2, 3), static=S[:1])


@pytest.mark.parametrize(
    ("static", "error", "message"),
    [
        (
            S[:7],
            ValueError,
            r"static must be an array \(8, features\) .* for each sequence, got shape \(7, 3\)",
        ),
        (S[:, 0], ValueError, r"one row for each sequence, got shape \(8,\)"),
        (np.where(S > 0, S, np.nan), ValueError, r"static must be .* finite real numbers: .*NaN"),
        (S.astype(str).astype(object) + "x", ValueError, "static must be .* finite real numbers: could not convert"),
        (S.astype(complex), ValueError, "static must be .* finite real numbers"),
        (np.empty((8, 0)), ValueError, r"static must be .* 0 feature"),
    ],
)
def test_what_is_no_static_features_is_named(static, error, message):
    model = LSTMRegressor(**TINY)
    with pytest.raises(error, match=message):
        model.fit(X, NUMBERS, static=static)
    assert not hasattr(model, "loss_curve_")


def test_what_is_too_large_is_named():
    model = LSTMRegressor(**TINY | {"dtype": "float32"}).fit(X, NUMBERS, static=S)
    with pytest.raises(ValueError, match="static must be in the range of float32 when scaled"):
        model.predict(X, static=S + 1e45)


# Validation and model selection ---------------------------------------------------------------------------


def test_validation_sets_have_their_own():
    model = LSTMRegressor(**TINY).fit(X[:5], NUMBERS[:5], static=S[:5], X_val=X[5:], y_val=NUMBERS[5:],
                                      static_val=S[5:])  # fmt: skip
    assert model.validation_scores_[-1] == pytest.approx(model.score(X[5:], NUMBERS[5:], static=S[5:]))
    with pytest.raises(ValueError, match="static_val must be an array"):
        model.fit(X[:5], NUMBERS[:5], static=S[:5], X_val=X[5:], y_val=NUMBERS[5:])
    with pytest.raises(ValueError, match="static_val must be None"):
        model.fit(X[:5], NUMBERS[:5], X_val=X[5:], y_val=NUMBERS[5:], static_val=S[5:])
    with pytest.raises(ValueError, match="X_val and y_val must be given together, got only static_val"):
        model.fit(X[:5], NUMBERS[:5], static=S[:5], static_val=S[5:])


def test_a_split_for_early_stopping_takes_them_with_it(monkeypatch):
    def split(self, data, codec, rng):
        train, validation = original(self, data, codec, rng)
        seen.extend([train, validation.data])
        return train, validation

    seen, original = [], LSTMRegressor._split_validation
    monkeypatch.setattr(LSTMRegressor, "_split_validation", split)
    options = TINY | {"early_stopping": True, "validation_fraction": 0.3}
    model = LSTMRegressor(**options, scale_targets=False).fit(X, S[:, 0], static=S)
    for data in seen:
        np.testing.assert_allclose(data.static[:, 0] * model.static_scale_[0] + model.static_mean_[0],
                                   data.targets.values[:, 0])  # fmt: skip
    assert sum(map(len, seen)) == 8


def test_a_range_test_takes_them():
    with_static, without = (
        LSTMRegressor(**TINY).learning_rate_range_test(X, NUMBERS, static=static, steps=5) for static in (S, None)
    )
    assert with_static.losses.shape == (5,)
    assert with_static.losses[0] != without.losses[0]


@pytest.mark.parametrize("static", [S, FRAME])
def test_metadata_routing_gives_them_to_folds(static):
    scores = []
    for train, test in KFold(2).split(X):
        model = LSTMRegressor(**TINY).fit([X[i] for i in train], NUMBERS[train], static=S[train])
        scores.append(model.score([X[i] for i in test], NUMBERS[test], static=S[test]))
    with sklearn.config_context(enable_metadata_routing=True):
        model = LSTMRegressor(**TINY).set_fit_request(static=True).set_score_request(static=True)
        pipeline = make_pipeline(model)
        for each in (model, pipeline):
            found = cross_val_score(each, X, NUMBERS, cv=2, params={"static": static}, error_score="raise")
            np.testing.assert_allclose(found, scores)


# Streams, files and pickles -------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "y", "method"), [
    (LSTMClassifier, LABELS, "predict_proba"), (LSTMRegressor, NUMBERS, "predict"), (LSTMRegressor, STEPS, "predict"),
])  # fmt: skip
def test_streams_have_them_from_the_start(kind, y, method):
    model = kind(**TINY).fit(X, y, static=S)
    x = np.stack([X[0], X[4]])
    stream = numlstm.stream(model, 2, static=S[[0, 4]])
    for _ in range(2):
        for t in range(5):
            expected = np.asarray(getattr(model, method)(x[:, : t + 1], static=S[[0, 4]]))
            said = stream.step(x[:, t])
            np.testing.assert_allclose(said, expected[:, t] if y is STEPS else expected, rtol=1e-9)
        stream.reset()
    one = model.stream(static=S[:1])
    np.testing.assert_allclose(one.step(x[0, 0]), stream.step(x[:, 0])[0], rtol=1e-9)
    with pytest.raises(ValueError, match=r"static must be an array \(2, features\)"):
        model.stream(2, static=S[:1])


def test_streams_of_pipelines_have_them():
    pipeline = make_pipeline(SequenceScaler(), LSTMClassifier(**TINY))
    pipeline.fit(X, LABELS, lstmclassifier__static=S)
    stream = numlstm.stream(pipeline, static=S[:1])
    for x_t in X[0]:
        said = stream.step(x_t)
    np.testing.assert_allclose(said, pipeline.predict_proba(X[:1], static=S[:1])[0], rtol=1e-9)


@pytest.mark.parametrize(("static", "kind", "y"), [(S, LSTMClassifier, LABELS), (FRAME, LSTMRegressor, STEPS)])
def test_files_and_pickles_keep_them(static, kind, y, tmp_path):
    model = kind(**TINY)
    model.partial_fit(X, y, ["a", "b", "c"], static=static) if kind is LSTMClassifier else model.partial_fit(
        X, y, static=static
    )
    model.save(tmp_path / "model.safetensors")
    for other in (numlstm.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.static_mean_, model.static_mean_)
        np.testing.assert_array_equal(other.static_scale_, model.static_scale_)
        assert getattr(other, "static_feature_names_in_", None) is None or static is FRAME
        assert static is S or other.static_feature_names_in_.tolist() == [*FRAME.columns]
        for own, expected in zip(other.predict(X, static=static), model.predict(X, static=static), strict=True):
            np.testing.assert_array_equal(own, expected)
        again = pickle.loads(pickle.dumps(model)).partial_fit(X, y, static=static)
        other.partial_fit(X, y, static=static)
        for name, array in again.parameters.items():
            np.testing.assert_array_equal(array, other.parameters[name])
