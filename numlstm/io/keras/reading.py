"""The layers of a Keras model from their descriptions, each with the layers in it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

from .builder import GraphBuilder
from .calls import Calls
from .config import Description, KerasLayer, description_of
from .files import KerasFile
from .layers import KINDS
from .operations import OPERATIONS
from .recurrent import LAYERS as RECURRENT

MODELS = ("Sequential", "Functional")
HOLDERS = (*MODELS, *RECURRENT, "Bidirectional", "TimeDistributed")
DEPTH = 32  # of models in models


class LayerReader:
    """Makes layers from their descriptions.

    Parameters
    ----------
    file : KerasFile
    builder : GraphBuilder
    """

    def __init__(self, file: KerasFile, builder: GraphBuilder) -> None:
        self._file, self._builder = file, builder
        self._shared: dict[Any, KerasLayer] = {}
        self._depth = 0

    def layer(self, description: Description, path: str) -> KerasLayer:
        """A layer with all layers in it. The arrays of a layer that is used twice are where it is used first."""
        key = (description.shared, description.kind, description.name)
        if description.shared is not None and key in self._shared:
            return self._shared[key]
        layer = KerasLayer(description, self._file, self._builder, path)
        known = OPERATIONS if layer.operation else (*KINDS, *HOLDERS, "InputLayer")
        if layer.kind not in known:
            raise layer.refused(
                "layers of this kind are not supported, and custom layers are code: make a model of the layers that "
                "from_keras names"
            )
        if description.shared is not None:
            self._shared[key] = layer
        self._depth += 1
        if self._depth > DEPTH:
            raise layer.refused(f"models and layers must be nested at most {DEPTH} deep")
        layer.children = self._children(layer)
        if layer.kind == "Functional":
            layer.calls = Calls(layer, layer.options.value("layers"))
        self._depth -= 1
        return layer

    def _children(self, layer: KerasLayer) -> list[KerasLayer]:
        """The layers in a layer, in the order in which Keras writes them."""
        options, path = layer.options, f"{layer.path}/" if layer.path else ""
        if layer.operation:
            return []
        if layer.kind in MODELS:
            return self._layers(layer, path)
        if layer.kind == "Bidirectional":
            forward = description_of(options.value("layer"), f"{layer.label}: layer")
            back = options.value("backward_layer")
            backward = _reversed(forward) if back is None else description_of(back, f"{layer.label}: backward_layer")
            for description in (forward, backward):
                if description.kind not in RECURRENT:
                    raise layer.refused(f"its layers must be of {[*RECURRENT]}, got {description.kind[:80]!r}")
            return [self.layer(forward, f"{path}forward_layer"), self.layer(backward, f"{path}backward_layer")]
        if layer.kind == "TimeDistributed":
            return [self.layer(description_of(options.value("layer"), f"{layer.label}: layer"), f"{path}layer")]
        if layer.kind == "RNN":
            return [self._cell(description_of(options.value("cell"), f"{layer.label}: cell"), f"{path}cell")]
        return []

    def _cell(self, description: Description, path: str) -> KerasLayer:
        """A cell, or several cells on top of one another."""
        cell = KerasLayer(description, self._file, self._builder, path)
        if cell.kind == "StackedRNNCells":
            configs = cell.options.value("cells")
            if not isinstance(configs, list) or not configs:
                raise cell.options.refused("cells", "a list of cells")
            names = _UniqueNames()
            for config in configs:
                inner = description_of(config, f"{cell.label}: cells")
                inner_path = f"{path}/cells/{names(inner.kind)}"
                cell.children.append(KerasLayer(inner, self._file, self._builder, inner_path))
        return cell

    def _layers(self, model: KerasLayer, path: str) -> list[KerasLayer]:
        """The layers of a model."""
        configs = model.options.value("layers")
        if not isinstance(configs, list) or not configs:
            raise model.options.refused("layers", "a list of layers")
        descriptions = [description_of(config, f"{model.label}: layers[{k}]") for k, config in enumerate(configs)]
        names, children = _UniqueNames(), []
        for k, description in enumerate(descriptions):
            first_input = model.kind == "Sequential" and k == 0 and description.kind == "InputLayer"
            counted = not description.operation and not first_input
            children.append(self.layer(description, f"{path}layers/{names(description.kind)}" if counted else ""))
        if model.kind == "Functional" and len({child.name for child in children}) < len(children):
            raise model.refused("its layers must have different names")
        return children


def _reversed(forward: Description) -> Description:
    """The default layer of the other direction."""
    backwards = forward.config.get("go_backwards") is not True
    return replace(forward, config={**forward.config, "go_backwards": backwards}, shared=None)


class _UniqueNames:
    """The names that a file gives to layers: their kinds in snake case, numbered from the second on."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def __call__(self, kind: str) -> str:
        name = re.sub(r"\W+", "", kind)
        name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
        name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
        self._used[name] += 1
        return f"{name}_{self._used[name] - 1}" if self._used[name] > 1 else name
