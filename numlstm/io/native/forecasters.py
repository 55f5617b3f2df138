"""Forecasters as fields and tensors: their members, what intervals rest on, and the ends of the series."""

from __future__ import annotations

import numbers
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ...backends.contract import LossSpec
from ...checks import check_flag, check_integer, check_option
from ...forecasting.combination import Combination, Member
from ...forecasting.distributions import Head
from ...forecasting.forecaster import LSTMForecaster
from ...forecasting.frequency import FEATURES, Frequency
from ...forecasting.intervals import Calibration, Shifts, Stretch, Widths
from ...forecasting.learning import Learnt
from ...forecasting.members import Linear, Network, Trend
from ...forecasting.network import WindowRegressor
from ...forecasting.parameters import DISTRIBUTIONS, check_parameters, checked_levels
from ...forecasting.series import Panel, Seen, Series
from ...forecasting.settings import Settings
from ...forecasting.tables import Form, Stamps
from ...forecasting.windows import KINDS, CovariateScale, Lengths
from . import estimators
from .safetensors import Tensors
from .values import decoded, decoded_parameters, encoded, fields_of, inside, positive

FITTED = ("settings", "frequency", "head", "members", "calibration", "form", "series")
FREQUENCIES, TRANSFORMS = ("step", "fixed", "month", "business"), ("none", "log")
FORMS, LIBRARIES = ("array", "series", "frame", "long", "indexed"), ("numpy", "pandas", "polars")
STAMPS = ("none", "range", "integers", "dates", "periods", "column")
HEADS = ("point", "quantiles", *DISTRIBUTIONS)
COVARIATES = ("past", "future", "static")


def to_fields(model: LSTMForecaster) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of a forecaster, fitted or not."""
    content: dict[str, Any] = {"parameters": _parameters_to_fields(model), "fitted": None}
    if not hasattr(model, "_learnt"):
        return content, {}
    learnt, panel = model._learnt, model._panel
    tensors = {"weights": learnt.combination.weights}
    tensors |= {f"scale.{name}": getattr(learnt.combination.scale, name) for name in COVARIATES}
    members = []
    for k, member in enumerate(learnt.combination.members):
        fields, arrays = _member_to_fields(member)
        members.append(fields)
        tensors |= {f"members.{k}.{name}": array for name, array in arrays.items()}
    calibration, arrays = _calibration_to_fields(learnt.calibration)
    series, of_series = _series_to_fields(panel.series)
    content["fitted"] = {
        "settings": {**asdict(learnt.settings.lengths), **_listed(learnt.settings._asdict(), "lengths")},
        "frequency": asdict(learnt.frequency),
        "head": _listed(asdict(learnt.head)),
        "members": members,
        "calibration": calibration,
        "form": encoded(asdict(panel.form), "form"),
        "series": series,
    }
    return content, tensors | arrays | of_series


def from_fields(kind: type[LSTMForecaster], content: Any, tensors: Tensors) -> LSTMForecaster:
    """The forecaster that has these fields and tensors.

    Raises
    ------
    ValueError
        If they describe none.
    """
    content = fields_of(content, "model", ["parameters", "fitted"])
    model = kind(**decoded_parameters(content["parameters"], kind._get_param_names()))
    with inside("parameters"):
        check_parameters(model)
    if content["fitted"] is None:
        return model
    fitted = fields_of(content["fitted"], "fitted", FITTED)
    with inside("fitted"):
        model._learnt = _learnt_from_fields(fitted, tensors)
        model._panel = Panel(
            _series_from_fields(fitted["series"], model._learnt.combination.scale, tensors),
            model._learnt.frequency,
            _form_from_fields(fitted["form"]),
        )
    return model


def _parameters_to_fields(model: LSTMForecaster) -> dict[str, Any]:
    parameters = model.get_params(deep=False)
    seed = parameters["random_state"]
    if seed is not None and not isinstance(seed, numbers.Integral):
        raise ValueError(
            f"random_state must be an int or None to be written to a file, got {type(seed).__name__}: "
            "call set_params(random_state=None) first"
        )
    return {name: encoded(value, name) for name, value in parameters.items()}


def _listed(fields: dict[str, Any], *left_out: str) -> dict[str, Any]:
    """Fields with lists in place of tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in fields.items()
        if name not in left_out
    }


# What has been learnt -------------------------------------------------------------------------------------


def _learnt_from_fields(fitted: dict[str, Any], tensors: Tensors) -> Learnt:
    settings = _settings_from_fields(fitted["settings"])
    head = _head_from_fields(fitted["head"])
    members = fitted["members"]
    if not isinstance(members, list) or not members:
        raise ValueError(f"members must be a list of at least one, got {type(members).__name__}")
    found = []
    for k, (fields, own) in enumerate(zip(members, tensors.split("members", len(members)), strict=True)):
        with inside(f"members[{k}]"):
            found.append(_member_from_fields(fields, settings, head, own))
            own.end()
    weights = tensors.numbers("weights", "float64", (len(found),), lambda array: np.isfinite(array) & (array >= 0))
    scale = CovariateScale(*(_scale_from_tensor(tensors, f"scale.{name}") for name in COVARIATES))
    combination = Combination(settings.lengths, scale, found, weights.copy())
    calibration = _calibration_from_fields(fitted["calibration"], settings, head, tensors)
    return Learnt(settings, _frequency_from_fields(fitted["frequency"]), head, combination, calibration)


def _settings_from_fields(content: Any) -> Settings:
    content = fields_of(content, "settings", ["context", "horizon", "season", "kinds", "transform", "calendar"])
    with inside("settings"):
        lengths = Lengths(*(check_integer(content[name], name, 1) for name in ("context", "horizon", "season")))
        kinds = _options(content["kinds"], "kinds", (*KINDS, "counts"))
        transform = check_option(content["transform"], "transform", TRANSFORMS)
        if not kinds:
            raise ValueError("kinds must be a list of at least one")
        return Settings(lengths, kinds, transform, _options(content["calendar"], "calendar", FEATURES))


def _options(value: Any, name: str, options: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, got {type(value).__name__}")
    return tuple(check_option(each, name, options) for each in value)


def _frequency_from_fields(content: Any) -> Frequency:
    content = fields_of(content, "frequency", ["kind", "count", "offset", "at_end"])
    with inside("frequency"):
        return Frequency(
            check_option(content["kind"], "kind", FREQUENCIES),
            check_integer(content["count"], "count", 1),
            check_integer(content["offset"], "offset", 0),
            check_flag(content["at_end"], "at_end"),
        )


def _head_from_fields(content: Any) -> Head:
    content = fields_of(content, "head", ["kind", "levels"])
    with inside("head"):
        kind = check_option(content["kind"], "kind", HEADS)
        if not isinstance(content["levels"], list) or bool(content["levels"]) != (kind == "quantiles"):
            raise ValueError("levels must be a list, empty of all but quantiles")
        return Head(kind, tuple(checked_levels(content["levels"], "levels").tolist()) if content["levels"] else ())


def _scale_from_tensor(tensors: Tensors, name: str) -> np.ndarray:
    array = tensors.take(name)
    if array.dtype != np.float64 or array.ndim != 2 or len(array) != 2 or not np.isfinite(array).all():
        raise ValueError(f"tensor {name!r} must be finite float64 of shape (2, columns)")
    if (array[1] <= 0).any():
        raise ValueError(f"tensor {name!r} must have deviations above 0")
    return array.copy()


# Members --------------------------------------------------------------------------------------------------


def _member_to_fields(member: Member) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not isinstance(member, Network):
        names = ("steps", "errors") if isinstance(member, Trend) else ("coef", "intercept", "steps", "errors")
        arrays = {name: np.ascontiguousarray(getattr(member, name)) for name in names}
        return {"type": type(member).__name__.lower(), "kind": member.kind}, arrays
    models: list[Any] = []
    tensors: dict[str, np.ndarray] = {}
    for k, model in enumerate(member.models):
        fields, arrays = estimators.to_fields(_of_scores(model))
        models.append(fields)
        tensors |= {f"models.{k}.{name}": array for name, array in arrays.items()}
    return {"type": "network", "kind": member.kind, "gaps": member.gaps, "models": models}, tensors


def _of_scores(model: WindowRegressor) -> WindowRegressor:
    """The network as a regressor that predicts its scores, whatever they mean: the head knows that."""
    plain = WindowRegressor(**model.get_params(deep=False))
    plain.__dict__.update(vars(model))
    codec: Any = model._model.codec
    if model.head_loss.scores > 1:
        plain._model = replace(model._model, codec=replace(codec, loss=LossSpec("squared")))
    return plain


def _member_from_fields(content: Any, settings: Settings, head: Head, tensors: Tensors) -> Member:
    if isinstance(content, dict) and content.get("type") in ("linear", "trend"):
        return _simple_from_fields(fields_of(content, "member", ["type", "kind"]), settings, tensors)
    content = fields_of(content, "member", ["type", "kind", "gaps", "models"])
    check_option(content["type"], "type", ("linear", "trend", "network"))
    if not isinstance(content["models"], list):
        raise ValueError(f"models must be a list, got {type(content['models']).__name__}")
    models = []
    outputs = settings.lengths.horizon * head.loss.scores
    parts = tensors.split("models", len(content["models"]))
    for k, (fields, own) in enumerate(zip(content["models"], parts, strict=True)):
        with inside(f"models[{k}]"):
            model = estimators.from_fields(WindowRegressor, fields, own)
            own.end()
            if not hasattr(model, "_model") or model._model.network.outputs != outputs:
                raise ValueError(f"a network must be fitted, with {outputs} outputs")
            model.head_loss = head.loss
            models.append(model)
    return Network(
        check_option(content["kind"], "kind", settings.kinds), head, check_flag(content["gaps"], "gaps"), models
    )


def _simple_from_fields(content: dict[str, Any], settings: Settings, tensors: Tensors) -> Linear | Trend:
    horizon, is_trend = settings.lengths.horizon, content["type"] == "trend"
    kind = check_option(content["kind"], "kind", ("first",) if is_trend else settings.kinds)
    steps = tensors.numbers("steps", "float64", (horizon,)).copy()
    errors = tensors.numbers("errors", "float64", None).copy()
    if is_trend:
        return Trend(kind, steps, errors)
    coef = tensors.take("coef")
    if coef.dtype != np.float64 or coef.ndim != 2 or coef.shape[1] != horizon or not np.isfinite(coef).all():
        raise ValueError(f"tensor 'coef' must be finite float64 of shape (features, {horizon})")
    return Linear(kind, steps, errors, coef.copy(), tensors.numbers("intercept", "float64", (horizon,)).copy())


# Intervals ------------------------------------------------------------------------------------------------


def _calibration_to_fields(calibration: Calibration | None) -> tuple[Any, dict[str, np.ndarray]]:
    if calibration is None:
        return None, {}
    content = {"type": type(calibration).__name__.lower(), "held_out": bool(calibration.held_out)}
    return content, {"calibration.errors": np.ascontiguousarray(calibration.errors)}


def _calibration_from_fields(content: Any, settings: Settings, head: Head, tensors: Tensors) -> Calibration | None:
    if content is None:
        return None
    wanted = "stretch" if head.is_distribution else "shifts" if head.kind == "quantiles" else "widths"
    content = fields_of(content, "calibration", ["type", "held_out"])
    with inside("calibration"):
        check_option(content["type"], "type", (wanted,))
        held_out = check_flag(content["held_out"], "held_out")
    errors = tensors.take("calibration.errors")
    shape = (settings.lengths.horizon, *[len(head.levels)] * (wanted == "shifts"))
    if errors.dtype != np.float64 or errors.shape[1:] != shape or not _no_infinity(errors).all():
        raise ValueError(f"tensor 'calibration.errors' must be float64 of shape (windows, {shape})")
    if wanted == "shifts":
        return Shifts(held_out, errors.copy(), np.array(head.levels))
    return (Stretch if wanted == "stretch" else Widths)(held_out, errors.copy())


# Series ---------------------------------------------------------------------------------------------------


def _series_to_fields(series: list[Series]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The ends of all series, one behind the other."""
    tensors = {
        f"series.{name}": np.concatenate([getattr(each, name) for each in series]) for name in ("values", "past")
    }
    tensors["series.future"] = np.concatenate([each.future for each in series])
    tensors["series.static"] = np.stack([each.static for each in series])
    tensors["series.seen"] = np.array([each.seen[:3] for each in series if each.seen])
    counts = [[each.start, len(each), len(each.future), each.seen.end] for each in series if each.seen]
    tensors["series.counts"] = np.array(counts, np.int64)
    return {"keys": encoded([each.key for each in series], "the names of series")}, tensors


def _series_from_fields(content: Any, scale: CovariateScale, tensors: Tensors) -> list[Series]:
    content = fields_of(content, "series", ["keys"])
    keys = decoded(content["keys"], "keys")
    if not isinstance(keys, list) or not keys:
        raise ValueError("keys must be a list of at least one name")
    counts = tensors.numbers("series.counts", "int64", (len(keys), 4), lambda array: array[:, 1:3] >= 0)
    steps, known = counts[:, 1], counts[:, 2]
    values = tensors.numbers("series.values", "float64", (int(steps.sum()),), _no_infinity)
    past = _covariates(tensors, "past", int(steps.sum()), scale.past.shape[1])
    future = tensors.take("series.future")
    if future.dtype != np.float64 or future.ndim != 2 or len(future) != known.sum() or not _no_infinity(future).all():
        raise ValueError(f"tensor 'series.future' must be float64 of shape ({known.sum()}, columns)")
    static = _covariates(tensors, "static", len(keys), scale.static.shape[1])
    seen = tensors.numbers("series.seen", "float64", (len(keys), 3))
    if not positive(seen[:, 1]).all():
        raise ValueError("tensor 'series.seen' must have deviations above 0")
    ends, future_ends = np.cumsum(steps), np.cumsum(known)
    return [
        Series(
            key,
            values[end - count : end].copy(),
            int(start),
            past[end - count : end].copy(),
            future[future_end - future_count : future_end].copy(),
            static[k].copy(),
            Seen(float(seen[k, 0]), float(seen[k, 1]), float(seen[k, 2]), learnt),
        )
        for k, (key, (start, count, future_count, learnt), end, future_end) in enumerate(
            zip(keys, counts.tolist(), ends.tolist(), future_ends.tolist(), strict=True)
        )
    ]


def _covariates(tensors: Tensors, name: str, rows: int, columns: int) -> np.ndarray:
    return tensors.numbers(f"series.{name}", "float64", (rows, columns), _no_infinity)


def _no_infinity(array: np.ndarray) -> np.ndarray:
    return ~np.isinf(array)


def _form_from_fields(content: Any) -> Form:
    content = decoded(content, "form")
    content = fields_of(content, "form", ["kind", "library", "listed", "stamps", "names"])
    stamps = fields_of(content["stamps"], "stamps", ["kind", "name", "frequency", "zone", "local"])
    with inside("form"):
        for name in ("frequency", "zone"):
            if stamps[name] is not None and not isinstance(stamps[name], str):
                raise ValueError(f"{name} must be a text or null, got {type(stamps[name]).__name__}")
        if not isinstance(content["names"], tuple):
            raise ValueError("names must be a tuple")
        own = Stamps(
            check_option(stamps["kind"], "kind", STAMPS), stamps["name"], stamps["frequency"], stamps["zone"],
            check_flag(stamps["local"], "local"),
        )  # fmt: skip
        return Form(
            check_option(content["kind"], "kind", FORMS),
            check_option(content["library"], "library", LIBRARIES),
            check_flag(content["listed"], "listed"),
            own,
            content["names"],
        )
