"""Writes tests/data/native_v1_*: models in files of format version 1, and what they gave; not run by the tests.

They stay as they are for ever: later versions must go on loading them. Run it only for a new format version, into files
of another name.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

import numlstm
from numlstm import LSTM, LSTMClassifier, LSTMRegressor, SequenceEncoder, SequenceImputer, SequenceScaler

DATA = Path(__file__).parent / "data"


def main():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 5, 2))
    layer = LSTM(2, [4, 3], bidirectional=True, peepholes=True, layer_norm=True, zoneout=(0.1, 0.2), random_state=0)
    classifier = LSTMClassifier(
        hidden_size=4, pooling="attention", dropout=0.1, num_layers=2, class_weight={"b": 2.0}, random_state=0
    )
    for _ in range(2):
        classifier.partial_fit(X, list("abcd") * 3, classes=list("abcd"))
    regressor = LSTMRegressor(cell="gru", hidden_size=4, max_iter=3, random_state=0, dtype="float64")
    regressor.fit(X, X.cumsum(axis=1), X_val=X, y_val=X.cumsum(axis=1))
    scaler = SequenceScaler().fit(X)
    models = {"layer": layer, "classifier": classifier, "regressor": regressor, "scaler": scaler}
    for name, model in models.items():
        model.save(DATA / f"native_v1_{name}.safetensors")
    expected = {
        "X": X, "layer": layer(X)[0], "classifier": classifier.predict_proba(X), "regressor": regressor.predict(X),
        "scaler": scaler.transform(X),
    }  # fmt: skip
    classifier.partial_fit(X, list("abcd") * 3)
    np.savez_compressed(DATA / "native_v1.npz", **expected, later=classifier.predict_proba(X))


def pipeline():
    """What came later, without a new format version."""
    X = np.random.default_rng(0).normal(50.0, 9.0, size=(12, 5))
    inner = make_pipeline(MinMaxScaler((-1, 2), clip=True), None)
    model = LSTMClassifier(hidden_size=4, max_iter=3, random_state=0)
    whole = make_pipeline(StandardScaler(), inner, "passthrough", RobustScaler(with_centering=False), model)
    numlstm.save(whole.fit(X, list("abcd") * 3), DATA / "native_v1_pipeline.safetensors")
    np.savez_compressed(DATA / "native_v1_pipeline.npz", X=X, pipeline=whole.predict_proba(X))


def transformers():
    """Likewise."""
    rng = np.random.default_rng(0)
    X = rng.normal(50.0, 9.0, size=(12, 5, 3)).astype(object)
    X[rng.random(X.shape) < 0.2] = np.nan
    X[:, :, 1] = np.array(["a", "b", None], object)[rng.integers(3, size=(12, 5))]
    steps = SequenceEncoder(columns=[1]), SequenceImputer(indicator=True), SequenceScaler("robust")
    model = LSTMClassifier(hidden_size=4, max_iter=3, random_state=0)
    whole = make_pipeline(*steps, model).fit(X, list("abcd") * 3)
    numlstm.save(whole, DATA / "native_v1_transformers.safetensors")
    given = [[each if isinstance(each, str | None) else float(each) for each in row] for row in X.reshape(-1, 3)]
    expected = whole.predict_proba(X).tolist()
    text = json.dumps({"X": given, "expected": expected}, separators=(",", ":"))
    (DATA / "native_v1_transformers.json").write_text(text)


if __name__ == "__main__":
    main()
    pipeline()
    transformers()
