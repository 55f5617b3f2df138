"""Pickles say which version of numlstm wrote them."""

import copy
import pickle
import re
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import numlstm
from numlstm import (
    LSTM,
    LSTMClassifier,
    LSTMRegressor,
    SequenceEncoder,
    SequenceImputer,
    SequenceScaler,
    VersionWarning,
)
from numlstm.graphs.graph import Graph, Node, Value
from numlstm.savable import Savable

X = np.random.default_rng(0).normal(size=(12, 5, 2))
WRITTEN = re.escape(numlstm.__version__)
SMALL = {"hidden_size": 4, "max_iter": 2, "random_state": 0, "backend": "reference"}
GRAPH = Graph(
    [Node("Add", ("x", "b"), ("y",))], [Value("x", "float32", ("N",))], [Value("y", "float32", ("N",))],
    {"b": np.ones(1, "float32")}, opset=22,
)  # fmt: skip
MODELS = {
    "classifier": (LSTMClassifier(**SMALL).fit(X, list("abcd") * 3), lambda model: model.predict_proba(X)),
    "regressor": (LSTMRegressor(**SMALL).partial_fit(X, X[:, 0, 0]), lambda model: model.predict(X)),
    "unfitted": (LSTMClassifier(), repr),
    "scaler": (SequenceScaler().fit(X), lambda model: model.transform(X)),
    "robust scaler": (SequenceScaler("robust").fit(X), lambda model: model.transform(X)),
    "imputer": (SequenceImputer(indicator=True).fit(X), lambda model: model.transform(np.where(X > 0, X, np.nan))),
    "encoder": (SequenceEncoder().fit(X.round()), lambda model: model.transform(X.round())),
    "unfitted scaler": (SequenceScaler(), repr),
    "layer": (LSTM(2, 3, backend="reference", random_state=0), lambda model: model(X)[0]),
    "graph": (GRAPH, lambda model: model.run({"x": np.ones(3, "float32")})[0]),
}
COPIES = [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)),
          lambda model: pickle.loads(pickle.dumps(model, protocol=2))]  # fmt: skip


@pytest.fixture(params=MODELS)
def case(request):
    """A model, and what it gives."""
    return MODELS[request.param]


def quiet(function, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(*args)


@pytest.mark.parametrize("duplicate", COPIES)
def test_the_same_version_is_no_matter(case, duplicate):
    model, run = case
    other = quiet(duplicate, model)
    assert type(other) is type(model)
    assert vars(other).keys() == vars(model).keys()
    np.testing.assert_array_equal(run(other), run(model))


def test_joblib_and_clone(case, tmp_path):
    model, run = case
    quiet(joblib.dump, model, tmp_path / "model")
    np.testing.assert_array_equal(run(quiet(joblib.load, tmp_path / "model")), run(model))
    if hasattr(model, "get_params"):
        assert repr(quiet(clone, model)) == repr(model)


def test_another_version_is_told(case, monkeypatch):
    model, run = case
    data = pickle.dumps(model)
    monkeypatch.setattr(numlstm, "__version__", "9.8.7")
    kind = type(model).__name__
    message = f"^this {kind} was pickled by numlstm {WRITTEN}, and this is numlstm 9.8.7: .*Fit it again, or load it"
    with pytest.warns(VersionWarning, match="pickled by") as caught:
        other = pickle.loads(data)
    assert re.match(message, str(caught[-1].message))  # of layers inside there are others before
    assert vars(other).keys() == vars(model).keys()
    np.testing.assert_array_equal(run(other), run(model))
    quiet(pickle.loads, pickle.dumps(other))  # this one is of 9.8.7


@pytest.mark.parametrize("name", [name for name in MODELS if name != "graph"])
def test_a_pickle_that_names_no_version(name, monkeypatch):
    """As those of before pickles named one."""
    model, run = MODELS[name]
    with monkeypatch.context() as before:
        before.delattr(Savable, "__getstate__")
        data = pickle.dumps(model)
    message = f"^this {type(model).__name__} was pickled by a version of numlstm that it does not name, and this is"
    with pytest.warns(VersionWarning, match="pickled by") as caught:
        other = pickle.loads(data)
    assert re.match(message, str(caught[-1].message))  # of layers inside there are others before
    assert vars(other).keys() == vars(model).keys()
    np.testing.assert_array_equal(run(other), run(model))


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_older_pickles_name_modules_that_have_moved(name):
    model, run = MODELS[name]
    data = pickle.dumps(model, protocol=2)  # which names modules in plain text
    for before, now in numlstm.estimators.MOVED.items():
        data = data.replace(f"numlstm.estimators.{now}\n".encode(), f"numlstm.estimators.{before}\n".encode())
    assert b"numlstm.estimators.model\n" in data
    assert b"numlstm.estimators.base" not in data
    np.testing.assert_array_equal(run(quiet(pickle.loads, data)), run(model))


def test_a_graph_that_names_no_version(monkeypatch):
    """A pickle of before has no state to miss the version in."""
    made = GRAPH.__reduce__()[:2]
    with monkeypatch.context() as before:
        before.setattr(Graph, "__reduce__", lambda self: made)
        data = pickle.dumps(GRAPH)
    assert b"_numlstm_version" not in data
    assert quiet(pickle.loads, data).run({"x": np.ones(3, "float32")})[0].tolist() == [2.0] * 3


def test_steps_of_a_pipeline_are_told(monkeypatch):
    data = pickle.dumps(make_pipeline(SequenceScaler(), LSTMClassifier()))
    monkeypatch.setattr(numlstm, "__version__", "9.8.7")
    with pytest.warns(VersionWarning) as caught:
        pickle.loads(data)
    assert [str(each.message).split()[1] for each in caught] == ["SequenceScaler", "LSTMClassifier"]


def test_states_of_others_are_not_changed():
    state = LSTMClassifier().__getstate__()
    before = dict(state)
    assert state["_numlstm_version"] == numlstm.__version__
    LSTMClassifier().__setstate__(state)
    assert state == before


def test_a_subclass_with_a_state_of_its_own():
    other = quiet(pickle.loads, pickle.dumps(Own()))
    assert other.extra == "there"
    assert not hasattr(other, "_numlstm_version")


class Own(LSTMClassifier):
    """Keeps more in its pickles."""

    def __getstate__(self):
        return super().__getstate__() | {"extra": "there"}
