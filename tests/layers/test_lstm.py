"""Layers against torch.nn.LSTM, where it is installed."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from lstm_cases import BASIC, CASES, LARGE_CASES, UNEQUAL, relative_error
from make_torch_goldens import torch_run

ALL_CASES = CASES | LARGE_CASES
FLOAT32_MARGIN = 1.5  # how much further from the truth than PyTorch results may be
BACKENDS = ["cpu", "reference"]


@cache
def by_torch(key, dtype):
    pytest.importorskip("torch")
    case = ALL_CASES[key]
    return torch_run(case, case.inputs(), dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("key", ALL_CASES)
def test_float64_results_are_those_of_pytorch(key, backend):
    case, expected = ALL_CASES[key], by_torch(key, "float64")
    results = case.run(case.inputs(), "float64", backend)
    assert results.keys() == expected.keys()
    errors = {name: relative_error(value, expected[name]) for name, value in results.items()}
    assert max(errors.values()) < 1e-12, errors


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("key", ALL_CASES)
def test_float32_results_are_as_near_the_truth_as_those_of_pytorch(key, backend):
    case, truth, by_peer = ALL_CASES[key], by_torch(key, "float64"), by_torch(key, "float32")
    results = case.run(case.inputs(), "float32", backend)
    for name, value in results.items():
        assert value.dtype == np.float32
        allowed = max(2e-6, FLOAT32_MARGIN * relative_error(by_peer[name], truth[name]))
        assert relative_error(value, truth[name]) <= allowed, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_state_dict_of_pytorch_is_parameters(backend):
    torch = pytest.importorskip("torch")
    peer = torch.nn.LSTM(3, 5, 2, bidirectional=True, batch_first=True)
    layer = CASES["unequal, two layers, bidirectional"].layer("float32", backend)
    layer.set_parameters(peer.state_dict())
    x = torch.ones(2, 7, 3)
    np.testing.assert_allclose(layer(x)[0], peer(x)[0].detach(), atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", [BASIC, UNEQUAL], ids=["equal", "unequal"])
def test_call_and_vjp_agree_to_the_bit(case, backend):
    inputs = case.inputs()
    layer, state = case.layer(backend=backend), (inputs["h_0"], inputs["c_0"])
    y, (h_n, c_n) = layer(inputs["x"], state, case.lengths)
    y_too, (h_too, c_too), _ = layer.vjp(inputs["x"], state, case.lengths)
    for value, other in [(y, y_too), (h_n, h_too), (c_n, c_too)]:
        np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("part", ["dy", "dh_n", "dc_n"])
def test_gradient_none_stands_for_zeros(part, backend):
    case = UNEQUAL
    inputs = case.inputs()
    given = {name: inputs[name] if name == part else None for name in ("dy", "dh_n", "dc_n")}
    zeros = {name: np.zeros_like(inputs[name]) if value is None else value for name, value in given.items()}
    _, _, pullback = case.layer(backend=backend).vjp(inputs["x"], lengths=case.lengths)
    dx, dstate, dparameters = pullback(given["dy"], (given["dh_n"], given["dc_n"]))
    expected_dx, expected_dstate, expected = pullback(zeros["dy"], (zeros["dh_n"], zeros["dc_n"]))
    assert dx.any()
    np.testing.assert_array_equal(dx, expected_dx)
    np.testing.assert_array_equal(dstate, expected_dstate)
    for name, value in dparameters.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_pullback_may_be_called_again(backend):
    inputs = UNEQUAL.inputs()
    y, _, pullback = UNEQUAL.layer(backend=backend).vjp(inputs["x"], lengths=UNEQUAL.lengths)
    first = pullback(inputs["dy"])
    pullback(np.zeros_like(y))
    second = pullback(inputs["dy"])
    np.testing.assert_array_equal(second[0], first[0])
    for name, value in first[2].items():
        np.testing.assert_array_equal(second[2][name], value, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_of_an_earlier_call_stay(backend):
    layer, inputs = BASIC.layer(backend=backend), BASIC.inputs()
    y, (h_n, c_n) = layer(inputs["x"])
    kept = y.copy(), h_n.copy(), c_n.copy()
    layer(-inputs["x"])
    layer.vjp(inputs["x"] * 2)[2](inputs["dy"])
    for value, before in zip((y, h_n, c_n), kept, strict=True):
        np.testing.assert_array_equal(value, before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_may_share_a_layer(backend):
    layer = UNEQUAL.layer(backend=backend)
    inputs = [UNEQUAL.inputs(seed) for seed in range(8)]

    def work(given):
        y, _, pullback = layer.vjp(given["x"], lengths=UNEQUAL.lengths)
        return y, pullback(given["dy"])[0]

    expected = [work(given) for given in inputs]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, inputs * 4))
    for result, other in zip(results, expected * 4, strict=True):
        np.testing.assert_array_equal(np.concatenate(result, axis=-1), np.concatenate(other, axis=-1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_beyond_all_bounds_saturate_without_a_warning(backend):
    layer = BASIC.layer("float32", backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, (_, c_n) = layer(np.full((1, 4, 3), 1e30))
        y_negative, _ = layer(np.full((1, 4, 3), -1e30))
    assert np.isfinite(y).all()
    assert np.isfinite(y_negative).all()
    assert (np.abs(c_n) <= 4).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_and_infinity_spoil_their_own_sequence_from_their_step_on(backend, bad):
    layer, x = BASIC.layer(backend=backend), BASIC.inputs()["x"]
    clean, _ = layer(x)
    x[1, 2] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, _ = layer(x)
    spoilt = np.zeros(y.shape, bool)
    spoilt[1, 2:] = True
    np.testing.assert_array_equal(y[~spoilt], clean[~spoilt])
    if np.isnan(bad):
        assert np.isnan(y[spoilt]).all()
