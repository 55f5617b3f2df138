"""Kernels fit the vector unit that Numba compiles for, which need not be this machine's own."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite.binding import get_host_cpu_features

import numlstm
from numlstm.backends.cpu.linear.tile import TILE_BYTES
from numlstm.backends.cpu.machine.target import TILE_VECTORS, target

TESTS = Path(__file__).parents[3]
ON_X86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="needs an x86 processor")
HAS_AVX2 = pytest.mark.skipif(not get_host_cpu_features().get("avx2"), reason="needs AVX2 to run")
ZEN_4 = "+sse2,+sse4.1,+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2,+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"

AGREES_WITH_REFERENCE = """
import numpy as np
from conformance_checks import LayerCase, check_layer
from kernel_calls import make_problem, run
from variants import variant
from numlstm.backends.cpu.backend import CpuBackend
from numlstm.backends.cpu.machine.target import TILE_VECTORS, target
from numlstm.backends.reference import ReferenceBackend

unit = target()
assert (unit.lanes(32), unit.tile_rows(TILE_VECTORS)[0], unit.fma) == ({lanes}, {rows}, {fma}), unit
problem = make_problem(7, 5, 5, 9, ragged=True)
expected = run(problem, ReferenceBackend())
for name, value in run(problem).items():
    np.testing.assert_allclose(value, expected[name], rtol=2e-5, atol=2e-5 * np.abs(expected[name]).max(), err_msg=name)
for kind in (
    variant("lstm", peepholes=True, full_gate_recurrence=True, layer_norm=True, zoneout=(0.2, 0.3), proj_size=2),
    variant("gru", candidate_dropout=0.3, recurrent_dropout=0.2),
):
    check_layer(CpuBackend(), LayerCase(kind=kind, hidden=9, lengths="unequal", noise=True))
"""

TILES = """
import numba
import numpy as np
from numlstm.backends.cpu.machine.tags import width
from numlstm.backends.cpu.machine.target import target
from numlstm.backends.cpu.linear.tile import {tile}

assert (target().instructions, target().lanes(32)) == ("{instructions}", {lanes}), target()
for vectors in range(1, 5):
    {tile}.address(numba.typeof(np.float32), width(vectors))
print(*{tile}.dispatcher.inspect_asm().values())
"""


NARROW = """
import numba
import numpy as np
from numlstm.backends.cpu.linear import {module}
from numlstm.backends.cpu.machine.tags import width

assert {module}.supported()
for vectors in range(1, 5):
    {module}.{tile}.address(numba.typeof(np.float32), width(vectors))
print(*{module}.{tile}.dispatcher.inspect_asm().values())
"""

INT8 = """
import numpy as np
from tolerances import assert_close
from numlstm import GRU, LSTM
from numlstm.backends.cpu.linear import quantised
from numlstm.backends.cpu.machine.target import target

assert target().lanes(32) == {lanes}, target()
quantised.supported = lambda: True
for kind, inputs, hidden in ((LSTM, 5, 37), (GRU, 18, 9)):
    x = np.random.default_rng(0).normal(size=(7, 1, inputs)).astype("float32")
    got, wanted = (
        kind(inputs, hidden, compute_dtype="int8", backend=name, random_state=0)(x)[0] for name in ("cpu", "reference")
    )
    assert_close("state", "y", got, wanted)
"""


BFLOAT16 = """
import numpy as np
from tolerances import assert_close
from numlstm import GRU, LSTM
from numlstm.backends.cpu.linear import halves
from numlstm.backends.cpu.machine.target import target

assert target().lanes(32) == {lanes}, target()
halves.supported = lambda: True
for kind, inputs, hidden in ((LSTM, 5, 37), (GRU, 18, 9)):
    x = np.random.default_rng(0).normal(size=(7, 3, inputs)).astype("float32")
    results = []
    for name in ("cpu", "reference"):
        y, _, pullback = kind(inputs, hidden, compute_dtype="bfloat16", backend=name, random_state=0).vjp(x)
        results.append((y, *pullback(x[:, :, :1] * y)[::2]))
    (y, dx, gradients), (wanted_y, wanted_dx, wanted) = results
    for name, got, expected in (("y", y, wanted_y), ("dx", dx, wanted_dx)):
        assert_close("bfloat16", name, got, expected)
    for name, expected in wanted.items():
        assert_close("bfloat16", name, gradients[name], expected)
"""


def run_on(cpu, features, script, **environment):
    """Run a script in a process whose kernels are compiled for a processor; give what it prints.

    They are kept apart from those for this processor, which are counted.
    """
    cache = str(Path(os.environ["NUMBA_CACHE_DIR"]) / cpu)
    chosen = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": cache, **environment}
    path = os.pathsep.join([str(TESTS), str(Path(numlstm.__file__).parents[1])])
    process = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | chosen | {"PYTHONPATH": path},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("bits", [32, 64])
def test_tiles_fit_this_target(bits):
    unit = target()
    assert unit.lanes(bits) * bits == 8 * unit.vector_bytes
    for vectors in range(1, unit.accumulators + 1):
        heights = unit.tile_rows(vectors)
        assert heights[0] * vectors <= unit.accumulators
        assert heights[-1] == 1
        assert list(heights) == sorted(set(heights), reverse=True)
        assert heights[0] * vectors * unit.vector_bytes <= TILE_BYTES
    assert unit.tile_rows(TILE_VECTORS)[0] > 1


@ON_X86
@pytest.mark.parametrize(
    ("cpu", "features", "lanes", "rows", "fma"),
    [
        pytest.param("haswell", "+avx,+avx2,+fma", 8, 3, True, marks=HAS_AVX2),
        ("x86-64", "+sse2,+sse4.1", 4, 3, False),
    ],
)
def test_agrees_with_the_reference_on(cpu, features, lanes, rows, fma):
    run_on(cpu, features, AGREES_WITH_REFERENCE.format(lanes=lanes, rows=rows, fma=fma))


def functions(assembly, name):
    """The instructions and labels of every function whose name begins so."""
    for start in re.finditer(rf"^{re.escape(name)}[\w.]*:$", assembly, re.MULTILINE):
        body = assembly[start.end() : assembly.index("\t.size\t", start.end())]
        yield [line.strip() for line in body.splitlines() if line.strip()]


def innermost_loops(lines):
    """Instructions from a label to a jump back to it, where there is no other label between."""
    label, body = None, []
    for line in lines:
        if line.endswith(":"):
            label, body = line[:-1], []
        elif not line.startswith("."):
            body.append(line)
            if line.startswith("j") and line.split()[-1] == label:
                yield body


@ON_X86
@pytest.mark.parametrize("tile", ["product", "lookup", "outer"])
@pytest.mark.parametrize(
    ("cpu", "features", "instructions", "lanes", "register", "sums"),
    [("znver4", ZEN_4, "AVX-512", 16, "%zmm", 24), ("haswell", "+avx,+avx2,+fma", "AVX2", 8, "%ymm", 12)],
)
def test_sums_stay_in_registers(tmp_path, tile, cpu, features, instructions, lanes, register, sums):
    """Nothing is run: this machine may have no such registers."""
    script = TILES.format(tile=tile, instructions=instructions, lanes=lanes)
    assembly = run_on(cpu, features, script, NUMBA_CACHE_DIR=str(tmp_path))
    tiles = list(functions(assembly, f"_ZN7numlstm8backends3cpu6linear4tile{len(tile)}{tile}"))
    assert len(tiles) == 4, "one of each width"
    for body in tiles:
        tallest = 0
        for loop in innermost_loops(body):
            multiply_adds = [line for line in loop if line.startswith("vfmadd") and register in line]
            assert multiply_adds, loop
            spilt = [line for line in loop if "(%rsp" in line and register in line]
            assert not spilt, "a sum spills to the stack"
            tallest = max(tallest, len({line.split()[-1] for line in multiply_adds}))
        assert tallest == sums, "sums held in registers by the tallest tile"
        lines = sums * lanes * 4 // 64  # of the tallest tile
        fetched = len([line for line in body if line.startswith("prefetch")])
        assert (lines <= fetched) if tile == "outer" else fetched == 0, "outer tiles ask for what they add to"


@ON_X86
@pytest.mark.parametrize(
    ("cpu", "features", "tile", "instruction", "register", "sums"),
    [
        ("cooperlake", f"{ZEN_4},+avx512bf16", "halves.half_product", "vdpbf16ps", "%zmm", 24),
        ("cascadelake", f"{ZEN_4},+avx512vnni", "quantised.quantised_product", "vpdpbusd", "%zmm", 24),
        ("alderlake", "+avx,+avx2,+fma,+avxvnni", "quantised.quantised_product", "vpdpbusd", "%ymm", 12),
    ],
)
def test_products_of_fewer_bits_take_one_instruction(tmp_path, cpu, features, tile, instruction, register, sums):
    """Where there is one; nothing is run."""
    module, name = tile.split(".")
    script = NARROW.format(module=module, tile=name)
    assembly = run_on(cpu, features, script, NUMBA_CACHE_DIR=str(tmp_path))
    tiles = list(functions(assembly, f"_ZN7numlstm8backends3cpu6linear{len(module)}{module}{len(name)}{name}"))
    assert len(tiles) == 4, "one of each width"
    for body in tiles:
        tallest = 0
        for loop in innermost_loops(body):
            dots = [line for line in loop if instruction in line]
            assert dots, loop
            assert not [line for line in loop if "(%rsp" in line and register in line], "a sum spills to the stack"
            tallest = max(tallest, len({line.split()[-1] for line in dots}))
        assert tallest == sums


@ON_X86
@pytest.mark.parametrize(
    ("cpu", "features", "lanes"),
    [pytest.param("haswell", "+avx,+avx2,+fma", 8, marks=HAS_AVX2), ("x86-64", "+sse2,+sse4.1", 4)],
)
@pytest.mark.parametrize("script", [INT8, BFLOAT16], ids=["int8", "bfloat16"])
def test_fewer_bits_without_their_instruction_are_those_of_the_reference(cpu, features, lanes, script):
    run_on(cpu, features, script.format(lanes=lanes))
