"""Numlstm's own files: what is written comes back, whole or not at all; and nothing in a file is trusted."""

import errno
import json
import os
import pickle
import re
import subprocess
import sys
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
    with_numbers,
    with_odd_values,
)
from sklearn.exceptions import NotFittedError

import numlstm
from numlstm import GRU, LSTM, RNN, LSTMClassifier, LSTMLanguageModel, LSTMRegressor, SequenceScaler
from numlstm.io import paths
from numlstm.io.native import models as native
from numlstm.io.native import safetensors as files
from numlstm.io.native.safetensors import unpacked

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5, 2))
RAGGED = [RNG.normal(size=(2 + k % 4, 2)) for k in range(12)]


def there_and_back(model, path):
    model.save(path)
    return numlstm.load(path)


def assert_same_estimator(loaded, model):
    assert type(loaded) is type(model)
    assert repr(loaded) == repr(model)
    assert list(map(type, loaded.get_params().values())) == list(map(type, model.get_params().values()))
    assert str(loaded.get_params()) == str(model.get_params())
    assert vars(loaded).keys() == vars(model).keys()
    for name in vars(model):
        ours, theirs = getattr(loaded, name), getattr(model, name)
        if isinstance(theirs, np.ndarray):
            assert ours.dtype == theirs.dtype, name
            assert ours.tolist() == theirs.tolist(), name
            assert ours.flags.writeable == theirs.flags.writeable, name
        elif name.endswith("_") and name != "layers_":
            assert type(ours) is type(theirs), name
            np.testing.assert_equal(ours, theirs, err_msg=name)
    if hasattr(model, "_model"):
        assert loaded._model.network == model._model.network
        assert repr(loaded.layers_) == repr(model.layers_)
        assert_same_arrays(loaded.layers_[0].parameters, model.layers_[0].parameters)


def assert_same_arrays(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert ours[name].dtype == theirs[name].dtype
        assert ours[name].tobytes() == theirs[name].tobytes()


# Layers ---------------------------------------------------------------------------------------------------

LAYERS = [
    (LSTM, {}), (GRU, {}), (RNN, {}),
    (LSTM, {"num_layers": 3, "bidirectional": True, "dropout": 0.2, "merge": "mean"}),
    (LSTM, {"proj_size": 2, "layer_norm": True, "peepholes": True}),
    (LSTM, {"bias": False, "coupled_gates": True, "zoneout": [0.1, 0.2], "cell_clip": np.float32(1.5)}),
    (LSTM, {"zoneout": (0.1, np.float64(0.2)), "init": ("chrono", 9), "recurrent_dropout": 0.1,
            "recurrent_dropout_mode": "candidate"}),
    (LSTM, {"recurrent_activation": ("hard_sigmoid", 0.3, 0.4), "input_activation": ["elu", 0.8],
            "preactivation_clip": 2, "forget_bias": -1.5, "full_gate_recurrence": True, "output_gate": False}),
    (LSTM, {"forget_gate": False, "weight_dropout": 0.3, "input_dropout": 0.1, "recompute": True}),
    (GRU, {"reset_after": False, "num_layers": 2, "residual": True, "init": "torch"}),
    (GRU, {"dtype": "float64", "backend": "reference", "layer_norm": True}),
    (RNN, {"nonlinearity": "relu", "bidirectional": True, "zoneout": 0.5}),
    (LSTM, {"compute_dtype": "bfloat16", "backend": "cuda:1"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_layers_come_back(kind, options, path):
    layer = kind(3, 5, **options, random_state=0)
    loaded = there_and_back(layer, path)
    assert type(loaded) is kind
    assert repr(loaded) == repr(layer)
    assert loaded._stack == layer._stack
    assert vars(loaded).keys() == vars(layer).keys()
    assert loaded.backend == layer.backend
    assert loaded._shown == layer._shown
    assert_same_arrays(loaded.parameters, layer.parameters)
    assert not any(array.flags.writeable for array in loaded.parameters.values())
    if not options.get("compute_dtype"):
        loaded.backend = layer.backend = "reference"
        assert loaded(np.ones((2, 4, 3)))[0].tobytes() == layer(np.ones((2, 4, 3)))[0].tobytes()


def test_layers_of_several_sizes(path):
    layer = LSTM(3, [5, 4], random_state=0)
    assert repr(there_and_back(layer, path)) == "LSTM(3, [5, 4])"


def test_a_layer_needs_no_sklearn(path):
    LSTM(3, 5, random_state=0).save(path)
    code = f"import sys, numlstm; numlstm.load({str(path)!r}).save({str(path)!r}); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Estimators -----------------------------------------------------------------------------------------------

CLASSIFIERS = [
    {},
    {"cell": "gru", "reset_after": False, "pooling": "attention"},
    {"cell": "rnn", "bidirectional": True, "merge": "sum", "pooling": "mean", "dtype": "float64"},
    {"hidden_size": [4, 3], "init": "chrono", "layer_norm": True, "class_weight": {"a": 2, "b": np.float64(0.5)}},
    {"hidden_size": (4, 4), "num_layers": 2, "dropout": np.float32(0.25), "class_weight": "balanced"},
    {"peepholes": True, "proj_size": 2, "zoneout": (0.1, 0.2), "activity_regularization": 0.1, "alpha": 1e-3},
    {"early_stopping": True, "validation_fraction": 0.5, "n_iter_no_change": None, "tol": 0, "solver": "sgd"},
    {"forget_bias": np.float64(1.5), "verbose": 0, "random_state": np.int64(3), "warm_start": np.True_},
]


@pytest.mark.parametrize("options", CLASSIFIERS)
def test_classifiers_come_back(options, path):
    model = LSTMClassifier(**SMALL | options).fit(RAGGED, LABELS)
    loaded = there_and_back(model, path)
    assert_same_estimator(loaded, model)
    assert loaded.predict_proba(RAGGED).tobytes() == model.predict_proba(RAGGED).tobytes()
    assert loaded.score(RAGGED, LABELS) == model.score(RAGGED, LABELS)
    np.testing.assert_equal(loaded.trace(RAGGED).hidden_state, model.trace(RAGGED).hidden_state)
    assert pickle.loads(pickle.dumps(loaded)).predict(RAGGED).tolist() == model.predict(RAGGED).tolist()
    if model.pooling == "attention":
        for ours, theirs in zip(loaded.attention_weights(X), model.attention_weights(X), strict=True):
            assert ours.tobytes() == theirs.tobytes()
    if not model.bidirectional:
        assert loaded.stream().step(X[0, 0]).tobytes() == model.stream().step(X[0, 0]).tobytes()


def test_compiled_predictions_are_the_same(path):
    model = LSTMClassifier(**SMALL | {"backend": "cpu"}).fit(X, LABELS)
    loaded = there_and_back(model, path)
    assert loaded.backend_ == "cpu"
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


@pytest.mark.parametrize(
    "labels",
    [
        np.array([True, False] * 6), np.array([1, 5, -3] * 4), np.array([1, 2] * 6, np.uint8),
        np.array([1.0, 2.0] * 6, np.float16), np.array([1, 300] * 6, ">i4"), np.array(["ä", "long \U0001f600"] * 6),
        np.array(["x", ""] * 6, "U9"), np.array(["a", "b\0c", "ü"] * 4, object), np.array(["\ud800", "a"] * 6, object),
    ],
)  # fmt: skip
def test_classes_of_any_type(labels, path):
    model = LSTMClassifier(**SMALL).fit(X, labels)
    loaded = there_and_back(model, path)
    assert loaded.classes_.dtype == model.classes_.dtype.newbyteorder("=")
    assert loaded.classes_.tolist() == model.classes_.tolist()
    assert loaded.predict(X).tolist() == model.predict(X).tolist()


def test_several_labels_at_once(path):
    y = RNG.integers(0, 2, size=(12, 3))
    y[:2] = [[0, 1, 0], [1, 0, 1]]
    model = LSTMClassifier(**SMALL, class_weight=[{0: 1, 1: 2.0}] * 3).fit(X, y)
    loaded = there_and_back(model, path)
    assert_same_estimator(loaded, model)
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    partly = LSTMClassifier(**SMALL).partial_fit(X, y, classes=["p", "q", "r"])
    assert there_and_back(partly, path).classes_.tolist() == ["p", "q", "r"]


REGRESSORS = [
    ({}, "one"), ({"scale_targets": False, "loss": "huber", "delta": 2}, "several"),
    ({"loss": "pinball", "quantile": 0.1, "cell": "gru"}, "steps"), ({"loss": "absolute_error"}, "list"),
    ({"dtype": "float64", "solver": "rmsprop"}, "list of one"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "form"), REGRESSORS)
def test_regressors_come_back(options, form, path):
    given = RAGGED if form.startswith("list") else X
    y = {
        "one": 1e6 + 3 * X[:, 0, 0], "several": X.sum(axis=1), "steps": X.cumsum(axis=1),
        "list": [x.cumsum(axis=0) for x in RAGGED], "list of one": [x[:, 0] for x in RAGGED],
    }[form]  # fmt: skip
    model = LSTMRegressor(**SMALL | options).fit(given, y, X_val=given, y_val=y)
    loaded = there_and_back(model, path)
    assert loaded._model.codec.form == form
    assert_same_estimator(loaded, model)
    assert loaded._model.codec.loss == model._model.codec.loss
    for ours, theirs in zip(loaded.predict(given), model.predict(given), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.score(given, y) == model.score(given, y)


def test_names_of_columns(path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(RNG.normal(size=(12, 4)), columns=["t0", "t1", "t₂", 'a"b'])
    for model in (LSTMClassifier(**SMALL).fit(frame, LABELS), SequenceScaler().fit(frame)):
        loaded = there_and_back(model, path)
        assert_same_estimator(loaded, model)
        assert loaded.feature_names_in_.tolist() == [*frame.columns]
        with pytest.raises(ValueError, match="feature names"):
            (loaded.predict if hasattr(loaded, "predict") else loaded.transform)(frame[["t1", "t0", "t₂", 'a"b']])


def test_a_network_other_than_the_parameters_now_say(path):
    model = LSTMClassifier(**SMALL).fit(X, LABELS).set_params(hidden_size=7, cell="gru", dtype="float64")
    loaded = there_and_back(model, path)
    assert_same_estimator(loaded, model)
    assert repr(loaded.layers_) == "(LSTM(2, 4, bidirectional=True),)"
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor, SequenceScaler])
def test_unfitted(kind, path):
    loaded = there_and_back(kind(), path)
    assert_same_estimator(loaded, kind())
    with pytest.raises(NotFittedError):
        (loaded.predict if hasattr(loaded, "predict") else loaded.transform)(X)


@pytest.mark.parametrize("given", [X, RAGGED, X[:, :, 0], X.astype("float32")])
def test_scalers_come_back(given, path):
    model = SequenceScaler().fit(given)
    loaded = there_and_back(model, path)
    assert_same_estimator(loaded, model)
    for ours, theirs in zip(loaded.transform(given), model.transform(given), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_scores_that_are_not_numbers(path):
    model = LSTMRegressor(**SMALL).fit(X, X[:, 0, 0], X_val=X[:1], y_val=X[:1, 0, 0])  # R² of one row is NaN
    assert np.isnan(model.validation_scores_).all()
    loaded = there_and_back(model, path)
    np.testing.assert_equal(loaded.validation_scores_, model.validation_scores_)


# Going on -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "rmsprop"])
def test_partial_fit_goes_on_to_the_bit(solver, path):
    options = SMALL | {"solver": solver, "num_layers": 2, "dropout": 0.3, "learning_rate_init": 0.01}
    model = LSTMClassifier(**options | {"random_state": None})
    for _ in range(2):
        model.partial_fit(X, LABELS, classes=list("abcd"))
    loaded = there_and_back(model, path)
    for _ in range(3):
        model.partial_fit(X, LABELS)
        loaded = there_and_back(loaded.partial_fit(X, LABELS), path)
    assert_same_estimator(loaded, model)
    assert_same_arrays(loaded._model.parameters, model._model.parameters)
    assert loaded._session.rng.bit_generator.state == model._session.rng.bit_generator.state
    assert loaded._session.steps == model._session.steps
    for ours, theirs in zip(loaded._session.state, model._session.state, strict=True):
        assert_same_arrays(ours, theirs)


def test_a_generator_keeps_its_half_number(path):
    model = LSTMClassifier(**SMALL).partial_fit(X, LABELS, classes=list("abcd"))
    model._session.rng.integers(2**31, dtype=np.uint32)
    loaded = there_and_back(model, path)
    assert loaded._session.rng.bit_generator.state == model._session.rng.bit_generator.state


def test_warm_start_goes_on(path):
    model = LSTMRegressor(**SMALL, warm_start=True).fit(X, X[:, 0, 0])
    loaded = there_and_back(model, path)
    for each in (model, loaded):
        each.fit(X, X[:, 0, 0])
    assert_same_estimator(loaded, model)
    assert loaded.n_iter_ == 4


# What is not written --------------------------------------------------------------------------------------


def test_a_callback_is_left_out(path):
    model = LSTMClassifier(**SMALL, callback=print.__class__).set_params(callback=lambda progress: None)
    with pytest.warns(UserWarning, match="callback of LSTMClassifier is not saved") as caught:
        loaded = there_and_back(model, path)
    assert caught[0].filename == __file__
    assert loaded.callback is None
    assert model.callback is not None


def test_foreign_attributes_are_left_out(path):
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    model.note_ = "mine"
    with pytest.warns(UserWarning, match="attribute 'note_' of LSTMClassifier is not saved"):
        assert not hasattr(there_and_back(model, path), "note_")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random_state": np.random.RandomState(0)}, "random_state must be an int or None"),
        ({"class_weight": {("a", "b"): 1.0}}, "class_weight must have simple keys"),
        ({"class_weight": {frozenset(): 1.0}}, "class_weight: key .* cannot be written"),
        ({"class_weight": {"a": object()}}, "class_weight cannot be written"),
        ({"hidden_size": -1}, "hidden_size must be at least 1"),
        ({"hidden_size": np.array([1, 2])}, "hidden_size cannot be written"),
        ({"hidden_size": [1] * 600_000}, "at most 1048576 characters"),
        ({"batch_size": 10**30}, "out of range"),
    ],
)
def test_what_cannot_be_written_is_refused(options, message, path):
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        LSTMClassifier(**options).save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_weights_that_are_not_finite_are_refused(path):
    layer = LSTM(3, 5)
    layer.set_parameters({name: np.full_like(array, np.nan) for name, array in layer.parameters.items()})
    with pytest.raises(ValueError, match="LSTM cannot be saved: model: tensor 'weight_ih_l0' holds numbers"):
        layer.save(path)
    assert not path.exists()


def test_what_would_be_read_as_another_model_is_not_written(path, monkeypatch):
    layer = LSTM(3, 5, random_state=0)
    layer._stack = LSTM(3, 5, recompute=True)._stack
    with pytest.raises(ValueError, match="layer must follow from its options"):
        layer.save(path)
    monkeypatch.setattr(
        files, "unpacked", lambda data, check: unpacked(data.replace(b"recompute", b"residual "), check)
    )
    with pytest.raises(ValueError, match="unknown field"):
        LSTM(3, 5).save(path)
    other = files.packed(*to_fields(LSTM(3, 5, random_state=1)))
    monkeypatch.setattr(files, "unpacked", lambda data, check: unpacked(other, check))
    with pytest.raises(ValueError, match="load would read another model from the file"):
        LSTM(3, 5, random_state=0).save(path)
    assert not path.exists()


def to_fields(model):
    """The header and the tensors of a model."""
    content, tensors = native._handler(type(model).__name__).to_fields(model)
    header = {"format": "numlstm", "format_version": 1, "numlstm_version": "1", "class": type(model).__name__}
    return header | {"model": content}, tensors


def test_subclasses_are_refused(path):
    class Own(LSTMClassifier):
        pass

    with pytest.raises(TypeError, match="not of a subclass, got Own"):
        Own().save(path)
    Own.__name__ = "LSTMClassifier"
    with pytest.raises(TypeError, match="not of a subclass"):
        Own().save(path)


# Whole or not at all --------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file(function, error, path, monkeypatch):
    LSTM(3, 5, random_state=0).save(path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        LSTM(3, 6, random_state=0).save(path)
    monkeypatch.undo()
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == before


def test_a_write_that_fails_half_way(path, monkeypatch):
    path.write_bytes(b"old")

    class Full:
        """A file on a disk that is full soon."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def write(self, data):
            self.file.write(data[:100])
            self.file.flush()
            raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(paths, "open", lambda *args: Full(open(*args)), raising=False)  # noqa: SIM115
    with pytest.raises(OSError, match="no space"):
        LSTM(3, 5).save(path)
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.name == "nt", reason="permissions and links of POSIX")
def test_permissions_and_links_stay(path, tmp_path):
    LSTM(3, 5).save(path)
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path.name)
    LSTM(3, 6).save(link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert numlstm.load(path).hidden_size == numlstm.load(link).hidden_size == 6


def test_the_same_model_gives_the_same_file(path, tmp_path):
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    there_and_back(model, path).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


# Paths ----------------------------------------------------------------------------------------------------


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        numlstm.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        numlstm.load(tmp_path)
    with pytest.raises(IsADirectoryError):
        LSTM(3, 5).save(tmp_path)
    with pytest.raises(FileNotFoundError):
        LSTM(3, 5).save(tmp_path / "none" / "file")
    with pytest.raises(IsADirectoryError):
        LSTM(3, 5).save(f"{tmp_path}/new/")
    with pytest.raises(TypeError):
        numlstm.load(0)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="must be a regular file"):
        numlstm.load(tmp_path / "pipe")
    with pytest.raises(ValueError, match="must be a regular file"):
        LSTM(3, 5).save(tmp_path / "pipe")


def test_paths_of_any_kind(tmp_path):
    layer = LSTM(3, 5, random_state=0)
    for name in (str(tmp_path / "a"), os.fsencode(tmp_path / "b"), tmp_path / ("n" * 250)):
        assert repr(there_and_back(layer, name)) == "LSTM(3, 5)"


# Files that lie -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Files of several models, as bytes."""
    folder = tmp_path_factory.mktemp("written")
    frame = pytest.importorskip("pandas").DataFrame(X[:, :4, 0], columns=list("wxyz"))
    models = {
        "layer": LSTM(2, [4, 3], peepholes=True, layer_norm=True, zoneout=(0.1, 0.2), random_state=0),
        "classifier": LSTMClassifier(**SMALL, bidirectional=False, pooling="last").partial_fit(
            frame, LABELS, classes=list("abcd")
        ),
        "regressor": LSTMRegressor(**SMALL, loss="huber").fit(X, X.sum(axis=1), X_val=X, y_val=X.sum(axis=1)),
        "static": LSTMRegressor(**SMALL).fit(X, X[:, -1].sum(axis=1), static=frame.iloc[:, :3]),
        "scaler": SequenceScaler().fit(frame),
        "language": LSTMLanguageModel(**SMALL, adaptive_softmax=(2, 3), output_dropout=0.1).fit("abab c" * 3),
    }
    for name, model in models.items():
        model.save(folder / name)
    return {name: (folder / name).read_bytes() for name in models}


FITTED = ("model", "fitted")
LIES = [
    ("layer", ("format",), "other", "format must be 'numlstm'"),
    ("layer", ("format",), ..., "format must be 'numlstm'"),
    ("layer", ("format_version",), 2, "format_version must be at most 1, got 2: numlstm 0.* wrote the file"),
    ("layer", ("format_version",), True, "format_version must be an integer"),
    ("layer", ("format_version",), 0, "format_version must be an integer"),
    ("layer", ("numlstm_version",), "1\x1b[2J", "numlstm_version"),
    ("layer", ("class",), "os.system", "class must be one of"),
    ("layer", ("class",), ["LSTM"], "class must be one of"),
    ("layer", ("class",), "GRU", "cell must be 'gru'"),
    ("layer", ("class",), "LSTMClassifier", "model lacks the field 'parameters'"),
    ("layer", ("more",), 1, "header has an unknown field 'more'"),
    ("layer", ("model", "input_size"), 3, "tensor 'weight_ih_l0' must be float32 of shape"),
    ("layer", ("model", "input_size"), 10**18, "tensor 'weight_ih_l0' must be float32 of shape"),
    ("layer", ("model", "input_size"), 2.0, "input_size must be an integer"),
    ("layer", ("model", "input_size"), "2", "input_size must be an integer"),
    ("layer", ("model", "hidden_size"), [10**19, 10**19], "tensor 'weight_ih_l0' must be float32 of shape"),
    ("layer", ("model", "hidden_size"), [4] * 1000, "hidden_size must be a list of a number for each layer"),
    ("layer", ("model", "hidden_size"), [], "hidden_size must be a list"),
    ("layer", ("model", "hidden_size"), [4], "tensor 'bias_hh_l1' is unknown"),
    ("layer", ("model", "options", "num_layers"), 10**15, "num_layers must be 2"),
    ("layer", ("model", "options", "peepholes"), False, "tensor 'peephole_l0' is unknown"),
    ("layer", ("model", "options", "bidirectional"), True, "tensor 'weight_ih_l0_reverse' is missing"),
    ("layer", ("model", "options", "dropout"), {"float": "nan"}, r"dropout must be in \[0.0, 1.0\)"),
    ("layer", ("model", "options", "zoneout"), {"tuple": [0.1]}, "zoneout must be"),
    ("layer", ("model", "options", "zoneout"), {"pickle": "gASV"}, "zoneout must be a number, a text, a list or one"),
    ("layer", ("model", "options", "reset_after"), True, "options has an unknown field 'reset_after'"),
    ("layer", ("model", "options", "merge"), {"numpy": ["object", "x"]}, "merge must be a scalar of NumPy's"),
    ("layer", ("model", "options", "cell_clip"), {"numpy": ["float16", 1e300]}, "must be a number of type float16"),
    ("layer", ("model", "options", "cell_clip"), {"numpy": ["int8", 300]}, "cell_clip"),
    ("layer", ("model", "dtype"), "float64", "must be float64 of shape"),
    ("layer", ("model", "compute_dtype"), "int4", "compute_dtype must be one of"),
    ("layer", ("model", "backend"), "tpu", "backend must be"),
    ("layer", ("model",), None, "layer must be an object"),
    ("classifier", ("model", "parameters", "hidden_size"), -1, "parameters: hidden_size must be at least 1"),
    ("classifier", ("model", "parameters", "callback"), "print", "parameters: callback must be callable"),
    ("classifier", ("model", "parameters", "random_state"), "x", "parameters: random_state must be"),
    ("classifier", ("model", "parameters", "class_weight"), "other", "class_weight must be a dict"),
    ("classifier", ("model", "parameters", "class_weight"), {"dict": [["a", "b"]]}, "class_weight must be a number"),
    ("classifier", ("model", "parameters", "class_weight"), {"dict": [["a", 1], ["a", 2]]}, "each of them once"),
    ("classifier", ("model", "parameters", "class_weight"), {"dict": [[[], 1]]}, "simple keys"),
    ("classifier", ("model", "parameters", "__class__"), 1, "parameters has an unknown field '__class__'"),
    ("classifier", (*FITTED, "pooling"), "none", "pooling must be one of"),
    ("classifier", (*FITTED, "pooling"), "attention", "_attention' is missing"),
    ("classifier", (*FITTED, "activity"), [1, -1], "activity must be in"),
    ("classifier", (*FITTED, "activity"), [1], "activity must be null or a list of two"),
    ("classifier", (*FITTED, "backend"), "auto", "backend must be"),
    ("classifier", (*FITTED, "backend"), {"a": 1}, "backend must be"),
    ("classifier", (*FITTED, "targets", "classes"), "int64", "tensor 'classes_' must be int64"),
    ("classifier", (*FITTED, "targets", "classes"), "bool", "tensor 'classes_' must be bool"),
    ("classifier", (*FITTED, "targets", "classes"), [], "one of the kinds"),
    ("classifier", (*FITTED, "targets", "multilabel"), 1, "multilabel must be True or False"),
    ("classifier", (*FITTED, "features", "columns"), 5, "must hold 5 names, got 4"),
    ("classifier", (*FITTED, "features", "columns"), 0, "columns must be at least 1"),
    ("classifier", (*FITTED, "features", "named"), False, "tensor 'feature_names_in_' is unknown"),
    ("classifier", (*FITTED, "history", "curves"), ["loss_curve_"], "curves must be some of"),
    ("classifier", (*FITTED, "history", "curves"), ["validation_scores_"], "tensor 'validation_scores_' is missing"),
    ("classifier", (*FITTED, "history", "best_loss"), {"float": "nan"}, "best_loss must be a number"),
    ("classifier", (*FITTED, "session"), None, "tensor 'optimizer.0.* is unknown"),
    ("classifier", (*FITTED, "session", "solver"), "sgd", "tensor 'optimizer.1.* is unknown"),
    ("classifier", (*FITTED, "session", "steps"), 0, "steps must be at least 1"),
    ("classifier", (*FITTED, "session", "steps"), 2**63, "steps must be at most"),
    ("classifier", (*FITTED, "session", "generator", "kind"), "MT19937", "kind must be one of"),
    ("classifier", (*FITTED, "session", "generator", "state"), "1" * 33, "state must be a hexadecimal number"),
    ("classifier", (*FITTED, "session", "generator", "state"), "-1", "state must be a hexadecimal number"),
    ("classifier", (*FITTED, "session", "generator", "increment"), "2", "increment must be odd"),
    ("classifier", (*FITTED, "session", "generator", "half"), 2**32, "half must be below"),
    ("regressor", (*FITTED, "targets", "form"), "one", "'target_mean_' must hold a number for each target"),
    ("regressor", (*FITTED, "targets", "form"), "steps", "pooling must be one of"),
    ("regressor", (*FITTED, "targets", "loss"), "softmax", "loss must be one of"),
    ("regressor", (*FITTED, "targets", "parameter"), 0.0, "parameter of 'huber' must be in"),
    ("regressor", (*FITTED, "targets", "parameter"), None, "parameter of 'huber' must be a number"),
    ("regressor", (*FITTED, "static"), {"named": False}, "tensor 'static_mean_' is missing"),
    ("static", (*FITTED, "static"), ..., "tensor 'weight_output' must be float32 of shape"),
    ("classifier", (*FITTED, "channels"), ..., "tensor 'channel_mean_' is unknown"),
    ("classifier", (*FITTED, "channels"), None, "channels must be an object"),
    ("classifier", (*FITTED, "channels"), {"named": False}, "channels has an unknown field 'named'"),
    ("static", (*FITTED, "static"), None, "static must be an object"),
    ("static", (*FITTED, "static"), {}, "static lacks the field 'named'"),
    ("static", (*FITTED, "static", "named"), 1, "static: named must be True or False"),
    ("static", (*FITTED, "static", "named"), False, "tensor 'static_feature_names_in_' is unknown"),
    ("scaler", (*FITTED, "steps"), 0, "steps must be at least 1"),
    ("scaler", ("model", "fitted"), None, "is unknown"),
    ("scaler", ("model",), [], "model must be an object"),
    ("language", (*FITTED, "targets", "cutoffs"), [3, 2], "cutoffs must grow"),
    ("language", (*FITTED, "targets", "cutoffs"), [2, 10**18], "cutoffs must grow, and be below 6"),
    ("language", (*FITTED, "targets", "cutoffs"), [2, 4], "tensor '.*' must be float32 of shape"),
    ("language", (*FITTED, "targets", "cutoffs"), 2, "cutoffs must be a list"),
    ("language", (*FITTED, "targets", "tied"), True, "tied must be false"),
    ("language", (*FITTED, "targets", "output_dropout"), 1.0, "output_dropout must be in"),
    ("language", (*FITTED, "targets"), {}, "targets lacks the field 'cutoffs'"),
]


@pytest.mark.parametrize(("model", "where", "value", "message"), LIES)
def test_a_field_that_lies_is_named(model, where, value, message, written, path):
    assert_refused_soon(edited(written[model], where, value), path, message)


@pytest.mark.parametrize(
    ("model", "name", "function"),
    [
        ("layer", "weight_hh_l1", put(np.nan)), ("layer", "bias_ih_l0", put(np.inf)),
        ("classifier", "weight_output", put(-np.inf)), ("classifier", "loss_curve_", put(np.nan)),
        ("classifier", "classes_", lambda array: put(0x110000)(array[-1:])), ("classifier", "classes_", put(98)),
        ("classifier", "feature_names_in_", put(0xFF)), ("classifier", "feature_names_in_", put(*b"[[[[")),
        ("classifier", "optimizer.1.bias_output", put(np.nan)),
        ("regressor", "target_scale_", put(0.0)), ("regressor", "target_scale_", put(-1.0)),
        ("static", "static_mean_", put(np.nan)), ("static", "static_scale_", put(0.0)),
        ("regressor", "channel_mean_", put(np.nan)), ("classifier", "channel_scale_", put(0.0)),
        ("static", "static_feature_names_in_", put(0xFF)),
        ("regressor", "target_mean_", put(np.nan)), ("scaler", "scale_", put(0.0)), ("scaler", "mean_", put(np.inf)),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(model, name, function, written, path):
    path.write_bytes(with_numbers(written[model], name, function))
    with pytest.raises(ValueError, match=f"{path}: .*tensor '{name}'"):
        numlstm.load(path)


def test_the_field_of_static_features_is_where_they_are(written):
    fields = {name: set(parts(data)[1]["model"]["fitted"]) for name, data in written.items() if name != "layer"}
    assert fields["static"] - fields["regressor"] == {"static"}
    assert fields["regressor"] == fields["classifier"]


def headers(data):
    """Files whose header of tensors lies, each with what the error says."""
    yield from wrong_entries(data)
    yield from wrong_texts(data)
    yield from wrong_json(data)
    for length in (0, 1, 2**20, 2**31, 2**63, 2**64 - 1):
        yield ".", length.to_bytes(8, "little") + data[8:]
    for size in (0, 1, 7, 8, 9, 100):
        yield ".", data[:size]
    yield ".", b"\x80\x04\x95" + pickle.dumps(parts(data)[0]) * 10


def wrong_entries(data):
    """Tensors that are missing, or of another type, shape or place."""
    header, content, tensors = parts(data)
    entry = header["bias_ih_l0"]
    first, *_ = header.keys() - {"__metadata__"}
    renamed = {name: header[name] for name in header if name != first} | {"x": header[first]}
    yield "is missing", joined(renamed, content, tensors)
    for message, changes in (
        ("go together", {"shape": [2**62, 4]}),
        ("go together", {"shape": [10**18] * 4}),
        ("go together", {"dtype": "F64"}),
        ("must be float32", {"dtype": "I32"}),
        ("must be float32", {"shape": [4, 4]}),
        ("one of the types", {"dtype": "BF16"}),
        ("one of the types", {"dtype": ["F32"]}),
        ("at least 0", {"shape": [-16]}),
        ("at least 0", {"shape": [True] * 2}),
        ("at least 0", {"data_offsets": [0.0, 64.0]}),
        ("must be a list", {"shape": "16"}),
        ("4 axes", {"shape": [1, 1, 1, 1, 16]}),
        ("4 axes", {"data_offsets": [0, 64, 64]}),
        ("overlap|gaps", {"data_offsets": [offset + 64 for offset in entry["data_offsets"]]}),
        ("unknown field", {"more": 1}),
    ):
        yield message, joined(header | {"bias_ih_l0": entry | changes}, content, tensors)
    yield "lacks the field", joined(header | {"bias_ih_l0": {}}, content, tensors)
    yield "bytes in all", joined(header, content, tensors + b"\0")
    yield "bytes in all", joined(header, content, tensors[:-1])


def wrong_texts(data):
    """Our text with keys twice, numbers out of range, or too long."""
    header, content, tensors = parts(data)
    text = json.dumps(content)
    yield "nested too deep", edited(data, ("model", "options", "zoneout"), [[[[[[[[[[0.0]]]]]]]]]])
    for message, other in (
        ("is there twice", '{"format":"numlstm",' + text[1:]),
        ("is there twice", text.replace('"dtype":', '"dtype": "float32", "dtype":')),
        ("out of range", text.replace("0.1", "1e999")),
        ("out of range", text.replace("0.1", "1" * 5000)),
        ("is no JSON", text.replace("0.1", "NaN")),
        ("at most 1048576 characters", text + " " * 2**20),
    ):
        yield message, joined(header, content, tensors, text=other)


def wrong_json(data):
    """Headers that are no JSON object of the right form."""
    header, content, tensors = parts(data)
    text, entry = json.dumps(content), json.dumps(header["bias_ih_l0"])
    whole = json.dumps(header | {"__metadata__": {"numlstm": text}})
    for deep in ("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000):
        yield "nested too deep|Expecting|delimiter", joined(header, content, tensors, text=deep)
        yield "nested too deep|Expecting|delimiter", joined(header, content, tensors, outer=deep.encode())
    for message, outer in (
        ("is there twice", ('{"bias_ih_l0":' + entry + "," + whole[1:]).encode()),
        (f"at most {files.HEADER_LIMIT}", whole.encode() + b" " * 2**23),
        ("not written by numlstm", b"{}"),
        ("JSON object", b"[]"),
        ("UTF-8", b'{"\xff": 1}'),
        ("unknown field 'pt'", json.dumps(header | {"__metadata__": {"numlstm": text, "pt": ""}}).encode()),
        ("not written by numlstm", whole.replace("numlstm", "other", 1).encode()),
    ):
        yield message, joined(header, content, tensors, outer=outer)


def test_headers_that_lie_are_refused_in_little_memory(written, path):
    tracemalloc.start()
    try:
        for message, data in headers(written["layer"]):
            path.write_bytes(data)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with pytest.raises(ValueError, match=message) as caught:
                numlstm.load(path)
            assert str(caught.value).startswith(f"{path}: ")
            assert tracemalloc.get_traced_memory()[1] - before < 20 * len(data) + 2**20, message
    finally:
        tracemalloc.stop()


def test_mutants_are_refused_or_loaded_in_little_memory(written, tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    path, start = tmp_path / "mutant", time.perf_counter()
    monkeypatch.chdir(tmp_path)
    loaded = total = 0
    tracemalloc.start()
    try:
        for data in written.values():
            for mutant in mutants(data, rng, 750):
                path.write_bytes(mutant)
                total += 1
                try:
                    repr(numlstm.load(path))
                    loaded += 1
                except (ValueError, OSError) as error:
                    assert str(path) in str(error)  # noqa: PT017
                assert path.read_bytes() == mutant
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert os.listdir(tmp_path) == ["mutant"]
    assert total == 750 * len(written)
    assert 10 < loaded < total / 2
    assert time.perf_counter() - start < 60


def test_odd_values_anywhere_are_refused_or_loaded(written, path):
    rng = np.random.default_rng(2)
    for data in written.values():
        for file in with_odd_values(data, rng, 400):
            assert_refused_or_whole(file, path)


# Files of earlier versions, and the command ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["layer", "classifier", "regressor", "scaler"])
def test_files_of_format_version_1_go_on_loading(name):
    expected = np.load(DATA / "native_v1.npz")
    given = expected["X"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = numlstm.load(DATA / f"native_v1_{name}.safetensors")
    model.backend = "reference"
    run = {
        "layer": lambda: model(given)[0], "classifier": lambda: model.predict_proba(given),
        "regressor": lambda: model.predict(given), "scaler": lambda: model.transform(given),
    }[name]  # fmt: skip
    np.testing.assert_allclose(run(), expected[name], atol=1e-5)
    if name == "classifier":
        assert model.classes_.tolist() == list("abcd")
        model.partial_fit(given, list("abcd") * 3)
        np.testing.assert_allclose(run(), expected["later"], atol=1e-4)


def test_parameters_that_a_file_lacks_are_at_their_defaults(written, path):
    path.write_bytes(edited(written["classifier"], ("model", "parameters", "recompute"), ...))
    assert numlstm.load(path).recompute is False
    path.write_bytes(edited(written["layer"], ("model", "options", "recompute"), ...))
    assert repr(numlstm.load(path)).startswith("LSTM(2, [4, 3], ")


def test_the_command_says_what_is_in_a_file(written, path, capsys):
    from numlstm.__main__ import main

    for name, wanted in [
        (
            "layer",
            ["kind LSTM", "layers LSTM(2, [4, 3],", "sizes input 2, hidden [4, 3], output 3", "peephole_l1 (9,)"],
        ),
        ("classifier", ["kind LSTMClassifier", "sizes input 1, hidden 4, output 4", "weight_output (4, 4)"]),
        ("scaler", ["kind SequenceScaler", "sizes 1 channels", "mean_ (1,)"]),
    ]:
        path.write_bytes(written[name])
        assert main(["info", str(path)]) == 0
        said = " ".join(capsys.readouterr().out.split())
        for part in [*wanted, f"written by numlstm {numlstm.__version__}, format 1"]:
            assert part in said
    path.write_bytes(b"nothing")
    assert main(["info", str(path)]) == 1
    assert "must be a file of safetensors" in capsys.readouterr().err
    assert main(["info", str(path.parent / "none.safetensors")]) == 1
    assert "No such file" in capsys.readouterr().err
    assert main([]) == 0


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("model.onnx", b"nothing of ours", "numlstm.io.from_onnx"),
        ("model.keras", b"nothing of ours", "numlstm.io.from_keras"),
        ("model.weights.h5", b"nothing of ours", "numlstm.io.from_keras"),
        ("model.PT", b"nothing of ours", "numlstm.io.from_torch"),
        ("model.safetensors", None, "numlstm.io.from_torch"),
    ],
)
def test_what_reads_files_of_others(name, content, hint, tmp_path):
    from safetensors.numpy import save

    (tmp_path / name).write_bytes(content or save({"weight_ih_l0": np.zeros((4, 1))}))
    with pytest.raises(ValueError, match=f"{re.escape(hint)} reads files of this kind$"):
        numlstm.load(tmp_path / name)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none" / "layer.safetensors"
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        numlstm.LSTM(2, 3).save(path)
