"""What gates let in, kept and gave out, at every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

STATES = {"h": "hidden_state", "c": "cell_state"}


class Trace(Mapping[str, Any]):
    """Gates and states of every step, by name, as attributes or as a mapping.

    Of an LSTM ``input_gate, forget_gate, cell_input, output_gate, cell_state, hidden_state``, of a GRU ``reset_gate,
    update_gate, candidate, hidden_state``, of a plain RNN ``hidden_state``. Each is an array (layers · directions, N,
    T, H), or (layers · directions, T, H) of one sequence, zeros past each length; a list of arrays (N, T, H) where
    layers differ in size. It is not changed once it is made: any number of threads may read it.

    Attributes
    ----------
    lengths : int array, shape (N,)
        Steps of each sequence.
    """

    def __init__(self, values: dict[str, Any], lengths: np.ndarray) -> None:
        self._values, self.lengths = values, lengths

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"Trace has {', '.join(self._values)} and lengths, but no {name}")
        return self._values[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._values]

    def __repr__(self) -> str:
        return f"Trace({', '.join(self._values)})"
