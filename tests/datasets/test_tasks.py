"""The artificial tasks are what the papers say, and come again with their seed."""

import re

import numpy as np
import pytest

from numlstm import datasets
from numlstm.datasets import SYMBOLS

STRING = re.compile("B([TP])B(?:TS*X|PT*V)(?:[TPSXV]*)E\\1E")
FOLLOW = {  # the grammar a second time, from the figure in the paper: node: {symbol: node}
    "in": {"B": "a"},
    "a": {"T": "s", "P": "t"},
    "s": {"S": "s", "X": "x"},
    "t": {"T": "t", "V": "v"},
    "x": {"X": "t", "S": "end"},
    "v": {"P": "x", "V": "end"},
    "end": {"E": None},
}


def spelt(vectors):
    """Symbols of vectors with one 1."""
    assert set(np.unique(vectors)) == {0.0, 1.0}
    assert (vectors.sum(axis=-1) == 1).all()
    return "".join(SYMBOLS[k] for k in vectors.argmax(axis=-1))


def legal_sets(string):
    """What may follow each symbol of an embedded string but the last: as a set of symbols."""
    sets, node = [set("TP"), set("B")], "in"
    for symbol in string[2:-2]:
        node = FOLLOW[node][symbol]
        sets.append(set(FOLLOW[node]) if node else {string[1]})
    return [*sets, {"E"}]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("make_adding", {}),
        ("make_multiplication", {}),
        ("make_temporal_order", {}),
        ("make_temporal_order", {"n_symbols": 3}),
        ("make_long_lag", {"regular": False}),
        ("make_two_sequence", {"noisy": True}),
        ("make_embedded_reber", {}),
        ("make_continual_reber", {}),
    ],
)
def test_seed_and_count(name, options):
    make = getattr(datasets, name)
    first, again, other = (make(7, **options, random_state=seed) for seed in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        assert len(one) == len(two) == 7
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert any(not np.array_equal(a, b) for one, two in zip(first, other, strict=True)
               for a, b in zip(one, two, strict=True))  # fmt: skip
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        make(0)
    with pytest.raises(TypeError, match="random_state must be a non-negative integer"):
        make(random_state="seed")


@pytest.mark.parametrize(
    ("make", "low", "neutral", "target"),
    [
        (datasets.make_adding, -1, 0, lambda a, b: 0.5 + (a + b) / 4),
        (datasets.make_multiplication, 0, 1, lambda a, b: a * b),
    ],
)
def test_marked_numbers(make, low, neutral, target):
    X, y = make(4000, length=50, random_state=0)
    lengths = np.array([len(x) for x in X])
    assert (lengths.min(), lengths.max()) == (50, 55)
    marks = [np.flatnonzero(x[:, 1] == 1) for x in X]
    assert all(len(each) == 2 for each in marks)
    assert all((x[1:-1, 1] >= 0).all() and x[-1, 1] == -1 and x[0, 1] != 0 for x in X)
    earlier, later = np.array(marks).T
    assert earlier.min() == 0
    assert (earlier < 10).all()
    assert later.max() == 24  # the first 24 steps that are not marked, one of which comes after the first mark
    assert ((later >= 10).mean() > 0.5) & (later < 10).any()
    numbers = np.concatenate([x[1:, 0] for x in X])
    assert numbers.min() >= low
    assert numbers.mean() == pytest.approx((low + 1) / 2, abs=0.01)
    assert numbers.var() == pytest.approx((1 - low) ** 2 / 12, abs=0.01)
    np.testing.assert_allclose(y, [target(*x[own, 0]) for x, own in zip(X, marks, strict=True)], rtol=1e-5, atol=1e-6)
    assert all(X[i][0, 0] == neutral for i in np.flatnonzero(earlier == 0))


@pytest.mark.parametrize("places", [[(10, 20), (50, 60)], [(10, 20), (33, 43), (66, 76)]])
def test_temporal_order(places):
    X, y = datasets.make_temporal_order(4000, n_symbols=len(places), random_state=0)
    lengths = np.array([len(x) for x in X])
    assert set(lengths) == set(range(100, 111))
    symbols = [x.argmax(axis=1) for x in X]
    found = np.array([np.flatnonzero((own == 4) | (own == 5)) for own in symbols])
    assert [*zip(found.min(axis=0), found.max(axis=0), strict=True)] == places
    assert all(own[0] == 6 and own[-1] == 7 and (own[1:-1] < 6).all() for own in symbols)
    bits = np.array([own[places] - 4 for own, places in zip(symbols, found, strict=True)])
    np.testing.assert_array_equal(y, bits @ 2 ** np.arange(len(places))[::-1])
    counts = np.bincount(y, minlength=2 ** len(places)) / len(y)
    np.testing.assert_allclose(counts, 2.0 ** -len(places), atol=0.03)


def test_long_lag():
    X, y = datasets.make_long_lag(500, lag=10, random_state=0)
    assert X.shape == y.shape == (500, 10, 11)
    np.testing.assert_array_equal(X[:, 1:], y[:, :-1])
    np.testing.assert_array_equal(X[:, 0], y[:, -1])
    assert X[:, 0, 9:].sum() == 500
    assert X[:, 0, 9].mean() == pytest.approx(0.5, abs=0.07)
    np.testing.assert_array_equal(X[:, 1:].argmax(axis=2), np.tile(np.arange(9), (500, 1)))
    X, y = datasets.make_long_lag(2000, lag=10, regular=False, random_state=0)
    np.testing.assert_array_equal(X[:, 0], y[:, -1])
    between = X[:, 1:].argmax(axis=2)
    np.testing.assert_allclose(np.bincount(between.ravel()) / between.size, 1 / 9, atol=0.01)


@pytest.mark.parametrize("noisy", [False, True])
def test_two_sequence(noisy):
    X, y = datasets.make_two_sequence(2000, length=30, n_informative=2, noisy=noisy, random_state=0)
    assert {len(x) for x in X} == {30, 31, 32, 33}
    assert y.mean() == pytest.approx(0.5, abs=0.04)
    start = np.array([x[:2, 0] for x in X]) - (2 * y - 1)[:, None]
    noise = np.concatenate([x[2:, 0] for x in X])
    assert start.var() == (pytest.approx(0.2, abs=0.02) if noisy else 0)
    assert noise.var() == pytest.approx(0.2, abs=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    with pytest.raises(ValueError, match="n_informative must be below length=30, got 30"):
        datasets.make_two_sequence(length=30, n_informative=30)


def test_embedded_reber():
    X, y, legal = datasets.make_embedded_reber(400, random_state=0)
    strings = [spelt(x) + spelt(after)[-1] for x, after in zip(X, y, strict=True)]
    for string, after, own in zip(strings, y, legal, strict=True):
        assert spelt(after) == string[1:]
        assert [{SYMBOLS[k] for k in np.flatnonzero(row)} for row in own] == legal_sets(string)
        assert STRING.fullmatch(string)
    assert np.mean([string[1] == "T" for string in strings]) == pytest.approx(0.5, abs=0.08)
    assert min(map(len, strings)) == 9
    assert np.mean([len(string) for string in strings]) == pytest.approx(11.5, abs=0.6)


def test_strings_apart():
    train = datasets.make_embedded_reber(256, random_state=0)
    test = datasets.make_embedded_reber(256, exclude=train.X, random_state=0)
    assert len(test.X) == 256
    assert not {spelt(x) for x in train.X} & {spelt(x) for x in test.X}


def test_continual_reber():
    X, y, legal = datasets.make_continual_reber(3, length=500, random_state=0)
    assert X.shape == y.shape == legal.shape == (3, 500, 7)
    np.testing.assert_array_equal(X[:, 1:], y[:, :-1])
    assert legal[y == 1].all()
    for stream, sets in zip(X, legal, strict=True):
        expected, string = [], ""
        for symbol in spelt(stream):
            string += symbol
            if STRING.fullmatch(string):
                expected += [*legal_sets(string), {"B"}]
                string = ""
        found = [{SYMBOLS[k] for k in np.flatnonzero(row)} for row in sets]
        assert len(expected) > 450
        assert found[: len(expected)] == expected


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (datasets.make_adding, {"length": 19}, "length must be at least 20, got 19"),
        (datasets.make_long_lag, {"lag": 1}, "lag must be at least 2, got 1"),
        (datasets.make_temporal_order, {"n_symbols": 4}, "n_symbols must be 2 or 3, got 4"),
        (datasets.make_continual_reber, {"length": 0}, "length must be at least 1, got 0"),
    ],
)
def test_errors(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
