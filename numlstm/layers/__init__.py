"""Recurrent layers for users: stacking, directions, lengths, dropout, state."""

from .lstm import LSTM
from .stream import Stream

__all__ = ["LSTM", "Stream"]
