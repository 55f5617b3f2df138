"""Bytes and configurations that are damaged, by chance."""

import json
import subprocess
import sys
from pathlib import Path

from numlstm.graphs.graph import Graph


def damaged(data, rng):
    """Bytes with some bits turned, some bytes replaced, or the end missing."""
    made, how = bytearray(data), rng.randrange(4)
    if how == 0:
        for _ in range(rng.choice((1, 3, 20))):
            made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    elif how == 1:
        del made[rng.randrange(len(made)) :]
    elif how == 2:
        place = rng.randrange(len(made) - 8)
        made[place : place + 8] = rng.choice((b"\xff" * 8, bytes(8), (1 << 62).to_bytes(8, "little")))
    else:
        filled = [place for place, value in enumerate(made) if value]
        for place in rng.sample(filled, 3):
            made[place] = rng.randrange(256)
    return bytes(made)


VALUES = (None, True, False, 0, 1, -1, 2**40, 0.5, "", "x", "lstm", "float32", [], [1], {}, [None, None, 2], "relu")


def places(value, found=None):
    """All places in a JSON value where another can be put: what it is in, and its key or number there."""
    found = [] if found is None else found
    for key in value if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            places(value[key], found)
    return found


def with_another_value(config, rng):
    """A configuration with one value replaced, removed or repeated, anywhere in it."""
    found = places(config)
    for _ in range(rng.choice((1, 1, 2))):
        parent, key = rng.choice(found)
        other, place = rng.choice(found)
        if (isinstance(parent, list) and key >= len(parent)) or (isinstance(parent, dict) and key not in parent):
            continue
        if rng.random() < 0.2:
            del parent[key]
        elif rng.random() < 0.3 and isinstance(other, dict) and place in other:
            parent[key] = json.loads(json.dumps(other[place]))
        else:
            parent[key] = rng.choice(VALUES)
    return config


def count_graphs(read, inputs, cases, errors):
    """Read and run many damaged files, each by its seed; what comes of each is a graph or a plain error.

    Prints the seed, for a process that crashes or hangs, and at the end how many there were of each.
    """
    count = {"graph": 0, "error": 0}
    for seed in range(cases):
        print("seed", seed, flush=True)
        try:
            graph = read(seed)
            assert isinstance(graph, Graph)
            graph.run({value.name: inputs[value.name] for value in graph.inputs if value.name in inputs})
            count["graph"] += 1
        except errors as error:
            count["error"] += bool(str(error))
    print(json.dumps(count))


def assert_graphs_or_errors(module, paths, folder, cases, seconds):
    """Every damaged file gives a graph or an error, and there are enough of both."""
    count = in_a_process(module, paths, folder, seconds)
    assert count["graph"] > cases / 10
    assert count["error"] > cases / 4
    assert sum(count.values()) == cases


def in_a_process(module, paths, folder, seconds):
    """What ``read_damaged_files(folder)`` of a test module counts, in a process that may crash or hang."""
    code = (
        f"import sys; sys.path[:0] = {[str(Path(path)) for path in paths]!r}\n"
        f"from {module} import read_damaged_files; read_damaged_files({str(folder)!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=seconds)
    last = run.stdout.strip().splitlines()[-1]
    assert run.returncode == 0, (last, run.stderr[-2000:])
    return json.loads(last)
