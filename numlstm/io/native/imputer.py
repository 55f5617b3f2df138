"""A `SequenceImputer` as fields and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...checks import check_flag, check_option
from ...estimators.imputer import METHODS, SequenceImputer
from .safetensors import Tensors
from .transformers import fitted_from_fields, fitted_to_fields, parameters_to_fields, unfitted
from .values import inside


def to_fields(imputer: SequenceImputer) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of an imputer."""
    content: dict[str, Any] = {"parameters": parameters_to_fields(imputer), "fitted": None}
    tensors: dict[str, np.ndarray] = {}
    if hasattr(imputer, "statistics_"):
        fields = {"methods": [*imputer.methods_], "indicator": imputer.indicator_}
        content["fitted"], tensors = fitted_to_fields(imputer, {"statistics_": imputer.statistics_}, **fields)
    return content, tensors


def from_fields(kind: type[SequenceImputer], content: Any, tensors: Tensors) -> SequenceImputer:
    """The imputer that has these fields and tensors."""
    imputer, fitted = unfitted(kind, content, ["methods", "indicator"])
    if fitted is None:
        return imputer
    with inside("fitted"):
        statistics = tensors.numbers("statistics_", "float64", None).copy()
        attributes = fitted_from_fields(fitted, len(statistics), tensors)
        methods = fitted["methods"]
        if not isinstance(methods, list) or len(methods) != len(statistics):
            raise ValueError(f"methods must be a list of {len(statistics)}, one for each channel")
        attributes["methods_"] = [check_option(method, f"methods[{k}]", METHODS) for k, method in enumerate(methods)]
        attributes["indicator_"] = check_flag(fitted["indicator"], "indicator")
    imputer.__dict__.update(attributes, statistics_=statistics)
    return imputer
