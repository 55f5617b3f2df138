"""Keras's layers as ONNX's operators, except recurrent layers and those that hold others."""

from . import attention, features, merging, normalization, shapes, windows
from .registry import KINDS

__all__ = ["KINDS", "attention", "features", "merging", "normalization", "shapes", "windows"]
