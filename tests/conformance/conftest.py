"""Sabotaged backends are CPU backends: nothing about them is other on numba-cuda's simulator."""

from numba import config

collect_ignore = ["test_bite.py", "test_bite_sequences.py"] if config.ENABLE_CUDASIM else []
