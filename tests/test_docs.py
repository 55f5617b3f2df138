"""What the pages show is what happens: examples, commands, links, tables and names."""

import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
from itertools import islice
from pathlib import Path

import pytest

from numlstm import LSTM, LSTMClassifier, LSTMRegressor

sys.path.insert(0, str(Path(__file__).parents[1] / "asv_bench"))

import tables

ROOT = Path(__file__).parents[1]
DOCS, README, PARAMETERS = ROOT / "docs", ROOT / "README.md", ROOT / "docs" / "guide" / "estimators.md"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.glob("*.md")),
    *sorted(DOCS.glob("guide/*.md")),
    DOCS / "api/index.md",
]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = (
    "numlstm", "numlstm.layers", "numlstm.io", "numlstm.metrics", "numlstm.datasets", "numlstm.estimators",
    "numlstm.training", "numlstm.cells", "numlstm.inspection", "numlstm.forecasting",
)  # fmt: skip


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """The code of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# Code -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in page.read_text()], ids=name_of)
def test_examples(page):
    results = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS)
    assert results.attempted >= 5
    assert not results.failed


@every_page
def test_no_example_is_left_out(page):
    """CONTRIBUTING's blocks are a module, which `test_contributing` runs."""
    assert page.name == "CONTRIBUTING.md" or all(block.startswith(">>> ") for block in blocks(page, "python"))
    openings = re.findall(r"^```.*$", page.read_text(), re.MULTILINE)[::2]
    languages = [line.strip("`").partition(" ")[0] for line in openings]
    assert {*languages} <= {"python", "bash", "{toctree}", "{eval-rst}", "{include}"}


def test_most_pages_have_examples():
    assert sum(bool(blocks(page, "python")) for page in PAGES) >= 10


@every_page
def test_commands_name_what_is_there(page):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = page.read_text()
    for extra in ",".join(re.findall(r"\.\[([\w,-]+)\]", text)).split(","):
        assert not extra or extra in extras
    for script, arguments in re.findall(r"python ((?:examples|asv_bench)/\w+\.py)([^\n`#]*)", text):
        source = (ROOT / script).read_text()
        assert all(option in source for option in re.findall(r"--\w+", arguments)), f"{script} {arguments}"


def test_commands_on_files(tmp_path):
    commands = [line for block in blocks(DOCS / "guide" / "files.md", "bash") for line in block.splitlines()]
    pytest.importorskip("onnx")
    from numlstm.io import to_onnx

    to_onnx(LSTM(3, 4, random_state=0), tmp_path / "model.onnx")
    for command, said in zip(commands, ("model.safetensors: <Graph", "LSTM(3, 4)"), strict=True):
        python, *arguments = command.partition("#")[0].split()
        assert python == "python"
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert said in done.stdout


# Links ----------------------------------------------------------------------------------------------------


def anchors(page):
    """Of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:", link):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_tree():
    tree = re.sub(r"^.*<(.*)>$", r"\1", "\n".join(blocks(DOCS / "index.md", "{toctree}")), flags=re.MULTILINE).split()
    tree += [f"guide/{name}" for name in "\n".join(blocks(DOCS / "guide" / "index.md", "{toctree}")).split()]
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page.is_relative_to(DOCS)}
    assert pages - {"index"} == {each for each in tree if not each.startswith((":", "guide/:"))} - {"gallery/index"}
    assert ROOT / "docs" / "index.md" in PAGES


# Tables and figures ---------------------------------------------------------------------------------------


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 200


@pytest.mark.parametrize("page", tables.PAGES, ids=name_of)
def test_tables_are_those_that_were_measured(page):
    assert tables.filled(page.read_text()) == page.read_text()


def test_the_pages_have_their_tables():
    shown = [name for page in tables.PAGES for _, name, _, _ in tables.PLACE.findall(page.read_text())]
    assert {*shown} == {path.name for path in tables.HERE.glob("*.md")}


def test_a_short_table_has_a_row_for_each_shape_and_the_same_means():
    measured = (tables.HERE / "peers.md").read_text()
    rows = tables.short(measured).splitlines()
    assert len(rows) == 2 + 15 + 1
    means = re.findall(r"geometric mean ([\d.]+)", measured)[:2]
    assert rows[-1] == f"| geometric mean | | | {means[0]} | | | {means[1]} |"
    shape, found = "(50, 32, 8, 64)", []
    for task in ("forward", "forward + BPTT"):
        line = next(line for line in measured.splitlines() if line.startswith(f"| {shape} | {task} |"))
        *times, ratio, _, _ = line.strip("| ").split(" | ")[2:]
        ours, *peers = (time.split()[0] for time in times if time != "-")
        found += [ours, min(peers, key=float), ratio]
    assert f"| {shape} | {' | '.join(found)} |" in rows


def test_tables_go_to_their_files_and_places(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: new.md -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(tables, "HERE", tmp_path)
    monkeypatch.setattr(tables, "PAGES", [page])
    for _ in range(2):
        tables.write("new.md", [tables.conditions("numpy"), "| a |", "|---|"])
    assert (tmp_path / "new.md").read_text().startswith("Measured on 20")
    assert page.read_text().startswith("before\n<!-- table: new.md -->\n\nMeasured on 20")
    assert page.read_text().endswith("| a |\n|---|\n\n<!-- end -->\nafter\n")


def test_ranks_are_those_of_the_page_on_accuracy():
    rows = re.findall(r"^\| mean rank, .*? \| \| (.*?) \| \|$", (DOCS / "accuracy.md").read_text(), re.MULTILINE)
    classes, numbers = ([f"{float(rank):.1f}" for rank in row.split(" | ")] for row in rows)
    said = re.findall(r"(\d\.\d) and (\d\.\d)", README.read_text().partition("Mean ranks")[2].partition("##")[0])
    assert said == [(classes[k], numbers[k]) for k in (0, 2, 3, 4)]


def test_examples_begin_with_a_title():
    """As pages of a gallery do."""
    for example in ROOT.glob("examples/*.py"):
        assert re.match(r'"""\n.+\n===+\n\n\S', example.read_text()), example.name


# Names ----------------------------------------------------------------------------------------------------


def test_the_api_has_every_public_name():
    listed = (DOCS / "api" / "index.md").read_text()
    for module in MODULES:
        for name in getattr(importlib.import_module(module), "__all__", ()):
            assert re.search(rf"(^   |`|\.){name}(`|$)", listed, re.MULTILINE), f"{module}.{name}"


def test_every_parameter_is_listed_with_its_default():
    parameters = {
        name: parameter.default
        for estimator in (LSTMRegressor, LSTMClassifier)  # the default of the second is shown, where they differ
        for name, parameter in inspect.signature(estimator).parameters.items()
    }
    listed = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", PARAMETERS.read_text(), re.MULTILINE))
    assert {name: value.replace("'", '"') for name, value in listed.items()} == {
        name: repr(default).replace("'", '"') for name, default in parameters.items()
    }
    for estimator in (LSTMClassifier, LSTMRegressor):
        for name in inspect.signature(estimator).parameters:
            assert re.search(rf"\b{name}\b.* : ", estimator.__doc__), f"{name} has no docstring"
        assert "<<" not in estimator.__doc__ + estimator.fit.__doc__ + estimator.predict.__doc__


def test_docstrings_group_parameters_and_begin_with_the_ten_that_matter():
    titles = ["What matters first", "Network", "Regularisation", "Training", "Data", "Text and categories",
              "Variants of the cell", "System"]  # fmt: skip
    for estimator in (LSTMClassifier, LSTMRegressor):
        parameters = estimator.__doc__.partition("Parameters\n")[2].partition("Attributes\n")[0]
        assert re.findall(r"^ {4}\*\*(.+)\*\*$", parameters, re.MULTILINE) == titles
        groups = [re.findall(r"^ {4}(\w.*?) : ", each, re.MULTILINE) for each in parameters.split("**")[2::2]]
        groups = [[name for names in group for name in names.split(", ")] for group in groups]
        assert len(groups[0]) == 10
        names = iter(inspect.signature(estimator).parameters)
        assert [sorted(group) for group in groups] == [sorted(islice(names, len(group))) for group in groups]
        assert not [*names]
