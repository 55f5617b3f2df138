"""Random masks, from numbers that depend only on a seed and a place.

The integers are wider than the words of `numlstm.backends.contract`. They are cut to the bits of a word where they may
become larger, so nothing overflows.

References
----------
.. [1] G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (the mixing
   function of SplitMix64).
.. [2] Y. Gal, Z. Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NIPS 2016
   (recurrent dropout: one mask a sequence).
.. [3] S. Semeniuta, A. Severyn, E. Barth, "Recurrent dropout without memory loss", COLING 2016 (on the candidate).
.. [4] D. Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations", ICLR 2017.
"""

from __future__ import annotations

from math import floor
from typing import NamedTuple

import numpy as np

from ..contract import STREAMS, LayerSpec, Noise

_GOLDEN = 0x9E3779B97F4A7C15
_LOW_32, _LOW_64 = 2**32 - 1, 2**64 - 1


class Masks(NamedTuple):
    """The factors of one step of one row.

    Attributes
    ----------
    recurrent : array, shape (1, columns of weight_hh)
        The factor of each vector before its product with ``weight_hh``: 0 for dropped units.
    candidate : array, shape (1, H)
        The factor of the vector that the step adds to the memory.
    zoneout : tuple of array, shape (1, S)
        The share of the old value in the new value, for each state.
    """

    recurrent: np.ndarray
    candidate: np.ndarray
    zoneout: tuple[np.ndarray, ...]


def make_masks(spec: LayerSpec, noise: Noise | None, t: int, n: int) -> Masks:
    """The masks of step t (of x) of row n; their expected values without noise."""
    columns = spec.shapes["weight_hh"][1]
    shares = [*spec.zoneout, *[0.0] * len(spec.state_sizes)]
    sized_shares = list(zip(spec.state_sizes, shares, strict=False))
    if noise is None:
        keep = tuple(np.full((1, size), share) for size, share in sized_shares)
        return Masks(np.ones((1, columns)), np.ones((1, spec.hidden_size)), keep)
    return Masks(
        scaled(dropped(noise, STREAMS["recurrent_dropout"], 0, n, columns, spec.recurrent_dropout),
               spec.recurrent_dropout),
        scaled(dropped(noise, STREAMS["candidate_dropout"], t, n, spec.hidden_size, spec.candidate_dropout),
               spec.candidate_dropout),
        tuple(dropped(noise, STREAMS["zoneout"] + k, t, n, size, share).astype(float)
              for k, (size, share) in enumerate(sized_shares)),
    )  # fmt: skip


def scaled(drop: np.ndarray, probability: float) -> np.ndarray:
    """0 for dropped units, ``1 / (1 - probability)`` for the others."""
    return np.where(drop, 0.0, 1.0 / (1.0 - probability))


def zone_out(masks: Masks, old: tuple[np.ndarray, ...], new: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """New states in which some units keep their old values: Krueger et al., eq. 1 to 3."""
    return tuple(n + k * (o - n) for k, o, n in zip(masks.zoneout, old, new, strict=True))


def zone_out_backward(masks: Masks, d: tuple[np.ndarray, ...]) -> tuple[tuple[np.ndarray, ...], ...]:
    """Gradients of the old and of the new states, from those of the mixed states."""
    old = tuple(k * dstate for k, dstate in zip(masks.zoneout, d, strict=True))
    return old, tuple((1.0 - k) * dstate for k, dstate in zip(masks.zoneout, d, strict=True))


def dropped(noise: Noise, kind: int, t: int, n: int, units: int, probability: float) -> np.ndarray:
    """Whether each unit is dropped, shape (1, units)."""
    key = row_key(int(noise.seed), 8 * noise.layer + kind, t, n)
    threshold = floor(2**32 * probability)
    return np.atleast_2d(unit_hash(key, np.arange(units, dtype=np.uint64)) < threshold)


def row_key(seed: int, stream: int, t: int, n: int) -> int:
    """The 64-bit key of a row, stream and step."""
    key = _mix(seed)
    for word in (stream, t, n):
        key = _mix((key + _GOLDEN * (word + 1)) & _LOW_64)
    return key


def _mix(z: int) -> int:
    """The mixing function of Steele et al., figure 16, in the variant of SplitMix64 (Stafford's mix 13)."""
    z ^= z >> 30
    z = (z * 0xBF58476D1CE4E5B9) & _LOW_64
    z ^= z >> 27
    z = (z * 0x94D049BB133111EB) & _LOW_64
    return z ^ (z >> 31)


def unit_hash(key: int, unit: np.ndarray) -> np.ndarray:
    """32 random bits in uint64 for each unit of the row with this key."""
    low, high = key & _LOW_32, key >> 32
    v = (unit * 0x9E3779B1 + low) & _LOW_32
    v ^= v >> 16
    v = (v * 0x7FEB352D) & _LOW_32
    v ^= v >> 15
    v ^= high
    v = (v * 0x846CA68B) & _LOW_32
    return v ^ (v >> 16)
