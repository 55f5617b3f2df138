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


def described(pipeline: Pipeline) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of a Pipeline, fitted or not.

    Raises
    ------
    TypeError, ValueError
        If scikit-learn would refuse its steps, or a file has no place for one.
    """
    pipeline._validate_steps()
    steps, tensors = [], {}
    for k, (name, step) in enumerate(pipeline.steps):
        content, own = _step_described(name, step)
        steps.append({"name": encoded(name, "name of a step"), **content})
        tensors.update({f"steps.{k}.{each}": array for each, array in own.items()})
    parameters = {name: encoded(getattr(pipeline, name), name) for name in _parameters(type(pipeline))}
    return {"parameters": parameters, "steps": steps}, tensors


def _parameters(kind: type[Pipeline]) -> list[str]:
    """What a file holds as parameters; it has no place for a cache."""
    return [name for name in kind._get_param_names() if name not in ("steps", "memory")]


def _step_described(name: str, step: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if step is None or isinstance(step, str):
        return {"class": step, "model": None}, {}
    models.kind_of(step, f"step {name!r} of a Pipeline to save", STEPS)
    try:
        return models.described(step)
    except ValueError as error:
        raise ValueError(f"step {name!r}: {error}") from error


def made(kind: type[Pipeline], content: Any, tensors: Tensors) -> Pipeline:
    """The Pipeline that has these fields and tensors.

    Raises
    ------
    ValueError
        If they describe none.
    """
    content = fields_of(content, "model", ["parameters", "steps"])
    steps = content["steps"]
    if not isinstance(steps, list) or not steps:
        raise ValueError(f"steps must be a list of at least one, got {type(steps).__name__}")
    if tensors.depth >= DEPTH:
        raise ValueError(f"Pipelines must be inside one another at most {DEPTH} deep")
    parts = tensors.apart("steps", len(steps))
    found = []
    for k, (step, part) in enumerate(zip(steps, parts, strict=True)):
        with inside(f"steps[{k}]"):
            found.append(_step(step, part))
    pipeline = kind(found, **decoded_parameters(content["parameters"], _parameters(kind)))
    _check(pipeline)
    return pipeline


def _step(content: Any, tensors: Tensors) -> tuple[str, Any]:
    """The name of a step, and what it is."""
    content = fields_of(content, "step", ["name", "class", "model"])
    name, kind, model = content["name"], content["class"], content["model"]
    if not isinstance(name, str):
        raise ValueError(f"name must be a text, got {type(name).__name__}")
    if model is None and (kind is None or kind == "passthrough"):
        tensors.end()
        return name, kind
    models.check_class(kind, STEPS)
    return name, models.made(kind, model, tensors)


def _check(pipeline: Pipeline) -> None:
    """Refuse what `fit` would."""
    with inside("parameters"):
        if not all(isinstance(name, str) for name in pipeline.transform_input or ()):
            raise ValueError("transform_input must be null or a list of texts")
        pipeline._validate_params()
    with inside("steps"):
        pipeline._validate_steps()
