"""What the README shows is what happens."""

import doctest
import inspect
import re
from pathlib import Path

from numlstm import LSTMClassifier, LSTMRegressor

README = Path(__file__).parents[1] / "README.md"


def test_examples_of_the_readme():
    results = doctest.testfile(str(README), module_relative=False)
    assert results.attempted > 20
    assert not results.failed


def test_every_parameter_is_listed_with_its_default():
    parameters = {
        name: parameter.default
        for estimator in (LSTMRegressor, LSTMClassifier)  # the default of the second is shown, where they differ
        for name, parameter in inspect.signature(estimator).parameters.items()
    }
    listed = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", README.read_text(), re.MULTILINE))
    assert {name: value.replace("'", '"') for name, value in listed.items()} == {
        name: repr(default).replace("'", '"') for name, default in parameters.items()
    }
    for estimator in (LSTMClassifier, LSTMRegressor):
        for name in inspect.signature(estimator).parameters:
            assert re.search(rf"\b{name}\b.* : ", estimator.__doc__), f"{name} has no docstring"
        assert "<<" not in estimator.__doc__ + estimator.fit.__doc__ + estimator.predict.__doc__


def test_the_table_of_peers_is_the_one_that_was_measured():
    measured = (README.parent / "asv_bench" / "peers.md").read_text()
    rows = [line for line in measured.split("\n1 thread;")[0].splitlines() if line.startswith("| (")]
    assert len(rows) > 20
    shown = README.read_text().splitlines()
    assert [row for row in rows if row not in shown] == []
