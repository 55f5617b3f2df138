"""Operators of the domain "ai.onnx.ml" that exporters put around models: of features and of labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import FLOAT, FLOATS, INT, INTS, TENSOR, TEXT, TEXTS, check_room, operator

ML = "ai.onnx.ml"


@operator("ArrayFeatureExtractor", 2, domain=ML)
def extract_features(x: np.ndarray, indices: np.ndarray) -> Any:
    """Columns, on the last axis."""
    places = indices.reshape(-1)
    if places.dtype.kind not in "iu" or not x.ndim or not places.size:
        raise ValueError(f"there must be some integers and an axis for them, got {indices.dtype} and shape {x.shape}")
    if int(places.min()) < 0 or int(places.max()) >= x.shape[-1]:
        raise ValueError(f"indices must be in 0..{x.shape[-1] - 1}, got {places.min()} to {places.max()}")
    rows = x[None] if x.ndim == 1 else x
    check_room((*rows.shape[:-1], places.size), x)
    return rows[..., places]


@operator("Scaler", domain=ML, offset=FLOATS(()), scale=FLOATS(()))
def scale(x: np.ndarray, *, offset: tuple[float, ...], scale: tuple[float, ...]) -> Any:
    """``(x - offset) scale``, column by column or with one number for all."""
    _check_numbers(x)
    if len(offset) != len(scale) or len(scale) not in (1, x.shape[-1] if x.ndim else 1):
        columns = f"one number each, or one for each of {x.shape[-1:]} columns"
        raise ValueError(f"offset and scale must be {columns}, got {len(offset)} and {len(scale)}")
    return (x.astype("float32") - np.array(offset, "float32")) * np.array(scale, "float32")


@operator("Normalizer", domain=ML, norm=TEXT("MAX"))
def normalise(x: np.ndarray, *, norm: str) -> Any:
    """Rows divided by their largest element, or by the sum of absolute values, or by the root of that of squares."""
    _check_numbers(x)
    if x.ndim not in (1, 2):
        raise ValueError(f"there must be one axis or two, got shape {x.shape}")
    wide = x.astype("float32")
    norms = {
        "MAX": lambda: wide.max(-1, keepdims=True, initial=-np.inf),
        "L1": lambda: np.abs(wide).sum(-1, keepdims=True),
        "L2": lambda: np.sqrt((wide * wide).sum(-1, keepdims=True)),
    }
    if norm not in norms:
        raise ValueError(f"norm must be one of {[*norms]}, got {norm!r:.80}")
    divisor = norms[norm]()
    return wide / np.where(divisor == 0, np.float32(1), divisor)


@operator("Binarizer", domain=ML, threshold=FLOAT(0.0))
def binarise(x: np.ndarray, *, threshold: float) -> Any:
    """1 where x is above a threshold, else 0."""
    _check_numbers(x)
    return (x > threshold).astype(x.dtype)


def _check_numbers(x: np.ndarray) -> None:
    if x.dtype.kind not in "fiu":
        raise ValueError(f"there must be numbers, got {x.dtype}")


_values: dict[str, Any] = {
    f"{side}_{kind}": make()
    for side in ("keys", "values")
    for kind, make in (("floats", FLOATS), ("int64s", INTS), ("strings", TEXTS), ("tensor", TENSOR))
}


@operator(
    "LabelEncoder", domain=ML, default_float=FLOAT(-0.0), default_int64=INT(-1), default_string=TEXT("_Unused"),
    default_tensor=TENSOR(), **_values,
)  # fmt: skip
def encode_labels(x: np.ndarray, **attributes: Any) -> Any:
    """The value of each key, or the default."""
    keys, values = _one_of(attributes, "keys"), _one_of(attributes, "values")
    if keys.size != values.size or keys.ndim != 1:
        raise ValueError(f"there must be as many keys as values, got {keys.size} and {values.size}")
    if x.dtype != keys.dtype:
        raise ValueError(f"there must be {keys.dtype}, as keys are, got {x.dtype}")
    defaults = {"f": attributes["default_float"], "i": attributes["default_int64"], "O": attributes["default_string"]}
    default = defaults[values.dtype.kind]
    if attributes["default_tensor"] is not None:
        if attributes["default_tensor"].size != 1 or attributes["default_tensor"].dtype != values.dtype:
            raise ValueError(f"default_tensor must be one {values.dtype}")
        default = attributes["default_tensor"].reshape(-1)[0]
    table: dict[Any, Any] = {}
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        table.setdefault("nan" if key != key else key, value)
    encoded = [table.get("nan" if key != key else key, default) for key in x.reshape(-1).tolist()]
    return np.array(encoded, values.dtype).reshape(x.shape)


def _one_of(attributes: dict[str, Any], side: str) -> np.ndarray:
    """Keys or values, of the one type that they are given in."""
    kinds = {"floats": "float32", "int64s": "int64", "strings": "object"}
    names = [name for name in attributes if name.startswith(side) and attributes[name] is not None]
    if len(names) != 1:
        raise ValueError(f"there must be {side} of one type, got {names}; version 1 of ai.onnx.ml is not known")
    ((name),) = names
    if name.endswith("tensor"):
        if attributes[name].dtype.kind not in "fiO":
            raise ValueError(f"{name} must hold floats, integers or texts, got {attributes[name].dtype}")
        return attributes[name].reshape(-1)
    return np.array(attributes[name], kinds[name.partition("_")[2]])
