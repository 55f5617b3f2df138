"""Transformers of sequences in numlstm's own files."""

import json
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
    mutants,
    parts,
    put,
    there_and_back,
    with_numbers,
    with_odd_values,
)
from sklearn.pipeline import make_pipeline

import numlstm
from numlstm import LSTMClassifier, SequenceEncoder, SequenceImputer, SequenceScaler

RNG = np.random.default_rng(0)
HOLES = RNG.normal(50.0, 9.0, (12, 5, 2))
HOLES[RNG.random(HOLES.shape) < 0.3] = np.nan
WORDS = np.array(["ü", "b", None, np.nan], object)[RNG.integers(4, size=(12, 5))]
MIXED = np.concatenate([WORDS[:, :, None], HOLES.astype(object)], axis=2)
LENGTHS = RNG.integers(1, 6, 12)
CASES = [
    *((SequenceScaler(method), np.nan_to_num(HOLES)) for method in ("standard", "robust", "minmax")),
    (SequenceImputer(), HOLES), (SequenceImputer(("interpolate", "median"), indicator=True), HOLES),
    (SequenceImputer("constant", fill_value=[np.float32(0.5), -1]), HOLES), (SequenceImputer("mean"), HOLES[:, :, 0]),
    (SequenceImputer(), HOLES[:, :, 0].astype("float32")), (SequenceEncoder(), WORDS),
    (SequenceEncoder(columns=(0,), handle_unknown="ignore"), MIXED),
    (SequenceEncoder([["b"], [1, 2.5, None]], columns=[0, 1], handle_unknown="ignore"), MIXED),
    (SequenceEncoder(), HOLES.round(-1)), (SequenceEncoder(), HOLES > 50), (SequenceEncoder(), np.ones((2, 3), "int8")),
]  # fmt: skip


def as_text(value):
    """What is in an attribute, with types."""
    if isinstance(value, np.ndarray):
        return "array", value.dtype.str, repr(value.tolist())
    return [as_text(each) for each in value] if isinstance(value, list) else (type(value).__name__, repr(value))


@pytest.mark.parametrize(("model", "given"), CASES)
def test_transformers_come_back(model, given, path):
    unfitted = there_and_back(model, path)
    assert repr(unfitted) == repr(model)
    fitted = unfitted.fit(given)
    loaded = there_and_back(fitted, path)
    assert type(loaded) is type(model)
    assert vars(loaded).keys() == vars(fitted).keys()
    for name, value in vars(fitted).items():
        assert as_text(vars(loaded)[name]) == as_text(value), name
    assert loaded.transform(given).tobytes() == fitted.transform(given).tobytes()
    before = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == before


def test_lengths_and_names_are_kept(path):
    for model, X in ((SequenceImputer(), HOLES), (SequenceEncoder(columns=[0], handle_unknown="ignore"), MIXED)):
        loaded = there_and_back(model.fit(X, lengths=LENGTHS), path)
        with pytest.raises(ValueError, match="lengths must be given with X"):
            loaded.transform(X)
    pandas = pytest.importorskip("pandas")
    loaded = there_and_back(SequenceImputer().fit(pandas.DataFrame(HOLES[:, :, 0], columns=list("abcde"))), path)
    assert loaded.get_feature_names_out().tolist() == list("abcde")


def test_arrays_among_parameters_come_back_as_lists(path):
    loaded = there_and_back(SequenceEncoder([np.array([1, 2])], columns=np.array([0])), path)
    assert (loaded.categories, loaded.columns) == ([[1, 2]], [0])


def test_a_pipeline_comes_back(path):
    steps = SequenceEncoder(columns=[0]), SequenceImputer(indicator=True), SequenceScaler("minmax")
    pipeline = make_pipeline(*steps, LSTMClassifier(**SMALL)).fit(MIXED, LABELS)
    loaded = there_and_back(pipeline, path)
    assert repr(loaded) == repr(pipeline)
    assert loaded.predict_proba(MIXED).tobytes() == pipeline.predict_proba(MIXED).tobytes()
    header, content, _ = parts(path.read_bytes())
    assert {"steps.1.statistics_", "steps.2.center_", "steps.2.scale_"} < header.keys()
    assert content["format_version"] == 1


def test_a_standard_scaler_is_written_as_before_there_were_others(path):
    SequenceScaler().fit(np.nan_to_num(HOLES)).save(path)
    header, content, _ = parts(path.read_bytes())
    assert content["model"].keys() == {"fitted"}
    assert header.keys() == {"__metadata__", "mean_", "scale_"}
    loaded = numlstm.load(DATA / "native_v1_scaler.safetensors")
    assert loaded.method == "standard"
    assert loaded.mean_ is loaded.center_


def test_what_fit_found_is_kept_whatever_method_is_next(path):
    X = np.nan_to_num(HOLES)
    for before, after in (("standard", "robust"), ("robust", "standard")):
        model = SequenceScaler(before).fit(X).set_params(method=after)
        loaded = there_and_back(model, path)
        assert loaded.method == after
        assert hasattr(loaded, "mean_") == (before == "standard")
        np.testing.assert_array_equal(loaded.transform(X), model.transform(X))


def test_what_cannot_be_written(path):
    with pytest.raises(ValueError, match="method must be one of"):
        numlstm.save(SequenceImputer("odd"), path)
    with pytest.raises(ValueError, match="fill_value must be in"):
        numlstm.save(SequenceImputer(fill_value=np.inf), path)
    with pytest.raises(ValueError, match="columns"):
        numlstm.save(SequenceEncoder(columns=[0, 0]), path)
    imputer = SequenceImputer().fit(HOLES)
    imputer.statistics_[0] = np.nan
    with pytest.raises(ValueError, match="tensor 'statistics_' holds numbers that are NaN"):
        numlstm.save(imputer, path)
    assert not path.exists()


def test_the_command_says_what_is_in_a_file(path, capsys):
    from numlstm.__main__ import main

    for model, X, wanted in (
        (SequenceImputer(), HOLES, "statistics_ (2,)"), (SequenceEncoder(), WORDS, "sizes 1 channels"),
        (SequenceScaler("robust"), np.nan_to_num(HOLES), "center_ (2,)"),
        (SequenceScaler(), np.nan_to_num(HOLES), "4 in 2 arrays"),
    ):  # fmt: skip
        model.fit(X).save(path)
        assert main(["info", str(path)]) == 0
        assert wanted in " ".join(capsys.readouterr().out.split())


def test_a_file_that_an_earlier_version_wrote():
    data = json.loads((DATA / "native_v1_transformers.json").read_text())
    X = np.array([*data["X"]], object).reshape(12, 5, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = numlstm.load(DATA / "native_v1_transformers.safetensors")
    model[-1].backend = "reference"
    np.testing.assert_allclose(model.predict_proba(X), data["expected"], rtol=1e-5, atol=1e-6)


# Files that lie -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Files of several transformers, as bytes."""
    path = tmp_path_factory.mktemp("written") / "file"
    models = {
        "scaler": SequenceScaler("robust").fit(np.nan_to_num(HOLES)),
        "imputer": SequenceImputer(indicator=True).fit(HOLES),
        "encoder": SequenceEncoder([["ü", "b", None, np.nan]], columns=[0]).fit(MIXED),
        "pipeline": make_pipeline(SequenceEncoder(columns=[0]), SequenceImputer(), LSTMClassifier(**SMALL)).fit(
            MIXED, LABELS
        ),
    }
    data = {}
    for name, model in models.items():
        numlstm.save(model, path)
        data[name] = path.read_bytes()
    return data


FITTED, PARAMETERS = ("model", "fitted"), ("model", "parameters")
LIES = [
    ("scaler", (*PARAMETERS, "method"), "max", "parameters: method must be one of"),
    ("scaler", (*PARAMETERS, "method"), ["robust"], "parameters: method must be one of"),
    ("scaler", (*PARAMETERS, "code"), 1, "parameters has an unknown field 'code'"),
    ("scaler", PARAMETERS, None, "parameters must be an object, got NoneType"),
    ("scaler", ("model", "more"), None, "model has an unknown field 'more'"),
    ("scaler", ("model",), [], "model must be an object, got list"),
    ("scaler", FITTED, None, "tensor 'center_' is unknown"),
    ("scaler", (*FITTED, "steps"), 0, "steps must be at least 1"),
    ("scaler", (*FITTED, "features", "columns"), 3, "columns must be null with 2 channels, got 3"),
    ("imputer", (*PARAMETERS, "method"), "odd", "parameters: method must be one of"),
    ("imputer", (*PARAMETERS, "method"), {"dict": []}, "parameters: method must be one of"),
    ("imputer", (*PARAMETERS, "indicator"), 2, "parameters: indicator must be True or False"),
    ("imputer", (*PARAMETERS, "fill_value"), {"float": "nan"}, "parameters: fill_value must be in"),
    ("imputer", (*PARAMETERS, "fill_value"), "x", "parameters: fill_value must be a number"),
    ("imputer", PARAMETERS, ..., "model lacks the field 'parameters'"),
    ("imputer", (*FITTED, "methods"), ..., "fitted lacks the field 'methods'"),
    ("imputer", (*FITTED, "methods"), ["mean"], "fitted: methods must be a list of 2"),
    ("imputer", (*FITTED, "methods"), "no", "fitted: methods must be a list of 2"),
    ("imputer", (*FITTED, "methods"), ["mean", "odd"], r"fitted: methods\[1\] must be one of"),
    ("imputer", (*FITTED, "methods"), ["mean", {}], r"fitted: methods\[1\] must be one of"),
    ("imputer", (*FITTED, "indicator"), None, "fitted: indicator must be True or False"),
    ("imputer", (*FITTED, "steps"), "x", "fitted: steps must be an integer"),
    ("imputer", ("class",), "SequenceScaler", "parameters has an unknown field"),
    ("imputer", ("class",), "SequenceEncoder", "parameters has an unknown field"),
    ("encoder", (*PARAMETERS, "handle_unknown"), "warn", "parameters: handle_unknown must be one of"),
    ("encoder", (*PARAMETERS, "columns"), [0.5], r"parameters: columns\[0\] must be an integer"),
    ("encoder", (*PARAMETERS, "columns"), [10**18, 10**18], "parameters: columns must hold at least one"),
    ("encoder", (*PARAMETERS, "columns"), {"dict": []}, "parameters: columns must be a list of integers"),
    ("encoder", (*PARAMETERS, "categories"), [[[]]], r"parameters: categories\[0\] must hold strings"),
    ("encoder", (*FITTED, "channels"), 0, "fitted: channels must be at least 1"),
    ("encoder", (*FITTED, "channels"), 2**63, "fitted: channels must be at most"),
    ("encoder", (*FITTED, "columns"), [3], r"fitted: columns must be different numbers in 0\.\.2"),
    ("encoder", (*FITTED, "columns"), [0, 0], r"fitted: columns must be different numbers in 0\.\.2"),
    ("encoder", (*FITTED, "columns"), [], "fitted: columns must be a list of at least one channel"),
    ("encoder", (*FITTED, "columns"), [None], r"fitted: columns\[0\] must be an integer"),
    ("encoder", (*FITTED, "categories"), [], "fitted: categories must be a list of 1"),
    ("encoder", (*FITTED, "categories"), {}, "fitted: categories must be a list of 1"),
    ("encoder", (*FITTED, "categories"), ["abc"], r"fitted: categories\[0\] must be a list of categories, got str"),
    ("encoder", (*FITTED, "categories"), [[]], r"fitted: categories\[0\] must hold at least one category"),
    ("encoder", (*FITTED, "categories"), [["a", "a"]], r"fitted: categories\[0\] must hold .* twice"),
    ("encoder", (*FITTED, "categories"), [[{"float": "nan"}] * 2], r"fitted: categories\[0\] must hold .* twice"),
    ("encoder", (*FITTED, "categories"), [[["a"]]], r"fitted: categories\[0\] must hold strings, numbers"),
    ("encoder", (*FITTED, "categories"), [[{"code": 1}]], r"fitted: categories\[0\] must be a number, a text"),
    ("pipeline", ("model", "steps", 1, *FITTED, "methods"), [],
     r"steps\[1\]: model: fitted: methods must be a list of 6"),
    ("pipeline", ("model", "steps", 0, *FITTED, "columns"), [9],
     r"steps\[0\]: model: fitted: columns must be different numbers in 0\.\.2"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "where", "value", "message"), LIES)
def test_a_field_that_lies_is_named(model, where, value, message, written, path):
    assert_refused_soon(edited(written[model], where, value), path, message)


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        ("scaler", "scale_", 0.0), ("scaler", "scale_", np.inf), ("scaler", "center_", np.nan),
        ("imputer", "statistics_", np.nan), ("imputer", "statistics_", np.inf),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(model, name, value, written, path):
    path.write_bytes(with_numbers(written[model], name, put(value)))
    with pytest.raises(ValueError, match=f"tensor '{name}' holds numbers that are NaN"):
        numlstm.load(path)


@pytest.mark.parametrize("kind", ["scaler", "imputer", "encoder", "pipeline"])
def test_mutants_and_odd_values_are_refused_or_loaded(kind, written, path):
    rng = np.random.default_rng(0)
    files = [*mutants(written[kind], rng, 200), *with_odd_values(written[kind], rng, 300)]
    loaded = sum(assert_refused_or_whole(data, path) for data in files)
    assert 0 < loaded < len(files) / 2
