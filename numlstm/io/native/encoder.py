"""Encoders as fields and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...checks import check_integer
from ...estimators.encoder import SequenceEncoder, checked_categories
from .safetensors import Tensors
from .scaler import MOST, fitted_described, parameters_described, read_fitted, unfitted
from .values import decoded, encoded, fields_of, inside


def described(encoder: SequenceEncoder) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of an encoder."""
    content = {"parameters": parameters_described(encoder), "fitted": None}
    if not hasattr(encoder, "categories_"):
        return content, {}
    categories = [encoded(each.tolist(), f"categories_[{k}]") for k, each in enumerate(encoder.categories_)]
    own = {"channels": int(encoder.n_channels_), "columns": [*encoder.columns_], "categories": categories}
    fitted, tensors = fitted_described(encoder, {}, **own)
    return content | {"fitted": fitted}, tensors


def made(kind: type[SequenceEncoder], content: Any, tensors: Tensors) -> SequenceEncoder:
    """The encoder that has these fields and tensors."""
    content = fields_of(content, "model", ["parameters", "fitted"])
    encoder = unfitted(kind, content["parameters"])
    if content["fitted"] is None:
        return encoder
    fitted = fields_of(content["fitted"], "fitted", ["features", "steps", "channels", "columns", "categories"])
    with inside("fitted"):
        channels = check_integer(fitted["channels"], "channels", 1)
        if channels > MOST:
            raise ValueError(f"channels must be at most {MOST}, got {channels}")
        found = read_fitted(fitted, channels, tensors)
        found["columns_"] = _columns(fitted["columns"], channels)
        found["categories_"] = _categories(fitted["categories"], len(found["columns_"]))
    encoder.__dict__.update(found)
    return encoder


def _columns(content: Any, channels: int) -> list[int]:
    if not isinstance(content, list) or not content:
        raise ValueError("columns must be a list of at least one channel")
    columns = [check_integer(each, f"columns[{k}]", 0) for k, each in enumerate(content)]
    if max(columns) >= channels or len({*columns}) < len(columns):
        raise ValueError(f"columns must be in 0..{channels - 1}, each of them once")
    return columns


def _categories(content: Any, columns: int) -> list[np.ndarray]:
    if not isinstance(content, list) or len(content) != columns:
        raise ValueError(f"categories must be a list of {columns}, one for each of columns")
    return [checked_categories(decoded(each, "categories"), f"categories[{k}]") for k, each in enumerate(content)]
