"""LSTMTagger: labels of steps, with a CRF and without."""

import pickle
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict

import numlstm
from numlstm import LSTMClassifier, LSTMTagger
from numlstm.metrics import flat_accuracy_scorer, flat_f1_scorer, sequence_accuracy_scorer

RNG = np.random.default_rng(0)


def draw(count):
    """Sequences, and for each step whether it is above the one before."""
    X = [RNG.normal(size=(length, 2)) for length in RNG.integers(3, 9, size=count)]
    return X, [["up" if step > 0 else "down" for step in np.diff(x[:, 0], prepend=0)] for x in X]


X, Y = draw(60)
SMALL = {"hidden_size": 8, "max_iter": 3, "random_state": 0, "n_iter_no_change": None}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module", params=[True, False], ids=["crf", "softmax"])
def fitted(request):
    return LSTMTagger(crf=request.param, **SMALL).fit(X, Y, X[:9], Y[:9])


@pytest.mark.parametrize("crf", [True, False])
def test_learns(crf):
    train, test = draw(200), draw(50)
    assert LSTMTagger(hidden_size=16, max_iter=12, random_state=0, crf=crf).fit(*train).score(*test) > 0.9


def test_marginals_and_paths_are_those_of_all_paths():
    tagger = LSTMTagger(**SMALL).fit(X, Y)
    x, parameters = X[0][:4], tagger.parameters
    layer = tagger.layers_[0]
    y, _ = layer(((x - tagger.channel_mean_) / tagger.channel_scale_)[None].astype("float32"))
    scores = y[0] @ tagger.coef_.T + tagger.intercept_
    transitions, start, end = (parameters[f"{name}_crf"] for name in ("transitions", "start", "end"))
    assert np.abs(transitions).max() > 0.01
    np.testing.assert_array_equal(transitions, tagger.transitions_)
    paths = [*product(range(2), repeat=4)]
    values = np.array([
        start[p[0]] + scores[np.arange(4), p].sum() + sum(transitions[p[t], p[t + 1]] for t in range(3)) + end[p[-1]]
        for p in paths
    ])  # fmt: skip
    shares = np.zeros((4, 2))
    for path, value in zip(paths, values, strict=True):
        shares[np.arange(4), path] += np.exp(value - logsumexp(values))
    np.testing.assert_allclose(tagger.predict_proba([x])[0], shares, atol=1e-5)
    assert tagger.predict_single(x) == tagger.classes_[list(paths[values.argmax()])].tolist()


def test_forms(fitted):
    padded = np.zeros((5, 8, 2))
    lengths = [len(x) for x in X[:5]]
    for row, x in zip(padded, X, strict=False):
        row[: len(x)] = x
    assert fitted.predict(padded, lengths=lengths) == fitted.predict(X[:5])
    assert fitted.predict(X[:1])[0] == fitted.predict_single(X[0])
    shares, said = fitted.predict_proba(X[:3]), fitted.predict_marginals(X[:3])
    assert [len(row) for row in said] == [len(x) for x in X[:3]]
    assert said[1][2]["up"] == pytest.approx(shares[1][2, 1])
    np.testing.assert_allclose(np.concatenate(shares).sum(axis=1), 1.0, rtol=1e-5)


def test_integers_arrays_and_lengths():
    x, lengths = RNG.normal(size=(20, 6, 1)), RNG.integers(2, 7, size=20)
    y = np.where(np.arange(6) < lengths[:, None], x[:, :, 0] > 0, 77).astype(int)
    tagger = LSTMTagger(**SMALL).fit(x, y, lengths=lengths)
    assert tagger.classes_.tolist() == [0, 1]
    assert isinstance(tagger.predict(x, lengths=lengths)[0][0], int)
    assert 0 <= tagger.score(x, y, lengths=lengths) <= 1


@pytest.mark.parametrize("crf", [True, False])
def test_steps_without_a_label_are_not_trained_on(crf):
    """What they would be does not matter, and a sequence without any is as if it were not there."""
    some = [[label if k % 2 else None for k, label in enumerate(row)] for row in Y]
    others = [[label if k % 2 else "?" for k, label in enumerate(row)] for row in Y]
    nan = [[label if k % 2 else np.nan for k, label in enumerate(row)] for row in Y]
    one, two, three = (
        LSTMTagger(crf=crf, **SMALL, ignore_label=ignored).fit(X, y)
        for y, ignored in ((some, None), (others, "?"), (nan, None))
    )
    assert one.loss_curve_ == two.loss_curve_ == three.loss_curve_
    assert one.classes_.tolist() == ["down", "up"]
    counted = [
        (a, b) for row, said in zip(some, one.predict(X), strict=True) for a, b in zip(row, said, strict=True) if a
    ]
    assert one.score(X, some) == pytest.approx(np.mean([a == b for a, b in counted]))
    more = LSTMTagger(crf=crf, **SMALL).fit([*X, X[0]], [*some, [None] * len(X[0])])
    assert more.loss_curve_ == one.loss_curve_


def test_weights_of_sequences(fitted):
    """Integer weights are repetitions, to a full batch."""
    options = SMALL | {"batch_size": 1000, "dtype": "float64", "scale_inputs": False, "clip_norm": None}
    weights = RNG.integers(0, 3, size=len(X))
    one = LSTMTagger(crf=fitted.crf, **options).fit(X, Y, sample_weight=weights)
    two = LSTMTagger(crf=fitted.crf, **options).fit(
        [x for x, w in zip(X, weights, strict=True) for _ in range(w)],
        [y for y, w in zip(Y, weights, strict=True) for _ in range(w)],
    )
    np.testing.assert_allclose(one.loss_curve_, two.loss_curve_, rtol=1e-6)


@pytest.mark.parametrize("crf", [True, False])
def test_weights_of_steps_and_classes(crf):
    steps = [np.where(np.array(row) == "up", 2.0, 1.0) for row in Y]
    by_step, by_class = LSTMTagger(crf=crf, **SMALL), LSTMTagger(crf=crf, **SMALL, class_weight={"up": 2.0})
    np.testing.assert_allclose(by_step.fit(X, Y, sample_weight=steps).loss_curve_, by_class.fit(X, Y).loss_curve_)
    balanced = clone(by_class).set_params(class_weight="balanced").fit(X, Y)
    assert balanced.loss_curve_ != by_step.loss_curve_
    assert np.isfinite(balanced.loss_curve_).all()
    by_step, by_class = clone(by_step).partial_fit(X, Y, sample_weight=steps), clone(by_class).partial_fit(X, Y)
    np.testing.assert_allclose(by_step.loss_curve_, by_class.loss_curve_)


def test_weights_of_steps_that_are_almost_equal(fitted):
    """They are almost as if there were none: losses and scores, of training and of what is set aside."""
    options = SMALL | {"early_stopping": True, "dtype": "float64", "activity_regularization": 0.1}
    steps = [1.0 + 1e-9 * RNG.random(len(x)) for x in X]
    without, with_weights = (
        LSTMTagger(crf=fitted.crf, **options).fit(X, Y, sample_weight=weights) for weights in (None, steps)
    )
    for name in ("loss_curve_", "validation_loss_curve_", "validation_scores_"):
        np.testing.assert_allclose(getattr(with_weights, name), getattr(without, name), rtol=1e-7, err_msg=name)


def test_steps_without_weight_at_the_end_are_as_without_a_label():
    """Before others they are not: labels of steps after them follow theirs."""
    for weigh, as_unlabelled in ((lambda k: k < 3, True), (lambda k: k >= 2, False)):
        weights = [np.array([float(weigh(k)) for k in range(len(row))]) for row in Y]
        y = [[label if weigh(k) else None for k, label in enumerate(row)] for row in Y]
        weighted = LSTMTagger(**SMALL | {"dtype": "float64"}).fit(X, Y, sample_weight=weights)
        unlabelled = LSTMTagger(**SMALL | {"dtype": "float64"}).fit(X, y)
        assert np.allclose(weighted.loss_curve_, unlabelled.loss_curve_, rtol=1e-9) == as_unlabelled


def test_a_rare_label_with_a_large_weight_is_found_more_often(fitted):
    rng = np.random.default_rng(1)
    y = [["rare" if step + 0.5 * rng.normal() > 1.4 else "often" for step in x[:, 0]] for x in X]

    def recall(class_weight):
        tagger = LSTMTagger(crf=fitted.crf, **SMALL | {"max_iter": 15}, class_weight=class_weight).fit(X, y)
        said, true = np.concatenate(tagger.predict(X)), np.concatenate(y)
        return np.mean(said[true == "rare"] == "rare")

    assert recall("balanced") > recall(None) + 0.2


def test_transitions_that_never_occurred_can_be_forbidden():
    y = [[str(k % 3) for k in range(len(x))] for x in X]
    tagger = LSTMTagger(forbid_unseen_transitions=True, **SMALL | {"max_iter": 1}).fit(X, y)
    for row in tagger.predict(X):
        assert all(int(b) == (int(a) + 1) % 3 for a, b in pairwise(row))
    forbidden = tagger.transitions_ < -9000
    assert forbidden.tolist() == [[True, False, True], [True, True, False], [False, True, True]]


def test_saved_and_pickled(fitted, tmp_path):
    path = tmp_path / "tagger.safetensors"
    fitted.save(path)
    for other in (numlstm.load(path), pickle.loads(pickle.dumps(fitted))):
        assert other.predict(X) == fitted.predict(X)
        assert other.validation_scores_ == fitted.validation_scores_
        np.testing.assert_array_equal(np.concatenate(other.predict_proba(X)), np.concatenate(fitted.predict_proba(X)))


def test_goes_on(fitted):
    again = clone(fitted).set_params(warm_start=True).fit(X, Y)
    before = again.loss_curve_[-1]
    again.fit(X[:5], [["up"] * len(x) for x in X[:5]])  # of the labels there are, not all
    assert again.classes_.tolist() == ["down", "up"]
    assert len(again.loss_curve_) == 6
    part = clone(fitted).partial_fit(X, Y, classes=["up", "down", "level"])
    part.partial_fit(X, [["level"] * len(x) for x in X])
    assert part.classes_.tolist() == ["down", "level", "up"]
    assert part.n_iter_ == 2
    with pytest.raises(ValueError, match=r"y\[1\] must hold labels among .*got 'left'"):
        again.fit(X[:2], [Y[0], ["left"] * len(X[1])])
    assert len(again.loss_curve_) == 6
    assert before == again.loss_curve_[2]


def test_grid_search_and_scorers():
    scoring = {"accuracy": flat_accuracy_scorer, "f1": flat_f1_scorer, "whole": sequence_accuracy_scorer}
    search = GridSearchCV(LSTMTagger(**SMALL), {"crf": [True, False]}, cv=2, scoring=scoring, refit="f1").fit(X, Y)
    for name in scoring:
        assert np.isfinite(search.cv_results_[f"mean_test_{name}"]).all()
    assert search.cv_results_["mean_test_whole"].max() <= search.cv_results_["mean_test_accuracy"].max()
    assert [len(row) for row in cross_val_predict(LSTMTagger(**SMALL), X, Y, cv=2)] == [len(x) for x in X]


def test_early_stopping_callback_schedule_and_trace():
    seen = []
    tagger = LSTMTagger(
        **SMALL | {"max_iter": 30, "n_iter_no_change": 1}, early_stopping=True, learning_rate="cosine", tol=10.0,
        callback=lambda progress: seen.append(progress.validation_score),
    ).fit(X, Y)  # fmt: skip
    assert tagger.n_iter_ == len(seen) < 30
    assert tagger.trace(X[:2]).hidden_state.shape[:2] == (2, 2)
    assert 0 <= seen[0] <= 1


def test_validation_loss_is_that_of_the_data(fitted):
    """Trained on what it is validated on, after a step of no length."""
    options = SMALL | {"max_iter": 1, "learning_rate_init": 1e-12, "batch_size": 60, "dtype": "float64"}
    tagger = LSTMTagger(crf=fitted.crf, **options).fit(X, Y, X_val=X, y_val=Y)
    assert tagger.validation_loss_curve_[0] == pytest.approx(tagger.loss_curve_[0], rel=1e-6)
    assert tagger.validation_scores_[0] == pytest.approx(tagger.score(X, Y))


def test_stream():
    tagger = LSTMTagger(crf=False, bidirectional=False, **SMALL).fit(X, Y)
    stream = tagger.stream()
    said = [stream.step(step) for step in X[0]]
    np.testing.assert_allclose(said, tagger.predict_proba(X[:1])[0], atol=1e-5)
    with pytest.raises(ValueError, match="stream\\(\\) needs crf=False"):
        LSTMTagger(bidirectional=False, **SMALL).fit(X, Y).stream()


def test_onnx_gives_scores(fitted, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="graphs are run by ONNX Runtime where it is installed")
    from numlstm.io import to_onnx

    path = tmp_path / "tagger.onnx"
    to_onnx(fitted, path)
    x = np.stack([X[0][:3], X[1][:3]]).astype("float32")
    (scores,) = onnxruntime.InferenceSession(path).run(["scores"], {"x": x, "sequence_lens": np.array([3, 3], "int32")})
    assert scores.shape == (2, 3, 2)
    if not fitted.crf:
        shares = np.exp(scores - logsumexp(scores, axis=2, keepdims=True))
        np.testing.assert_allclose(shares, np.stack(fitted.predict_proba(x)), atol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_backends_agree(backend):
    for crf, class_weight in product((True, False), (None, "balanced")):
        options = SMALL | {"max_iter": 2, "dtype": "float64", "hidden_size": 3, "class_weight": class_weight}
        curves = [
            LSTMTagger(crf=crf, backend=name, **options).fit(X[:9], Y[:9]).loss_curve_ for name in ("cpu", backend)
        ]
        np.testing.assert_allclose(*curves, rtol=1e-9)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y must be given"),
        ("NNV", "y must be a list with a row of labels for each sequence"),
        (Y[:-1], "y must have 60 entries"),
        ([*Y[:-1], "up"], r"y\[59\] must have a label for each of the \d steps of X\[59\], got 2 labels"),
        ([1] * 60, r"y\[0\] must be a row of labels.*LSTMClassifier"),
        ([["a"] * len(x) for x in X], "y must hold at least 2 different labels, got \\['a'\\]"),
        ([[None] * len(x) for x in X], "y must hold a label for at least one step"),
        ([[k % 2 or "a" for k in range(len(x))] for x in X], "y must hold labels of one kind"),
        ([[{}] * len(x) for x in X], r"y\[0\] must hold labels that are texts or numbers"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        LSTMTagger(**SMALL).fit(X, y)


def test_other_bad_input(fitted):
    with pytest.raises(NotFittedError):
        LSTMTagger().predict(X)
    with pytest.raises(AttributeError, match="not fitted"):
        LSTMTagger().transitions_  # noqa: B018
    with pytest.raises(ValueError, match=r"sample_weight\[1\] must have shape \(\d,\), a weight for each step"):
        LSTMTagger(**SMALL).fit(X, Y, sample_weight=[np.ones(len(x) + (k == 1)) for k, x in enumerate(X)])
    with pytest.raises(ValueError, match="class_weight must name labels among"):
        LSTMTagger(class_weight={"left": 1.0}, **SMALL).fit(X, Y)
    with pytest.raises(ValueError, match="X_dev and X_val are the same"):
        LSTMTagger(**SMALL).fit(X, Y, X, X_val=X)
    with pytest.raises(ValueError, match="forbid_unseen_transitions must be False for partial_fit"):
        LSTMTagger(forbid_unseen_transitions=True).partial_fit(X, Y)
    with pytest.raises(ValueError, match="labels among"):
        fitted.partial_fit(X[:1], [["left"] * len(X[0])])
    if not fitted.crf:
        with pytest.raises(AttributeError, match="crf=False"):
            fitted.transitions_  # noqa: B018


def test_dicts_of_features_and_tokens(tmp_path):
    """As sklearn-crfsuite takes them: strings have vectors, numbers are channels."""
    words = [["the", "cat", "sat"], ["a", "dog", "ran", "off"]] * 20
    y = [["D", "N", "V"], ["D", "N", "V", "P"]] * 20
    X = [[{"word": word, "suffix": word[-1:], "place": k} for k, word in enumerate(row)] for row in words]
    tagger = LSTMTagger(**SMALL | {"max_iter": 15}).fit(X, y)
    assert tagger.score(X, y) == 1
    assert tagger.predict_single(X[1]) == y[1]
    assert tagger.predict_single([{"word": "bird", "suffix": "d", "place": 0}]) != []
    path = tmp_path / "tagger.safetensors"
    tagger.save(path)
    assert numlstm.load(path).predict(X) == tagger.predict(X)
    assert LSTMTagger(**SMALL | {"max_iter": 15}).fit(words, y).score(words, y) == 1


def test_features_that_only_some_steps_have():
    """As in sklearn-crfsuite's tutorial: the first step has no word before it."""

    def features(words):
        steps = [{"word": word, "before": before} for before, word in pairwise(["", *words])]
        return [{"bos": True, "word": words[0]}, *steps[1:]]

    words = [list(RNG.permutation(["a", "b", "c"])) for _ in range(60)]
    y = [["first", *(before for before, _ in pairwise(row))] for row in words]
    X = [features(row) for row in words]
    tagger = LSTMTagger(**SMALL | {"max_iter": 20, "bidirectional": False}).fit(X[:40], y[:40], X[40:], y[40:])
    assert tagger.vocabularies_["before"].keys() == {None, "a", "b", "c"}
    assert tagger.score(X[40:], y[40:]) == 1
    with pytest.raises(ValueError, match=r"X\[0\]\[0\] must have keys among those of fit.*got 'eos'"):
        tagger.predict([[{"word": "a", "eos": True}]])


def test_classifiers_name_the_tagger():
    with pytest.raises(ValueError, match="a label for every step is for LSTMTagger"):
        LSTMClassifier().fit(X, Y)
    with pytest.warns(UserWarning, match="If y has a label for every step, fit LSTMTagger"):
        LSTMClassifier(**SMALL).fit(np.zeros((4, 3, 1)), [[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]])
