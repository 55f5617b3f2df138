"""What an estimator or a transformer remembers of X: channels, steps, names of columns, and whether lengths came."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...checks import check_flag
from . import labels
from .safetensors import Tensors
from .values import check_count, fields_of, inside

NAMES = "feature_names_in_"


def features_to_fields(estimator: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors; `columns` is the number of steps where X was a table (n, T)."""
    columns = estimator._columns
    named, tensors = names_to_fields(estimator)
    content = {"columns": None if columns is None else int(columns), "named": named}
    if estimator._lengths_given:
        content["lengths"] = True  # without lengths a file has no such field, as before there were lengths
    return content, tensors


def features_from_fields(content: Any, channels: int, tensors: Tensors) -> dict[str, Any]:
    """The attributes that `check_sequences` sets, for X with so many channels."""
    content = fields_of(content, "features", ["columns", "named"], ["lengths"])
    columns, with_lengths = content["columns"], "lengths" in content
    with inside("features"):
        if columns is not None:
            check_count(columns, "columns")
            if channels != 1:
                raise ValueError(f"columns must be null with {channels} channels, got {columns}")
        named = check_flag(content["named"], "named")
        if with_lengths and content["lengths"] is not True:
            raise ValueError(f"lengths must be true, or left out, got {content['lengths']!r:.80}")
    count = columns or channels
    attributes = {"n_channels_": channels, "n_features_in_": count, "_columns": columns, "_lengths_given": with_lengths}
    return attributes | names_from_fields(named, count, tensors)


def names_to_fields(estimator: Any) -> tuple[bool, dict[str, np.ndarray]]:
    """Whether an estimator knows the names of columns, and the tensor with them."""
    names = getattr(estimator, NAMES, None)
    return names is not None, {} if names is None else {NAMES: labels.packed(names, NAMES)[1]}


def names_from_fields(named: bool, count: int, tensors: Tensors) -> dict[str, Any]:
    """The attribute with the names of so many columns, if there are names."""
    if not named:
        return {}
    names = labels.unpacked("object", tensors.take(NAMES), f"tensor {NAMES!r}")
    if len(names) != count:
        raise ValueError(f"tensor {NAMES!r} must hold {count} names, got {len(names)}")
    return {NAMES: names}
