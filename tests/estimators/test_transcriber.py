"""LSTMTranscriber: texts of long sequences."""

import pickle
from itertools import product

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict

import numlstm
from numlstm import LSTMTranscriber
from numlstm.estimators.targets.decoding import align, beam_search
from numlstm.metrics import character_error_rate, neg_character_error_rate_scorer

RNG = np.random.default_rng(0)
SMALL = {"hidden_size": 8, "max_iter": 3, "random_state": 0, "n_iter_no_change": None}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def write(text):
    """Bumps up and down, of any width, with gaps."""
    parts = [np.zeros(RNG.integers(1, 4))]
    for letter in text:
        parts += [np.full(RNG.integers(2, 5), 1.0 if letter == "u" else -1.0), np.zeros(RNG.integers(1, 4))]
    return np.concatenate(parts)[:, None]


Y = ["".join(RNG.choice(list("ud"), size=size)) for size in RNG.integers(0, 5, size=120)]
X = [write(text) for text in Y]


@pytest.fixture(scope="module")
def learnt():
    return LSTMTranscriber(hidden_size=16, max_iter=30, random_state=0).fit(X[:90], Y[:90], X_val=X[90:], y_val=Y[90:])


def reading(path):
    """A path without repetitions, then without blanks."""
    return tuple(k for n, k in enumerate(path) if k and (n == 0 or k != path[n - 1]))


def texts_by_probability(log_y, language_model=None):
    """Of all paths."""
    totals = {}
    for path in product(range(log_y.shape[1]), repeat=len(log_y)):
        text, value = reading(path), sum(log_y[t, k] for t, k in enumerate(path))
        totals[text] = np.logaddexp(totals.get(text, -np.inf), value)
    if language_model:
        for text in totals:
            totals[text] += sum(language_model(text[:k])[label - 1] for k, label in enumerate(text))
    return sorted(totals.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("with_model", [False, True])
def test_a_wide_beam_finds_the_sums_over_all_paths(seed, with_model):
    rng = np.random.default_rng(seed)
    log_y = log_softmax(2 * rng.normal(size=(5, 3)), axis=1)
    table = {}

    def language_model(prefix):
        return table.setdefault(prefix, np.log(np.random.default_rng([seed, *prefix]).dirichlet([1, 1])))

    wanted = texts_by_probability(log_y, language_model if with_model else None)
    found = beam_search(log_y, 1000, language_model if with_model else None)
    assert [text for text, _ in found[:10]] == [text for text, _ in wanted[:10]]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in wanted], atol=1e-12)
    assert len(beam_search(log_y, 3)) == 3


@pytest.mark.parametrize("text", [(), (1,), (1, 1), (1, 2), (2, 1, 2), (1, 1, 1)])
def test_alignment_is_the_best_of_all_paths(text):
    log_y = log_softmax(RNG.normal(size=(5, 3)), axis=1)
    paths = [path for path in product(range(3), repeat=5) if reading(path) == text]
    best = max(paths, key=lambda path: sum(log_y[t, k] for t, k in enumerate(path)))
    changes = [t for t in range(5) if best[t] and (t == 0 or best[t] != best[t - 1])]
    ends = [next(u for u in range(t, 5) if u == 4 or best[u + 1] != best[t]) for t in changes]
    assert align(log_y, text) == [*zip(changes, ends, strict=True)]


def test_learns_and_is_scored(learnt):
    said = learnt.predict(X[90:])
    assert learnt.score(X[90:], Y[90:]) > 0.9
    assert learnt.score(X[90:], Y[90:]) == pytest.approx(1 - character_error_rate(Y[90:], said))
    assert learnt.validation_scores_[-1] == pytest.approx(learnt.score(X[90:], Y[90:]))
    assert learnt.classes_.tolist() == ["d", "u"]
    assert all(isinstance(text, str) for text in said)


def test_beams(learnt):
    best = learnt.predict_n_best(X[:9], 3, beam_size=20)
    assert all(len(found) == 3 for found in best)
    for found, shares in zip(best, learnt.predict_proba(X[:9]), strict=True):
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)
        assert np.exp(scores).sum() <= 1 + 1e-6
        assert shares.shape[1] == 3
    assert learnt.predict(X[:9], beam_size=20) == [found[0][0] for found in best]

    def no_down(prefix):
        assert isinstance(prefix, str)
        return [-np.inf, 0.0]

    assert set("".join(learnt.predict(X, language_model=no_down))) == {"u"}
    with pytest.raises(ValueError, match="language_model must give 2 logarithms"):
        learnt.predict(X[:1], language_model=lambda prefix: [0.0])


def test_alignment(learnt):
    said = learnt.predict(X[:20])
    for x, text, places in zip(X, said, learnt.predict_alignment(X[:20]), strict=False):
        assert "".join(label for label, _, _ in places) == text
        steps = [step for _, first, last in places for step in (first, last)]
        assert steps == sorted(steps)
        assert all(0 <= step < len(x) for step in steps)
    given = learnt.predict_alignment(X[:2], ["u", ""])
    assert given[0][0][0] == "u"
    assert given[1] == []
    with pytest.raises(ValueError, match="y\\[0\\] must fit into"):
        learnt.predict_alignment(X[:1], ["u" * 200])
    with pytest.raises(ValueError, match="y\\[0\\] must hold labels among"):
        learnt.predict_alignment(X[:1], ["x"])


@pytest.mark.parametrize("subsample", [2, 3])
def test_several_steps_as_one(subsample, tmp_path):
    model = LSTMTranscriber(subsample=subsample, **SMALL).fit(X, Y, X_val=X[:9], y_val=Y[:9])
    assert model.layers_[0].input_size == subsample
    assert model.n_channels_ == 1
    assert [len(row) for row in model.predict_proba(X)] == [-(-len(x) // subsample) for x in X]
    for x, places in zip(X, model.predict_alignment(X), strict=True):
        assert all(first % subsample == 0 and last < len(x) for _, first, last in places)
    model.set_params(subsample=7)  # a fitted one reads as it did
    path = tmp_path / "model.safetensors"
    model.save(path)
    other = numlstm.load(path)
    assert other.predict(X) == model.predict(X)
    assert other.predict([np.concatenate([x, np.zeros((0, 1))]) for x in X[:3]]) == model.predict(X[:3])


def test_stream_says_what_predict_says():
    model = LSTMTranscriber(bidirectional=False, subsample=2, **SMALL | {"max_iter": 20}).fit(X, Y)
    stream = model.stream()
    said = ["".join(stream.step(step) for step in x) + stream.end()[0] for x in X]
    assert said == model.predict(X)
    assert len(set(said)) > 5
    two = model.stream(2)
    pairs = [two.step(np.stack([a, b])) for a, b in zip(X[0], X[1], strict=False)]
    assert all(len(pair) == 2 for pair in pairs)
    with pytest.raises(ValueError, match=r"x_t must have shape \(1, 1\)"):
        stream.step([1.0, 2.0])
    with pytest.raises(ValueError, match="x_t must be finite"):
        stream.step([np.nan])
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(stream)
    with pytest.raises(ValueError, match="bidirectional=False"):
        LSTMTranscriber(**SMALL).fit(X, Y).stream()


def test_labels_that_are_no_characters():
    rows = [[{"u": 7, "d": 5}[letter] for letter in text] for text in Y]
    model = LSTMTranscriber(**SMALL | {"max_iter": 20}).fit(X, rows)
    same = LSTMTranscriber(**SMALL | {"max_iter": 20}).fit(X, Y)
    assert model.classes_.tolist() == [5, 7]
    assert model.loss_curve_ == same.loss_curve_
    said = [[{"u": 7, "d": 5}[letter] for letter in text] for text in same.predict(X)]
    assert model.predict(X) == said
    assert isinstance(model.predict_n_best(X[:1], language_model=lambda prefix: [0.0, len(prefix)])[0][0][0], list)


def test_goes_on(learnt, tmp_path):
    copied = pickle.loads(pickle.dumps(learnt))
    assert copied.predict(X) == learnt.predict(X)
    again = clone(learnt).set_params(warm_start=True, max_iter=1).fit(X, Y)
    again.fit(X[:4], ["u", "u", "", "u"])
    assert again.classes_.tolist() == ["d", "u"]
    with pytest.raises(ValueError, match=r"y\[1\] must hold labels among \['d', 'u'\], got 'x'"):
        again.fit(X[:2], ["u", "x"])
    assert again.n_iter_ == 2
    part = clone(learnt).partial_fit(X, Y, classes="udx").partial_fit(X, Y)
    assert part.classes_.tolist() == ["d", "u", "x"]
    path = tmp_path / "part.safetensors"
    part.save(path)
    one, two = numlstm.load(path).partial_fit(X, Y), part.partial_fit(X, Y)
    assert one.loss_curve_ == two.loss_curve_


def test_grid_search():
    search = GridSearchCV(LSTMTranscriber(**SMALL), {"subsample": [1, 2]}, cv=2).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    scored = GridSearchCV(LSTMTranscriber(**SMALL), {}, cv=2, scoring=neg_character_error_rate_scorer).fit(X, Y)
    assert scored.best_score_ <= 0
    assert len(cross_val_predict(LSTMTranscriber(**SMALL), X, Y, cv=2)) == len(X)


def test_onnx_gives_scores(learnt, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="graphs are run by ONNX Runtime where it is installed")
    from numlstm.io import to_onnx

    for subsample in (1, 2, 3):
        model = LSTMTranscriber(subsample=subsample, **SMALL).fit(X, Y)
        path = tmp_path / f"model_{subsample}.onnx"
        to_onnx(model, path)
        lengths = np.array([len(x) for x in X[:3]], "int32")
        x = np.full((3, lengths.max(), 1), 9.0, "float32")
        for row, own in zip(x, X, strict=False):
            row[: len(own)] = own
        (scores,) = onnxruntime.InferenceSession(path).run(["scores"], {"x": x, "sequence_lens": lengths})
        for row, shares in zip(scores, model.predict_proba(X[:3]), strict=True):
            np.testing.assert_allclose(np.exp(log_softmax(row[: len(shares)], axis=1)), shares, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference"])
def test_backends_agree(backend):
    options = SMALL | {"max_iter": 2, "dtype": "float64", "hidden_size": 3, "subsample": 2}
    curves = [LSTMTranscriber(backend=name, **options).fit(X[:9], Y[:9]).loss_curve_ for name in ("cpu", backend)]
    np.testing.assert_allclose(*curves, rtol=1e-9)


def test_impossible_texts_are_named_before_training():
    epochs = []
    model = LSTMTranscriber(**SMALL, callback=epochs.append)
    texts = ["u", "ud", "uu"]
    with pytest.raises(ValueError, match=r"y\[2\] must fit into the 2 steps of X\[2\]: 2 labels, 1 of them repeated"):
        model.fit([np.zeros((2, 1))] * 3, texts)
    with pytest.raises(ValueError, match=r"y\[1\] must fit into the 1 steps of subsample=2 of X\[1\]"):
        clone(model).set_params(subsample=2).fit([np.zeros((2, 1))] * 3, texts)
    with pytest.raises(ValueError, match=r"y_val\[0\] must fit into the 2 steps of X_val\[0\]"):
        model.fit(X, Y, X_val=[np.zeros((2, 1))], y_val=["uu"])
    assert not epochs
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ("ud", "y must be a list with a row of labels for each sequence"),
        (Y[1:], "y must have 120 entries, one for each sequence of X, got 119"),
        ([""] * 120, "y must hold at least 1 different label, got"),
        ([1] * 120, r"y\[0\] must be a row of labels"),
        ([["u", None]] * 120, r"y\[0\] must hold labels, got None"),
    ],
)
def test_bad_texts(y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        LSTMTranscriber(**SMALL).fit([np.zeros((9, 1))] * 120, y)


def test_bad_parameters():
    for options, message in [
        ({"subsample": 0}, "subsample must be at least 1"),
        ({"subsample": 1.5}, "subsample must be"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            LSTMTranscriber(**SMALL, **options).fit(X, Y)
    model = LSTMTranscriber(**SMALL).fit(X, Y)
    with pytest.raises(ValueError, match="beam_size must be at least 1"):
        model.predict(X, beam_size=0)
    with pytest.raises(TypeError, match="language_model must be callable"):
        model.predict(X, language_model=3)
    with pytest.raises(ValueError, match="y must hold at least one label"):
        model.score(X[:2], ["", ""])
