"""What bug reports ask for."""

import subprocess
import sys


def test_the_module_prints_its_configuration():
    output = subprocess.run([sys.executable, "-m", "numlstm"], capture_output=True, text=True, check=True).stdout
    for name in ("numlstm", "numba", "cpu", "lanes", "tile", "threads", "kernel cache", "backend"):
        assert any(line.startswith(name) for line in output.splitlines()), name
    assert "no CUDA backend yet; 'auto' takes 'cpu'" in output
