"""Texts and categories as X: what is read of them, and what estimators make of it."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import numlstm
from numlstm import LSTMClassifier, LSTMRegressor
from numlstm.io import to_onnx

RNG = np.random.default_rng(0)
TEXTS = ["".join(RNG.choice(list("abc"), RNG.integers(3, 9))) for _ in range(80)]
LABELS = np.array([text.count("a") > text.count("b") for text in TEXTS])
SMALL = {"hidden_size": 8, "max_iter": 2, "random_state": 0}


def small(**options):
    return LSTMClassifier(**SMALL | options)


def fitted(**options):
    return small(**options).fit(TEXTS, LABELS)


# What is read ---------------------------------------------------------------------------------------------


def test_the_vocabulary_counts_from_the_most_frequent():
    model = small().fit(["aab", "abb", "abc", "aaa"], [0, 1, 0, 1])
    assert model.vocabulary_ == {"a": 1, "b": 2, "c": 3}
    assert model.vocabularies_ == {0: model.vocabulary_}
    assert [table.shape for table in model.embeddings_] == [(4, 4)]


def test_words_are_those_of_scikit_learn():
    from sklearn.feature_extraction.text import CountVectorizer

    texts = ["The LSTM, a network; it's gated.", "no gates: nothing is kept"]
    model = small(analyzer="word", lowercase=True).fit(texts, [0, 1])
    assert sorted(model.vocabulary_) == sorted(CountVectorizer().fit(texts).vocabulary_)
    assert "The" in small(analyzer="word").fit(texts, [0, 1]).vocabulary_


def test_an_analyzer_of_the_users_own():
    model = small(analyzer=lambda text: text.split("-")).fit(["ab-c", "c-d-ab"], [0, 1])
    assert sorted(model.vocabulary_) == ["ab", "c", "d"]


def test_lists_of_tokens_are_texts_that_are_split_already():
    model, expected = small().fit([[*text] for text in TEXTS], LABELS), fitted()
    np.testing.assert_array_equal(model.predict_proba(TEXTS), expected.predict_proba(TEXTS))
    np.testing.assert_array_equal(model.predict_proba([[*text] for text in TEXTS]), expected.predict_proba(TEXTS))


@pytest.mark.parametrize("form", [np.array, lambda x: np.array(x, object), tuple, pd.Series])
def test_forms_of_a_list_of_strings(form):
    np.testing.assert_array_equal(small().fit(form(TEXTS), LABELS).predict_proba(form(TEXTS)),
                                  fitted().predict_proba(TEXTS))  # fmt: skip


def test_rare_tokens_are_one():
    texts = ["aaab", "aaac", "aabb"]
    model = small(min_frequency=2).fit(texts, [0, 1, 0])
    assert model.vocabulary_ == {"a": 1, "b": 2}
    assert small(max_vocabulary=1).fit(texts, [0, 1, 0]).vocabulary_ == {"a": 1}
    np.testing.assert_array_equal(model.predict_proba(["acca"]), model.predict_proba(["azya"]))


# What is made of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_token_stands_for_its_vector(backend):
    """Fed with the vectors themselves, the layers and the output layer say the same."""
    model = fitted(backend=backend)
    table, number = model.embeddings_[0], model.vocabulary_
    vectors = [table[[number[c] for c in text]] for text in TEXTS]
    layer = model.layers_[0]
    features = []
    for x in vectors:
        y, _ = layer(x[None])
        h = np.concatenate([y[0, -1, :8], y[0, 0, 8:]])
        features.append(np.concatenate([h, y[0].max(axis=0), y[0].mean(axis=0)]))
    scores = np.array(features) @ model.coef_.T + model.intercept_
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(TEXTS), shares[:, -2:], atol=2e-6)


def test_backends_learn_alike():
    one, other = fitted(backend="cpu", dtype="float64"), fitted(backend="reference", dtype="float64")
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(one.embeddings_[0], other.embeddings_[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("options", [{"token_dropout": 0.4}, {"embedding_dropout": 0.4}])
def test_backends_drop_alike(options):
    options |= {"dtype": "float64"}
    one, other = fitted(backend="cpu", **options), fitted(backend="reference", **options)
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-9)
    assert not np.allclose(one.loss_curve_, fitted(backend="cpu", dtype="float64").loss_curve_, rtol=1e-6)


def test_it_learns():
    model = LSTMClassifier(hidden_size=16, random_state=0).fit(TEXTS * 3, np.tile(LABELS, 3))
    assert model.score(TEXTS, LABELS) > 0.95


def test_a_target_for_each_token():
    y = [np.cumsum([c == "a" for c in text]).astype(float) for text in TEXTS]
    model = LSTMRegressor(hidden_size=16, random_state=0).fit(TEXTS, y)
    assert model.score(TEXTS, y) > 0.8
    assert [len(values) for values in model.predict(["ab", "abc"])] == [2, 3]


def test_a_stream_takes_tokens():
    model = fitted(bidirectional=False)
    stream = model.stream()
    for token in "abz":
        last = stream.step(token)
    np.testing.assert_allclose(last, model.predict_proba(["abz"])[0], atol=1e-6)
    both = model.stream(2)
    both.step(["a", "c"])
    np.testing.assert_allclose(both.step(["b", "c"]), model.predict_proba(["ab", "cc"]), atol=1e-6)
    with pytest.raises(ValueError, match="x_t must hold a step for each of 2 sequences, got 3"):
        both.step(["a", "b", "c"])


def test_a_stream_lowers_the_case_as_predictions_do():
    model = fitted(bidirectional=False, lowercase=True)
    stream = model.stream()
    stream.step("A")
    np.testing.assert_allclose(stream.step("B"), model.predict_proba(["AB"])[0], atol=1e-6)


def test_a_trace_of_texts():
    assert fitted().trace(["ab", "abc"]).forget_gate.shape == (2, 2, 3, 8)


def test_validation_and_going_on():
    model = small().fit(TEXTS, LABELS, X_val=TEXTS[:9], y_val=LABELS[:9])
    assert len(model.validation_loss_curve_) == 2
    model.set_params(warm_start=True).fit(["aabb", "zz"], [False, True])
    assert model.vocabulary_ == fitted().vocabulary_
    other = small().partial_fit(TEXTS, LABELS, classes=[False, True])
    assert other.partial_fit(["zz", "ab"], [True, False]).vocabulary_ == model.vocabulary_


def test_searches_and_clones():
    search = GridSearchCV(small(), {"embedding_size": [3, 5]}, cv=2).fit(TEXTS, LABELS)
    assert search.best_estimator_.embeddings_[0].shape[1] in (3, 5)
    assert clone(fitted()).embedding_size == "auto"


# Given vectors --------------------------------------------------------------------------------------------


def test_given_vectors_that_stay():
    vectors = {"a": [1.0, 2.0, 3.0], "z": [9.0, 9.0, 9.0]}
    model = fitted(embedding=vectors, freeze_embedding=True)
    number, (table,) = model.vocabulary_, model.embeddings_
    np.testing.assert_array_equal(table[number["a"]], vectors["a"])
    rows = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(fitted(embedding=rows, freeze_embedding=True).embeddings_[0], rows)
    assert (fitted(embedding=rows).embeddings_[0] != rows).any()


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (np.zeros((3, 5)), r"embedding must have shape \(4, size\), a row for unknown tokens .* got \(3, 5\)"),
        (np.zeros(4), r"embedding must have shape \(4, size\)"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "embedding must map tokens to vectors of one length"),
        (np.full((4, 2), np.nan), "embedding must be finite"),
    ],
)
def test_vectors_of_the_wrong_shape(embedding, message):
    with pytest.raises(ValueError, match=message):
        fitted(embedding=embedding)


# Categories beside numbers --------------------------------------------------------------------------------


def days(frame=pd.DataFrame, count=30):
    rng = np.random.default_rng(1)
    return [
        frame({"weather": rng.choice(["sun", "rain"], 5).tolist(), "wind": rng.normal(50, 9, 5)}) for _ in range(count)
    ]


def wet_wind(X):
    return [float(sum(w for k, w in zip(x["weather"], x["wind"], strict=True) if k == "rain")) for x in X]


def regressor(**options):
    return LSTMRegressor(**SMALL | options)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_of_strings_are_categories(frame):
    X = days(frame)
    model = regressor().fit(X, wet_wind(X))
    assert {*model.vocabularies_["weather"]} == {"sun", "rain"}
    assert model.n_channels_ == 2
    np.testing.assert_allclose(model.channel_mean_, [0.0, np.concatenate([x["wind"] for x in X]).mean()])
    with pytest.raises(AttributeError, match="vocabularies_"):
        _ = model.vocabulary_


def test_all_forms_are_one():
    X = days()
    expected = regressor().fit(X, wet_wind(X)).predict(X)
    records = [np.array([*map(tuple, x.values.tolist())], [("weather", "U4"), ("wind", float)]) for x in X]
    dicts = [x.to_dict("records") for x in X]
    objects = [x.to_numpy(object) for x in X]
    indexed = pd.concat(dict(enumerate(X)))
    for form in (records, dicts, objects, indexed):
        options = {"categorical_features": [0]} if form is objects else {}
        model = regressor(**options).fit(form, wet_wind(X))
        np.testing.assert_array_equal(model.predict(form), expected)


def sparse_days():
    """Days as dicts that say nothing of sun and of weak wind."""
    said = {"weather": lambda weather: weather == "rain", "wind": lambda wind: wind > 45}
    return [[{k: v for k, v in step.items() if said[k](v)} for step in x.to_dict("records")] for x in days()]


def test_dicts_may_lack_features():
    """A missing string is a category of its own, and a missing number is 0."""
    X = [[{}, {"wind": 40.0}], *sparse_days()]
    full = [[{"wind": step.get("wind", 0.0), "weather": step.get("weather")} for step in x] for x in X]
    y = np.random.default_rng(0).normal(size=len(X))
    model, expected = (regressor().fit(form, y, X_val=form[:5], y_val=y[:5]) for form in (X, full))
    assert model.vocabularies_ == {"weather": {"rain": 1, None: 2}}
    np.testing.assert_array_equal(model.predict(X), expected.predict(full))
    np.testing.assert_array_equal(model.predict([[{}]]), expected.predict([[{"wind": 0.0, "weather": None}]]))
    assert model.predict([[{}]]) != model.predict([[{"weather": "rain"}]])
    streams = model.stream(), expected.stream()
    for step, full_step in zip(X[0], full[0], strict=True):
        np.testing.assert_array_equal(*(s.step(x) for s, x in zip(streams, (step, full_step), strict=True)))


def test_dicts_that_are_wrong():
    with pytest.raises(TypeError, match="X must have a string among the values of its dicts"):
        regressor().fit([[{"wind": 1.0}]] * 4, np.arange(4.0))
    with pytest.raises(TypeError, match=r"X\[1\] must be a list of dicts, one for each step"):
        regressor().fit([[{"weather": "sun"}], [{"weather": "sun"}, "rain"]], np.arange(2.0))
    with pytest.raises(TypeError, match=r"X\[1\] must be a table or a structured array"):
        regressor().fit([days()[0], [{"weather": "sun"}]], np.arange(2.0))
    model = regressor().fit([[{"weather": "sun"}, {"wind": 1.0}]] * 4, np.arange(4.0))
    with pytest.raises(TypeError, match=r"X\[0\] must hold numbers in channel 'wind'"):
        model.predict([[{"wind": "strong"}]])


def test_numbers_can_be_categories():
    X = [RNG.integers(0, 3, (6, 1)) for _ in range(40)]
    y = [float((x == 1).sum()) for x in X]
    model = regressor(categorical_features=[0]).fit(X, y)
    assert {*model.vocabularies_[0]} == {0, 1, 2}


def test_missing_categories_are_one():
    X = [np.array([["a"], [None], [np.nan], [np.float64("nan")]], object) for _ in range(6)]
    model = regressor(categorical_features=[0]).fit(X, np.arange(6.0))
    assert model.vocabularies_ == {0: {None: 1, "a": 2}}


def test_it_learns_of_both():
    X = days(count=200)
    model = LSTMRegressor(hidden_size=16, random_state=0).fit(X, wet_wind(X))
    assert model.score(X, wet_wind(X)) > 0.8


def test_a_stream_of_records():
    X = days()
    model = regressor(pooling="last").fit(X, wet_wind(X))
    stream = model.stream()
    for step in X[0].to_dict("records"):
        last = stream.step(step)
    np.testing.assert_allclose(last, model.predict(X[:1])[0], rtol=1e-5)


# Files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [fitted, lambda: regressor().fit(days(), wet_wind(days()))])
def test_saved_and_pickled(make, tmp_path):
    model = make()
    X = TEXTS if isinstance(model, LSTMClassifier) else days()
    model.save(tmp_path / "model.safetensors")
    for other in (numlstm.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        assert other.vocabularies_ == model.vocabularies_


def test_what_a_file_cannot_hold(tmp_path):
    model = small(analyzer=str.split).fit(["ab c", "c d"], [0, 1])
    with pytest.raises(ValueError, match="analyzer"):
        model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="an estimator of texts or categories cannot be written to ONNX"):
        to_onnx(fitted(), tmp_path / "model.onnx")
    assert not [*tmp_path.iterdir()]


# Bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("text", TypeError, r"X must be a list of strings, got one str: pass \[X\]"),
        ([b"ab", "c"], TypeError, r"X\[0\] must be a string, got bytes"),
        (["ab", ""], ValueError, r"X\[1\] must have at least one token"),
        (["ab", 3], TypeError, r"X\[1\] must be a string or a list of tokens, got int"),
        (["ab", None], TypeError, r"X\[1\] must be a string or a list of tokens, got NoneType"),
        (["ab", ["a", ["b", "c"]]], TypeError, r"X\[1\] must hold strings or numbers as tokens, got \['b', 'c'\]"),
    ],
)
def test_what_is_no_text(X, error, message):
    model = fitted()
    before = model.predict(TEXTS)
    with pytest.raises(error, match=message):
        model.fit(X, [0, 1])
    np.testing.assert_array_equal(model.predict(TEXTS), before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"analyzer": "char_wb"}, ValueError, "analyzer must be one of"),
        ({"analyzer": lambda text: None}, TypeError, "analyzer must return a list of tokens, got NoneType"),
        ({"min_frequency": 0}, ValueError, "min_frequency must be at least 1"),
        ({"min_frequency": 10**6}, ValueError, "min_frequency must leave at least one token"),
        ({"max_vocabulary": 0}, ValueError, "max_vocabulary must be at least 1"),
        ({"embedding_size": 0}, ValueError, "embedding_size must be at least 1"),
        ({"embedding_size": "large"}, TypeError, "embedding_size must be an integer or 'auto'"),
        ({"token_dropout": 1.0}, ValueError, "token_dropout must be"),
        ({"categorical_features": "a"}, TypeError, "categorical_features must be a list of channels"),
        ({"categorical_features": [0]}, ValueError, "categorical_features must be None for texts"),
    ],
)
def test_parameters_are_checked(options, error, message):
    with pytest.raises(error, match=message):
        fitted(**options)


def test_numbers_after_texts_and_texts_after_numbers():
    with pytest.raises(TypeError, match="X must hold texts or lists of tokens, as in fit, got numbers"):
        fitted().predict(np.zeros((2, 3, 1)))
    model = small().fit(np.zeros((4, 3, 1)), [0, 1, 0, 1])
    with pytest.raises((TypeError, ValueError)):
        model.predict(["ab"])
    with pytest.raises(AttributeError, match="fitted with numbers alone"):
        _ = model.vocabulary_


def test_categorical_features_that_are_not_there():
    with pytest.raises(ValueError, match=r"categorical_features must be among the channels \[0, 1\], got 2"):
        regressor(categorical_features=[2]).fit(np.zeros((4, 3, 2)), np.arange(4.0))


def test_other_channels_than_in_fit():
    model = regressor().fit(days(), wet_wind(days()))
    with pytest.raises(ValueError, match=r"X must have the channels \['weather', 'wind'\], as in fit"):
        model.predict([x[["wind", "weather"]] for x in days()])
    with pytest.raises(TypeError, match=r"X\[0\] must hold numbers in channel 'wind'"):
        model.predict([x.assign(wind="strong") for x in days()])
    with pytest.raises(
        ValueError, match=r"X\[0\]\[1\] must have keys among those of fit, \['weather', 'wind'\], got 'rain'"
    ):
        model.predict([[{"weather": "sun", "wind": 1.0}, {"weather": "sun", "rain": 2.0}]])


def test_names_of_tokens():
    model = fitted()
    assert [*model.get_feature_names_out()] == ["<unknown>", *model.vocabulary_]
    rows = [[{"weather": "sun", "code": 1, "wind": 2.0}]] * 12 + [[{"weather": "rain", "code": 1, "wind": 2.0}]] * 8
    model = LSTMClassifier(**SMALL, categorical_features=["code"]).fit(rows, [0] * 12 + [1] * 8)
    expected = ["weather_<unknown>", "weather_sun", "weather_rain", "code_<unknown>", "code_1"]
    assert [*model.get_feature_names_out()] == expected
    assert not hasattr(LSTMClassifier(), "get_feature_names_out")
    assert not hasattr(LSTMClassifier(**SMALL).fit(RNG.normal(size=(20, 3, 1)), [0, 1] * 10), "get_feature_names_out")


def test_bytes_as_tokens():
    model = LSTMClassifier(**SMALL, analyzer="byte").fit(["é", "e"] * 10, [0, 1] * 10)
    assert model.vocabulary_ == {101: 1, 169: 2, 195: 3}
    with pytest.raises(TypeError, match=r"X\[0\] must be a string, got bytes"):
        model.predict([b"e"])
