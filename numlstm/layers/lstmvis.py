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
    spoken = _words(words, lengths)
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    types = []
    with h5py.File(folder / "states.h5", "w") as file:
        for name, layers in values.items():
            pattern = KINDS.get(name, GATE if name.endswith("_gate") else INPUT)
            for k, layer in enumerate(layers, 1):
                file[f"{name}_{k}"] = _joined(np.asarray(layer), lengths)
                types.append("    " + pattern % (k, f"{name}_{k}"))
    ids = {word: k for k, word in enumerate(dict.fromkeys(spoken))}
    with h5py.File(folder / "words.h5", "w") as file:
        file["word_ids"] = np.array([ids[word] for word in spoken], np.int64)
    (folder / "words.dict").write_text("".join(f"{word} {k}\n" for word, k in ids.items()), encoding="utf-8")
    config = CONFIG.format(name=json.dumps(folder.resolve().name), types=",\n".join(types))
    (folder / "lstm.yml").write_text(config, encoding="utf-8")


def _joined(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The steps of all sequences, one after the other, (M, H), of (N, T, H) or (T, H)."""
    values = values[None] if values.ndim == 2 else values
    return np.concatenate([own[:length] for own, length in zip(values, lengths.tolist(), strict=True)])


def _words(words: Any, lengths: np.ndarray) -> list[str]:
    """What stands at each step of all sequences: given, or the number of the step.

    Raises
    ------
    TypeError, ValueError
        If there is not one for each step, or one is empty or has spaces, which LSTMVis would split.
    """
    if words is None:
        return [str(step) for length in lengths.tolist() for step in range(length)]
    if isinstance(words, str) or not isinstance(words, Sequence | np.ndarray):
        raise TypeError(f"words must be a list with one for each step of each sequence, got {type(words).__name__}")
    one = len(lengths) == 1 and (not len(words) or isinstance(words[0], str))
    sequences = [list(words)] if one else [list(own) for own in words]
    if [len(own) for own in sequences] != lengths.tolist():
        counts = [len(own) for own in sequences]
        raise ValueError(f"words must have one for each step, {lengths.tolist()} of each sequence, got {counts}")
    spoken = [str(word) for own in sequences for word in own]
    for word in spoken:
        if len(word.split()) != 1:
            raise ValueError(f"words must have no spaces and not be empty, got {word!r}")
    return spoken
