"""A `SequenceEncoder` as fields and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...checks import check_integer
from ...estimators.encoder import SequenceEncoder, checked_categories
from .safetensors import Tensors
from .transformers import fitted_from_fields, fitted_to_fields, parameters_to_fields, unfitted
from .values import check_count, decoded, encoded, inside


def to_fields(encoder: SequenceEncoder) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of an encoder."""
    content: dict[str, Any] = {"parameters": parameters_to_fields(encoder), "fitted": None}
    if not hasattr(encoder, "categories_"):
        return content, {}
    categories = [encoded(values.tolist(), f"categories_[{k}]") for k, values in enumerate(encoder.categories_)]
    fields = {"channels": int(encoder.n_channels_), "columns": [*encoder.columns_], "categories": categories}
    content["fitted"], tensors = fitted_to_fields(encoder, {}, **fields)
    return content, tensors


def from_fields(kind: type[SequenceEncoder], content: Any, tensors: Tensors) -> SequenceEncoder:
    """The encoder that has these fields and tensors."""
    encoder, fitted = unfitted(kind, content, ["channels", "columns", "categories"])
    if fitted is None:
        return encoder
    with inside("fitted"):
        channels = check_count(fitted["channels"], "channels")
        attributes = fitted_from_fields(fitted, channels, tensors)
        attributes["columns_"] = _columns(fitted["columns"], channels)
        attributes["categories_"] = _categories(fitted["categories"], len(attributes["columns_"]))
    encoder.__dict__.update(attributes)
    return encoder


def _columns(content: Any, channels: int) -> list[int]:
    if not isinstance(content, list) or not content:
        raise ValueError("columns must be a list of at least one channel")
    columns = [check_integer(column, f"columns[{k}]", 0) for k, column in enumerate(content)]
    if max(columns) >= channels or len({*columns}) < len(columns):
        raise ValueError(f"columns must be different numbers in 0..{channels - 1}, got {columns!s:.80}")
    return columns


def _categories(content: Any, columns: int) -> list[np.ndarray]:
    if not isinstance(content, list) or len(content) != columns:
        raise ValueError(f"categories must be a list of {columns}, one for each of columns")
    return [checked_categories(decoded(item, "categories"), f"categories[{k}]") for k, item in enumerate(content)]
