"""How Sphinx builds these pages: `sphinx-build -W docs docs/_build`; with `-D plot_gallery=1` the examples run, too."""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numlstm

project, author, release = "numlstm", "The numlstm developers", numlstm.__version__
copyright = f"2026, {author}"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "py:obj"
suppress_warnings = ["config.cache"]  # functions among the settings of the gallery
pygments_style = "friendly"

# Pages in Markdown. A heading has the anchor that GitHub gives it.
myst_heading_anchors = 4

# The API, from docstrings.
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
HIDDEN = re.compile(r"get_metadata_routing|[gs]et_params|set_\w+_request|set_output")  # scikit-learn's

# Examples run only when they are asked to: continuous integration runs them as tests.
warnings.filterwarnings("ignore", category=UserWarning, message="Matplotlib is currently using agg")
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "plot_gallery": "False",
    "reset_argv": lambda conf, variables: arguments(variables["src_file"]),
    "download_all_examples": False,
    "show_memory": False,
    "copyfile_regex": r".*\.png",
}

html_theme = "pydata_sphinx_theme"
html_title = "numlstm"
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "lstm", "engine", "accuracy", "contributing", "changelog")}
html_static_path = ["_static"]
html_css_files = ["wide.css"]

INSIDE = {  # the places in these pages of files around them
    r"docs/": "/",
    r"CONTRIBUTING\.md": "/contributing.md",
    r"CHANGELOG\.md": "/changelog.md",
    r"examples\)": "/gallery/index.rst)",
    r"README\.md": "/index.md",
    r"examples/(\w+)\.(?:py|md)": r"/gallery/\2.rst",
}


def arguments(example: str) -> list[str]:
    """The command line of an example: its picture goes aside, and what takes long is cut short."""
    return [tempfile.mkdtemp() + "/picture.png", *(["--quick"] if "1997" in example else [])]


def skip_member(app: Any, kind: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn gives every estimator."""
    return True if HIDDEN.fullmatch(name) else None


def shift_links(app: Any, path: Path, page: str, content: list[str]) -> None:
    """Links of an included page at the top level are relative to that level."""
    content[0] = re.sub(r"(\]\()(?!\w+:|#)", r"\1../", content[0])
    point_inside(app, page, content)


def point_inside(app: Any, page: str, content: list[str]) -> None:
    """Links to files that are pages here go to these; code ends without the empty line that doctest asks for."""
    content[0] = content[0].replace("\n\n```\n", "\n```\n")
    for pattern, place in INSIDE.items():
        content[0] = re.sub(rf"(\]\()(?:\.\./)+{pattern}", rf"\1{place}", content[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("include-read", shift_links)
    app.connect("source-read", point_inside)
