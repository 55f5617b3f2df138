"""Recurrent layers."""

from .gru import GRU
from .lstm import LSTM
from .rnn import RNN

LAYERS = {layer.cell: layer for layer in (LSTM, GRU, RNN)}

__all__ = ["GRU", "LAYERS", "LSTM", "RNN"]
