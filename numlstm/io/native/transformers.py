"""What all transformers of sequences have in a file: their parameters, and what `fit` has learnt of X."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ...checks import check_integer
from ...estimators.base.transformer import SequenceTransformer
from .features import features_from_fields, features_to_fields
from .safetensors import Tensors
from .values import decoded_parameters, encoded, fields_of, inside

Transformer = TypeVar("Transformer", bound=SequenceTransformer)


def parameters_to_fields(transformer: SequenceTransformer) -> dict[str, Any]:
    """The parameters; arrays among them are lists, and come back as lists."""
    return {name: encoded(_plain(value), name) for name, value in transformer.get_params(deep=False).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def fitted_to_fields(
    transformer: SequenceTransformer, arrays: Mapping[str, np.ndarray], **fields: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of what `fit` has learnt; `arrays` and `fields` are those of this kind of transformer."""
    features, tensors = features_to_fields(transformer)
    return {"features": features, "steps": int(transformer.n_steps_seen_), **fields}, {**tensors, **arrays}


def unfitted(
    kind: type[Transformer], content: Any, fields: Sequence[str] = ()
) -> tuple[Transformer, dict[str, Any] | None]:
    """The transformer with its parameters, and the fields of what `fit` has learnt, if it is fitted.

    Raises
    ------
    ValueError
        If `fit` would refuse the parameters, or fields are missing or unknown.
    """
    content = fields_of(content, "model", ["parameters", "fitted"])
    transformer = kind(**decoded_parameters(content["parameters"], kind._get_param_names()))
    with inside("parameters"):
        transformer._check_parameters()
    if content["fitted"] is None:
        return transformer, None
    return transformer, fields_of(content["fitted"], "fitted", ["features", "steps", *fields])


def fitted_from_fields(fitted: dict[str, Any], channels: int, tensors: Tensors) -> dict[str, Any]:
    """The attributes that all fitted transformers have."""
    attributes = features_from_fields(fitted["features"], check_integer(channels, "channels", 1), tensors)
    return attributes | {"n_steps_seen_": check_integer(fitted["steps"], "steps", 1)}
