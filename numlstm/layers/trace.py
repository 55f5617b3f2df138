"""The gates and states of every step, by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import lstmvis

STATES = {"h": "hidden_state", "c": "cell_state"}


class Trace(Mapping[str, Any]):
    """Gates and states of every step, by name, as attributes or as a mapping.

    Of an LSTM ``input_gate, forget_gate, cell_input, output_gate, cell_state, hidden_state``, of a GRU ``reset_gate,
    update_gate, candidate, hidden_state``, of a plain RNN ``hidden_state``. Each is an array (layers · directions, N,
    T, H), or (layers · directions, T, H) of one sequence, zeros past each length; a list of arrays (N, T, H) where
    layers differ in size. It never changes, so that any number of threads may read it.

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

    def save(self, path: str | os.PathLike[str], words: Any = None) -> None:
        """Write a project for LSTMVis [1]_: a folder that its server finds among its data.

        In it are `lstm.yml`, which lists what there is; `states.h5`, where each gate and state of each layer is a
        matrix (steps, units) named after it, such as ``cell_state_1``; `words.h5` and `words.dict`, what stands at each
        step. Sequences follow one another, without padding.

        Parameters
        ----------
        path : str or path-like
            The folder; it is made if it is not there, and files in it with these names are replaced.
        words : list of list of str, or list of str of one sequence; optional
            What to show at each step of each sequence, without spaces; by default the numbers of the steps.

        Raises
        ------
        TypeError, ValueError
            If `words` has not one for each step, or one with spaces.
        ImportError
            If h5py is not installed: extra ``keras``.

        References
        ----------
        .. [1] H. Strobelt et al., "LSTMVis: A Tool for Visual Analysis of Hidden State Dynamics in Recurrent Neural
           Networks", 2018.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from numlstm import LSTM
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     LSTM(3, 5, random_state=0).trace(np.ones((4, 3))).save(folder, words="to be or not".split())
        ...     print(*sorted(path.name for path in Path(folder).iterdir()))
        lstm.yml states.h5 words.dict words.h5
        """
        lstmvis.save(path, self._values, self.lengths, words)

    def __repr__(self) -> str:
        return f"Trace({', '.join(self._values)})"
