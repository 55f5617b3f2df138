"""Examples run, reach their scores, and save a picture."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, picture, **options):
    """What the example returns, after a look at its picture."""
    result = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](str(picture), **options)
    assert picture.read_bytes().startswith(b"\x89PNG")
    return result


def test_handwritten_digits(tmp_path, capsys):
    assert run("handwritten_digits", tmp_path / "digits.png") >= 0.97
    assert "accuracy: 0.9" in capsys.readouterr().out


def test_sunspots(tmp_path, capsys):
    for ours, persistence, seasonal in run("sunspots", tmp_path / "sunspots.png", short=True):
        assert ours < 0.95 * persistence
        assert ours < 0.6 * seasonal
    printed = capsys.readouterr().out
    assert "twelve months ahead: RMSE" in printed
    assert "both beaten at both horizons" in printed


def test_vowels(tmp_path, capsys):
    assert run("vowels", tmp_path / "vowels.png", short=True) >= 0.96
    assert "accuracy: 0.9" in capsys.readouterr().out


def test_grid_search(tmp_path, capsys):
    assert run("grid_search", tmp_path / "search.png", short=True) >= 0.96
    assert "cross-validated accuracy: 0.9" in capsys.readouterr().out


def test_long_short_term_memory_1997(tmp_path, capsys):
    results = run("long_short_term_memory_1997", tmp_path / "tasks.png", quick=True, write=tmp_path / "table.md")
    assert len(results) == 4
    for name, by_cell in results.items():
        paper = {"1": 8_440, "3": 39_850, "4": 74_000, "6": 31_390}[name[0]]
        for needed, _ in by_cell["lstm"]:
            assert needed is not None
            assert needed < paper
    assert results["6a temporal order"]["rnn"][0][0] is None
    printed = capsys.readouterr().out
    assert "the LSTM solved 4 of 4" in printed
    shown = [line for line in printed.splitlines() if line.startswith("|")]
    written = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    assert [line.split(" | ")[:6] for line in written] == [line.removesuffix(" |").split(" | ") for line in shown]


def test_the_table_of_1997():
    """What was measured: the LSTM solves all tasks, with fewer sequences than the papers' networks."""
    rows = (EXAMPLES / "long_short_term_memory_1997.md").read_text().splitlines()
    needed = runpy.run_path(str(EXAMPLES / "long_short_term_memory_1997.py"))["needed"]
    tasks = [row.strip("| ").split(" | ") for row in rows if row.startswith("| ")][2:]
    assert len(tasks) == 13
    for _, _, paper, lstm, *_ in tasks:
        assert needed(lstm) is not None
        assert needed(paper) is None or needed(lstm) < needed(paper)
        assert " of " not in lstm


def test_vanishing_gradient(tmp_path, capsys):
    left, accuracy = run("vanishing_gradient", tmp_path / "gradient.png")
    assert left["RNN"] < 1e-15
    assert left["RNN, large R"] > 1e10
    assert left["LSTM, forget bias 1"] < 1e-4
    assert left["LSTM, chrono"] > 0.01
    assert accuracy["LSTM, chrono"] > 0.98
    assert accuracy["GRU"] > 0.98
    assert accuracy["RNN"] < 0.6
    assert "largest eigenvalue of R 0.58" in capsys.readouterr().out


def test_see_inside(tmp_path, capsys):
    score, marked = run("see_inside", tmp_path / "inside.png")
    assert score > 0.99
    assert marked > 0.7
    assert "R² on new sequences: 0.99" in capsys.readouterr().out


def test_language_model(tmp_path, capsys):
    bits, others = run("language_model", tmp_path / "text.png", short=True)
    assert others["zlib"] < bits < 4.1  # of 6.1 for characters that are guessed by nothing
    printed = capsys.readouterr().out
    assert "n-grams up to 5: 2." in printed
    assert "after 8 epochs: The " in printed


def test_languages(tmp_path, capsys):
    accuracy, baseline = run("languages", tmp_path / "languages.png", short=True)
    assert accuracy > 0.5
    assert baseline > 0.6
    assert "34 languages" in capsys.readouterr().out


def test_forecasting(tmp_path, capsys):
    errors, chaotic = run("forecasting", tmp_path / "forecasting.png", short=True)
    assert errors["airline passengers"]["LSTMForecaster"] <= 0.56
    assert errors["carbon dioxide"]["LSTMForecaster"] <= 0.37
    for by_model in errors.values():
        assert by_model["LSTMForecaster"] < by_model["seasonal naive"]
        assert 0.75 <= by_model["coverage"] <= 0.85
    assert chaotic["LSTMForecaster"] < 0.5 * chaotic["ridge"]
    assert "airline passengers (5 windows): MASE LSTMForecaster 0." in capsys.readouterr().out


def test_many_series(tmp_path, capsys):
    of_days, of_countries, of_industries = run("many_series", tmp_path / "many.png", short=True)
    assert of_days["LSTMForecaster"] == min(of_days.values())
    assert of_countries["LSTMForecaster"] < of_countries["seasonal naive"]
    assert of_industries["LSTMForecaster"] < of_industries["seasonal naive"]
    assert "evenings of 50 days: MASE LSTMForecaster" in capsys.readouterr().out


def test_handwritten_lines(tmp_path, capsys):
    rate, of_neighbours = run("handwritten_lines", tmp_path / "lines.png", short=True)
    assert rate < 0.25
    assert rate < 0.8 * of_neighbours
    assert "3 nearest neighbours: " in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_tagging(tmp_path, capsys):
    (accuracy, f1), (of_crfsuite, f1_of_crfsuite) = run("tagging", tmp_path / "tagging.png", short=True)
    assert accuracy > max(of_crfsuite - 0.02, 0.7)  # scores depend on the sources of this Python's library
    assert f1 > max(f1_of_crfsuite - 0.03, 0.65)
    assert "crfsuite" in capsys.readouterr().out


def test_spoken_digits(tmp_path, capsys):
    rate, of_markov = run("spoken_digits", tmp_path / "spoken.png", short=True)
    assert rate < 0.08
    assert of_markov < 0.1
    assert "hidden Markov models: " in capsys.readouterr().out
