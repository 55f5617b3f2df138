"""exp, sigmoid and tanh on vectors: within 4 ulp of the truth at all magnitudes, NaN propagates."""

import math

import numpy as np
import pytest
from numba import njit

from numlstm.backends.cpu.machine import elementary  # noqa: F401  (gives the functions their meaning on vectors)
from numlstm.backends.cpu.machine.memory import lanes_of
from numlstm.backends.cpu.machine.simd import load, store
from numlstm.cells.elementary import exp, log1p, sigmoid, tanh, where_negative

DTYPES = {"float32": np.uint32, "float64": np.uint64}
WIDER = np.finfo(np.longdouble).nmant > np.finfo("float64").nmant


@njit(error_model="numpy")
def exp_all(real, a, number):
    for i in range(0, a.size, lanes_of(real)):
        place = a.ctypes.data + i * number
        store(exp(load(real, place)), place)


@njit(error_model="numpy")
def sigmoid_all(real, a, number):
    for i in range(0, a.size, lanes_of(real)):
        place = a.ctypes.data + i * number
        store(sigmoid(load(real, place)), place)


@njit(error_model="numpy")
def tanh_all(real, a, number):
    for i in range(0, a.size, lanes_of(real)):
        place = a.ctypes.data + i * number
        store(tanh(load(real, place)), place)


@njit(error_model="numpy")
def log1p_all(real, a, number):
    for i in range(0, a.size, lanes_of(real)):
        place = a.ctypes.data + i * number
        store(log1p(load(real, place)), place)


@njit(error_model="numpy")
def where_negative_all(real, a, number):
    for i in range(0, a.size, lanes_of(real)):
        place = a.ctypes.data + i * number
        x = load(real, place)
        store(where_negative(x, x * x, x), place)


def true_sigmoid(x):
    """1 / (1 + exp(-x)) without overflow."""
    t = np.exp(-np.abs(x))
    return np.where(x < 0, t, 1) / (1 + t)


FUNCTIONS = {"exp": (exp_all, np.exp), "sigmoid": (sigmoid_all, true_sigmoid), "tanh": (tanh_all, np.tanh)}


def apply(name, x):
    """A function on vectors of `x`, whatever its size."""
    values = np.zeros(-(-x.size // 64) * 64, x.dtype)
    values[: x.size] = x
    compiled = {"log1p": log1p_all, "where_negative": where_negative_all}.get(name) or FUNCTIONS[name][0]
    compiled(x.dtype.type, values, x.itemsize)
    return values[: x.size]


def numbers(dtype):
    """All exponents with many mantissas, both signs, denormals; where the functions change; random bits."""
    bits, info = DTYPES[dtype], np.finfo(dtype)
    rng = np.random.default_rng(0)
    mantissas = np.unique(np.append(rng.integers(0, 2**info.nmant, 200), [0, 1, 2**info.nmant - 1])).astype(bits)
    exponents = np.arange(2**info.nexp - 1, dtype=bits) << bits(info.nmant)
    magnitudes = (exponents[:, np.newaxis] | mantissas).ravel().view(dtype)
    anything = rng.integers(0, 2 ** (8 * info.dtype.itemsize), 200_000, bits).view(dtype)
    limit = 1.1 * abs(np.log(np.float64(info.smallest_subnormal)))
    dense = rng.uniform(-limit, limit, 400_000).astype(dtype)
    near = rng.normal(0.0, 3.0, 200_000).astype(dtype)
    values = np.concatenate([magnitudes, -magnitudes, anything, dense, near])
    return values[np.isfinite(values)]


@np.errstate(over="ignore", under="ignore")
def truth(name, x):
    """The function in a wider type, and the distance of `x.dtype`'s numbers there."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    exact = FUNCTIONS[name][1](x.astype(wide))
    info = np.finfo(x.dtype)
    _, exponent = np.frexp(np.minimum(np.abs(exact), wide(info.max)))
    ulp = np.ldexp(wide(1), np.maximum(exponent - 1, info.minexp) - info.nmant)
    return exact, ulp


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@np.errstate(over="ignore", invalid="ignore")
def test_within_four_ulp_at_all_magnitudes(name, dtype):
    x = numbers(dtype)
    got = apply(name, x)
    exact, ulp = truth(name, x)
    overflows = exact > np.finfo(dtype).max
    error = np.where(overflows, 0, np.abs(got - exact) / ulp)
    worst = int(error.argmax())
    limit = 4 if dtype == "float32" or WIDER else 5
    assert error[worst] <= limit, f"{name}({x[worst]!r}) = {got[worst]!r}: {error[worst]:.2f} ulp"
    assert np.isinf(got[exact > 2 * exact.dtype.type(np.finfo(dtype).max)]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_is_within_four_ulp_from_0_to_1(dtype):
    x = np.abs(numbers(dtype))
    x = x[x <= 1]
    exact = np.log1p(x.astype(np.float64 if dtype == "float32" else np.longdouble))
    ulp = np.maximum(np.spacing(exact.astype(dtype)), np.finfo(dtype).smallest_subnormal)
    assert (np.abs(apply("log1p", x) - exact) / ulp).max() <= 4
    assert np.isnan(apply("log1p", np.array([np.nan], dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_negative_takes_the_other_for_nan_and_zero(dtype):
    x = np.array([-2.0, -0.0, 0.0, 3.0, np.nan, -np.inf], dtype)
    got = apply("where_negative", x)
    np.testing.assert_array_equal(got, np.array([4.0, -0.0, 0.0, 3.0, np.nan, np.inf], dtype))
    assert [where_negative(value, "a", "b") for value in x] == ["a", "b", "b", "b", "b", "a"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_propagates_and_infinities_have_limits(name, dtype):
    limits = {"exp": (0, np.inf), "sigmoid": (0, 1), "tanh": (-1, 1)}
    got = apply(name, np.array([np.nan, -np.nan, -np.inf, np.inf, np.nan], dtype))
    np.testing.assert_array_equal(got, np.array([np.nan, np.nan, *limits[name], np.nan], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_does_not_reach_its_neighbours(name, dtype):
    x = np.linspace(-3, 3, 32).astype(dtype)
    with_nans = np.where(np.arange(x.size) % 3, x, np.nan).astype(dtype)
    expected = np.where(np.isnan(with_nans), np.nan, apply(name, x))
    np.testing.assert_array_equal(apply(name, with_nans), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_where_the_truth_is(dtype):
    zeros = np.array([0.0, -0.0], dtype)
    assert apply("tanh", zeros).tobytes() == zeros.tobytes()
    assert apply("exp", zeros).tolist() == [1, 1]
    assert apply("sigmoid", zeros).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd_and_bounded(dtype):
    x = numbers(dtype)
    got = apply("tanh", x)
    assert apply("tanh", -x).tobytes() == (-got).tobytes()
    assert np.abs(got).max() == 1


@pytest.mark.parametrize(("name", "python"), [("exp", exp), ("sigmoid", sigmoid), ("tanh", tanh)])
def test_plain_python_bodies_agree(name, python):
    x = numbers("float64")[::997]
    values = np.array([python(number) for number in x.tolist()])
    exact, ulp = truth(name, x)
    finite = np.abs(exact) < np.finfo("float64").max
    assert (np.abs(values[finite] - exact[finite]) / ulp[finite]).max() <= 5
    assert math.isnan(python(math.nan))
