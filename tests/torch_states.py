"""State dicts of PyTorch's: compared, and in files."""

import json

import numpy as np


def same(made, given):
    """Names, their order, shapes, dtypes and all bits are the same."""
    assert list(made) == list(given)
    for name in made:
        array, other = np.asarray(made[name]), np.asarray(given[name])
        assert array.dtype == other.dtype
        assert array.shape == other.shape
        assert array.tobytes() == other.tobytes(), name


def write_safetensors(path, arrays, dtypes=None, **changes):
    """A file of safetensors, written here, with `changes` to entries of the header."""
    header, parts, start = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in arrays.items():
        kind = (dtypes or {}).get(name) or {"float16": "F16", "float32": "F32", "float64": "F64"}[array.dtype.name]
        parts.append(array.tobytes())
        entry = {"dtype": kind, "shape": array.shape, "data_offsets": [start, start + len(parts[-1])]}
        header[name] = entry | changes.get(name, {})
        start += len(parts[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
    return path
