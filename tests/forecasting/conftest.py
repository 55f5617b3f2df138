"""Small forecasters, and series that are easy to forecast."""

import numpy as np
import pytest

from numlstm import LSTMForecaster

SMALL = {"hidden_size": 4, "max_iter": 1, "n_members": 1, "random_state": 0}


@pytest.fixture
def small():
    """A function that makes small forecasters, which train in a fraction of a second."""
    return lambda **options: LSTMForecaster(**{**SMALL, **options})


@pytest.fixture
def wave():
    """A series with a trend, a season of 12 steps and a little noise."""
    steps = np.arange(90)
    return 20 + 0.2 * steps + 3 * np.sin(2 * np.pi * steps / 12) + np.random.default_rng(0).normal(0, 0.1, 90)
