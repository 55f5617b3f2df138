"""Named tuples of integers, one in another."""

from typing import NamedTuple


class Side(NamedTuple):
    """Two integers."""

    a: int
    b: int


class Pair(NamedTuple):
    """Groups of integers."""

    left: Side
    middle: int
    right: Side
