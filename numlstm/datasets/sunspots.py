"""Monthly numbers of sunspots."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import numpy as np


class Sunspots(NamedTuple):
    """Monthly mean numbers of sunspots.

    Attributes
    ----------
    months : datetime64[M] array, shape (3120,)
    numbers : float64 array, shape (3120,)
    """

    months: np.ndarray
    numbers: np.ndarray


def load_sunspots() -> Sunspots:
    """The monthly mean number of sunspots from January 1749 to December 2008.

    A noisy series with cycles of about eleven years, of unequal height and length.

    Returns
    -------
    Sunspots
        Months, and the number of sunspots in each.

    Notes
    -----
    Source: NOAA National Geophysical Data Center. Licence: public domain.

    Examples
    --------
    >>> from numlstm.datasets import load_sunspots
    >>> months, numbers = load_sunspots()
    >>> print(months[numbers.argmax()], numbers.max())
    1957-10 253.8
    """
    with (files(__package__) / "sunspots.csv").open() as file:
        table = np.loadtxt(file, delimiter=",")
    first = np.datetime64(f"{int(table[0, 0])}-01", "M")
    return Sunspots(first + np.arange(table[:, 1:].size), table[:, 1:].ravel())
