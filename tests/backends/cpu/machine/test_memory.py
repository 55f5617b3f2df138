"""Rows of numbers from memory to memory."""

import numba
import numpy as np
import pytest

from numlstm.backends.cpu.machine.memory import copy_row


@numba.njit
def copy32(place, source, count):
    copy_row(np.float32, place, source, count)


@numba.njit
def copy64(place, source, count):
    copy_row(np.float64, place, source, count)


@pytest.mark.parametrize(("copy", "dtype"), [(copy32, "f4"), (copy64, "f8")])
def test_a_row_is_copied_and_nothing_around_it(copy, dtype):
    source = np.arange(1, 81, dtype=dtype)
    for count in range(70):
        place = np.zeros(80, dtype)
        copy(place[3:].ctypes.data, source[5:].ctypes.data, count)  # on no vector's boundary
        expected = np.zeros(80, dtype)
        expected[3 : 3 + count] = source[5 : 5 + count]
        np.testing.assert_array_equal(place, expected)
