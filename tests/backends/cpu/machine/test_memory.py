"""Rows of numbers from memory to memory."""

import numba
import numpy as np
import pytest

from numlstm.backends.cpu.machine.memory import copy_row, load_row, vector_bytes


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


@numba.njit
def load32(slot, place, count, groups):
    load_row(np.float32, slot, place, count, groups)


@numba.njit
def load64(slot, place, count, groups):
    load_row(np.float64, slot, place, count, groups)


@numba.njit
def bytes_of_vectors():
    return vector_bytes(np.float32)


@pytest.mark.parametrize(("load", "dtype"), [(load32, "f4"), (load64, "f8")])
@pytest.mark.parametrize("groups", [0, 1, 3])
def test_zeros_follow_a_row_up_to_its_last_vector(load, dtype, groups):
    source = np.arange(1, 81, dtype=dtype)
    room = groups * bytes_of_vectors() // source.itemsize
    for count in range(room + 9):  # a row may be longer than its vectors
        slot, copied = np.full(80, -1, dtype), min(count, room)
        load(slot[3:].ctypes.data, source[5:].ctypes.data if count else 0, count, groups)
        expected = np.full(80, -1, dtype)
        expected[3 : 3 + room] = 0
        expected[3 : 3 + copied] = source[5 : 5 + copied]
        np.testing.assert_array_equal(slot, expected)
