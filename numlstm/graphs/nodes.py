"""The nodes of a graph, and the values that go in and come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from ..concurrency import cached_property
from .operators import ELEMENTS

AXES = 32  # of an array
TEXT = np.dtype(object)


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    op : str
        The operator's name in ONNX; with the domain "numlstm", the name of one of numlstm's own.
    inputs, outputs : tuple of str
        Names of values; "" for one that is left out.
    attributes : mapping of str to value
        ints, floats, texts, arrays (a tensor), and tuples of ints, floats or texts. Others are at their defaults.
    name : str
        For messages; may be empty.
    domain : {"", "ai.onnx.ml", "numlstm"}
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""

    def __str__(self) -> str:
        """The node's name in messages."""
        return f"node {self.name or ', '.join(self.outputs)!r:.80} ({self.op:.80})"


@dataclass(frozen=True)
class Value:
    """An input or output of a graph.

    Attributes
    ----------
    name : str
    dtype : str
        NumPy's name; "str" for texts.
    shape : tuple of int, str or None; or None
        Lengths of the axes: known, named, or unknown (None). None if even the number of axes is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None = None

    def check(self) -> None:
        """Refuse a name, dtype or shape that no array has."""
        if type(self.name) is not str or type(self.dtype) is not str:
            raise TypeError(f"values must have texts as names and dtypes, got {self.name!r:.80}, {self.dtype!r:.80}")
        if self.dtype not in (*ELEMENTS, "str"):
            raise ValueError(f"{self.name!r:.80}: dtype must be one of {[*ELEMENTS, 'str']}, got {self.dtype!r:.80}")
        shape = () if self.shape is None else self.shape
        if other := [length for length in shape if type(length) not in (int, str, type(None))]:
            raise TypeError(f"{self.name!r:.80}: shape must hold integers, names and None, got {other[0]!r:.80}")
        if len(shape) > AXES or any(isinstance(length, int) and length < 0 for length in shape):
            raise ValueError(f"{self.name!r:.80}: shape must have at most {AXES} lengths, none negative")

    @cached_property
    def _expected(self) -> tuple[np.dtype, int | None, Callable[..., Any] | None, Any]:
        """The dtype, the number of axes if it is known, a function that picks the known lengths, and these lengths."""
        dtype = np.dtype(object if self.dtype == "str" else self.dtype)
        if self.shape is None:
            return dtype, None, None, ()
        known = [k for k, size in enumerate(self.shape) if isinstance(size, int)]
        pick = itemgetter(*known) if known else None
        return dtype, len(self.shape), pick, pick(self.shape) if pick else ()

    def read(self, given: Any) -> np.ndarray:
        """The array that a user gives, checked and converted to the dtype."""
        array = given if type(given) is np.ndarray else self._array(given)
        dtype, axes, pick, lengths = self._expected
        if array.dtype is not dtype or dtype is TEXT:
            array = self._converted(array)
        if axes is not None and (array.ndim != axes or (pick and pick(array.shape) != lengths)):
            shown = ", ".join("?" if length is None else str(length) for length in self.shape or ())
            raise ValueError(f"input {self.name!r} must have shape ({shown}), got {array.shape}")
        return array

    def _array(self, given: Any) -> np.ndarray:
        """An array of anything that NumPy converts."""
        try:
            return np.asarray(given)
        except (TypeError, ValueError) as error:
            raise TypeError(f"input {self.name!r} must be an array, got {type(given).__name__}: {error}") from error

    def _converted(self, array: np.ndarray) -> np.ndarray:
        """The array in the dtype, if no number changes but by rounding."""
        if self.dtype != "str":
            if array.dtype == self.dtype:
                return array
            if not np.can_cast(array.dtype, self.dtype, "same_kind") or array.dtype.kind == "b":
                raise TypeError(f"input {self.name!r} must be an array of {self.dtype}, got {array.dtype}")
            with np.errstate(over="ignore"):
                cast = array.astype(self.dtype)
            if cast.dtype.kind in "iu" and (cast != array).any():
                raise ValueError(f"input {self.name!r} must hold numbers of {self.dtype}, got {array.max()}")
            return cast
        if array.dtype.kind not in "OUT":
            raise TypeError(f"input {self.name!r} must be an array of texts, got {array.dtype}")
        array = array.astype(object)
        if other := [value for value in array.flat if not isinstance(value, str)]:
            raise TypeError(f"input {self.name!r} must hold texts, got {type(other[0]).__name__}")
        return array
