"""The cell that CONTRIBUTING.md adds works as the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
USE = """
import tempfile
import numpy as np
import numlstm
from the_page import MGU

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 6, 2))
layer, twin = (MGU(2, 5, dtype="float64", random_state=0, backend=name) for name in ("cpu", "reference"))
(y, h, back), (wanted, wanted_h, wanted_back) = layer.vjp(X), twin.vjp(X)
assert np.allclose(y, wanted, rtol=1e-12) and np.allclose(h, wanted_h, rtol=1e-12)
ours, theirs = back(np.ones_like(y)), wanted_back(np.ones_like(y))
assert np.allclose(ours[0], theirs[0], rtol=1e-10)
assert all(np.allclose(ours[-1][name], theirs[-1][name], rtol=1e-10) for name in layer.parameters)
labels = X[:, :, 0].sum(axis=1) > 0
model = numlstm.LSTMClassifier(cell="mgu", hidden_size=8, random_state=0).fit(X, labels)
assert model.score(X, labels) > 0.9
path = tempfile.mkdtemp() + "/model.safetensors"
model.save(path)
assert (numlstm.load(path).predict_proba(X) == model.predict_proba(X)).all()
print("as the page says")
"""


def test_the_cell_of_the_page(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    (tmp_path / "the_page.py").write_text("\n\n".join(blocks))
    path = os.pathsep.join([str(tmp_path), str(PAGE.parent)])
    done = subprocess.run(
        [sys.executable, "-c", USE], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "as the page says\n", done.stderr


def test_the_page_and_the_tests_have_one_cell():
    """What the conformance suite holds to the twin is what the page shows."""
    page, tested = PAGE.read_text(), (PAGE.parent / "tests" / "mgu.py").read_text()
    functions = re.findall(r"^def .*?(?=^\n\n)", tested, re.MULTILINE | re.DOTALL)
    assert len(functions) == 6
    assert [each for each in functions if each.strip() not in page] == []
    assert tested[tested.index("cells.Cell(") : tested.index("\n)\n")] in page
