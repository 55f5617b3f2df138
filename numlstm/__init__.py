"""Long Short-Term Memory networks on Numba, for people who use scikit-learn.

Attributes are imported when they are first used. So layers do not need scikit-learn, and nothing here needs CUDA.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .backends.cpu.machine.threadpools import register

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from .ahead import warm_up
    from .backends.contract import BackendUnavailableError, UnsupportedError
    from .backends.dispatch import get_backend, set_backend, use_backend
    from .config import show_config
    from .estimators import LSTMClassifier, LSTMLanguageModel, LSTMRegressor, LSTMTagger, LSTMTranscriber
    from .estimators.encoder import SequenceEncoder
    from .estimators.grouping import sequences_from_frame
    from .estimators.imputer import SequenceImputer
    from .estimators.layouts import as_channels_last
    from .estimators.padding import pad_sequences, split_padded
    from .estimators.scaler import SequenceScaler
    from .estimators.streaming import stream
    from .estimators.windows import sliding_windows
    from .forecasting import LSTMForecaster
    from .io import load, save
    from .layers import GRU, LSTM, RNN
    from .savable import VersionWarning

_homes = {  # the module that each attribute is imported from
    "GRU": ".layers",
    "LSTM": ".layers",
    "LSTMClassifier": ".estimators",
    "LSTMForecaster": ".forecasting.forecaster",
    "LSTMLanguageModel": ".estimators",
    "LSTMRegressor": ".estimators",
    "LSTMTagger": ".estimators",
    "LSTMTranscriber": ".estimators",
    "RNN": ".layers",
    "SequenceEncoder": ".estimators.encoder",
    "SequenceImputer": ".estimators.imputer",
    "SequenceScaler": ".estimators.scaler",
    "as_channels_last": ".estimators.layouts",
    "pad_sequences": ".estimators.padding",
    "sequences_from_frame": ".estimators.grouping",
    "split_padded": ".estimators.padding",
    "sliding_windows": ".estimators.windows",
    "BackendUnavailableError": ".backends.contract",
    "UnsupportedError": ".backends.contract",
    "VersionWarning": ".savable",
    "get_backend": ".backends.dispatch",
    "load": ".io.native.models",
    "save": ".io.native.models",
    "set_backend": ".backends.dispatch",
    "use_backend": ".backends.dispatch",
    "show_config": ".config",
    "stream": ".estimators.streaming",
    "warm_up": ".ahead",
}

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BackendUnavailableError",
    "LSTMClassifier",
    "LSTMForecaster",
    "LSTMLanguageModel",
    "LSTMRegressor",
    "LSTMTagger",
    "LSTMTranscriber",
    "SequenceEncoder",
    "SequenceImputer",
    "SequenceScaler",
    "UnsupportedError",
    "VersionWarning",
    "as_channels_last",
    "get_backend",
    "load",
    "pad_sequences",
    "save",
    "sequences_from_frame",
    "set_backend",
    "show_config",
    "sliding_windows",
    "split_padded",
    "stream",
    "use_backend",
    "warm_up",
]


_modules = ("datasets", "inspection", "metrics")  # modules that are attributes without an explicit import

register()


def __getattr__(name: str) -> Any:
    if name in _modules:
        return import_module(f".{name}", __name__)
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_homes[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes, *_modules})
