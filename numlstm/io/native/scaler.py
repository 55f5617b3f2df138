"""Scalers as fields and tensors; and what estimators and transformers have in common, such as what they know of X."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from ...checks import check_flag, check_integer
from ...estimators.base.transformer import SequenceTransformer
from ...estimators.scaler import SequenceScaler
from . import labels
from .safetensors import Tensors
from .values import decoded_parameters, encoded, fields_of, inside

MOST = 2**63 - 1  # of what is counted
NAMES = "feature_names_in_"
Transformer = TypeVar("Transformer", bound=SequenceTransformer)

# Of X ------------------------------------------------------------------------------------------------------


def features_described(estimator: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What an estimator has kept of X: columns, where it was (n, T), their names, if any, and whether lengths came."""
    columns = estimator._columns
    named, tensors = names_described(estimator)
    content = {"columns": None if columns is None else int(columns), "named": named}
    if estimator._lengths_given:
        content["lengths"] = True  # what has none is as files were before there was this field
    return content, tensors


def names_described(estimator: Any) -> tuple[bool, dict[str, np.ndarray]]:
    """Whether an estimator knows the names of columns, and the tensor with them."""
    names = getattr(estimator, "feature_names_in_", None)
    return names is not None, {} if names is None else {NAMES: labels.packed(names, NAMES)[1]}


def read_features(content: Any, channels: int, tensors: Tensors) -> dict[str, Any]:
    """The attributes that `sequences_of` makes, for X with so many channels."""
    given = ["lengths"] if isinstance(content, dict) and "lengths" in content else []
    content = fields_of(content, "features", ["columns", "named", *given])
    columns = content["columns"]
    with inside("features"):
        if columns is not None and (channels != 1 or check_integer(columns, "columns", 1) > MOST):
            raise ValueError(f"columns must be null, or a number of steps with one channel, got {columns!r:.80}")
        named = check_flag(content["named"], "named")
        if given and content["lengths"] is not True:
            raise ValueError(f"lengths must be true, or left out, got {content['lengths']!r:.80}")
    count = columns or channels
    found = {"n_channels_": channels, "n_features_in_": count, "_columns": columns, "_lengths_given": bool(given)}
    return found | read_names(named, count, tensors)


def read_names(named: bool, count: int, tensors: Tensors) -> dict[str, Any]:
    """The attribute with the names of so many columns, if there are names."""
    if not named:
        return {}
    names = labels.unpacked("object", tensors.take(NAMES), f"tensor {NAMES!r}")
    if len(names) != count:
        raise ValueError(f"tensor {NAMES!r} must hold {count} names, got {len(names)}")
    return {NAMES: names}


# Of transformers of sequences -----------------------------------------------------------------------------


def parameters_described(transformer: SequenceTransformer) -> dict[str, Any]:
    """Its parameters; arrays among them are lists, and come back as such."""
    return {name: encoded(_plain(value), name) for name, value in transformer.get_params(deep=False).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def unfitted(kind: type[Transformer], parameters: Any) -> Transformer:
    """The transformer with these parameters, if `fit` would take them."""
    transformer = kind(**decoded_parameters(parameters, kind._get_param_names()))
    with inside("parameters"):
        transformer._check()
    return transformer


def fitted_described(
    transformer: SequenceTransformer, arrays: Mapping[str, np.ndarray], **own: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields of what `fit` has left, and its tensors."""
    features, tensors = features_described(transformer)
    return {"features": features, "steps": int(transformer.n_steps_seen_), **own}, {**tensors, **arrays}


def read_fitted(fitted: dict[str, Any], channels: int, tensors: Tensors) -> dict[str, Any]:
    """The attributes that all transformers have."""
    found = read_features(fitted["features"], check_integer(channels, "channels", 1), tensors)
    return found | {"n_steps_seen_": check_integer(fitted["steps"], "steps", 1)}


# Scalers --------------------------------------------------------------------------------------------------


def described(scaler: SequenceScaler) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of a scaler; those of a standard one are as files were before there were others."""
    parameters = parameters_described(scaler)
    content = {} if parameters == parameters_described(type(scaler)()) else {"parameters": parameters}
    if not hasattr(scaler, "scale_"):
        return {**content, "fitted": None}, {}
    center = "mean_" if hasattr(scaler, "mean_") else "center_"
    fitted, tensors = fitted_described(scaler, {center: getattr(scaler, center), "scale_": scaler.scale_})
    return {**content, "fitted": fitted}, tensors


def made(kind: type[SequenceScaler], content: Any, tensors: Tensors) -> SequenceScaler:
    """The scaler that has these fields and tensors."""
    given = ["parameters"] if isinstance(content, dict) and "parameters" in content else []
    content = fields_of(content, "model", [*given, "fitted"])
    scaler = unfitted(kind, content.get("parameters", {}))
    if content["fitted"] is None:
        return scaler
    fitted = fields_of(content["fitted"], "fitted", ["features", "steps"])
    with inside("fitted"):
        name = "center_" if "center_" in tensors else "mean_"
        center = tensors.numbers(name, "float64", None).copy()
        scale = tensors.numbers("scale_", "float64", center.shape, positive).copy()
        found = read_fitted(fitted, len(center), tensors)
    scaler.__dict__.update(found, center_=center, scale_=scale)
    if name == "mean_":
        scaler.mean_ = center
    return scaler


def positive(array: np.ndarray) -> np.ndarray:
    """Where an array is a finite number above 0."""
    return np.isfinite(array) & (array > 0)
