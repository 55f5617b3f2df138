"""Recurrent layers."""

from .gru import GRU
from .layer import Layer
from .lstm import LSTM
from .registry import LAYERS, register
from .rnn import RNN

for _layer in (LSTM, GRU, RNN):
    register(_layer)

__all__ = ["GRU", "LAYERS", "LSTM", "RNN", "Layer", "register"]
