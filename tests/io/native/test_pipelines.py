"""Pipelines and scikit-learn's scalers in numlstm's own files."""

import copy
import os
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from native_files import (
    DATA,
    LABELS,
    SMALL,
    assert_refused_or_whole,
    assert_refused_soon,
    edited,
    joined,
    mutants,
    parts,
    put,
    there_and_back,
    with_numbers,
    with_odd_values,
)
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import numlstm
from numlstm import LSTM, LSTMClassifier, LSTMRegressor, SequenceScaler

RNG = np.random.default_rng(0)
X = RNG.normal(50.0, 9.0, size=(12, 5))
CUBE = RNG.normal(50.0, 9.0, size=(12, 5, 2))
SCALERS = [
    StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False, copy=False),
    StandardScaler(with_mean=False, with_std=False), MinMaxScaler(), MinMaxScaler((-1, 2.5), clip=True),
    MinMaxScaler((np.float32(0.5), 2)), MaxAbsScaler(), RobustScaler(), RobustScaler(with_centering=False),
    RobustScaler(with_scaling=False), RobustScaler(quantile_range=(10, 90.5), unit_variance=True),
]  # fmt: skip


def assert_same_scaler(loaded, scaler):
    assert type(loaded) is type(scaler)
    assert vars(loaded).keys() == vars(scaler).keys()
    for name, theirs in vars(scaler).items():
        ours = vars(loaded)[name]
        assert type(ours) is type(theirs), name
        if isinstance(theirs, np.ndarray):
            assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist()), name
            assert ours.flags.writeable, name
        else:
            assert repr(ours) == repr(theirs), name


# Scalers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaler", SCALERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_scalers_come_back(scaler, dtype, path):
    given = X.astype(dtype)
    scaler = copy.copy(scaler)
    assert_same_scaler(there_and_back(scaler, path), scaler)
    scaler.fit(given)
    loaded = there_and_back(scaler, path)
    assert_same_scaler(loaded, scaler)
    assert loaded.transform(given.copy()).tobytes() == scaler.transform(given.copy()).tobytes()
    if hasattr(scaler, "partial_fit"):
        loaded.partial_fit(2 * given)
        scaler.partial_fit(2 * given)
        assert_same_scaler(loaded, scaler)


def test_samples_of_each_column_and_weights(path):
    holes = X.copy()
    holes[3, 1] = np.nan
    scaler = StandardScaler().fit(holes)
    assert scaler.n_samples_seen_.shape == (5,)
    assert_same_scaler(there_and_back(scaler, path), scaler)
    scaler = StandardScaler().fit(X, sample_weight=np.linspace(0.1, 1.0, 12))
    assert_same_scaler(there_and_back(scaler, path), scaler)


def test_tables_and_their_output(path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "ü", 'q"', ""])
    for scaler in (StandardScaler().set_output(transform="pandas").fit(frame), RobustScaler().fit(frame)):
        loaded = there_and_back(scaler, path)
        assert_same_scaler(loaded, scaler)
        assert loaded.feature_names_in_.tolist() == [*frame.columns]
        assert type(loaded.transform(frame)) is type(scaler.transform(frame))
        with pytest.raises(ValueError, match="feature names"):
            loaded.transform(frame[frame.columns[::-1]])


def test_scalers_that_cannot_be_written(path):
    with pytest.raises(ValueError, match=r"StandardScaler cannot be saved: model: parameters: .*'with_mean'"):
        numlstm.save(StandardScaler(with_mean="yes"), path)
    with pytest.raises(ValueError, match="feature_range must be a tuple of two numbers"):
        numlstm.save(MinMaxScaler([0, 1]), path)
    with pytest.raises(ValueError, match="quantile_range must be two numbers in"):
        numlstm.save(RobustScaler(quantile_range=(75.0, 25.0)), path)
    with pytest.raises(ValueError, match="tensor 'mean_' holds numbers that are NaN"), np.errstate(all="ignore"):
        numlstm.save(StandardScaler().fit(np.c_[X, np.full(12, np.nan)]), path)
    scaler = StandardScaler().fit(X)
    scaler.mean_ = scaler.mean_.tolist()
    with pytest.raises(ValueError, match="mean_ must be an array of NumPy's floats to be written to a file, got list"):
        numlstm.save(scaler, path)
    scaler = StandardScaler(with_mean=False, with_std=False).fit(X).set_params(with_mean=True)
    with pytest.raises(ValueError, match="tensor 'mean_' is missing"):
        numlstm.save(scaler, path)
    assert not path.exists()


# Pipelines ------------------------------------------------------------------------------------------------

PIPELINES = [
    (make_pipeline(SequenceScaler(), LSTMClassifier(**SMALL)), CUBE),
    (make_pipeline(SequenceScaler(), LSTMClassifier(**SMALL)), [x[: 1 + k % 5] for k, x in enumerate(CUBE)]),
    (Pipeline([("scale it", StandardScaler()), ("gru", LSTMClassifier(cell="gru", **SMALL))], verbose=True), X),
    (make_pipeline("passthrough", None, MinMaxScaler(clip=True), LSTMClassifier(**SMALL)), X.astype("float32")),
    (make_pipeline(make_pipeline(RobustScaler(), MaxAbsScaler()), make_pipeline(SequenceScaler()),
                   LSTMClassifier(**SMALL)), X),
]  # fmt: skip


@pytest.mark.parametrize(("pipeline", "given"), PIPELINES)
def test_pipelines_come_back(pipeline, given, path, capsys):
    unfitted = there_and_back(pipeline, path)
    assert repr(unfitted) == repr(pipeline)
    with pytest.raises(NotFittedError):
        unfitted[-1].predict(given)
    model = unfitted.fit(given, LABELS)
    loaded = there_and_back(model, path)
    assert type(loaded) is Pipeline
    assert [name for name, _ in loaded.steps] == [name for name, _ in pipeline.steps]
    assert repr(loaded) == repr(model)
    assert str(loaded.get_params()) == str(model.get_params())
    assert vars(loaded).keys() == vars(model).keys()
    assert loaded.predict_proba(given).tobytes() == model.predict_proba(given).tobytes()
    assert loaded.classes_.tolist() == list("abcd")
    before = path.read_bytes()
    numlstm.save(loaded, path)
    assert path.read_bytes() == before
    loaded.fit(given, LABELS)


def test_a_regressor_and_names_of_columns(path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"t{t}" for t in range(5)])
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), LSTMRegressor(**SMALL)).fit(
        frame, X[:, 0]
    )
    loaded = there_and_back(pipeline, path)
    assert loaded.feature_names_in_.tolist() == [*frame.columns]
    assert loaded[-1].feature_names_in_.tolist() == [*frame.columns]
    assert loaded.predict(frame).tobytes() == pipeline.predict(frame).tobytes()


def test_training_goes_on(path):
    pipeline = make_pipeline(SequenceScaler().fit(CUBE), LSTMClassifier(**SMALL))
    for _ in range(2):
        pipeline[-1].partial_fit(pipeline[0].transform(CUBE), LABELS, classes=list("abcd"))
    loaded = there_and_back(pipeline, path)
    for each in (pipeline, loaded):
        each[-1].partial_fit(each[0].transform(CUBE), LABELS)
    assert loaded.predict_proba(CUBE).tobytes() == pipeline.predict_proba(CUBE).tobytes()


def test_transform_input_is_kept(path):
    pipeline = Pipeline([("scaler", SequenceScaler()), ("lstm", LSTMClassifier())], transform_input=["X_val"])
    assert there_and_back(pipeline, path).transform_input == ["X_val"]


def test_tensors_stand_under_their_steps(path):
    model = make_pipeline(make_pipeline(StandardScaler()), LSTMClassifier(**SMALL)).fit(X, LABELS)
    numlstm.save(model, path)
    header, content, _ = parts(path.read_bytes())
    assert {"steps.0.steps.0.mean_", "steps.1.weight_ih_l0", "steps.1.classes_"} < header.keys()
    assert content["class"] == "Pipeline"
    assert content["format_version"] == 1
    assert [step["class"] for step in content["model"]["steps"]] == ["Pipeline", "LSTMClassifier"]


def test_what_numlstm_save_takes_besides(path):
    for model in (LSTM(2, 3, random_state=0), LSTMRegressor(), SequenceScaler()):
        assert repr(there_and_back(model, path)) == repr(model)


# What is not written --------------------------------------------------------------------------------------


def test_what_is_left_out(path):
    model = LSTMClassifier(**SMALL, callback=lambda progress: None)
    pipeline = Pipeline([("scaler", SequenceScaler()), ("lstm", model)], memory="cache")
    pipeline[0].note = "mine"
    with pytest.warns(UserWarning, match="is not saved") as caught:
        numlstm.save(pipeline, path)
    assert [str(each.message) for each in caught] == [
        "memory of Pipeline is not saved: it is a place on this machine, or code; the file has memory=None",
        "attribute 'note' of SequenceScaler is not saved: files have no place for it",
        "callback of LSTMClassifier is not saved: it is code; the file has callback=None",
    ]
    assert {each.filename for each in caught} == {__file__}
    loaded = numlstm.load(path)
    assert loaded.memory is None
    assert loaded[-1].callback is None
    with pytest.warns(UserWarning, match="callback") as caught:
        model.save(path)
    assert caught[0].filename == __file__


class Own(StandardScaler):
    pass


KNOWN = "must be one of .*'LSTMClassifier', .*'SequenceScaler', 'StandardScaler', .*not of a subclass, got "


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (PCA(), f"a model to save {KNOWN}PCA$"),
        (Own(), f"a model to save {KNOWN}Own$"),
        (None, f"a model to save {KNOWN}NoneType$"),
        (make_pipeline(PCA(), LSTMClassifier()), f"step 'pca' of a Pipeline to save {KNOWN}PCA$"),
        (make_pipeline(Own(), LSTMClassifier()), f"step 'own' of a Pipeline to save {KNOWN}Own$"),
        (make_pipeline(make_pipeline(PCA()), LSTMClassifier()), f"step 'pca' of a Pipeline to save {KNOWN}PCA$"),
        (make_pipeline(TransformedTargetRegressor(LSTMRegressor())), "got TransformedTargetRegressor$"),
        (GridSearchCV(LSTMClassifier(), {}), "got GridSearchCV: save its best_estimator_$"),
        (make_pipeline(GridSearchCV(LSTMClassifier(), {})), "step 'gridsearchcv' .*: save its best_estimator_$"),
        (make_pipeline(LSTMClassifier(), LSTMClassifier()), "All intermediate steps should be transformers"),
    ],
)
def test_other_models_are_refused(model, message, path):
    path.write_bytes(b"old")
    with pytest.raises(TypeError, match=message):
        numlstm.save(model, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_a_layer_is_no_step(path):
    with pytest.raises(TypeError, match="Last step of Pipeline should implement fit"):
        numlstm.save(Pipeline([("scaler", SequenceScaler()), ("layer", LSTM(2, 3))]), path)


def test_pipelines_that_cannot_be_written(path):
    model = make_pipeline(SequenceScaler(), LSTMClassifier(random_state=np.random.RandomState(0)))
    with pytest.raises(ValueError, match="step 'lstmclassifier': random_state must be an int or None"):
        numlstm.save(model, path)
    with pytest.raises(ValueError, match="The 'verbose' parameter of Pipeline must be"):
        numlstm.save(Pipeline([("lstm", LSTMClassifier())], verbose=7), path)
    with pytest.raises(ValueError, match="must not contain __"):
        numlstm.save(Pipeline([("a__b", LSTMClassifier())]), path)
    deep = make_pipeline(LSTMClassifier())
    for _ in range(7):
        deep = make_pipeline(deep)
    assert repr(there_and_back(deep, path)) == repr(deep)
    with pytest.raises(ValueError, match="at most 8 deep"):
        numlstm.save(make_pipeline(deep), path)


# Files that lie -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Files of several models, as bytes."""
    path = tmp_path_factory.mktemp("written") / "file"
    frame = pytest.importorskip("pandas").DataFrame(X, columns=list("vwxyz"))
    models = {
        "pipeline": make_pipeline(
            StandardScaler(),
            make_pipeline(MinMaxScaler(), None),
            "passthrough",
            LSTMClassifier(**SMALL, bidirectional=False, pooling="last"),
        ).fit(frame, LABELS),
        "standard": StandardScaler().fit(frame),
        "minmax": MinMaxScaler().fit(X),
        "robust": RobustScaler().fit(X),
    }
    data = {}
    for name, model in models.items():
        numlstm.save(model, path)
        data[name] = path.read_bytes()
    return data


STEPS = ("model", "steps")
FITTED = ("model", "fitted")
LIES = [
    ("pipeline", ("class",), "StandardScaler", "model lacks the field 'output'"),
    ("pipeline", ("class",), "LSTM", "layer"),
    ("pipeline", ("model",), [], "model must be an object, got list"),
    ("pipeline", STEPS, ..., "model lacks the field 'steps'"),
    ("pipeline", STEPS, {}, "steps must be a list of at least one, got dict"),
    ("pipeline", STEPS, [], "steps must be a list of at least one"),
    ("pipeline", (*STEPS, 0), None, r"steps\[0\]: step must be an object"),
    ("pipeline", (*STEPS, 0, "more"), 1, r"steps\[0\]: step has an unknown field 'more'"),
    ("pipeline", (*STEPS, 0, "name"), 3, r"steps\[0\]: name must be a text, got int"),
    ("pipeline", (*STEPS, 0, "name"), "a__b", "steps: .*must not contain __"),
    ("pipeline", (*STEPS, 0, "name"), "steps", "steps: .*conflict with constructor arguments"),
    ("pipeline", (*STEPS, 0, "name"), "pipeline", "steps: .*not unique"),
    ("pipeline", (*STEPS, 0, "class"), "os.system", r"steps\[0\]: class must be one of .*got 'os.system'"),
    ("pipeline", (*STEPS, 0, "class"), "LSTM", r"steps\[0\]: class must be one of"),
    ("pipeline", (*STEPS, 0, "class"), ["Pipeline"], r"steps\[0\]: class must be one of"),
    ("pipeline", (*STEPS, 0, "class"), None, r"steps\[0\]: class must be one of"),
    ("pipeline", (*STEPS, 0, "class"), "SequenceScaler", r"steps\[0\]: model: model has an unknown field"),
    ("pipeline", (*STEPS, 0, "model"), None, r"steps\[0\]: model: model must be an object, got NoneType"),
    ("pipeline", (*STEPS, 2, "model"), {}, r"steps\[2\]: class must be one of .*got 'passthrough'"),
    ("pipeline", (*STEPS, 0, *FITTED), None, r"steps\[0\]: tensor 'steps.0.feature_names_in_' is unknown"),
    ("pipeline", (*STEPS, 0, *FITTED, "named"), False, "tensor 'steps.0.feature_names_in_' is unknown"),
    ("pipeline", (*STEPS, 0, *FITTED, "columns"), 10**18, "'feature_names_in_' must hold 1000000000000000000 names"),
    ("pipeline", (*STEPS, 1, *STEPS, 0, *FITTED, "columns"), 10**18, "tensor 'steps.1.steps.0.data_min_' must be"),
    ("pipeline", (*STEPS, 1, *STEPS, 0, *FITTED, "seen"), -1, r"steps\[1\]: model: steps\[0\]: .*seen must be in"),
    ("pipeline", (*STEPS, 3, *FITTED, "pooling"), "max ", r"steps\[3\]: model: fitted: pooling must be one of"),
    ("pipeline", (*STEPS, 3, *FITTED, "pooling"), "attention", "tensor 'steps.3.weight_attention' is missing"),
    ("pipeline", ("model", "parameters", "memory"), "cache", "parameters has an unknown field 'memory'"),
    ("pipeline", ("model", "parameters", "steps"), [], "parameters has an unknown field 'steps'"),
    ("pipeline", ("model", "parameters", "verbose"), "x", "'verbose' parameter of Pipeline must be"),
    ("pipeline", ("model", "parameters", "transform_input"), [1], "transform_input must be null or a list of texts"),
    ("pipeline", ("model", "parameters", "transform_input"), "ab", "'transform_input' parameter of Pipeline must be"),
    ("pipeline", ("model", "parameters", "transform_input"), 7, "parameters: "),
    ("standard", ("model", "parameters", "with_mean"), "x", "'with_mean' parameter of StandardScaler must be"),
    ("standard", ("model", "parameters", "code"), "x", "parameters has an unknown field 'code'"),
    ("standard", ("model", "output"), "numpy", "output must be one of"),
    ("standard", ("model", "output"), ["pandas"], "output must be one of"),
    ("standard", (*FITTED, "columns"), 0, "columns must be at least 1"),
    ("standard", (*FITTED, "columns"), 2.0, "columns must be an integer"),
    ("standard", (*FITTED, "columns"), 4, "must hold 4 names, got 5"),
    ("standard", (*FITTED, "columns"), 2**63, "columns must be at most"),
    ("standard", (*FITTED, "named"), 1, "named must be True or False"),
    ("standard", (*FITTED, "seen"), "many", "seen must be a number"),
    ("standard", (*FITTED, "seen"), 10**19, "seen must be in"),
    ("standard", (*FITTED, "seen"), None, "tensor 'n_samples_seen_' is missing"),
    ("standard", (*FITTED, "seen"), {"float": "nan"}, "seen must be in"),
    ("standard", (*FITTED, "var"), [], "fitted has an unknown field 'var'"),
    ("minmax", ("model", "parameters", "feature_range"), [0, 1], "feature_range must be a tuple of two numbers"),
    ("minmax", ("model", "parameters", "feature_range"), {"tuple": [0]}, "feature_range must be a tuple of two"),
    ("minmax", ("model", "parameters", "feature_range"), {"tuple": ["a", "b"]}, "feature_range must be a number"),
    ("minmax", ("model", "parameters", "feature_range"), {"tuple": [1, 0]}, "the lower first"),
    ("minmax", ("model", "parameters", "clip"), 3, "'clip' parameter of MinMaxScaler must be"),
    ("minmax", ("class",), "MaxAbsScaler", "parameters has an unknown field"),
    ("robust", ("model", "parameters", "quantile_range"), {"tuple": [25.0, 101.0]}, "quantile_range must be two"),
    ("robust", (*FITTED, "seen"), 3, "seen must be null"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "where", "value", "message"), LIES)
def test_a_field_that_lies_is_named(model, where, value, message, written, path):
    assert_refused_soon(edited(written[model], where, value), path, message)


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        ("pipeline", "steps.0.scale_", 0.0), ("pipeline", "steps.0.mean_", np.nan),
        ("pipeline", "steps.1.steps.0.min_", np.inf), ("pipeline", "steps.3.weight_hh_l0", np.nan),
        ("standard", "var_", np.nan), ("standard", "scale_", -1.0), ("minmax", "scale_", np.inf),
        ("robust", "scale_", 0.0), ("robust", "center_", np.nan),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(model, name, value, written, path):
    path.write_bytes(with_numbers(written[model], name, put(value)))
    with pytest.raises(ValueError, match=f"{path}: .*tensor '{name}' holds numbers that are NaN"):
        numlstm.load(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps.0.mean_", "steps.00.mean_", "tensor 'steps.0.mean_' is missing"),
        ("steps.0.mean_", "steps.9.mean_", "tensor 'steps.0.mean_' is missing"),
        ("steps.0.mean_", "mean_", "tensor 'steps.0.mean_' is missing"),
        ("steps.3.classes_", "steps.2.classes_", r"steps\[2\]: tensor 'steps.2.classes_' is unknown"),
        ("steps.1.steps.0.min_", "steps.1.steps.0", "tensor 'steps.1.steps.0.min_' is missing"),
    ],
)
def test_tensors_of_other_steps_are_refused(old, new, message, written, path):
    header, content, tensors = parts(written["pipeline"])
    header = {new if name == old else name: entry for name, entry in header.items()}
    path.write_bytes(joined(header, content, tensors))
    with pytest.raises(ValueError, match=message):
        numlstm.load(path)


def hostile(data):
    """Files with a great many steps, or Pipelines deep inside one another; each with what the error says."""
    header, content, tensors = parts(data)
    content["model"]["steps"] = [{"name": f"s{k}", "class": None, "model": None} for k in range(4_000)]
    yield r"tensor '.*' is unknown", joined(header, content, tensors)
    names = {f"steps.{k}.x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(4_000)}
    content["model"]["steps"] = [{"name": "", "class": None, "model": None}] * 4_000
    yield "'steps.0.x' is unknown", joined(names, content, b"")
    for deep in (9, 20, 100):
        inner = {"class": "Pipeline", "model": content["model"] | {"steps": []}}
        for _ in range(deep):
            step = {"name": "p", **inner}
            inner = {"class": "Pipeline", "model": {"parameters": {}, "steps": [step]}}
        yield "at most 8 deep", joined({}, content | inner, b"")


def test_many_and_deep_steps_are_refused_in_little_memory(written, path):
    tracemalloc.start()
    try:
        for message, data in hostile(written["pipeline"]):
            path.write_bytes(data)
            tracemalloc.reset_peak()
            before, start = tracemalloc.get_traced_memory()[0], time.perf_counter()
            with pytest.raises(ValueError, match=message) as caught:
                numlstm.load(path)
            assert str(caught.value).startswith(f"{path}: ")
            assert tracemalloc.get_traced_memory()[1] - before < 30 * len(data) + 2**20, message
            assert time.perf_counter() - start < 10.0
    finally:
        tracemalloc.stop()


def test_mutants_are_refused_or_loaded(written, path):
    rng = np.random.default_rng(1)
    loaded = total = 0
    for name, count in (("pipeline", 600), ("standard", 300), ("minmax", 300), ("robust", 300)):
        for mutant in mutants(written[name], rng, count):
            path.write_bytes(mutant)
            total += 1
            try:
                repr(numlstm.load(path))
                loaded += 1
            except (ValueError, OSError) as error:
                assert str(path) in str(error)  # noqa: PT017
    assert 10 < loaded < total / 2
    assert os.listdir(path.parent) == [path.name]


def test_odd_values_anywhere_are_refused_or_loaded(written, path):
    rng = np.random.default_rng(2)
    for data in written.values():
        for file in with_odd_values(data, rng, 300):
            assert_refused_or_whole(file, path)


def test_a_file_of_before_goes_on_loading():
    expected = np.load(DATA / "native_v1_pipeline.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = numlstm.load(DATA / "native_v1_pipeline.safetensors")
    model[-1].backend = "reference"
    np.testing.assert_allclose(model.predict_proba(expected["X"]), expected["pipeline"], atol=1e-5)
    assert [name for name, _ in model.steps][1:4] == ["pipeline", "passthrough", "robustscaler"]
    assert model[1][1] is None


# The command ----------------------------------------------------------------------------------------------


def test_the_command_says_what_is_in_a_pipeline(written, tmp_path, capsys):
    from numlstm.__main__ import main

    path = tmp_path / "pipeline.safetensors"
    for name, wanted in [
        ("pipeline", [
            "kind Pipeline", "layers LSTM(1, 4)", "sizes input 1, hidden 4, output 4", "standardscaler.mean_ (5,)",
            "pipeline.minmaxscaler.min_ (5,)", "lstmclassifier.weight_ih_l0 (16, 1)", "parameters 152 in 10 arrays",
        ]),
        ("robust", ["kind RobustScaler", "layers none", "sizes 5 columns", "center_ (5,)", "scale_ (5,)"]),
    ]:  # fmt: skip
        path.write_bytes(written[name])
        assert main(["info", str(path)]) == 0
        said = " ".join(capsys.readouterr().out.split())
        for part in wanted:
            assert part in said
    path.write_bytes(written["pipeline"])
    assert main(["convert", str(path), str(tmp_path / "same.safetensors")]) == 0
    assert (tmp_path / "same.safetensors").read_bytes() == written["pipeline"]
    assert main(["convert", str(path), str(tmp_path / "layer.safetensors"), "--layer", "0"]) == 0
    assert repr(numlstm.load(tmp_path / "layer.safetensors")) == "LSTM(1, 4)"
