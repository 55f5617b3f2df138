"""The training of an estimator as fields and tensors: its losses, and the state from which `partial_fit` continues."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from ...checks import check_flag, check_integer, check_option
from ...estimators.base.model import Session
from ...estimators.base.trainable import TrainableModel
from ...training.loop import REASONS
from ...training.network import Network
from ...training.progress import ALL_EPOCHS
from .safetensors import Tensors
from .values import check_count, decoded, encoded, fields_of, inside

CURVES = ("validation_loss_curve_", "validation_scores_")  # which an estimator may lack
SLOTS = {"adam": 2, "adamw": 2, "sgd": 1, "rmsprop": 1}  # arrays that an optimizer keeps for each parameter


# Losses ---------------------------------------------------------------------------------------------------


def history_to_fields(model: TrainableModel) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The losses of all epochs."""
    present: list[str] = [name for name in CURVES if getattr(model, name) is not None]
    content = {"best_loss": encoded(model.best_loss_, "best_loss_"), "curves": present}
    if model.stop_reason_ != ALL_EPOCHS:
        content["stop_reason"] = model.stop_reason_  # a file without this field may be older than it
    return content, {name: np.array(getattr(model, name), np.float64) for name in ("loss_curve_", *present)}


def history_from_fields(content: Any, tensors: Tensors) -> dict[str, Any]:
    """The attributes that tell how training went."""
    content = fields_of(content, "history", ["best_loss", "curves"], ["stop_reason"])
    reason = ALL_EPOCHS
    if "stop_reason" in content:
        reason = check_option(content["stop_reason"], "history: stop_reason", [*REASONS])
    present = content["curves"]
    if not isinstance(present, list) or present != [name for name in CURVES if name in present]:
        raise ValueError(f"history: curves must be some of {list(CURVES)}, in this order")
    best = decoded(content["best_loss"], "history: best_loss")
    if isinstance(best, bool) or not isinstance(best, numbers.Real) or math.isnan(best):
        raise ValueError("history: best_loss must be a number")
    losses = tensors.numbers("loss_curve_", "float64", None).tolist()
    attributes: dict[str, Any] = {"loss_curve_": losses, **dict.fromkeys(CURVES)}
    for name in present:  # the score of few sequences can be NaN
        attributes[name] = tensors.numbers(name, "float64", None, lambda _: True).tolist()
    return attributes | {"best_loss_": best, "n_iter_": len(losses), "stop_reason_": reason}


# Sessions -------------------------------------------------------------------------------------------------


def session_to_fields(model: TrainableModel) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """The states of the optimizer and of the generator, if `partial_fit` was called last."""
    session = getattr(model, "_session", None)
    if session is None:
        return None, {}
    state: Any = session.rng.bit_generator.state
    content = {
        "solver": str(session.solver),
        "steps": session.steps,
        "generator": {
            "kind": state["bit_generator"],
            "state": f"{state['state']['state']:x}",  # 128 bits; most readers of JSON take fewer for a number
            "increment": f"{state['state']['inc']:x}",
            "has_half": bool(state["has_uint32"]),
            "half": int(state["uinteger"]),
        },
    }
    return content, {_slot(k, name): array for k, named in enumerate(session.state) for name, array in named.items()}


def session_from_fields(content: Any, network: Network, tensors: Tensors) -> dict[str, Any]:
    """The attribute from which `partial_fit` continues, if the file has one."""
    if content is None:
        return {}
    content = fields_of(content, "session", ["solver", "steps", "generator"])
    with inside("session"):
        solver = check_option(content["solver"], "solver", [*SLOTS])
        steps = check_count(content["steps"], "steps")
        rng = _generator_from_fields(content["generator"])
    state = [
        {
            name: tensors.numbers(_slot(k, name), network.stack.dtype, shape, lambda array: ~np.isnan(array))
            for name, shape in network.shapes.items()
        }
        for k in range(SLOTS[solver])
    ]
    return {"_session": Session(rng, solver, steps, state)}


def _slot(k: int, name: str) -> str:
    """The name of the tensor that an optimizer keeps for a parameter."""
    return f"optimizer.{k}.{name}"


def _generator_from_fields(content: Any) -> np.random.Generator:
    """NumPy's default generator in the saved state."""
    content = fields_of(content, "generator", ["kind", "state", "increment", "has_half", "half"])
    check_option(content["kind"], "kind", ("PCG64",))
    state, increment = (_from_hexadecimal(content[name], name) for name in ("state", "increment"))
    has_half, half = check_flag(content["has_half"], "has_half"), check_integer(content["half"], "half", 0)
    if not increment % 2:
        raise ValueError("increment must be odd")
    if half >= 2**32:
        raise ValueError(f"half must be below 2**32, got {half}")
    bits = np.random.PCG64(0)
    bits.state = {
        "bit_generator": "PCG64", "state": {"state": state, "inc": increment},
        "has_uint32": int(has_half), "uinteger": half,
    }  # fmt: skip
    return np.random.Generator(bits)


def _from_hexadecimal(text: Any, name: str) -> int:
    if not isinstance(text, str) or not 0 < len(text) <= 32 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{name} must be a hexadecimal number of at most 32 digits")
    return int(text, 16)
