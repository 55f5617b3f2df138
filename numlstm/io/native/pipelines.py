"""Pipelines of scikit-learn's as fields and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from . import models
from .safetensors import Tensors
from .values import decoded_parameters, encoded, fields_of, inside

STEPS = (
    "LSTMClassifier", "LSTMRegressor", "SequenceScaler", "SequenceImputer", "SequenceEncoder", "StandardScaler",
    "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Pipeline",
)  # fmt: skip
DEPTH = 8  # of Pipelines inside one another


def to_fields(pipeline: Pipeline) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of a Pipeline, fitted or not.

    Raises
    ------
    TypeError, ValueError
        If scikit-learn would refuse its steps, or a file cannot hold one of them.
    """
    pipeline._validate_steps()
    steps, tensors = [], {}
    for k, (name, step) in enumerate(pipeline.steps):
        content, step_tensors = _step_to_fields(name, step)
        steps.append({"name": encoded(name, "name of a step"), **content})
        tensors.update({f"steps.{k}.{key}": array for key, array in step_tensors.items()})
    parameters = {name: encoded(getattr(pipeline, name), name) for name in _parameters(type(pipeline))}
    return {"parameters": parameters, "steps": steps}, tensors


def _parameters(kind: type[Pipeline]) -> list[str]:
    """The parameters that a file holds; a cache in memory is none of them."""
    return [name for name in kind._get_param_names() if name not in ("steps", "memory")]


def _step_to_fields(name: str, step: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if step is None or isinstance(step, str):
        return {"class": step, "model": None}, {}
    models.kind_of(step, f"step {name!r} of a Pipeline to save", STEPS)
    try:
        return models.to_fields(step)
    except ValueError as error:
        raise ValueError(f"step {name!r}: {error}") from error


def from_fields(kind: type[Pipeline], content: Any, tensors: Tensors) -> Pipeline:
    """The Pipeline that has these fields and tensors.

    Raises
    ------
    ValueError
        If there is none.
    """
    content = fields_of(content, "model", ["parameters", "steps"])
    steps = content["steps"]
    if not isinstance(steps, list) or not steps:
        raise ValueError(f"steps must be a list of at least one, got {type(steps).__name__}")
    if tensors.depth >= DEPTH:
        raise ValueError(f"Pipelines must be nested at most {DEPTH} deep")
    named_steps = []
    for k, (step, step_tensors) in enumerate(zip(steps, tensors.split("steps", len(steps)), strict=True)):
        with inside(f"steps[{k}]"):
            named_steps.append(_step_from_fields(step, step_tensors))
    pipeline = kind(named_steps, **decoded_parameters(content["parameters"], _parameters(kind)))
    _check(pipeline)
    return pipeline


def _step_from_fields(content: Any, tensors: Tensors) -> tuple[str, Any]:
    """The name of a step, and its model."""
    content = fields_of(content, "step", ["name", "class", "model"])
    name, kind, model = content["name"], content["class"], content["model"]
    if not isinstance(name, str):
        raise ValueError(f"name must be a text, got {type(name).__name__}")
    if model is None and (kind is None or kind == "passthrough"):
        tensors.end()
        return name, kind
    models.check_class(kind, STEPS)
    return name, models.from_fields(kind, model, tensors)


def _check(pipeline: Pipeline) -> None:
    """Refuse what `fit` would refuse."""
    with inside("parameters"):
        if not all(isinstance(name, str) for name in pipeline.transform_input or ()):
            raise ValueError("transform_input must be null or a list of texts")
        pipeline._validate_params()
    with inside("steps"):
        pipeline._validate_steps()
