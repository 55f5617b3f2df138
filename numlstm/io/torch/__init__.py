"""Modules of PyTorch's, in and out; PyTorch itself is needed for its own files alone."""

from .layers import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
