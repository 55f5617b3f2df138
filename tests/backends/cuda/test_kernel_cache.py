"""Kernels are kept on disk, and found there by another process: each cell's own, with each kind of products."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_compiling import compute_capability  # noqa: F401  (skips where nothing can be compiled)

TESTS = Path(__file__).parents[2]
PROCESS = """
import sys
sys.path.insert(0, {tests!r})
from cuda_compiling import compute_capability
from numba.cuda import dispatcher, types
from variants import variant
from numlstm.backends.contract import LayerSpec
from numlstm.backends.cuda import layout, recurrent, tables

dispatcher._Kernel.bind = lambda kernel: kernel.library.get_cubin()  # in place of loading it to a device


def compile(kind, precision, back):
    cell = LayerSpec(input_size=3, hidden_size=8, **kind).description
    make = recurrent.backward_kernel if back else recurrent.forward_kernel
    kernel = make(layout.register(cell), precision)
    reals, integers = types.Array(types.float32, 1, "C"), types.Array(types.int32, 1, "C")
    parameters = types.UniTuple(types.int64, len(cell.parameters))
    noise = types.UniTuple(types.int64, 2 * len(cell.masks) + 1)
    launch = types.NamedUniTuple(types.int64, len(tables.Launch._fields), tables.Launch)
    numbers = types.UniTuple(types.float32, len(cell.constants) + 3 * len(cell.masks) + 1)
    kinds = [*[reals] * 4, *[integers] * 4, parameters, numbers, noise, launch, integers]
    kinds += [reals, reals, reals, types.UniTuple(types.int64, len(cell.states))] if back else []
    with compute_capability((9, 0)):
        kernel.dispatcher.compile(tuple(kinds))
    stats = kernel.dispatcher.stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))


for arguments in {wanted}:
    compile(*arguments)
"""
LSTM, CLIPPED = 'variant("lstm")', 'variant("lstm", cell_clip=0.6)'


def counts(cache, wanted):
    """Hits and misses of each kernel that a fresh process wants."""
    text = PROCESS.format(tests=str(TESTS), wanted=f"[{', '.join(wanted)}]")
    places = {"NUMBA_CACHE_DIR": str(cache), "XDG_CACHE_HOME": str(cache / "user")}
    environment = os.environ | places | {"PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("back", [False, True])
def test_second_process_compiles_nothing(tmp_path, back):
    wanted = [f"({LSTM}, '', {back})"]
    assert counts(tmp_path, wanted) == [(0, 1)]
    assert counts(tmp_path, wanted) == [(1, 0)]


def test_other_cells_and_kinds_are_other_kernels(tmp_path):
    wanted = [f"({LSTM}, '', False)", f"({CLIPPED}, '', False)", f"({LSTM}, 'tf32', False)"]
    assert counts(tmp_path, wanted) == [(0, 1)] * 3
    assert counts(tmp_path, wanted) == [(1, 0)] * 3
