"""Small layers of several kinds, and inputs for them."""

import numpy as np

import numlstm

LAYERS = {
    "plain": lambda: numlstm.LSTM(3, 5, random_state=0),
    "deep": lambda: numlstm.GRU(3, 5, 2, random_state=0),
    "sizes": lambda: numlstm.LSTM(3, [5, 4], random_state=0),
    "residual": lambda: numlstm.LSTM(3, 5, 3, residual=True, random_state=0),
    "bidirectional": lambda: numlstm.RNN(3, 5, 2, bidirectional=True, random_state=0),
    "merged": lambda: numlstm.LSTM(3, 5, 2, bidirectional=True, merge="mean", random_state=0),
    "projected": lambda: numlstm.LSTM(3, 5, 2, proj_size=2, random_state=0),
}

SMALL_SHAPES = [(4, 7, 3), (7, 3), (4, 1, 3), (1, 3)]
MEDIUM_SHAPES = [(60, 80, 3), (2500, 3), (6000, 1, 3)]  # also where the state of a step is its output


def inputs(*shape):
    """Sequences for calls of one shape, one after the other; some do not lie in one piece."""
    x = draw(*shape)
    return [x, -x, x, np.repeat(x, 2, axis=-1)[..., ::2], -x]


def equal(a, b):
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return np.array_equal(a, b) and a.shape == b.shape and a.dtype == b.dtype


def draw(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype("float32")
