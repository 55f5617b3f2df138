"""Products of numbers rounded to bfloat16: run with several instructions where the processor has not the one."""

import numpy as np
import pytest
from tolerances import TOLERANCES, assert_close

import numlstm
from numlstm import GRU, LSTM, RNN
from numlstm.backends.cpu.linear import halves
from numlstm.backends.cpu.machine import thread_count
from numlstm.backends.cpu.machine.target import target
from numlstm.backends.cpu.recurrent import weights
from numlstm.backends.reference.rounded import rounded

LAYERS = {
    "lstm": lambda **more: LSTM(5, 37, random_state=0, **more),
    "wide": lambda **more: LSTM(130, 70, random_state=0, **more),
    "deep": lambda **more: LSTM(3, 16, 2, bidirectional=True, peepholes=True, random_state=0, **more),
    "variants": lambda **more: LSTM(4, 9, layer_norm=True, proj_size=3, random_state=0, **more),
    "full gate recurrence": lambda **more: LSTM(4, 9, full_gate_recurrence=True, random_state=0, **more),
    "recompute": lambda **more: LSTM(4, 9, recompute=True, random_state=0, **more),
    "gru": lambda **more: GRU(7, 33, random_state=0, **more),
    "reset before": lambda **more: GRU(7, 33, reset_after=False, random_state=0, **more),
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


def gradients(layer, rows, steps=11, lengths=None, spoilt=None):
    """Outputs, and gradients of everything, by name."""
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, steps, layer.input_size)).astype("float32")
    dy = rng.normal(size=(rows, steps, layer(x[:, :1])[0].shape[2])).astype("float32")
    if spoilt is not None:
        dy[2, -1, 1] = spoilt
    y, _, pullback = layer.vjp(x, lengths=lengths)
    dx, dstate, dparameters = pullback(dy)
    parts = dstate if isinstance(dstate, tuple) else (dstate,)
    return {"y": y, "dx": dx} | {f"dstate {k}": part for k, part in enumerate(parts)} | dparameters


def pairs_of(matrices):
    """What `pair` writes, as numbers: (count, pairs, 2, numbers)."""
    count, rows, numbers = matrices.shape
    out = np.empty((count, -(-rows // 2), numbers), np.int32)
    halves.pair(matrices, out)
    bits = out.view(np.uint32)
    return np.stack([bits << np.uint32(16), bits & np.uint32(0xFFFF0000)], axis=2).view(np.float32)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_pairs_are_of_rounded_rows(rows):
    matrices = np.random.default_rng(0).normal(size=(3, rows, 32)).astype("float32")
    pairs = pairs_of(matrices).reshape(3, -1, 32)
    np.testing.assert_array_equal(pairs[:, :rows], rounded(matrices))
    assert not pairs[:, rows:].any()


def test_pairs_do_not_depend_on_threads():
    matrices = np.random.default_rng(0).normal(size=(9, 401, 256)).astype("float32")
    with thread_count.limit_threads(1):
        expected = pairs_of(matrices)
    with thread_count.limit_threads(2):
        np.testing.assert_array_equal(pairs_of(matrices), expected)


def test_rounding_is_to_the_nearest_and_even():
    numbers = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -0.0, np.inf, 3e38, np.nan], np.float32)
    expected = np.array([1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -0.0, np.inf, 3e38, np.nan], np.float32)
    odd = np.array([0x7FFFFFFF, 0xFF800001, 0x7F800001], np.uint32).view(np.float32)
    matrix = np.zeros((1, 2, 32), np.float32)
    matrix[0, :, :8], matrix[0, :, 8:11] = numbers, odd
    for back in pairs_of(matrix)[0, 0]:
        np.testing.assert_allclose(back[:8], expected, rtol=4e-3)
        np.testing.assert_array_equal(back[:6], expected[:6])
        assert np.isnan(back[8:11]).all()
    np.testing.assert_array_equal(rounded(numbers[:6]), expected[:6])


@pytest.mark.parametrize(("rows", "steps"), [(3, 1), (7, 11)])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_are_those_of_the_reference(everywhere, name, rows, steps):
    got, wanted = (
        gradients(LAYERS[name](compute_dtype="bfloat16", backend=backend), rows, steps)
        for backend in ("cpu", "reference")
    )
    assert got.keys() == wanted.keys()
    for each, value in wanted.items():
        assert_close("bfloat16", each, got[each], value)
        usual = np.median(np.abs(got[each] - value))
        allowed = TOLERANCES["most in bfloat16"].float32 * np.abs(value).max()
        assert usual <= allowed, f"{each}: rounded in other places"


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_do_not_depend_on_threads_nor_teams_nor_rows(everywhere, name, monkeypatch):
    def results(rows, lengths=None):
        return gradients(LAYERS[name](compute_dtype="bfloat16"), rows, lengths=lengths)

    with thread_count.limit_threads(1):
        expected = results(31)
    with thread_count.limit_threads(2):
        for each, value in results(31).items():
            np.testing.assert_array_equal(value, expected[each], err_msg=each)
        few = results(4)
        monkeypatch.setattr(weights.LayerWeights, "team_of", lambda self, *shape: 2 if self.shares_steps else 1)
        for each, value in results(4, lengths=[11] * 4).items():
            np.testing.assert_array_equal(value, few[each], err_msg=each)


def test_weights_that_change_have_the_gradients_of_new_ones(everywhere):
    layer, other = LAYERS["lstm"](compute_dtype="bfloat16"), LSTM(5, 37, random_state=1, compute_dtype="bfloat16")
    gradients(layer, 3)
    layer.set_parameters(other.parameters)
    for name, value in gradients(other, 3).items():
        np.testing.assert_array_equal(gradients(layer, 3)[name], value, err_msg=name)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_not_finite_stay_in_their_row(everywhere, bad):
    clean, spoilt = (gradients(LAYERS["lstm"](compute_dtype="bfloat16"), 5, spoilt=value) for value in (None, bad))
    assert not np.isfinite(spoilt["dx"][2]).any()
    np.testing.assert_array_equal(np.delete(spoilt["dx"], 2, 0), np.delete(clean["dx"], 2, 0))


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


def test_elsewhere_it_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(halves, "supported", lambda: False)
    layer = LSTM(3, 5, compute_dtype="bfloat16", backend="cpu")
    for call in (layer, layer.vjp):
        with pytest.raises(
            numlstm.UnsupportedError, match=r"'bfloat16' is not supported by .*'cpu' .* no AVX-512 BF16"
        ):
            call(np.zeros((2, 4, 3)))


def test_the_reference_has_no_other_types():
    with pytest.raises(
        numlstm.UnsupportedError, match=r"'tf32' is not supported by .*'reference': set None, 'bfloat16'"
    ):
        LSTM(3, 5, compute_dtype="tf32", backend="reference")(np.zeros((2, 4, 3)))


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
