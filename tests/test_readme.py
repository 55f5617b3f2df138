"""What the README shows is what happens."""

import doctest
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_examples_of_the_readme():
    results = doctest.testfile(str(README), module_relative=False)
    assert results.attempted > 20
    assert not results.failed
