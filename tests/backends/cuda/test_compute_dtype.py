"""Products of rounded numbers: on the simulator, which rounds what tensor cores would."""

import numpy as np
import pytest
from tolerances import TOLERANCES

from numlstm import GRU, LSTM, UnsupportedError
from numlstm.backends.contract import COMPUTE_DTYPES, LayerSpec
from numlstm.backends.cuda.backend import CudaBackend
from numlstm.backends.cuda.device import Device
from numlstm.backends.cuda.intrinsics import KINDS, ROUNDED

X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
UNITS = {"tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # of rounding
LAYERS = {"lstm": LSTM, "gru": GRU}


def results(cell, **options):
    """Outputs, and gradients of everything."""
    y, _, pullback = LAYERS[cell](2, 6, random_state=0, **options).vjp(X)
    dx, _, dparameters = pullback(np.cos(np.arange(y.size, dtype="float32").reshape(y.shape)))
    return {"y": y, "dx": dx} | dparameters


def test_every_kind_is_there():
    assert {*KINDS, "int8"} == {*COMPUTE_DTYPES}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", LAYERS)
def test_rounded_products_are_near_the_others(cell, kind):
    plain = results(cell, backend="reference")
    got = results(cell, backend="cuda", compute_dtype=kind)
    worst = 0.0
    for name, wanted in plain.items():
        error = np.abs(got[name] - wanted).max() / np.abs(wanted).max()
        assert error < 4 * UNITS[kind], name
        worst = max(worst, error)
    assert worst > 5 * TOLERANCES["gradient"].float32, "nothing was rounded"


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_products_are_of_rounded_factors(kind):
    """One step, whose input is nothing: what is left is a product of the rounded state and the rounded weights."""
    layer = LSTM(1, 5, bias=False, backend="cuda", compute_dtype=kind, random_state=0)
    h = np.random.default_rng(1).normal(size=(1, 1, 5)).astype("float32")
    trace = layer.trace(np.zeros((1, 1, 1)), (h, np.zeros_like(h)))
    R, h = (
        np.array([ROUNDED[kind](number) for number in each.ravel()], "float64").reshape(each.shape)
        for each in (layer.parameters["weight_hh_l0"], h)
    )
    wanted = 1 / (1 + np.exp(-(R @ h.ravel())[:5]))
    np.testing.assert_allclose(trace.input_gate.ravel(), wanted, rtol=1e-6)


def test_int8_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="compute_dtype='int8' is not supported by backend 'cuda': set"):
        LSTM(2, 3, backend="cuda", compute_dtype="int8")(X)


def test_too_old_a_gpu_is_an_error(monkeypatch):
    monkeypatch.setattr(Device, "capability", (7, 5))
    backend = CudaBackend(0)
    flat = backend.zeros((1000,), "float32")
    with pytest.raises(UnsupportedError, match="compute_dtype='tf32' is not supported by backend 'cuda' on this GPU"):
        backend.prepare(LayerSpec("lstm", 2, 3, compute_dtype="tf32"), flat)
