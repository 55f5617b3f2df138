"""The page on forecasting runs as it stands."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "forecasting.md"


def test_the_page_runs():
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.attempted > 20
    assert not results.failed
