"""A `SequenceScaler` as fields and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...estimators.scaler import SequenceScaler
from .safetensors import Tensors
from .transformers import fitted_from_fields, fitted_to_fields, parameters_to_fields, unfitted
from .values import inside, positive


def to_fields(scaler: SequenceScaler) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors. A standard scaler is written as before there were others: without parameters."""
    parameters = parameters_to_fields(scaler)
    content = {} if parameters == parameters_to_fields(type(scaler)()) else {"parameters": parameters}
    if not hasattr(scaler, "scale_"):
        return {**content, "fitted": None}, {}
    center = "mean_" if hasattr(scaler, "mean_") else "center_"
    fitted, tensors = fitted_to_fields(scaler, {center: getattr(scaler, center), "scale_": scaler.scale_})
    return {**content, "fitted": fitted}, tensors


def from_fields(kind: type[SequenceScaler], content: Any, tensors: Tensors) -> SequenceScaler:
    """The scaler that has these fields and tensors."""
    scaler, fitted = unfitted(kind, {"parameters": {}} | content if isinstance(content, dict) else content)
    if fitted is None:
        return scaler
    with inside("fitted"):
        name = "center_" if "center_" in tensors else "mean_"
        center = tensors.numbers(name, "float64", None).copy()
        scale = tensors.numbers("scale_", "float64", center.shape, positive).copy()
        scaler.__dict__.update(fitted_from_fields(fitted, len(center), tensors), center_=center, scale_=scale)
    if name == "mean_":
        scaler.mean_ = center
    return scaler
