"""Files of numlstm's own that lie: taken apart, changed, and put together."""

import json
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from damage import places

import numlstm

DATA = Path(__file__).parent / "data"
SMALL = {"hidden_size": 4, "max_iter": 2, "random_state": 0, "backend": "reference"}
LABELS = list("abcd") * 3


def parts(data):
    """The header, our text in it, and the tensors' bytes of a file."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["numlstm"]), data[8 + length :]


def joined(header, content, tensors, text=None, outer=None):
    """A file of them; `text` and `outer` are what stands for `content` and for the header."""
    header = header | {"__metadata__": {"numlstm": json.dumps(content) if text is None else text}}
    raw = json.dumps(header).encode() if outer is None else outer
    return len(raw).to_bytes(8, "little") + raw + tensors


def edited(data, where, value):
    """A file with one field of our text replaced, added, or with `...` removed."""
    header, content, tensors = parts(data)
    place = content
    for name in where[:-1]:
        place = place[name]
    if value is ...:
        del place[where[-1]]
    else:
        place[where[-1]] = value
    return joined(header, content, tensors)


def with_numbers(data, name, function):
    """A file with the numbers of one tensor changed in place."""
    header, content, tensors = parts(data)
    start, stop = header[name]["data_offsets"]
    kind = {"F32": np.float32, "F64": np.float64, "U32": np.uint32, "U8": np.uint8}[header[name]["dtype"]]
    array = np.frombuffer(tensors[start:stop], kind).copy()
    function(array)
    return joined(header, content, tensors[:start] + array.tobytes() + tensors[stop:])


def put(*values):
    def function(array):
        array[: len(values)] = values

    return function


def mutants(data, rng, count):
    """Files that differ from one by a few bits or bytes, that are cut, or that have parts twice or not at all."""
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(count):
        changed = bytearray(data)
        end = header if rng.random() < 0.8 else len(data)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(end))
            kind = rng.integers(6)
            if kind == 0:
                changed[at % len(changed)] ^= 1 << rng.integers(8)
            elif kind == 1:
                changed[at % len(changed)] = int(rng.integers(256))
            elif kind == 2:
                del changed[at : at + int(rng.integers(1, 40))]
            elif kind == 3:
                changed[at:at] = changed[at : at + int(rng.integers(1, 40))]
            elif kind == 4:
                changed[at % len(changed)] = rng.choice(list(b'0123456789-e."[]{}:,nulltrue'))
            else:
                del changed[at:]
                changed = changed or bytearray(1)
        if rng.random() < 0.5 and len(changed) > 8:  # so that the length of the header still is right
            changed[:8] = max(0, header - 8 + len(changed) - len(data)).to_bytes(8, "little")
        yield bytes(changed)


def edits(content, rng):
    """Our text with one value replaced by another that is odd."""
    odd = [None, True, 0, -1, 10**18, 1e300, "", "x", [], [[]], {}, {"tuple": []}, {"dict": [[1, 2]]}, {"float": "inf"},
           {"numpy": ["float32", 0.5]}, {"numpy": ["str", "lstm"]}, [1] * 50]  # fmt: skip
    found = places(content)
    place, key = found[rng.integers(len(found))]
    place[key] = odd[rng.integers(len(odd))]


def there_and_back(model, path):
    """What a file gives back, written and read without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        numlstm.save(model, path)
        return numlstm.load(path)


def assert_refused_soon(data, path, message):
    """A file that lies is refused before it has cost anything, in an error that names it."""
    path.write_bytes(data)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        numlstm.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert time.perf_counter() - start < 2.0


def with_odd_values(data, rng, count):
    """Files that differ from one by an odd value in our text."""
    for _ in range(count):
        header, content, tensors = parts(data)
        edits(content, rng)
        yield joined(header, content, tensors)


def assert_refused_or_whole(data, path):
    """Whether a file loads; what loads can be saved, and what does not is named."""
    path.write_bytes(data)
    try:
        loaded = numlstm.load(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
        return False
    there_and_back(loaded, path)
    return True
