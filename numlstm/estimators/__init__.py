"""Estimators with scikit-learn's interface.

What users import is in this folder, a file for each estimator, transformer or function. What these are made of is in
`base`, `data` and `targets`.
"""

import sys
from importlib import import_module

from .classifier import LSTMClassifier
from .language_model import LSTMLanguageModel
from .regressor import LSTMRegressor
from .tagger import LSTMTagger
from .transcriber import LSTMTranscriber

__all__ = ["LSTMClassifier", "LSTMLanguageModel", "LSTMRegressor", "LSTMTagger", "LSTMTranscriber"]

MOVED = {  # older pickles name classes in these modules
    "channels": "data.channels",
    "classes": "targets.classes",
    "model": "base.model",
    "numeric": "targets.numbers",
    "static": "data.static",
}

for before, now in MOVED.items():
    sys.modules[f"{__name__}.{before}"] = import_module(f".{now}", __name__)
