"""The page tells of all that there is; its examples run with those of all pages."""

from pathlib import Path

import pytest

import numlstm.datasets
import numlstm.inspection

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "inspection.md"


@pytest.mark.parametrize("module", [numlstm.inspection, numlstm.datasets])
def test_the_page_tells_of_all_functions(module):
    text = PAGE.read_text()
    for name in module.__all__:
        if name.islower() and not name.startswith("load_"):
            assert f"`{name}`" in text, f"{name} is not on the page"
