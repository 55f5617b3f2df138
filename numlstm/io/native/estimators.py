"""Estimators as fields and tensors."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from ...backends.contract import LossSpec
from ...backends.dispatch import check_name
from ...checks import SMALLEST, check_flag, check_option, check_real
from ...estimators.base.estimator import SequenceEstimator
from ...estimators.base.model import Codec, Fitted
from ...estimators.classifier import LSTMClassifier
from ...estimators.data.channels import ChannelScale
from ...estimators.data.static import StaticFeatures
from ...estimators.targets.classes import Classes
from ...estimators.targets.numbers import Numbers
from ...layers.stack import Stack
from ...training.network import PARTS, Network
from . import labels, layers, training
from .safetensors import Tensors
from .scaler import features_described, positive, read_features
from .values import decoded, decoded_parameters, encoded, fields_of, inside

FITTED = ("layer", "pooling", "activity", "targets", "features", "backend", "history", "session")
STATIC, CHANNELS = OPTIONAL = "static", "channels"  # fields of those that were fitted with static features, or scaled X
LABELS, NUMBERS = ("multilabel", "classes"), ("form", "loss", "parameter", "scaled")
STATIC_NAMES = "static_feature_names_in_"
FORMS = ("one", "several", "list of one", "list", "steps")
# Of losses of numbers: what their parameter may be.
LOSSES = {
    "squared": (0.0, SMALLEST),
    "absolute": (0.0, SMALLEST),
    "huber": (SMALLEST, math.inf),
    "pinball": (SMALLEST, 1.0),
}


def described(model: SequenceEstimator) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of an estimator, fitted or not."""
    content: dict[str, Any] = {"parameters": _parameters_described(model), "fitted": None}
    if not hasattr(model, "_model"):
        return content, {}
    network, codec = model._model.network, model._model.codec
    targets, of_targets = _codec_described(codec)
    features, of_features = features_described(model)
    history, of_history = training.history_described(model)
    session, of_session = training.session_described(model)
    content["fitted"] = {
        "layer": layers.described(model.layers_[0])[0],
        "pooling": network.pooling,
        "activity": None if network.activity is None else [*network.activity],
        "targets": targets,
        "features": features,
        "backend": model.backend_,
        "history": history,
        "session": session,
    }
    static, of_static = _static_described(model._model.static)
    channels, of_channels = _channels_described(model._model.channels)
    content["fitted"] |= static | channels
    of_parts = of_targets | of_features | of_static | of_channels | of_history | of_session
    return content, {**model._model.parameters, **of_parts}


def made(kind: type[SequenceEstimator], content: Any, tensors: Tensors) -> SequenceEstimator:
    """The estimator that has these fields and tensors.

    Raises
    ------
    ValueError
        If they describe none.
    """
    content = fields_of(content, "model", ["parameters", "fitted"])
    model = _unfitted(kind, content["parameters"])
    if content["fitted"] is not None:
        given = [name for name in OPTIONAL if isinstance(content["fitted"], dict) and name in content["fitted"]]
        fitted = fields_of(content["fitted"], "fitted", [*FITTED, *given])
        with inside("fitted"):
            model.__dict__.update(_results(model, fitted, tensors))
    return model


# Parameters -----------------------------------------------------------------------------------------------


def _parameters_described(model: SequenceEstimator) -> dict[str, Any]:
    """Parameters of the constructor as JSON."""
    parameters = model.get_params(deep=False) | {"callback": None}
    seed = parameters["random_state"]
    if seed is not None and not isinstance(seed, numbers.Integral):
        raise ValueError(
            f"random_state must be an int or None to be written to a file, got {type(seed).__name__}: "
            "call set_params(random_state=None) before"
        )
    return {name: encoded(value, name) for name, value in parameters.items()}


def _unfitted(kind: type[SequenceEstimator], content: Any) -> SequenceEstimator:
    """An estimator of these parameters."""
    parameters = decoded_parameters(content, kind._get_param_names())
    with inside("parameters"):
        if "class_weight" in parameters:
            _check_class_weight(parameters["class_weight"])
        model = kind(**parameters)
        model._check_parameters()
    return model


def _check_class_weight(value: Any) -> None:
    """Refuse what `fit` would, but for classes that are not known here."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, dict):
            raise ValueError("class_weight must be a dict, a list of them, 'balanced' or None")
        for weight in each.values():
            check_real(float(weight) if isinstance(weight, np.bool_ | bool) else weight, "class_weight", 0.0, math.inf)


# Results --------------------------------------------------------------------------------------------------


def _results(model: SequenceEstimator, fitted: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    """The attributes of a fitted estimator."""
    stack, shown, _ = layers.read_stack(fitted["layer"], len(tensors))
    read_codec = _read_classes if isinstance(model, LSTMClassifier) else _read_numbers
    codec = read_codec(fitted["targets"], tensors)
    static = _read_static(fitted[STATIC], tensors) if STATIC in fitted else None
    channels = _read_channels(fitted[CHANNELS], stack.input_size, tensors) if CHANNELS in fitted else None
    network = _read_network(stack, codec, fitted, 0 if static is None else len(static.mean))
    parameters = layers.read_parameters(network.shapes, stack.dtype, tensors)
    if not isinstance(fitted["backend"], str) or fitted["backend"] == "auto":
        raise ValueError("backend must be the name of one that computes")
    backend = check_name(fitted["backend"])
    return {
        **read_features(fitted["features"], stack.input_size, tensors),
        **model._trained(Fitted(network, parameters, codec, static=static, channels=channels), shown, backend),
        **training.read_history(fitted["history"], tensors),
        **training.read_session(fitted["session"], network, tensors),
    }


def _read_network(stack: Stack, codec: Codec, fitted: dict[str, Any], static: int) -> Network:
    """The network of a stack, for targets."""
    poolings = ("none",) if codec.by_step else [name for name in PARTS if name != "none"]
    pooling = check_option(fitted["pooling"], "pooling", poolings)
    activity = fitted["activity"]
    if activity is not None:
        if not isinstance(activity, list) or len(activity) != 2:
            raise ValueError("activity must be null or a list of two numbers")
        sizes = [check_real(each, "activity", 0.0, math.inf) for each in activity]
        activity = sizes[0], sizes[1]
    return Network(stack, codec.outputs, pooling, codec.loss, activity, static)


# The scale of channels ------------------------------------------------------------------------------------


def _channels_described(channels: ChannelScale | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The field of scaled X, if it was, and its tensors."""
    if channels is None:
        return {}, {}
    return {CHANNELS: {}}, {"channel_mean_": channels.mean, "channel_scale_": channels.scale}


def _read_channels(content: Any, count: int, tensors: Tensors) -> ChannelScale:
    fields_of(content, CHANNELS, [])
    mean = tensors.numbers("channel_mean_", "float64", (count,))
    return ChannelScale(mean.copy(), tensors.numbers("channel_scale_", "float64", (count,), positive).copy())


# Static features ------------------------------------------------------------------------------------------


def _static_described(static: StaticFeatures | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The field of static features, if there are any, and their tensors."""
    if static is None:
        return {}, {}
    tensors = {"static_mean_": static.mean, "static_scale_": static.scale}
    if static.names is not None:
        tensors[STATIC_NAMES] = labels.packed(static.names, STATIC_NAMES)[1]
    return {STATIC: {"named": static.names is not None}}, tensors


def _read_static(content: Any, tensors: Tensors) -> StaticFeatures:
    content = fields_of(content, STATIC, ["named"])
    with inside(STATIC):
        named = check_flag(content["named"], "named")
    mean = tensors.numbers("static_mean_", "float64", None)
    scale = tensors.numbers("static_scale_", "float64", mean.shape, positive)
    if not len(mean):
        raise ValueError("tensor 'static_mean_' must hold a number for each static feature, got none")
    names = None
    if named:
        names = labels.unpacked("object", tensors.take(STATIC_NAMES), f"tensor {STATIC_NAMES!r}")
        if names.shape != mean.shape:
            raise ValueError(f"tensor {STATIC_NAMES!r} must hold {len(mean)} names, got {len(names)}")
    return StaticFeatures(mean.copy(), scale.copy(), names)


# Targets --------------------------------------------------------------------------------------------------


def _codec_described(codec: Codec) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if isinstance(codec, Classes):
        kind, tensor = labels.packed(codec.classes, "classes_")
        return {"multilabel": codec.multilabel, "classes": kind}, {"classes_": tensor}
    parameter = encoded(codec.loss.parameter, "parameter")
    content = {"form": codec.form, "loss": codec.loss.kind, "parameter": parameter, "scaled": bool(codec.scaled)}
    return content, {"target_mean_": codec.mean, "target_scale_": codec.scale}


def _read_classes(content: Any, tensors: Tensors) -> Classes:
    content = fields_of(content, "targets", LABELS)
    with inside("targets"):
        multilabel = check_flag(content["multilabel"], "multilabel")
        classes = labels.unpacked(content["classes"], tensors.take("classes_"), "tensor 'classes_'")
    if len(classes) < (1 if multilabel else 2) or not (classes[1:] > classes[:-1]).all():
        raise ValueError("tensor 'classes_' must hold at least two labels, sorted, each of them once")
    if classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise ValueError("tensor 'classes_' must be finite")
    return Classes(classes, multilabel)


def _read_numbers(content: Any, tensors: Tensors) -> Numbers:
    content = fields_of(content, "targets", NUMBERS)
    with inside("targets"):
        kind = check_option(content["loss"], "loss", [*LOSSES])
        parameter = decoded(content["parameter"], "parameter")
        check_real(parameter, f"parameter of {kind!r}", *LOSSES[kind])
        form = check_option(content["form"], "form", FORMS)
        scaled = check_flag(content["scaled"], "scaled")
    mean = tensors.numbers("target_mean_", "float64", None)
    scale = tensors.numbers("target_scale_", "float64", mean.shape, positive)
    if not len(mean) or (form in ("one", "list of one") and len(mean) > 1):
        raise ValueError(f"tensor 'target_mean_' must hold a number for each target, got {len(mean)}")
    return Numbers(form, mean.copy(), scale.copy(), LossSpec(kind, parameter), scaled)
