"""Numlstm's own files: safetensors with a text that says what the tensors are; no code."""

from .models import load, save

__all__ = ["load", "save"]
