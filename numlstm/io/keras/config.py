"""Layers in Keras's configurations: every option is read, known to be harmless, or refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .builder import GraphBuilder, Tensor
from .files import KerasFile

DTYPES = ("float32", "float64")
OPERATIONS = ("keras.src.ops.", "keras.ops")  # modules of operations that are no layers
MODULES = ("keras", "keras.layers", "keras.models", "keras.src.models.functional", "keras.src.models.sequential")
HARMLESS = re.compile(r"name|trainable|seed|dtype|.*_(?:initializer|regularizer|constraint)")  # in predictions
SHOWN = 80  # characters of a value in a message


@dataclass(frozen=True)
class Description:
    """An object in a configuration.

    Attributes
    ----------
    kind : str
        The name of its class in Keras.
    name : str
    config : mapping of str to value
        Its options.
    shared : object or None
        The same for all descriptions of the same object.
    operation : bool
        Whether it is an operation, not a layer.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    shared: Any
    operation: bool

    def __str__(self) -> str:
        return f"layer {self.name[:SHOWN]!r} ({self.kind[:SHOWN]})"


def description_of(value: Any, where: str) -> Description:
    """The description of a layer or an operation of Keras's own.

    Raises
    ------
    ValueError
        If it is another object: a custom object is code, and no code in a file is run.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object with class_name, module and config, got {type(value).__name__}")
    kind, module, config = (value.get(key) for key in ("class_name", "module", "config"))
    if not isinstance(kind, str) or not isinstance(config, dict):
        raise ValueError(f"{where} must have a text class_name and an object config, as in model.to_json()")
    name = config.get("name", value.get("name", kind))
    if not isinstance(name, str):
        raise ValueError(f"{where} must have a text for a name, got {name!r:.80}")
    registered, operation = value.get("registered_name"), isinstance(module, str) and module.startswith(OPERATIONS)
    if (not operation and module not in MODULES) or registered not in (None, kind):
        raise ValueError(
            f"layer {name[:SHOWN]!r} must be one of Keras's own, got {kind[:SHOWN]!r} of module {module!r:.80}: custom "
            "objects are code, and no code in a file is run"
        )
    return Description(kind, name, config, value.get("shared_object_id"), operation)


class Options:
    """The options of a layer; it remembers which of them have been read.

    Parameters
    ----------
    values : mapping of str to value
    label : str
        The layer's name in messages.
    """

    def __init__(self, values: Mapping[str, Any], label: str) -> None:
        self._values, self._label = values, label
        self._seen: set[str] = set()

    def refused(self, name: str, expected: str) -> ValueError:
        """The error for an option that must be something else."""
        return ValueError(f"{self._label}: {name} must be {expected}, got {self._values.get(name)!r:.80}")

    def value(self, name: str, default: Any = None) -> Any:
        """The value of an option, of any type."""
        self._seen.add(name)
        return self._values.get(name, default)

    def ignore(self, *names: str) -> None:
        """Mark options as read that matter only in training, or not at all."""
        self._seen.update(names)

    def flag(self, name: str, default: bool) -> bool:
        """True or False."""
        value = self.value(name, default)
        if not isinstance(value, bool):
            raise self.refused(name, "True or False")
        return value

    def off(self, name: str, why: str) -> None:
        """Refuse an option that is on; `why` ends the message."""
        if self.value(name) not in (None, False):
            raise self.refused(name, f"False: {why}")

    def integer(self, name: str, default: int | None = None, least: int | None = None) -> int:
        """An integer."""
        value = self.value(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
            raise self.refused(name, "an integer" + ("" if least is None else f" of at least {least}"))
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """A list of integers; a single integer is a list of one."""
        value = self.value(name)
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
            raise self.refused(name, "an integer, or a list of them")
        return tuple(numbers)

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self.value(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self.refused(name, "a number")
        return float(value)

    def choice(self, name: str, among: Sequence[Any], default: Any = None) -> Any:
        """One of some values."""
        value = self.value(name, default)
        if value not in among:
            raise self.refused(name, f"one of {[*among]}")
        return value

    def finish(self) -> None:
        """Refuse options that have not been read."""
        for name, value in self._values.items():
            if name not in self._seen and value is not None and not HARMLESS.fullmatch(name):
                raise ValueError(f"{self._label}: option {name[:SHOWN]!r} is not supported, got {value!r:.80}")

    @property
    def dtype(self) -> str:
        """The type in which the layer computes."""
        policy = self._values.get("dtype", "float32")
        if isinstance(policy, dict) and policy.get("class_name") == "DTypePolicy":
            config = policy.get("config")
            policy = config.get("name") if isinstance(config, dict) else config
        if policy not in DTYPES:
            raise ValueError(
                f"{self._label}: dtype must be one of {[*DTYPES]}, got {policy!r:.80}; mixed precision and quantised "
                "numbers cannot be reproduced exactly"
            )
        return policy


class KerasLayer:
    """A layer of a model: its options, its arrays, and the layers in it.

    Parameters
    ----------
    described : Description
    file : KerasFile
    builder : GraphBuilder
    path : str
        Where its arrays are in the file.

    Attributes
    ----------
    kind, name, label : str
    options : Options
    children : list of KerasLayer
    version : {2, 3}
        The version of Keras that wrote the file.
    """

    def __init__(self, described: Description, file: KerasFile, builder: GraphBuilder, path: str) -> None:
        self.kind, self.name, self.label = described.kind, described.name, str(described)
        self.operation = described.operation
        self.options = Options(described.config, self.label)
        self.builder, self.path, self.version = builder, path, file.version
        self.children: list[KerasLayer] = []
        self.calls: Any = None
        self._file = file
        self._kept: dict[str, Tensor] = {}
        self._arrays: list[np.ndarray] | None = None

    def refused(self, what: str) -> ValueError:
        """An error that names the layer."""
        return ValueError(f"{self.label}: {what}")

    def arrays(self, names: Sequence[str], dtype: str, path: str | None = None) -> list[np.ndarray]:
        """The layer's arrays, in the order of their names, in which Keras makes them."""
        if self._arrays is None:
            datasets = self._file.arrays(self.path if path is None else path)
            if len(datasets) != len(names):
                raise self.refused(
                    f"there must be {len(names)} arrays in the file, {[*names]}, got {len(datasets)}: check that "
                    "configuration and weights belong together"
                )
            labels = [f"{name} of {self.label}" for name in names]
            self._arrays = [self._file.read(*pair).astype(dtype) for pair in zip(datasets, labels, strict=True)]
        return self._arrays

    def check(self, array: np.ndarray, name: str, shape: Sequence[int | None]) -> None:
        """Refuse an array of another shape."""
        fits = array.ndim == len(shape) and all(
            size in (None, got) for size, got in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise self.refused(f"{name} must have shape {tuple(shape)}, got {array.shape}")

    def constant(self, name: str, make: Callable[[], np.ndarray]) -> Tensor:
        """A constant of the graph, made once for all uses of the layer."""
        if name not in self._kept:
            self._kept[name] = self.builder.constant(make(), name=name)
        return self._kept[name]
