"""Imputers as fields and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...checks import check_flag, check_option
from ...estimators.imputer import METHODS, SequenceImputer
from .safetensors import Tensors
from .scaler import fitted_described, parameters_described, read_fitted, unfitted
from .values import fields_of, inside


def described(imputer: SequenceImputer) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of an imputer."""
    content = {"parameters": parameters_described(imputer), "fitted": None}
    if not hasattr(imputer, "statistics_"):
        return content, {}
    own = {"methods": [*imputer.methods_], "indicator": imputer.indicator_}
    fitted, tensors = fitted_described(imputer, {"statistics_": imputer.statistics_}, **own)
    return content | {"fitted": fitted}, tensors


def made(kind: type[SequenceImputer], content: Any, tensors: Tensors) -> SequenceImputer:
    """The imputer that has these fields and tensors."""
    content = fields_of(content, "model", ["parameters", "fitted"])
    imputer = unfitted(kind, content["parameters"])
    if content["fitted"] is None:
        return imputer
    fitted = fields_of(content["fitted"], "fitted", ["features", "steps", "methods", "indicator"])
    with inside("fitted"):
        statistics = tensors.numbers("statistics_", "float64", None).copy()
        found = read_fitted(fitted, len(statistics), tensors)
        methods = fitted["methods"]
        if not isinstance(methods, list) or len(methods) != len(statistics):
            raise ValueError(f"methods must be a list of {len(statistics)}, one for each channel")
        found["methods_"] = [check_option(each, f"methods[{k}]", METHODS) for k, each in enumerate(methods)]
        found["indicator_"] = check_flag(fitted["indicator"], "indicator")
    imputer.__dict__.update(found, statistics_=statistics)
    return imputer
