"""A small real data set, and the artificial tasks that the LSTM was made for."""

from .lags import make_long_lag, make_two_sequence
from .marked import make_adding, make_multiplication
from .order import make_temporal_order
from .reber import SYMBOLS, SymbolSequences, make_continual_reber, make_embedded_reber
from .sunspots import Sunspots, load_sunspots

__all__ = [
    "SYMBOLS",
    "Sunspots",
    "SymbolSequences",
    "load_sunspots",
    "make_adding",
    "make_continual_reber",
    "make_embedded_reber",
    "make_long_lag",
    "make_multiplication",
    "make_temporal_order",
    "make_two_sequence",
]
