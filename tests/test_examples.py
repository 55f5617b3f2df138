"""Examples run, reach their score, and save a picture."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_handwritten_digits(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "digits.png"
    main = runpy.run_path(str(EXAMPLES / "handwritten_digits.py"))["main"]
    assert main(str(picture)) >= 0.97
    assert "accuracy: 0.9" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
