"""Traces in the layout that LSTMVis reads: HDF5 files and a `lstm.yml` (Strobelt et al. 2018)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"cell_state": "{type: state, layer: %d, path: %s}",  # LSTMVis takes its tanh
         "hidden_state": "{type: output, layer: %d, path: %s, transform: none}"}  # fmt: skip
GATE = "{type: state, layer: %d, path: %s, unsigned: true, transform: none}"
INPUT = "{type: state, layer: %d, path: %s, transform: none}"

CONFIG = """\
name: {name}
description: {name}, traced by numlstm

files:
  states: states.h5
  words: words.h5
  dictionary: words.dict

word_sequence:
  file: words
  path: word_ids
  dict_file: dictionary

states:
  file: states
  types: [
{types}
  ]
"""


def save(path: str | os.PathLike[str], values: Mapping[str, Any], lengths: np.ndarray, words: Any) -> None:
    """Write a project of LSTMVis: a folder with `lstm.yml`, `states.h5`, `words.h5` and `words.dict`."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError('Trace.save needs h5py: pip install "numlstm[keras]"') from error
    flat_words = _words(words, lengths)
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    types = []
    with h5py.File(folder / "states.h5", "w") as file:
        for name, layers in values.items():
            pattern = KINDS.get(name, GATE if name.endswith("_gate") else INPUT)
            for k, layer in enumerate(layers, 1):
                file[f"{name}_{k}"] = _joined(np.asarray(layer), lengths)
                types.append("    " + pattern % (k, f"{name}_{k}"))
    ids = {word: k for k, word in enumerate(dict.fromkeys(flat_words))}
    with h5py.File(folder / "words.h5", "w") as file:
        file["word_ids"] = np.array([ids[word] for word in flat_words], np.int64)
    (folder / "words.dict").write_text("".join(f"{word} {k}\n" for word, k in ids.items()), encoding="utf-8")
    config = CONFIG.format(name=json.dumps(folder.resolve().name), types=",\n".join(types))
    (folder / "lstm.yml").write_text(config, encoding="utf-8")


def _joined(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The steps of all sequences of values (N, T, H) or (T, H), one after the other: (M, H)."""
    values = values[None] if values.ndim == 2 else values
    return np.concatenate([row[:length] for row, length in zip(values, lengths.tolist(), strict=True)])


def _words(words: Any, lengths: np.ndarray) -> list[str]:
    """The word at each step of all sequences; without `words`, the number of the step.

    Raises
    ------
    TypeError, ValueError
        If there is not one word for each step, or if a word is empty or has spaces: LSTMVis would split it.
    """
    if words is None:
        return [str(step) for length in lengths.tolist() for step in range(length)]
    if isinstance(words, str) or not isinstance(words, Sequence | np.ndarray):
        raise TypeError(f"words must be a list with one for each step of each sequence, got {type(words).__name__}")
    single = len(lengths) == 1 and (not len(words) or isinstance(words[0], str))
    rows = [list(words)] if single else [list(row) for row in words]
    counts = [len(row) for row in rows]
    if counts != lengths.tolist():
        raise ValueError(f"words must have one for each step, {lengths.tolist()} of each sequence, got {counts}")
    flat = [str(word) for row in rows for word in row]
    for word in flat:
        if len(word.split()) != 1:
            raise ValueError(f"words must have no spaces and not be empty, got {word!r}")
    return flat
