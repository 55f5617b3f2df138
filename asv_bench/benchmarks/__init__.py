"""Benchmarks of airspeed velocity, which measures every commit: run `asv` in the folder above."""
