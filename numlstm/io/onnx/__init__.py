"""Reading and writing ONNX's format; the package onnx is needed only for the encoding."""
