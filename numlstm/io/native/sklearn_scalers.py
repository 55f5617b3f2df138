"""Scalers of scikit-learn's as fields and tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...checks import check_flag, check_option, check_real
from .features import names_from_fields, names_to_fields
from .safetensors import Tensors
from .values import FLOATS, MOST, check_count, decoded, decoded_parameters, encoded, fields_of, inside, positive

# For each scaler: the arrays that `fit` makes, and the parameter without which one may be None.
ARRAYS: dict[str, dict[str, str | None]] = {
    "StandardScaler": {"mean_": "with_mean", "var_": "with_std", "scale_": "with_std"},
    "MinMaxScaler": {"data_min_": None, "data_max_": None, "data_range_": None, "min_": None, "scale_": None},
    "MaxAbsScaler": {"max_abs_": None, "scale_": None},
    "RobustScaler": {"center_": "with_centering", "scale_": "with_scaling"},
}
RANGES = {"feature_range": (-math.inf, math.inf), "quantile_range": (0.0, 100.0)}  # and the bounds of each
OUTPUTS = ("default", "pandas", "polars")
SEEN = "n_samples_seen_"  # one number, or one for each column where values were missing


def to_fields(scaler: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of a scaler, fitted or not."""
    content = {
        "parameters": {name: encoded(value, name) for name, value in scaler.get_params(deep=False).items()},
        "output": getattr(scaler, "_sklearn_output_config", {}).get("transform"),
        "fitted": None,
    }
    if not hasattr(scaler, "scale_"):
        return content, {}
    named, tensors = names_to_fields(scaler)
    seen = getattr(scaler, SEEN, None)
    arrays = {name: getattr(scaler, name) for name in ARRAYS[type(scaler).__name__]}
    if isinstance(seen, np.ndarray):
        arrays[SEEN], seen = seen, None
    for name, array in arrays.items():
        if array is not None:
            tensors[name] = _checked(array, name)
    content["fitted"] = {"columns": int(scaler.n_features_in_), "named": named, "seen": encoded(seen, SEEN)}
    return content, tensors


def _checked(array: Any, name: str) -> np.ndarray:
    """An array that a file can hold."""
    if not isinstance(array, np.ndarray) or array.dtype.name not in (*FLOATS, "int64"):
        kind = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{name} must be an array of NumPy's floats to be written to a file, got {kind}")
    return array


def from_fields(kind: Any, content: Any, tensors: Tensors) -> Any:
    """The scaler that has these fields and tensors.

    Raises
    ------
    ValueError
        If there is none.
    """
    content = fields_of(content, "model", ["parameters", "output", "fitted"])
    parameters = decoded_parameters(content["parameters"], kind._get_param_names())
    with inside("parameters"):
        for name in RANGES.keys() & parameters.keys():
            _check_range(parameters[name], name)
        scaler = kind(**parameters)
        scaler._validate_params()
    if content["output"] is not None:
        scaler.set_output(transform=check_option(content["output"], "output", OUTPUTS))
    if content["fitted"] is not None:
        fitted = fields_of(content["fitted"], "fitted", ["columns", "named", "seen"])
        with inside("fitted"):
            scaler.__dict__.update(_results(scaler, fitted, tensors))
    return scaler


def _check_range(value: Any, name: str) -> None:
    low, high = RANGES[name]
    if not isinstance(value, tuple) or len(value) != 2:
        raise ValueError(f"{name} must be a tuple of two numbers")
    for number in value:
        check_real(number, name, -math.inf, math.inf)
    if not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{name} must be two numbers in [{low}, {high}], the lower first, got {value}")


def _results(scaler: Any, fitted: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    """The attributes of a fitted scaler."""
    columns = check_count(fitted["columns"], "columns")
    attributes: dict[str, Any] = {"n_features_in_": columns}
    attributes |= names_from_fields(check_flag(fitted["named"], "named"), columns, tensors)
    for name, parameter in ARRAYS[type(scaler).__name__].items():
        if name not in tensors and parameter is not None and not getattr(scaler, parameter):
            attributes[name] = None
            continue
        valid = positive if name == "scale_" and parameter is not None else np.isfinite
        attributes[name] = tensors.numbers(name, FLOATS, (columns,), valid).copy()
    return attributes | _seen(scaler, fitted["seen"], columns, tensors)


def _seen(scaler: Any, content: Any, columns: int, tensors: Tensors) -> dict[str, Any]:
    """The number of samples; a `RobustScaler` does not count them."""
    if type(scaler).__name__ == "RobustScaler":
        if content is not None:
            raise ValueError("seen must be null")
        return {}
    if content is None:
        return {SEEN: tensors.numbers(SEEN, ("int64", *FLOATS), (columns,), _not_negative).copy()}
    seen = decoded(content, "seen")
    check_real(seen, "seen", 0.0, float(MOST))
    return {SEEN: seen}


def _not_negative(array: np.ndarray) -> np.ndarray:
    """Where an array is a finite number of at least 0."""
    return np.isfinite(array) & (array >= 0)
