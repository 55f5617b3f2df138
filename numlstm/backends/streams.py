"""Streams of random numbers: the part of `contract`'s hash that is computed once for a whole array."""

from __future__ import annotations

import math

from .contract import STREAMS, Noise

GOLDEN = 0x9E3779B97F4A7C15


def _mixed(z: int) -> int:
    """The mixing function of SplitMix64."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def stream_key(noise: Noise, kind: str, index: int = 0) -> int:
    """The key of a seed and a stream, as a signed integer."""
    stream = 8 * noise.layer + STREAMS[kind] + index
    key = _mixed((_mixed(noise.seed) + GOLDEN * (stream + 1)) % 2**64)
    return key - 2**64 if key >= 2**63 else key


def threshold(probability: float) -> int:
    """Hashes below it are dropped."""
    return math.floor(2**32 * probability)
