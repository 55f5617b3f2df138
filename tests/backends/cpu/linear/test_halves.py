"""Products of numbers rounded to bfloat16: run with several instructions where the processor has not the one."""

import numpy as np
import pytest

import numlstm
from numlstm import GRU, LSTM, RNN
from numlstm.backends.cpu.linear import halves
from numlstm.backends.cpu.machine import thread_count
from numlstm.backends.cpu.machine.target import target
from numlstm.backends.cpu.recurrent import weights

LAYERS = {
    "lstm": lambda **more: LSTM(5, 37, random_state=0, **more),
    "deep": lambda **more: LSTM(3, 16, 2, bidirectional=True, peepholes=True, random_state=0, **more),
    "variants": lambda **more: LSTM(4, 9, layer_norm=True, proj_size=3, random_state=0, **more),
    "gru": lambda **more: GRU(7, 33, random_state=0, **more),
    "rnn": lambda **more: RNN(1, 8, random_state=0, **more),
}


@pytest.fixture
def everywhere(monkeypatch):
    monkeypatch.setattr(halves, "supported", lambda: True)


def twins(name):
    """A layer, and one with the same parameters that rounds."""
    plain = LAYERS[name]()
    rounding = LAYERS[name](compute_dtype="bfloat16")
    rounding.set_parameters(plain.parameters)
    return plain, rounding


def test_rounding_is_to_the_nearest_and_even():
    numbers = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -0.0, np.inf, 3e38, np.nan], np.float32)
    expected = np.array([1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -0.0, np.inf, 3e38, np.nan], np.float32)
    back = (halves.rounded(numbers).astype(np.uint32) << np.uint32(16)).view(np.float32)
    np.testing.assert_allclose(back, expected, rtol=4e-3)
    np.testing.assert_array_equal(back[:6], expected[:6])
    odd = np.array([0x7FFFFFFF, 0xFF800001], np.uint32).view(np.float32)
    assert np.isnan((halves.rounded(odd).astype(np.uint32) << np.uint32(16)).view(np.float32)).all()


@pytest.mark.parametrize("rows", [1, 4, 30])
@pytest.mark.parametrize("name", LAYERS)
def test_close_to_float32_but_not_the_same(everywhere, name, rows):
    plain, rounding = twins(name)
    x = np.random.default_rng(0).normal(size=(rows, 11, plain.input_size)).astype("float32")
    y, expected = rounding(x)[0], plain(x)[0]
    assert np.linalg.norm(y - expected) < 1e-2 * np.linalg.norm(expected)
    assert not np.array_equal(y, expected)


def test_numbers_that_are_exact_stay_exact(everywhere):
    plain, rounding = LSTM(4, 8), LSTM(4, 8, compute_dtype="bfloat16")
    parameters = {name: np.round(value * 16) / 16 for name, value in plain.parameters.items()}
    parameters["weight_hh_l0"] = np.zeros_like(parameters["weight_hh_l0"])  # a state would be rounded
    for twin in (plain, rounding):
        twin.set_parameters(parameters)
    x = np.random.default_rng(0).integers(-8, 8, (3, 9, 4)).astype("float32")
    np.testing.assert_array_equal(rounding(x)[0], plain(x)[0])


def test_nan_stays_in_its_row(everywhere):
    rounding = twins("lstm")[1]
    x = np.random.default_rng(0).normal(size=(4, 6, 5)).astype("float32")
    x[2, 3] = np.nan
    y = rounding(x)[0]
    assert np.isnan(y[2, 3:]).all()
    assert np.isfinite(np.delete(y, 2, axis=0)).all()


def test_streams_lengths_and_teams_agree(everywhere, monkeypatch):
    rounding = twins("lstm")[1]
    x = np.random.default_rng(0).normal(size=(3, 12, 5)).astype("float32")
    y = rounding(x)[0]
    stream = rounding.stream(3)
    np.testing.assert_array_equal(np.stack([stream.step(x[:, t]) for t in range(12)], axis=1), y)
    np.testing.assert_array_equal(rounding(x, lengths=[12, 5, 7])[0][1, :5], y[1, :5])
    monkeypatch.setattr(weights.LayerWeights, "team_of", lambda self, *shape: 2)
    with thread_count.limit_threads(2):
        np.testing.assert_array_equal(twins("lstm")[1](x)[0], y)


def test_gradients_are_refused(everywhere):
    with pytest.raises(numlstm.UnsupportedError, match="compute_dtype='bfloat16' has no gradients on backend 'cpu'"):
        LSTM(3, 5, compute_dtype="bfloat16").vjp(np.zeros((2, 4, 3)))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_elsewhere_it_is_refused_by_name(monkeypatch, backend):
    monkeypatch.setattr(halves, "supported", lambda: False)
    with pytest.raises(numlstm.UnsupportedError, match=f"compute_dtype='bfloat16' is not supported by .*'{backend}'"):
        LSTM(3, 5, compute_dtype="bfloat16", backend=backend)(np.zeros((2, 4, 3)))


def test_support_is_what_the_processor_has():
    assert halves.supported() == target().bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"compute_dtype": "float8"},
            r"compute_dtype must be one of \['tf32', 'float16', 'bfloat16', 'int8'\], got 'float8'",
        ),
        ({"compute_dtype": "bfloat16", "dtype": "float64"}, "compute_dtype must be None with dtype='float64'"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LSTM(3, 5, **options)


def test_it_shows():
    assert repr(LSTM(3, 5, compute_dtype="bfloat16")) == "LSTM(3, 5, compute_dtype='bfloat16')"
