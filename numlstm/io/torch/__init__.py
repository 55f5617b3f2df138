"""Reading and writing PyTorch's modules. PyTorch itself is needed only for its own files."""

from .layers import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
