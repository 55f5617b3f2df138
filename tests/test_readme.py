"""What the README shows is what happens."""

import doctest
import inspect
import re
from itertools import islice
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


def test_docstrings_group_parameters_and_begin_with_the_ten_that_matter():
    titles = ["What matters first", "Network", "Regularisation", "Training", "Data", "Variants of the cell", "System"]
    for estimator in (LSTMClassifier, LSTMRegressor):
        parameters = estimator.__doc__.partition("Parameters\n")[2].partition("Attributes\n")[0]
        assert re.findall(r"^ {4}\*\*(.+)\*\*$", parameters, re.MULTILINE) == titles
        groups = [re.findall(r"^ {4}(\w.*?) : ", each, re.MULTILINE) for each in parameters.split("**")[2::2]]
        groups = [[name for names in group for name in names.split(", ")] for group in groups]
        assert len(groups[0]) == 10
        names = iter(inspect.signature(estimator).parameters)
        assert [sorted(group) for group in groups] == [sorted(islice(names, len(group))) for group in groups]
        assert not [*names]


def test_the_table_of_peers_is_the_one_that_was_measured():
    measured = (README.parent / "asv_bench" / "peers.md").read_text()
    rows = [line for line in measured.split("\n1 thread;")[0].splitlines() if line.startswith("| (")]
    assert len(rows) > 20
    shown = README.read_text().splitlines()
    assert [row for row in rows if row not in shown] == []
