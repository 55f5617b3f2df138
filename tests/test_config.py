"""What bug reports ask for."""

import re
import subprocess
import sys
import time

from numlstm.backends.cpu.machine import compiling
from numlstm.backends.cuda import availability
from numlstm.config import configuration


def test_the_module_prints_its_configuration():
    output = subprocess.run([sys.executable, "-m", "numlstm"], capture_output=True, text=True, check=True).stdout
    for name in ("numlstm", "numba", "cpu", "lanes", "tile", "threads", "kernel cache", "backend", "gpu"):
        assert any(line.startswith(name) for line in output.splitlines()), name


def test_without_a_gpu_it_says_why_and_soon(monkeypatch):
    configuration()
    monkeypatch.setattr(availability, "_driver_found", lambda: False)
    monkeypatch.setattr(availability, "_simulated", lambda: False)
    start = time.perf_counter()
    line = configuration()["gpu"]
    assert time.perf_counter() - start < 1.0
    assert re.match("none used: (no NVIDIA driver or GPU was found|the package numba-cuda is not installed)", line)


def test_a_wrong_variable_is_shown(monkeypatch):
    monkeypatch.setenv("NUMLSTM_BACKEND", "CUDA")
    assert "NUMLSTM_BACKEND must be 'auto'" in configuration()["backend"]


def test_places_of_kernels_are_shown_and_which_take_new_ones(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    places = tmp_path / "file" / "cache", tmp_path / "home" / "cache"
    monkeypatch.setattr(compiling, "cache_directories", lambda: places)
    assert configuration()["kernel cache"] == f"{places[0]} (read only), {places[1]}"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr(compiling, "cache_directories", lambda: ())
    assert configuration()["kernel cache"] == "none: set NUMBA_CACHE_DIR"
