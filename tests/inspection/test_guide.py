"""What the page shows is what happens."""

import doctest
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.exceptions import ConvergenceWarning

import numlstm.datasets
import numlstm.inspection

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "inspection.md"


def test_examples_of_the_page():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    plt.close("all")
    assert results.attempted > 30
    assert not results.failed


def test_the_page_tells_of_all_functions():
    text = PAGE.read_text()
    for module in (numlstm.inspection, numlstm.datasets):
        for name in module.__all__:
            if name.islower() and name.split("_")[0] != "load":
                assert f"`{name}`" in text, f"{name} is not on the page"
