"""What `warm_up` compiles, later processes find; and a call compiles no more than it needs."""

import os
import subprocess
import sys

import numpy as np
import pytest

import numlstm
from numlstm import GRU, LSTM, RNN, LSTMClassifier, LSTMRegressor
from numlstm.backends.cpu.linear import halves
from numlstm.backends.cpu.machine.target import TILE_VECTORS

COUNT = """
from numlstm.backends.cpu.machine.compiling import cache_directories
print(*sorted(path.name for path in cache_directories()[0].rglob("*.nbc")), sep="\\n")
"""
USE = """
import numpy as np, numlstm
rng = np.random.default_rng(0)
X = rng.normal(size=(40, 6, 2))
numlstm.LSTMClassifier(max_iter=2).fit(X, np.arange(40) % 3, X_val=X, y_val=np.arange(40) % 3).predict_proba(X)
layer = numlstm.LSTM(2, 40)
y, _, pullback = layer.vjp(X.astype("float32"))
pullback(y)
layer(X)
numlstm.LSTM(128, 40)(np.ones((1, 50, 128), "float32"))  # products of x ahead
"""
FORWARD = "import numpy as np, numlstm; numlstm.LSTM(2, 40)(np.ones((3, 4, 2), 'float32'))"


def compiled(code, cache):
    """Machine code on disk after a process has run `code`."""
    result = subprocess.run(
        [sys.executable, "-c", code + COUNT],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache), "XDG_CACHE_HOME": str(cache / "user")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(result.stdout.split())


def test_later_processes_compile_nothing(tmp_path):
    warm = "import numlstm; numlstm.warm_up(numlstm.LSTM(2, 3), numlstm.LSTMClassifier())"
    assert compiled("", tmp_path) == set()
    made = compiled(warm, tmp_path)
    assert made
    assert compiled(USE, tmp_path) == made


def test_a_call_compiles_only_what_it_needs(tmp_path):
    names = {name.split("-")[0] for name in compiled(FORWARD, tmp_path)}
    assert names == {"forward.forward", "equations.phase_forward", "tile.product", "products.sum_rows"}


MODELS = [
    LSTM(2, 3, 2, bidirectional=True, zoneout=0.1),
    GRU(2, 3, dtype="float64"),
    RNN(2, [3, 4]),
    LSTMClassifier(cell="gru", early_stopping=True),
    LSTMRegressor(backend="reference"),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_models_stay_as_they_are(model):
    before = repr(model), dict(getattr(model, "parameters", {}))
    numlstm.warm_up(model)
    assert (repr(model), dict(getattr(model, "parameters", {}))) == before
    assert not hasattr(model, "layers_")


def test_products_in_bfloat16_of_all_widths_are_compiled(monkeypatch):
    monkeypatch.setattr(halves, "supported", lambda: True)
    numlstm.warm_up(LSTM(2, 3, compute_dtype="bfloat16"))
    assert {width.vectors for _, width in halves.half_product.addresses} >= {1, 2, TILE_VECTORS}


def test_a_stranger_is_refused():
    with pytest.raises(TypeError, match="models must be layers, estimators or graphs, got ndarray"):
        numlstm.warm_up(LSTM(2, 3), np.zeros(3))


def test_by_default_it_does_the_usual():
    numlstm.warm_up()
