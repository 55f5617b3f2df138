"""Products and sums by kernels, next to NumPy's."""

import itertools

import numpy as np
import pytest

from numlstm.backends.cuda import products
from numlstm.backends.cuda.arrays import empty, to_device, to_numpy
from numlstm.backends.cuda.device import Device

SHAPES = [(1, 1, 1), (5, 3, 7), (4, 3, 4), (4, 6, 8), (9, 1, 2), (2, 7, 1)]
WAYS = list(itertools.product((False, True), repeat=2))
TOLERANCE = {"float32": 1e-6, "float64": 1e-15}


@pytest.fixture
def device():
    return Device(0)


def strided(device, array):
    """A view, of every other row, and of the columns between others, of an array that is NaN elsewhere."""
    rows, columns = array.shape
    around = np.full((2 * rows, columns + 3), np.nan, array.dtype)
    around[::2, 2:-1] = array
    return to_device(device, around)[::2, 2:-1]


def numbers(shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got, expected, dtype="float64"):
    np.testing.assert_allclose(to_numpy(got), expected, atol=TOLERANCE[dtype] * abs(expected).max() * 4, rtol=0)


@pytest.mark.parametrize("place", [to_device, strided])
@pytest.mark.parametrize("transposed", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_product(device, shape, transposed, place):
    rows, terms, columns = shape
    a, b = numbers((rows, terms)), numbers((terms, columns), seed=1)
    stored = [place(device, each.T if turn else each) for each, turn in zip((a, b), transposed, strict=True)]
    out = place(device, numbers((rows, columns), seed=2))
    products.multiply(out, *stored, transposed=transposed)
    close(out, a @ b)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_product_is_added(device, dtype):
    a, b, before = numbers((5, 7), dtype), numbers((7, 6), dtype, 1), numbers((5, 6), dtype, 2)
    out = strided(device, before)
    products.multiply(out, to_device(device, a), to_device(device, b), accumulate=True)
    assert to_numpy(out).dtype == dtype
    close(out, before + a.astype(float) @ b, dtype)


def test_nothing_is_written_beside_the_product(device):
    out = strided(device, np.zeros((5, 6)))
    products.multiply(out, to_device(device, numbers((5, 3))), to_device(device, numbers((3, 6))))
    around = out.memory.base.copy_to_host()[: 10 * 9].reshape(10, 9)
    assert np.isnan(around[1::2]).all()
    assert np.isnan(around[:, [0, 1, 8]]).all()


@pytest.mark.parametrize("transposed", WAYS)
def test_rows_backwards_and_repeated(device, transposed):
    """No strides that cuBLAS takes."""
    backwards = to_device(device, numbers((4, 4)))[::-1]
    once = to_device(device, numbers((1, 4), seed=1))
    repeated = type(once)(device, once.memory, (4, 4), (0, 1))
    a, b = to_numpy(backwards), np.tile(to_numpy(once), (4, 1))
    out = empty(device, (4, 4), "float64")
    products.multiply(out, backwards, repeated, transposed=transposed)
    close(out, (a.T if transposed[0] else a) @ (b.T if transposed[1] else b))


@pytest.mark.parametrize("transposed", WAYS)
def test_nan_stays_in_its_row_and_column(device, transposed):
    a, b = numbers((6, 5)), numbers((5, 7), seed=1)
    a[1, 3] = b[4, 5] = np.nan
    stored = [to_device(device, each.T if turn else each) for each, turn in zip((a, b), transposed, strict=True)]
    out = empty(device, (6, 7), "float64")
    products.multiply(out, *stored, transposed=transposed)
    expected = np.zeros((6, 7), bool)
    expected[1] = expected[:, 5] = True
    np.testing.assert_array_equal(np.isnan(to_numpy(out)), expected)


def test_product_of_no_terms_is_zero(device):
    out = to_device(device, numbers((3, 2)))
    a, b = to_device(device, numbers((3, 0))), to_device(device, numbers((0, 2)))
    products.multiply(out, a, b, accumulate=True)
    np.testing.assert_array_equal(to_numpy(out), numbers((3, 2)))
    products.multiply(out, a, b)
    np.testing.assert_array_equal(to_numpy(out), 0)


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 2, 0)])
def test_product_without_numbers(device, shape):
    rows, terms, columns = shape
    a, b = to_device(device, numbers((rows, terms))), to_device(device, numbers((terms, columns)))
    products.multiply(empty(device, (rows, columns), "float64"), a, b)


def test_product_refuses_what_does_not_fit(device):
    square, wide = empty(device, (3, 3), "float64"), empty(device, (3, 4), "float64")
    single = empty(device, (3, 3), "float32")
    for out, a, b, transposed in [
        (square, square, wide, (False, False)),
        (wide, wide, square, (False, False)),
        (wide, square, wide, (False, True)),
        (square, single, square, (False, False)),
        (square, square, single, (False, False)),
    ]:
        with pytest.raises(ValueError, match="cannot multiply"):
            products.multiply(out, a, b, transposed=transposed)


@pytest.mark.parametrize("place", [to_device, strided])
@pytest.mark.parametrize("shape", [(1, 1), (4, 2), (5, 3), (12, 2), (13, 5), (25, 3)])
def test_column_sums(device, shape, place):
    a, before = numbers(shape), numbers(shape[1], seed=1)
    out = to_device(device, before)
    products.column_sums(out, place(device, a), accumulate=True)
    close(out, before + a.sum(0))
    products.column_sums(out, place(device, a))
    close(out, a.sum(0))


def test_column_sums_of_no_rows_are_zero(device):
    out = to_device(device, numbers(3))
    products.column_sums(out, empty(device, (0, 3), "float64"))
    np.testing.assert_array_equal(to_numpy(out), 0)


def test_column_sums_without_columns(device):
    products.column_sums(empty(device, (0,), "float64"), empty(device, (9, 0), "float64"))


def test_column_sums_refuse_what_does_not_fit(device):
    a = empty(device, (3, 4), "float64")
    for out in (empty(device, (3,), "float64"), empty(device, (4,), "float32")):
        with pytest.raises(ValueError, match="cannot sum"):
            products.column_sums(out, a)


def test_nan_stays_in_its_sum(device):
    a = numbers((13, 5))
    a[11, 2] = np.nan
    out = empty(device, (5,), "float64")
    products.column_sums(out, to_device(device, a))
    np.testing.assert_array_equal(np.isnan(to_numpy(out)), np.arange(5) == 2)
