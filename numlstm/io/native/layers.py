"""Layers as fields and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...backends.dispatch import check_name
from ...checks import check_integer, check_option
from ...layers import LAYERS
from ...layers.layer import Layer, layer_of
from ...layers.options import DEFAULTS, not_defaults, options_of, stack_of
from ...layers.stack import Stack
from .safetensors import Tensors
from .values import decoded, encoded, fields_of, inside

REGISTER = "; register a class of your own layers first (numlstm.layers.register)"
FIELDS = ("cell", "input_size", "hidden_size", "options", "dtype", "compute_dtype", "backend")


def to_fields(layer: Layer) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of a layer.

    Raises
    ------
    ValueError
        If a layer made of these fields would be another one.
    """
    stack = layer._stack
    defaults = {name: DEFAULTS[name] for name in options_of(layer.cell) if name not in layer._shown}
    options = layer._shown | defaults  # the options that are shown keep their order
    content = {
        "cell": layer.cell,
        "input_size": stack.input_size,
        "hidden_size": list(stack.hidden_sizes),
        "options": {name: encoded(value, name) for name, value in options.items()},
        "dtype": stack.dtype,
        "compute_dtype": stack.cell.compute_dtype,
        "backend": encoded(layer.backend, "backend"),
    }
    if stack_from_fields(content, 2 * stack.num_layers)[0] != stack:
        raise ValueError(f"layer must follow from its options to be written to a file, got {layer}")
    return content, dict(layer.parameters)


def from_fields(kind: type[Layer], content: Any, tensors: Tensors) -> Layer:
    """The layer that has these fields and tensors.

    Raises
    ------
    ValueError
        If there is none.
    """
    stack, shown, backend = stack_from_fields(content, len(tensors))
    if stack.cell.cell != kind.cell:
        raise ValueError(f"cell must be {kind.cell!r} in a {kind.__name__}, got {stack.cell.cell!r}")
    return layer_of(kind, stack, read_parameters(stack.shapes, stack.dtype, tensors), shown, backend)


def stack_from_fields(content: Any, tensors: int) -> tuple[Stack, dict[str, Any], str | None]:
    """A stack, the options that are not at their defaults, and a backend. The file has `tensors` for it, or more.

    Raises
    ------
    ValueError
        If a field is wrong; the message names it.
    """
    content = fields_of(content, "layer", FIELDS)
    cell, sizes = content["cell"], content["hidden_size"]
    if not isinstance(sizes, list) or not 0 < 2 * len(sizes) <= tensors:  # two matrices at least
        raise ValueError(f"hidden_size must be a list of a number for each layer, for at most {tensors} tensors")
    with inside("layer"):
        dtype = check_option(content["dtype"], "dtype", ("float32", "float64"))
        check_cell(cell)
        options = _options_from_fields(cell, content["options"])
        known = options | {"init": ("chrono", 3)} if options["init"] == "chrono" else options  # estimators count steps
        size = check_integer(content["input_size"], "input_size", 1)
        stack = stack_of(cell, size, dtype, known | {"hidden_size": sizes}).computing_in(content["compute_dtype"])
        backend = None if content["backend"] is None else check_name(decoded(content["backend"], "backend"))
    return stack, not_defaults(options), backend


def check_cell(cell: Any) -> None:
    """Refuse a cell without a registered class of layers."""
    try:
        check_option(cell, "cell", [*LAYERS])
    except ValueError as error:
        raise ValueError(f"{error}{REGISTER}") from None


def read_parameters(shapes: Mapping[str, tuple[int, ...]], dtype: str, tensors: Tensors) -> dict[str, np.ndarray]:
    """The parameters of these names and shapes, if all numbers are finite."""
    return {name: tensors.numbers(name, dtype, shape) for name, shape in shapes.items()}


def _options_from_fields(cell: str, content: Any) -> dict[str, Any]:
    """The options of a cell; those that a file lacks are at their defaults."""
    names = options_of(cell)
    options = {name: decoded(value, name) for name, value in fields_of(content, "options", [], names).items()}
    return options | {name: DEFAULTS[name] for name in names if name not in options}
