"""Calls by address: arguments are named, whatever the order in which a caller writes them; others are refused."""

from typing import NamedTuple

import numba
import numpy as np
import pytest
from nested_tuples import Pair, Side
from numba.core.errors import TypingError

from numlstm.backends.cpu.machine import compiling
from numlstm.backends.cpu.machine.arrays import integers
from numlstm.backends.cpu.machine.compiling import Pointed, call, kernel, pointed
from numlstm.backends.cpu.machine.memory import load_integers, store_address, store_integers
from numlstm.backends.cpu.recurrent.arguments import MASK, MASK_BYTES, SIDE, SIDE_BYTES, SideEntry


class Digits(NamedTuple):
    """Where a number goes, and its digits."""

    place: int
    hundreds: int
    tens: int
    ones: int


class Unknown(NamedTuple):
    """What no pointed function takes."""

    place: int


@pointed(Digits)
def write_number(d):
    store_address(d.place, 100 * d.hundreds + 10 * d.tens + d.ones)


@kernel
def move(source, target):
    pair = load_integers(Pair, source.ctypes.data)
    store_integers(pair, target.ctypes.data)
    return pair


class Sum(NamedTuple):
    """As `Digits`, for a kernel."""

    place: int
    hundreds: int
    tens: int
    ones: int


@kernel
def write_sum(real, place, hundreds, tens, ones):
    store_address(place, 100 * hundreds + 10 * tens + ones)


write_sum.takes(Sum)


@kernel
def write(address, place, tens):
    call(address, Digits(ones=tens + 1, hundreds=1, place=place.ctypes.data, tens=tens))


@kernel
def write_by_kernel(address, place, tens):
    call(address, Sum(ones=tens + 1, hundreds=1, place=place.ctypes.data, tens=tens))


@kernel
def write_without_one(address, place):
    call(address, Digits(place=place.ctypes.data, hundreds=1, tens=2))


@kernel
def write_unnamed(address, place):
    call(address, (place.ctypes.data, 1, 2, 3))


@kernel
def write_unknown(address, place):
    call(address, Unknown(place=place.ctypes.data))


@kernel
def read_side(sides, number):
    return load_integers(SideEntry, sides.ctypes.data + SIDE_BYTES * number)


def test_names_decide_not_the_order():
    place = np.zeros(1, np.int64)
    write[()](write_number.address(), place, 4)
    assert place[0] == 145


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (write_without_one, TypeError, "missing a required argument: 'ones'"),
        (write_unnamed, TypingError, "must get the named tuple that a pointed function takes, got Tuple"),
        (write_unknown, TypingError, "must get the named tuple that a pointed function takes, got Unknown"),
    ],
)
def test_other_arguments_do_not_compile(wrong, error, message):
    place = np.zeros(1, np.int64)
    with pytest.raises(error, match=message):
        wrong[()](write_number.address(), place)
    assert place[0] == 0


def test_functions_that_take_the_same_have_as_many_parameters_before_it():
    def other(real, d):
        """One more."""

    with pytest.raises(TypeError, match=r"other must have 0 parameters before Digits, .* got 1"):
        Pointed(other, Digits)
    assert compiling._selecting[Digits] == 0


def swapped(real, place, tens, hundreds, ones):
    """Two fields in another order."""


def short(place, hundreds, tens):
    """One field too few."""


@pytest.mark.parametrize("function", [swapped, short])
def test_a_kernel_that_is_called_by_address_ends_with_the_fields_in_their_order(function):
    with pytest.raises(TypeError, match=r"must have the last parameters \('place', 'hundreds', 'tens', 'ones'\)"):
        kernel(function).takes(Digits)


def test_kernels_call_one_another_by_address():
    place = np.zeros(1, np.int64)
    write_by_kernel[()](write_sum.address(Sum, numba.typeof(np.float32)), place, 4)
    assert place[0] == 145


def test_entries_are_read_by_name():
    sides = np.zeros(2, SIDE)
    for k, name in enumerate(SIDE.names):
        sides[name] = k, 10 + k
    entry = read_side[()](sides, 1)
    assert entry._asdict() == {name: 10 + k for k, name in enumerate(SIDE.names)}


def test_nested_groups_are_read_and_written_as_the_host_has_them():
    pair = Pair(Side(1, 2), 3, Side(4, 5))
    numbers, copy = integers(pair), np.zeros(5, np.int64)
    assert numbers.tolist() == [1, 2, 3, 4, 5]
    assert move[()](numbers, copy) == pair
    np.testing.assert_array_equal(copy, numbers)


def test_tables_are_as_kernels_step_through_them():
    assert (SIDE.itemsize, MASK.itemsize) == (SIDE_BYTES, MASK_BYTES)
