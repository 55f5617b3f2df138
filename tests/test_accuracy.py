"""The comparison of accuracies: parts do not overlap, results are kept, tables go to their places."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "asv_bench"))

import accuracy
from sets import Split

RNG = np.random.default_rng(0)


def split(count, *, regression=False, ordered=False):
    X = [np.full((3, 1), float(i)) for i in range(count)]
    y = RNG.normal(size=(count, 4)) if regression else np.array(["a", "b", "c"])[np.arange(count) % 3]
    return Split(X, y, [], y[:0], ordered)


@pytest.mark.parametrize("seed", range(3))
def test_a_quarter_of_the_training_set_is_held_out(seed):
    whole = split(60)
    part = accuracy.validation_part(whole, seed)
    rows, aside = ({float(x[0, 0]) for x in X} for X in (part.X, part.X_test))
    assert len(aside) == 15
    assert rows | aside == set(range(60))
    assert not rows & aside
    assert np.unique(part.y_test, return_counts=True)[1].tolist() == [5, 5, 5]
    assert all(whole.y[int(x[0, 0])] == y for x, y in zip(part.X_test, part.y_test, strict=True))


def test_of_forecasts_the_last_ones_are_held_out_and_none_is_seen_before():
    part = accuracy.validation_part(split(40, regression=True, ordered=True), 0)
    assert [x[0, 0] for x in part.X_test] == [*range(30, 40)]
    assert [x[0, 0] for x in part.X] == [*range(27)]  # three more targets reach into what is held out


def test_scores():
    whole = split(9)
    X, y = whole.X, whole.y
    found = accuracy.scored(Split(X, y, X, y), lambda train, seed: np.full(9, "a"), 0)
    assert found["score"] == pytest.approx(1 / 3, abs=1e-6)
    y = np.arange(9.0)
    found = accuracy.scored(Split(X, y, X, y), lambda train, seed: y + 2.0, 0)
    assert found["score"] == 2.0


def test_channels_are_scaled_by_what_is_trained_on():
    part = accuracy.scaled(Split([np.array([[1.0], [3.0]])], np.zeros(1), [np.array([[5.0]])], np.zeros(1)))
    np.testing.assert_allclose(part.X[0], [[-1.0], [1.0]])
    np.testing.assert_allclose(part.X_test[0], [[3.0]])


def test_tables_go_to_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "HERE", tmp_path)
    monkeypatch.setattr(accuracy, "DOCS", tmp_path / "page.md")
    names = [*accuracy.CANDIDATES]
    rows = [
        {"name": name, "set": data, "seed": seed, "score": k + seed / 10, "seconds": 2.0}
        for data in ("digits 8x8", "lynx 1") for k, name in enumerate(names) for seed in (0, 1)
    ]  # fmt: skip
    monkeypatch.setattr(accuracy, "SETS", {data: accuracy.SETS[data] for data in ("digits 8x8", "lynx 1")})
    monkeypatch.setattr(accuracy, "load", lambda data: split(9, regression=data == "lynx 1"))
    (tmp_path / "accuracy_candidates.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    page = "before\n<!-- candidates -->\n<!-- end -->\nbetween\n<!-- test -->\nold\n<!-- end -->\nafter\n"
    accuracy.DOCS.write_text(page)
    for _ in range(2):  # the second time it replaces what is there
        accuracy.write("candidates", accuracy.Results("candidates"))
        text = accuracy.DOCS.read_text()
        head, rest = text.split("<!-- end -->\nbetween\n")
        assert rest == "<!-- test -->\nold\n<!-- end -->\nafter\n"
        lines = head.splitlines()
        assert lines[:2] == ["before", "<!-- candidates -->"]
        assert len(lines) == 4 + len(names)
        last = len(names)
        assert lines[4] == f"| {names[0]} | {last} | {last} | 1 | 1 | 4 |"  # least right, and least wrong
        assert lines[-1] == f"| {names[-1]} | 1 | 1 | {last} | {last} | 4 |"


def test_what_is_there_is_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "HERE", tmp_path)
    jobs = [("test", "numlstm", "lynx 1", seed) for seed in (100, 101)]
    monkeypatch.setattr(accuracy, "jobs_of", lambda what: jobs)
    line = {"name": "numlstm", "set": "lynx 1", "seed": 100, "score": 7.0, "seconds": 1.0}
    (tmp_path / "accuracy_test.jsonl").write_text(json.dumps(line) + "\n")
    asked = []

    class Pool:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def imap_unordered(self, function, missing):
            asked.extend(missing)
            yield line | {"seed": 101}

    context = type("Context", (), {"Pool": Pool})
    monkeypatch.setattr(accuracy.multiprocessing, "get_context", lambda kind: context)
    monkeypatch.setattr(accuracy.os, "environ", {})
    accuracy.Results("test").complete("test", 2)
    assert asked == jobs[1:]
    assert [row["seed"] for row in accuracy.Results("test").rows] == [100, 101]
