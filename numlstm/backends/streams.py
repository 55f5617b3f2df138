"""Streams of random numbers: the part of the hash in `contract` that is the same for a whole array."""

from __future__ import annotations

import math

import numpy as np

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
    key = _mixed((_mixed(int(noise.seed)) + GOLDEN * (stream + 1)) % 2**64)
    return key - 2**64 if key >= 2**63 else key


def threshold(probability: float) -> int:
    """Units with a hash below this are dropped."""
    return math.floor(2**32 * probability)


def row_hashes(noise: Noise, kind: str, units: np.ndarray) -> np.ndarray:
    """``hash(u)`` for units (N, T) of each row, where there is one mask a sequence; (N, T) unsigned integers."""
    rows = np.arange(len(units), dtype=np.uint64)
    key = np.full(len(rows), stream_key(noise, kind) % 2**64, np.uint64)
    for word in (np.zeros_like(rows), rows):
        z = key + np.uint64(GOLDEN) * (word + np.uint64(1))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        key = z ^ (z >> np.uint64(31))
    low, high = (part.astype(np.uint32)[:, None] for part in (key & np.uint64(2**32 - 1), key >> np.uint64(32)))
    v = units.astype(np.uint32) * np.uint32(0x9E3779B1) + low
    v = (v ^ (v >> np.uint32(16))) * np.uint32(0x7FEB352D)
    v = (v ^ (v >> np.uint32(15)) ^ high) * np.uint32(0x846CA68B)
    return v ^ (v >> np.uint32(16))
