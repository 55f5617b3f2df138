"""Estimators as fields and tensors."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from ...backends.contract import LossSpec
from ...backends.dispatch import check_name
from ...checks import SMALLEST, check_flag, check_integer, check_option, check_real
from ...estimators.base.model import Codec, Fitted
from ...estimators.base.trainable import TrainableModel
from ...estimators.classifier import LSTMClassifier
from ...estimators.data.channels import ChannelScale
from ...estimators.data.static import StaticFeatures
from ...estimators.language_model import LSTMLanguageModel
from ...estimators.tagger import LSTMTagger
from ...estimators.targets.alphabet import Alphabet
from ...estimators.targets.classes import Classes
from ...estimators.targets.next_tokens import NextTokens
from ...estimators.targets.numbers import Numbers
from ...estimators.targets.tags import Tags
from ...estimators.transcriber import LSTMTranscriber
from ...layers.stack import Stack
from ...training.embedding import TokenChannels
from ...training.network import PARTS, Network
from . import labels, language, layers, tokens, training
from .features import features_from_fields, features_to_fields
from .safetensors import Tensors
from .values import decoded, decoded_parameters, encoded, fields_of, inside, positive

FITTED = ("layer", "pooling", "activity", "targets", "features", "backend", "history", "session")
NOT_WRITTEN = "callback", "embedding"  # a function, and vectors that training has changed
# Fields only of fits with static features, with scaled X, and with tokens.
STATIC, CHANNELS, TOKENS = OPTIONAL = "static", "channels", "tokens"
LABELS, NUMBERS = ("multilabel", "classes"), ("form", "loss", "parameter", "scaled")
TAGS, ALPHABET = ("chain", "classes"), ("texts", "subsample", "classes")
STATIC_NAMES = "static_feature_names_in_"
FORMS = ("one", "several", "list of one", "list", "steps")
# The losses of a regressor, and the bounds of the parameter of each.
LOSSES = {
    "squared": (0.0, SMALLEST),
    "absolute": (0.0, SMALLEST),
    "huber": (SMALLEST, math.inf),
    "pinball": (SMALLEST, 1.0),
}


def to_fields(model: TrainableModel) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of an estimator, fitted or not."""
    content: dict[str, Any] = {"parameters": _parameters_to_fields(model), "fitted": None}
    if not hasattr(model, "_model"):
        return content, {}
    network, codec = model._model.network, model._model.codec
    parts: dict[str, tuple[Any, dict[str, np.ndarray]]] = {
        "layer": (layers.to_fields(model.layers_[0])[0], {}),
        "pooling": (network.pooling, {}),
        "activity": (None if network.activity is None else [*network.activity], {}),
        "targets": _codec_to_fields(codec, network),
        "features": features_to_fields(model),
        "backend": (model.backend_, {}),
        "history": training.history_to_fields(model),
        "session": training.session_to_fields(model),
        STATIC: _static_to_fields(model._model.static),
        CHANNELS: _channels_to_fields(model._model.channels),
        TOKENS: tokens.to_fields(model._model),
    }
    content["fitted"] = {name: field for name, (field, _) in parts.items() if field is not None or name in FITTED}
    tensors = dict(model._model.parameters)
    for _, arrays in parts.values():
        tensors |= arrays
    return content, tensors


def from_fields(kind: type[TrainableModel], content: Any, tensors: Tensors) -> TrainableModel:
    """The estimator that has these fields and tensors.

    Raises
    ------
    ValueError
        If there is none.
    """
    content = fields_of(content, "model", ["parameters", "fitted"])
    model = _unfitted(kind, content["parameters"])
    if content["fitted"] is not None:
        fitted = fields_of(content["fitted"], "fitted", FITTED, OPTIONAL)
        with inside("fitted"):
            model.__dict__.update(_results(model, fitted, tensors))
    return model


# Parameters -----------------------------------------------------------------------------------------------


def _parameters_to_fields(model: TrainableModel) -> dict[str, Any]:
    """The parameters of the constructor as JSON."""
    parameters = model.get_params(deep=False)
    parameters |= {name: None for name in NOT_WRITTEN if name in parameters}
    seed = parameters["random_state"]
    if seed is not None and not isinstance(seed, numbers.Integral):
        raise ValueError(
            f"random_state must be an int or None to be written to a file, got {type(seed).__name__}: "
            "call set_params(random_state=None) first"
        )
    return {name: encoded(value, name) for name, value in parameters.items()}


def _unfitted(kind: type[TrainableModel], content: Any) -> TrainableModel:
    """An estimator with these parameters."""
    parameters = decoded_parameters(content, kind._get_param_names())
    with inside("parameters"):
        if "cell" in parameters:
            layers.check_cell(parameters["cell"])
        if "class_weight" in parameters:
            _check_class_weight(parameters["class_weight"])
        model = kind(**parameters)
        model._check_parameters()
    return model


def _check_class_weight(value: Any) -> None:
    """Refuse what `fit` would refuse, except classes that are not among the labels."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return
    for weights in value if isinstance(value, list) else [value]:
        if not isinstance(weights, dict):
            raise ValueError("class_weight must be a dict, a list of dicts, 'balanced' or None")
        for weight in weights.values():
            check_real(float(weight) if isinstance(weight, np.bool_ | bool) else weight, "class_weight", 0.0, math.inf)


# Results --------------------------------------------------------------------------------------------------


def _results(model: TrainableModel, fitted: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    """The attributes of a fitted estimator."""
    stack, shown, _ = layers.stack_from_fields(fitted["layer"], len(tensors))
    reading, of_tokens = tokens.from_fields(fitted[TOKENS], stack) if TOKENS in fitted else (None, None)
    writes = isinstance(model, LSTMLanguageModel)
    codec: Codec = (
        language.codec_of(reading)
        if writes
        else CODECS.get(type(model), _numbers_from_fields)(fitted["targets"], tensors)
    )
    channels_of_frames, rest = divmod(stack.input_size, getattr(codec, "subsample", 1))
    if rest:
        raise ValueError("subsample must divide the inputs of the layer")
    static = _static_from_fields(fitted[STATIC], tensors) if STATIC in fitted else None
    count = channels_of_frames if reading is None else reading.width
    channels = _channels_from_fields(fitted[CHANNELS], count, tensors) if CHANNELS in fitted else None
    network = _network_from_fields(stack, codec, fitted, 0 if static is None else len(static.mean), of_tokens)
    if writes:
        network = language.network_from_fields(fitted["targets"], network)
    parameters = layers.read_parameters(network.shapes, stack.dtype, tensors)
    if not isinstance(fitted["backend"], str) or fitted["backend"] == "auto":
        raise ValueError("backend must be the name of a backend, and not 'auto'")
    backend = check_name(fitted["backend"])
    return {
        **features_from_fields(fitted["features"], count, tensors),
        **model._trained(Fitted(network, parameters, codec, {}, static, channels, reading), shown, backend),
        **training.history_from_fields(fitted["history"], tensors),
        **training.session_from_fields(fitted["session"], network, tensors),
    }


def _network_from_fields(
    stack: Stack, codec: Codec, fitted: dict[str, Any], static: int, of_tokens: TokenChannels | None
) -> Network:
    """The network of a stack, a pooling and an output for targets."""
    poolings = ("none",) if codec.by_step else [name for name in PARTS if name != "none"]
    pooling = check_option(fitted["pooling"], "pooling", poolings)
    activity = fitted["activity"]
    if activity is not None:
        if not isinstance(activity, list) or len(activity) != 2:
            raise ValueError("activity must be null or a list of two numbers")
        first, second = (check_real(number, "activity", 0.0, math.inf) for number in activity)
        activity = first, second
    return Network(stack, codec.outputs, pooling, codec.loss, activity, static, of_tokens)


# The scale of channels ------------------------------------------------------------------------------------


def _channels_to_fields(channels: ChannelScale | None) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """The field of the scale of X, if X was scaled, and its tensors."""
    if channels is None:
        return None, {}
    return {}, {"channel_mean_": channels.mean, "channel_scale_": channels.scale}


def _channels_from_fields(content: Any, count: int, tensors: Tensors) -> ChannelScale:
    fields_of(content, CHANNELS, [])
    mean = tensors.numbers("channel_mean_", "float64", (count,))
    return ChannelScale(mean.copy(), tensors.numbers("channel_scale_", "float64", (count,), positive).copy())


# Static features ------------------------------------------------------------------------------------------


def _static_to_fields(static: StaticFeatures | None) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """The field of static features, if there are any, and their tensors."""
    if static is None:
        return None, {}
    tensors = {"static_mean_": static.mean, "static_scale_": static.scale}
    if static.names is not None:
        tensors[STATIC_NAMES] = labels.packed(static.names, STATIC_NAMES)[1]
    return {"named": static.names is not None}, tensors


def _static_from_fields(content: Any, tensors: Tensors) -> StaticFeatures:
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


def _codec_to_fields(codec: Codec, network: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if isinstance(codec, NextTokens):
        return language.to_fields(network), {}
    if isinstance(codec, Classes):
        kind, tensor = labels.packed(codec.classes, "classes_")
        return {"multilabel": codec.multilabel, "classes": kind}, {"classes_": tensor}
    if isinstance(codec, Tags):
        kind, tensor = labels.packed(codec.classes, "classes_")
        return {"chain": codec.chain, "classes": kind}, {"classes_": tensor}
    if isinstance(codec, Alphabet):
        kind, tensor = labels.packed(codec.classes, "classes_")
        return {"texts": codec.texts, "subsample": codec.subsample, "classes": kind}, {"classes_": tensor}
    parameter = encoded(codec.loss.parameter, "parameter")
    content = {"form": codec.form, "loss": codec.loss.kind, "parameter": parameter, "scaled": bool(codec.scaled)}
    return content, {"target_mean_": codec.mean, "target_scale_": codec.scale}


def _classes_from_fields(content: Any, tensors: Tensors) -> Classes:
    content = fields_of(content, "targets", LABELS)
    with inside("targets"):
        multilabel = check_flag(content["multilabel"], "multilabel")
    return Classes(_sorted_labels(content, tensors, 1 if multilabel else 2), multilabel)


def _tags_from_fields(content: Any, tensors: Tensors) -> Tags:
    content = fields_of(content, "targets", TAGS)
    with inside("targets"):
        chain = check_flag(content["chain"], "chain")
    return Tags(_sorted_labels(content, tensors, 2), bool(chain))


def _alphabet_from_fields(content: Any, tensors: Tensors) -> Alphabet:
    content = fields_of(content, "targets", ALPHABET)
    with inside("targets"):
        texts = check_flag(content["texts"], "texts")
        subsample = check_integer(content["subsample"], "subsample", 1)
    classes = _sorted_labels(content, tensors, 1)
    if texts and classes.dtype.kind != "U":
        raise ValueError("tensor 'classes_' must hold texts where 'texts' is true")
    return Alphabet(classes, bool(texts), subsample)


def _sorted_labels(content: dict[str, Any], tensors: Tensors, least: int) -> np.ndarray:
    """Sorted labels."""
    with inside("targets"):
        classes = labels.unpacked(content["classes"], tensors.take("classes_"), "tensor 'classes_'")
    if len(classes) < least or not (classes[1:] > classes[:-1]).all():
        raise ValueError(f"tensor 'classes_' must hold at least {least} labels, sorted, each of them once")
    if classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise ValueError("tensor 'classes_' must be finite")
    return classes


def _numbers_from_fields(content: Any, tensors: Tensors) -> Numbers:
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


CODECS: dict[type, Callable[[Any, Tensors], Codec]] = {
    LSTMClassifier: _classes_from_fields,
    LSTMTagger: _tags_from_fields,
    LSTMTranscriber: _alphabet_from_fields,
}
