"""Scalers as fields and tensors; and what estimators remember of X, which they have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..estimators.scaler import SequenceScaler
from ..layers.sequences import check_flag, check_integer
from . import labels
from .files import Tensors
from .values import fields_of, inside

MOST = 2**63 - 1  # of what is counted
NAMES = "feature_names_in_"

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


# Scalers --------------------------------------------------------------------------------------------------


def described(scaler: SequenceScaler) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of a scaler."""
    if not hasattr(scaler, "mean_"):
        return {"fitted": None}, {}
    features, tensors = features_described(scaler)
    content = {"features": features, "steps": int(scaler.n_steps_seen_)}
    return {"fitted": content}, tensors | {"mean_": scaler.mean_, "scale_": scaler.scale_}


def made(kind: type[SequenceScaler], content: Any, tensors: Tensors) -> SequenceScaler:
    """The scaler that has these fields and tensors."""
    scaler = kind()
    fitted = fields_of(content, "model", ["fitted"])["fitted"]
    if fitted is None:
        return scaler
    fitted = fields_of(fitted, "fitted", ["features", "steps"])
    with inside("fitted"):
        mean = tensors.numbers("mean_", "float64", None)
        scale = tensors.numbers("scale_", "float64", mean.shape, positive)
        found = read_features(fitted["features"], check_integer(len(mean), "channels", 1), tensors)
        steps = check_integer(fitted["steps"], "steps", 1)
    scaler.__dict__.update(found, mean_=mean.copy(), scale_=scale.copy(), n_steps_seen_=steps)
    return scaler


def positive(array: np.ndarray) -> np.ndarray:
    """Where an array is a finite number above 0."""
    return np.isfinite(array) & (array > 0)
