"""The data that ship with the package."""

import numpy as np

from numlstm.datasets import load_sunspots


def test_sunspots():
    months, numbers = load_sunspots()
    assert months.shape == numbers.shape == (3120,)
    assert (months[0], months[-1]) == (np.datetime64("1749-01"), np.datetime64("2008-12"))
    assert (np.diff(months) == np.timedelta64(1, "M")).all()
    assert (numbers[0], numbers[1], numbers[-1]) == (58.0, 62.6, 0.8)
    assert np.isfinite(numbers).all()
    assert (numbers >= 0).all()
