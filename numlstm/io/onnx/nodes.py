"""Layers as the LSTM, GRU and RNN nodes of ONNX."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...graphs.operators.layers import ACTIVATIONS, ORDERS, PEEPHOLES, ROLES, USUAL, Weights, reordered
from ...layers.layer import Layer
from ...layers.options import DEFAULTS
from ..foreign import checked_stack, refuse_options

OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


def node_of(layer: Layer, index: int = 0) -> tuple[str, dict[str, Any], Weights]:
    """The operator, the attributes and the weights of the node that computes what one layer of a stack does.

    Parameters
    ----------
    layer : LSTM, GRU or RNN
    index : int, default 0
        The number of the layer in the stack.

    Raises
    ------
    ValueError
        If it has another cell, or an option that ONNX does not have; the message names it.
    """
    stack = checked_stack(layer, "ONNX")
    cell, options = stack.cell.cell, dict(stack.cell.options)
    refuse_options(_foreign_options(cell, options), stack, f"ONNX's {OPERATORS[cell]}")
    order, peephole_order = (np.argsort(blocks).tolist() for blocks in (ORDERS[cell], PEEPHOLES))
    suffixes = [f"_l{index}{suffix}" for suffix in ("", "_reverse")[: stack.directions]]
    parameters = layer.parameters
    weights = Weights(
        np.stack([reordered(parameters[f"weight_ih{suffix}"], order) for suffix in suffixes]),
        np.stack([reordered(parameters[f"weight_hh{suffix}"], order) for suffix in suffixes]),
        np.stack([
            np.concatenate([reordered(parameters[f"{name}{suffix}"], order) for name in ("bias_ih", "bias_hh")])
            for suffix in suffixes
        ]) if stack.cell.bias else None,
        np.stack([reordered(parameters[f"peephole{suffix}"], peephole_order) for suffix in suffixes])
        if options.get("peepholes") else None,
    )  # fmt: skip
    attributes: dict[str, Any] = {
        "hidden_size": stack.hidden_sizes[index],
        "direction": "bidirectional" if stack.bidirectional else "forward",
    }
    attributes |= _activation_attributes(cell, options, stack.directions)
    if options.get("preactivation_clip", math.inf) < math.inf:
        attributes["clip"] = options["preactivation_clip"]
    if options.get("coupled_gates") == "input":
        attributes["input_forget"] = 1
    if cell == "gru" and options.get("reset_after", True):
        attributes["linear_before_reset"] = 1
    return OPERATORS[cell], attributes, weights


def _foreign_options(cell: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a cell that ONNX does not have, and that change what is computed."""
    known = {*ROLES[cell], "preactivation_clip", "peepholes", "reset_after"}
    foreign = {name: value for name, value in options.items() if name not in known and value != DEFAULTS[name]}
    if foreign.get("coupled_gates") == "input":
        del foreign["coupled_gates"]
    return foreign


def _activation_attributes(cell: str, options: Mapping[str, Any], directions: int) -> dict[str, Any]:
    """The activations with all their parameters, unless they are ONNX's defaults."""
    names = {ours: name for name, ours in ACTIVATIONS.items()}
    chosen = [options.get(role, (ACTIVATIONS[usual],)) for role, usual in zip(ROLES[cell], USUAL[cell], strict=True)]
    chosen = [("affine", 1.0, 0.0) if ours == "identity" else (ours, *parameters) for ours, *parameters in chosen]
    if [names[ours] for ours, *_ in chosen] == [*USUAL[cell]]:
        return {}
    attributes: dict[str, Any] = {"activations": tuple(names[ours] for ours, *_ in chosen) * directions}
    for k, name in enumerate(("activation_alpha", "activation_beta")):
        if numbers := tuple(parameters[k] for _, *parameters in chosen if len(parameters) > k) * directions:
            attributes[name] = numbers
    return attributes
