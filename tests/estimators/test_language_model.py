"""The language model: probabilities of texts, texts that it writes, and what it refuses."""

import copy
import math
import pickle
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

import numlstm
from numlstm import LSTMLanguageModel
from numlstm.estimators.base.text_stream import chooser
from numlstm.estimators.data import texts
from numlstm.estimators.data.tokens import END
from numlstm.training import likelihood

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LINE = "to be or not to be, that is the question. "
NAMES = ["anna", "berta", "clara", "dora", "emma"]
SMALL = {"hidden_size": 12, "random_state": 0, "bptt_steps": 10, "batch_size": 4, "max_iter": 3}
BACKENDS = ["cpu", "reference"]


@pytest.fixture(scope="module")
def model():
    return LSTMLanguageModel(hidden_size=32, bptt_steps=20, max_iter=30, random_state=0).fit(LINE * 50)


@pytest.fixture(scope="module")
def names():
    return LSTMLanguageModel(hidden_size=24, max_iter=40, random_state=0).fit(NAMES * 20)


def variants():
    yield "characters", {}
    yield "bytes", {"analyzer": "byte"}
    yield "words", {"analyzer": "word", "lowercase": True}
    yield "callable", {"analyzer": str.split}
    yield "tied", {"tie_weights": True, "num_layers": 2, "dropout": 0.1}
    yield "tied projection", {"tie_weights": True, "proj_size": 5}
    yield "adaptive", {"adaptive_softmax": (3, 6)}
    yield "gru", {"cell": "gru", "layer_norm": True}
    yield "masks", {"output_dropout": 0.3, "embedding_dropout": 0.2, "token_dropout": 0.1, "recurrent_dropout": 0.2,
                    "weight_dropout": 0.3, "activity_regularization": 2.0}  # fmt: skip
    yield "rare", {"min_frequency": 5, "dtype": "float64"}
    yield "whole", {"bptt_steps": None}
    yield "averaged", {"solver": "asgd", "learning_rate": "constant", "learning_rate_init": 1.0, "max_iter": 8}


VARIANTS = dict(variants())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", VARIANTS)
def test_probabilities_of_all_texts_are_a_distribution(name, backend):
    """At each token the probabilities that a stream gives sum to 1, and are those that the measures count."""
    model = LSTMLanguageModel(backend=backend, **SMALL | VARIANTS[name]).fit([LINE + "Ünd!", LINE * 3])
    text = "To be Zzz"
    stream, total, bits = model.stream(), 0.0, []
    numbers = {token: number for number, token in enumerate(model.vocabulary_, 1)}
    probabilities = stream.probabilities
    for token in [*model.tokenize(text), END]:
        assert probabilities.shape == (len(numbers) + 1,)
        np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-6)
        bits.append(-math.log2(probabilities[numbers.get(token, 0)]))
        total -= bits[-1] * math.log(2)
        probabilities = stream.step(token) if token != END else None
    np.testing.assert_allclose(model.surprise(text), bits[:-1], rtol=1e-4)
    np.testing.assert_allclose(model.score_texts([text]), total, rtol=1e-5)
    np.testing.assert_allclose(model.score(text), total / len(bits), rtol=1e-5)
    np.testing.assert_allclose(model.perplexity([text]), math.exp(-total / len(bits)), rtol=1e-5)
    np.testing.assert_allclose(model.bits_per_character(text), sum(bits) / len(text), rtol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_copies_files_and_pickles(name, tmp_path):
    model = LSTMLanguageModel(**SMALL | VARIANTS[name]).fit([LINE, LINE * 2], X_val=[LINE])
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    if name == "callable":
        with pytest.raises(ValueError, match="analyzer"):
            model.save(tmp_path / "model.safetensors")
    else:
        model.save(tmp_path / "model.safetensors")
        copies.append(numlstm.load(tmp_path / "model.safetensors"))
    for other in copies:
        np.testing.assert_array_equal(other.surprise(LINE), model.surprise(LINE))
        assert other.vocabulary_ == model.vocabulary_
        assert [*other.generate(n=20, random_state=3)] == [*model.generate(n=20, random_state=3)]
        assert other.validation_loss_curve_ == model.validation_loss_curve_


def test_it_learns_to_write(model, names):
    assert model.perplexity(LINE) < 2
    assert texts.joined([*model.generate("to be or", n=10, temperature=0)], "char") == " not to be"
    assert model.surprise("the quezzion")[8] > 5 > model.surprise("the question")[8]
    written = names.sample(20, random_state=0, temperature=0.3)
    assert len({*written} & {*NAMES}) >= 3
    assert sum(text in NAMES for text in written) >= 15  # it ends names where they end
    assert names.perplexity(NAMES) < 0.5 * names.perplexity(["anra", "ammb"])


def test_surprise_of_a_text_is_that_in_pieces(model, monkeypatch):
    """Long texts are read in pieces, and the state goes on between them."""
    text = LINE * 3
    whole = model.surprise(text), model.embed([text, "to be"])
    monkeypatch.setattr(likelihood, "STEPS", 7)
    np.testing.assert_allclose(model.surprise(text), whole[0], rtol=1e-5)
    np.testing.assert_allclose(model.embed([text, "to be"]), whole[1], rtol=1e-5, atol=1e-7)


def test_measures_of_several_texts(names):
    together = names.score_texts(NAMES)
    np.testing.assert_allclose(together, [names.score_texts([name])[0] for name in NAMES], rtol=1e-5)
    tokens = sum(map(len, NAMES)) + len(NAMES)
    assert math.isclose(names.score(NAMES), together.sum() / tokens, rel_tol=1e-9)
    assert math.isclose(
        names.bits_per_character(NAMES), -together.sum() / math.log(2) / sum(map(len, NAMES)), rel_tol=1e-9
    )


def test_vectors_of_texts(names):
    """The mean of the outputs after each token that is read; the first is the end of the text before."""
    trace = names.trace(["anna"])
    outputs = trace["hidden_state"][0, 0]
    assert outputs.shape[0] == 5
    np.testing.assert_allclose(names.embed(["anna"])[0], outputs.mean(axis=0), rtol=1e-5)


def test_streams_cut_long_texts_alone():
    numbers = [np.arange(101), np.arange(4)]
    parts = texts.streams(numbers, 4, 1)
    assert [len(part) - 1 for part in parts] == [25, 25, 25, 25, 3]
    np.testing.assert_array_equal(np.concatenate([part[1:] for part in parts[:4]]), np.arange(1, 101))
    assert all(first[-1] == second[0] for first, second in pairwise(parts[:4]))
    assert len(texts.streams(numbers, 50, 40)) == 4  # not shorter than 40 steps, or about that


def test_automatic_batches_of_a_long_text():
    seen = []
    options = SMALL | {"batch_size": "auto", "max_iter": 1}
    LSTMLanguageModel(**options, callback=lambda progress: seen.append(progress.trainer.data)).fit(LINE * 20)
    assert len(seen[0]) == 32
    assert int(seen[0].sequences.lengths.sum()) == len(LINE) * 20 + 1


def test_results_repeat_for_any_number_of_threads():
    first, second = (LSTMLanguageModel(**SMALL, output_dropout=0.2).fit(LINE * 5).surprise(LINE) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_seeds_of_texts(model):
    assert model.sample(2, random_state=1, n=30) == model.sample(2, random_state=1, n=30)
    assert model.sample(2, random_state=1, n=30) != model.sample(2, random_state=2, n=30)
    assert len({*model.sample(3, random_state=1, n=30, temperature=2.0)}) == 3


def test_texts_end(model, names):
    assert len([*model.generate(n=7, random_state=0)]) <= 7
    written = "".join(model.generate(n=200, random_state=0, temperature=0.2, stop=["or", "is"]))
    assert written.endswith(("or", "is"))
    assert written.count("or") + written.count("is") == 1
    assert all(len(text) < 60 for text in names.sample(5, n=200, random_state=0))
    words = LSTMLanguageModel(**SMALL | {"max_iter": 20}, analyzer="word").fit(LINE * 20)
    assert words.sample(n=400, random_state=0, stop="the question")[0].endswith("the question")


SCORES = np.log([0.05, 0.4, 0.3, 0.2, 0.05]).astype(np.float32)  # the first is the unknown token


def frequencies(temperature=1.0, top_k=None, top_p=None):
    choose = chooser(temperature, top_k, top_p, np.random.default_rng(0))
    return np.bincount([choose(SCORES) for _ in range(20_000)], minlength=5) / 20_000


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 0.4, 0.3, 0.2, 0.05]),
        ({"temperature": 0.5}, [0, 0.16, 0.09, 0.04, 0.0025]),
        ({"temperature": 0.0}, [0, 1, 0, 0, 0]),
        ({"temperature": 1e-300}, [0, 1, 0, 0, 0]),
        ({"temperature": 1e300}, [0, 1, 1, 1, 1]),
        ({"top_k": 2}, [0, 0.4, 0.3, 0, 0]),
        ({"top_k": 9}, [0, 0.4, 0.3, 0.2, 0.05]),
        ({"top_p": 0.5}, [0, 0.4, 0.3, 0, 0]),
        ({"top_p": 1e-9}, [0, 1, 0, 0, 0]),
        ({"top_p": 1.0}, [0, 0.4, 0.3, 0.2, 0.05]),
        ({"top_k": 3, "top_p": 0.9}, [0, 0.4, 0.3, 0.2, 0]),
    ],
    ids=str,
)
def test_choices(options, expected):
    """Tokens are chosen as often as they should be; the unknown one never is."""
    expected = np.array(expected) / np.sum(expected)
    np.testing.assert_allclose(frequencies(**options), expected, atol=0.012)  # 3.5 standard deviations of 20,000


def test_partial_fit():
    model = LSTMLanguageModel(**SMALL, learning_rate="constant")
    tokens = sorted({*LINE})
    model.partial_fit("to be", vocabulary=tokens)
    assert [*model.vocabulary_] == ["", *tokens]
    before = model.score(LINE)
    for _ in range(40):
        model.partial_fit(LINE)
    assert model.score(LINE) > before + 0.5
    assert model.n_iter_ == 41
    rare = LSTMLanguageModel(**SMALL, min_frequency=9).partial_fit("to be", vocabulary=tokens)
    assert [*rare.vocabulary_] == ["", *tokens]  # the texts do not choose the tokens
    with pytest.raises(ValueError, match="vocabulary must be that of the first call"):
        model.partial_fit(LINE, vocabulary=["a", "b"])
    with pytest.raises(ValueError, match="each token once"):
        LSTMLanguageModel(**SMALL).partial_fit(LINE, vocabulary=["a", "a"])
    for vocabulary in (3, "ab", {"a", "b"}):
        with pytest.raises(TypeError, match="vocabulary must be a list of tokens, got"):
            LSTMLanguageModel(**SMALL).partial_fit(LINE, vocabulary=vocabulary)
    with pytest.raises(ValueError, match="solver must not be 'asgd'"):
        LSTMLanguageModel(**SMALL, solver="asgd").partial_fit(LINE)


def test_warm_start_goes_on_with_the_same_vocabulary():
    model = LSTMLanguageModel(**SMALL, warm_start=True).fit(LINE * 3)
    before = dict(model.vocabulary_)
    model.fit("quite other text")
    assert model.vocabulary_ == before
    assert model.n_iter_ == 6
    with pytest.raises(ValueError, match="parameters of the network must be those of the last fit"):
        model.set_params(tie_weights=True).fit(LINE)


def test_early_stopping_and_validation():
    model = LSTMLanguageModel(**SMALL | {"batch_size": 10}, early_stopping=True).fit(LINE * 10)
    assert len(model.validation_loss_curve_) == 3
    assert model.best_loss_ == min(model.validation_loss_curve_)
    model = LSTMLanguageModel(**SMALL).fit(LINE * 10, X_val=[LINE, "be"])
    np.testing.assert_allclose(model.validation_scores_[-1], model.score([LINE, "be"]), rtol=1e-6)
    assert model.validation_loss_curve_ == [-score for score in model.validation_scores_]


def test_scikit_learn(model):
    search = GridSearchCV(LSTMLanguageModel(**SMALL), {"hidden_size": [2, 16]}, cv=2).fit(NAMES * 8)
    assert search.best_params_ == {"hidden_size": 16}
    assert clone(model).get_params() == model.get_params()
    assert [*model.get_feature_names_out()[:3]] == ["<unknown>", "<end>", " "]
    assert len(model.get_feature_names_out()) == len(model.vocabulary_) + 1


def test_vocabulary():
    model = LSTMLanguageModel(**SMALL, max_vocabulary=3).fit("aaaa bbb cc d")
    assert model.vocabulary_ == {"": 1, "a": 2, " ": 3, "b": 4}
    words = LSTMLanguageModel(**SMALL, analyzer="word").fit("I do. I don't!")
    assert [*words.vocabulary_] == ["", "I", "!", "'", ".", "do", "don", "t"]
    assert LSTMLanguageModel(**SMALL, analyzer="byte").fit(b"\x00\xff").surprise(b"\x80\x00").shape == (2,)
    assert [*LSTMLanguageModel(**SMALL).fit([[3, 1, 3], ["x", 3]]).vocabulary_] == ["", 3, 1, "x"]


def test_default_tails(monkeypatch):
    assert LSTMLanguageModel()._cutoffs(19_999) == ()
    assert LSTMLanguageModel()._cutoffs(20_000) == (2_000, 10_000)
    assert LSTMLanguageModel(tie_weights=True)._cutoffs(20_000) == ()
    assert LSTMLanguageModel(adaptive_softmax=False)._cutoffs(20_000) == ()
    assert LSTMLanguageModel(adaptive_softmax=True)._cutoffs(5_000) == (2_000,)


def test_initial_vectors():
    vectors = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    options = SMALL | {"embedding": vectors, "freeze_embedding": True}
    np.testing.assert_array_equal(LSTMLanguageModel(**options).fit("abababab").embeddings_[0], vectors)


FIT = {
    "empty text": ({}, "", "X must have at least one token"),
    "no texts": ({}, [], "X must hold at least one text, got none"),
    "short text": ({}, ["ab", "a"], r"X\[1\] must have at least two tokens, got 1"),
    "bytes": ({}, b"abc", "X must be a string, got bytes: decode it, or set analyzer='byte'"),
    "bytes in a list": ({}, ["ab", b"abc"], r"X\[1\] must be a string, got bytes"),
    "numbers": ({}, 7, "X must be a text or a list of texts, got int"),
    "numbers in a list": ({}, [1.5, 2.5], r"X\[0\] must be a string or a list of tokens, got float"),
    "negative": ({}, [[1, -2, 3]], r"X\[0\] must hold tokens of at least 0 where they are numbers, got -2"),
    "floats as tokens": ({}, [[1.5, 2.0]], r"X\[0\] must hold strings or whole numbers as tokens, got 1.5"),
    "the end": ({}, [["a", ""]], r"X\[0\] must not hold the empty string"),
    "no list": ({}, np.array("abc"), "X must be a text or a list of texts, got ndarray"),
    "table": ({}, pd.DataFrame({"text": ["abc"]}), "X must be a text or a list of texts, got DataFrame"),
    "no order": ({}, frozenset({"abc", "ab"}), "X must be a text or a list of texts, got frozenset"),
    "lists in a text": ({}, [[["a"], ["b", "c"]]], r"X\[0\] must hold strings or whole numbers as tokens, got \['a'\]"),
    "surrogates": ({"analyzer": "byte"}, "a\ud800", "X must hold characters that UTF-8 can encode"),
    "large bytes": (
        {"analyzer": "byte"},
        [[3, 256]],
        r"X\[0\] must hold whole numbers from 0 to 255 as bytes, got 256",
    ),
    "texts as bytes": ({"analyzer": "byte"}, [["a", "b"]], r"X\[0\] must hold whole numbers from 0 to 255 as bytes"),
    "analyzer without tokens": (
        {"analyzer": lambda text: None},
        "abc",
        "analyzer must return a list of tokens, got None",
    ),
    "analyzer of floats": (
        {"analyzer": lambda text: [0.5]},
        "abc",
        r"analyzer\(X\) must hold strings or whole numbers",
    ),
    "analyzer of ends": (
        {"analyzer": lambda text: [""]},
        ["abc"],
        r"analyzer\(X\[0\]\) must not hold the empty string",
    ),
    "rare tokens": ({"min_frequency": 9}, "abc", "min_frequency must leave at least one token, got 9"),
    "analyzer": ({"analyzer": "letters"}, "abc", "analyzer must be one of"),
    "vectors": ({"embedding": np.zeros((3, 2))}, "abc", r"embedding must have shape \(5, size\)"),
    "tied size": ({"tie_weights": True, "embedding_size": 3}, "abc", "embedding_size must be 12, the size of the last"),
    "tied and frozen": ({"tie_weights": True, "freeze_embedding": True}, "abc", "freeze_embedding must be False"),
    "tied and adaptive": ({"tie_weights": True, "adaptive_softmax": True}, "abc", "adaptive_softmax must be False"),
    "tails": ({"adaptive_softmax": (3, 2)}, "abc", "adaptive_softmax must hold growing numbers"),
    "late tails": ({"adaptive_softmax": (9,)}, "abc", "adaptive_softmax must name tokens below"),
    "tails by name": ({"adaptive_softmax": "yes"}, "abc", "adaptive_softmax must be one of"),
    "tails by number": ({"adaptive_softmax": 3}, "abc", "adaptive_softmax must be 'auto', a bool or a tuple"),
    "output_dropout": ({"output_dropout": 1.5}, "abc", "output_dropout must be"),
}


@pytest.mark.parametrize("name", FIT)
def test_what_fit_refuses(name):
    options, X, message = FIT[name]
    model = LSTMLanguageModel(**SMALL | options)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(X)
    assert not hasattr(model, "vocabulary_")


def test_a_failed_fit_changes_nothing(model):
    before = model.surprise(LINE)
    with pytest.raises(ValueError, match="at least two tokens"):
        model.fit("a")
    np.testing.assert_array_equal(model.surprise(LINE), before)


GENERATE = {
    "n": ({"n": 0}, "n must be"),
    "temperature": ({"temperature": -1}, "temperature must be"),
    "top_k": ({"top_k": 0}, "top_k must be"),
    "top_p": ({"top_p": 0}, "top_p must be"),
    "large top_p": ({"top_p": 1.5}, "top_p must be at most 1, got 1.5"),
    "stop": ({"stop": ["a", ""]}, "stop must be a text that is not empty"),
    "prompt": ({"prompt": 3}, "prompt must be a string or a list of tokens, got int"),
    "ending": ({"stop": 3}, "stop must be a text or a list of texts, got int"),
    "seed": ({"random_state": "x"}, "random_state must be an integer from 0"),
    "negative seed": ({"random_state": -1}, "random_state must be an integer from 0"),
}


@pytest.mark.parametrize("name", GENERATE)
def test_what_generate_refuses(model, name):
    """At the call, not when the first token is taken."""
    options, message = GENERATE[name]
    with pytest.raises((TypeError, ValueError), match=message):
        model.generate(**options)


def test_what_the_measures_refuse(model):
    for measure in (model.score, model.perplexity, model.score_texts, model.embed, model.bits_per_character):
        with pytest.raises(ValueError, match="at least one"):
            measure([])
    with pytest.raises(TypeError, match="X must be a text or a list of texts, got dict"):
        model.bits_per_character({"ab": 1})
    with pytest.raises(TypeError, match="text must be a string or a list of tokens, got int"):
        model.surprise(3)
    with pytest.raises(ValueError, match="lengths must be None for texts"):
        model.trace(["ab", "c"], lengths=[1, 1])
    with pytest.raises(ValueError, match="random_state must be an integer from 0"):
        model.sample(random_state="x")
    with pytest.raises(TypeError, match=r"X\[0\] must be a string to count its characters, got list"):
        model.bits_per_character([["a", "b"]])
    for call in (LSTMLanguageModel().generate, LSTMLanguageModel().stream, partial(LSTMLanguageModel().score, "ab")):
        with pytest.raises(NotFittedError):
            call()
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(model.stream())
    with pytest.raises(ValueError, match="batch_size must be 1"):
        model.stream(2)


def test_unknown_tokens_of_a_prompt_are_read_as_one_token(model):
    first, second = ([*model.generate(prompt, n=20, random_state=0)] for prompt in ("to Ω", "to Ж"))
    assert first == second
    assert first != [*model.generate("to b", n=20, random_state=0)]


@pytest.mark.parametrize("options", [{"analyzer": "word"}, {"analyzer": "byte"}, {"lowercase": True}], ids=str)
def test_tokens_stay_those_of_the_trained_network(options):
    """What `analyzer` and `lowercase` are set to later acts in the next new `fit` alone."""
    model = LSTMLanguageModel(**SMALL, learning_rate="constant").fit(LINE.title())
    changed = copy.deepcopy(model).set_params(**options)
    assert changed.tokenize("To be") == [*"To be"]
    assert changed.sample(prompt="To", stop="e", random_state=0) == model.sample(prompt="To", stop="e", random_state=0)
    model.partial_fit(LINE.title())
    changed.partial_fit(LINE.title())
    np.testing.assert_array_equal(changed.surprise(LINE), model.surprise(LINE))
    model.set_params(warm_start=True).fit(LINE.title())
    changed.set_params(warm_start=True).fit(LINE.title())
    np.testing.assert_array_equal(changed.surprise(LINE), model.surprise(LINE))
    assert changed.set_params(warm_start=False).fit(LINE.title()).vocabulary_ != model.vocabulary_


def test_the_projection_has_no_effect_on_tied_weights_of_other_cells():
    model = LSTMLanguageModel(**SMALL, cell="gru", proj_size=5, tie_weights=True).fit(LINE)
    assert model.embeddings_[0].shape[1] == 12


def test_a_prompt_may_be_no_bytes():
    model = LSTMLanguageModel(**SMALL, analyzer="byte").fit(b"abc" * 5)
    assert [*model.generate(b"", n=5, random_state=0)] == [*model.generate(n=5, random_state=0)]


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_advice_names_what_there_is():
    with pytest.warns(ConvergenceWarning, match=r"predicting the end of a text, which .*\(max_iter\)$"):
        LSTMLanguageModel(**SMALL | {"max_iter": 1, "learning_rate_init": 1e-9}).fit(["ab", "cd", "ef"])


def test_an_interrupt_keeps_the_average():
    """Ctrl-C in the midst of an epoch leaves the average of all steps, as the end of an epoch does."""
    options = SMALL | {"solver": "asgd", "learning_rate": "constant", "learning_rate_init": 3.0, "max_iter": 40}
    kept = {}

    def look(progress):
        optimizer = progress.trainer.optimizer
        kept["optimizer"] = optimizer
        if optimizer.averaged and "update" not in kept:
            kept["update"] = optimizer._update

            def update(*arguments):
                kept["update"](*arguments)
                raise KeyboardInterrupt

            optimizer._update = update

    with pytest.warns(UserWarning, match="interrupted"):
        model = LSTMLanguageModel(**options, n_iter_no_change=None, callback=look).fit(LINE * 4)
    optimizer = kept["optimizer"]
    assert model.stop_reason_ == "interrupted"
    np.testing.assert_array_equal(optimizer.flat, optimizer.state[1])
    assert not np.array_equal(optimizer.flat, optimizer.state[2])
    network = model._model.network
    expected = network.unpack(optimizer.backend, optimizer.state[1])
    np.testing.assert_array_equal(model.coef_, expected["weight_output"])
