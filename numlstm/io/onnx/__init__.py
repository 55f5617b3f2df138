"""Models in ONNX's format, in and out; the package onnx reads and writes their encoding, and nothing else."""
