"""Sequences that users pass, as one padded batch; and the errors where they do not make one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.contract import Array, Backend
from ..backends.dispatch import gpu_array_in
from ..concurrency import cached_property


def as_numbers(value: Any, name: str, dtype: str | None = None) -> np.ndarray:
    """A numeric array, in `dtype` if one is given.

    Raises
    ------
    TypeError
        If it holds anything but real numbers, or is in a GPU's memory.
    ValueError
        If it is ragged.
    """
    if gpu_array_in(value) is not None:
        raise TypeError(f"{name} must be in the host's memory, got a {type(value).__name__} in a GPU's")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be a rectangular array of numbers, got rows of unequal length") from None
    if array.dtype.kind not in "fiub":
        got = f"dtype {array.dtype}" if array.ndim else type(value).__name__
        raise TypeError(f"{name} must hold real numbers, got {got}")
    return array if dtype is None else array.astype(dtype, copy=False)


def as_array(value: Any, name: str, dtype: str, backend: Backend) -> np.ndarray | Array:
    """A numeric array in `dtype`: NumPy's, or a resident one if it is in a GPU's memory.

    Raises
    ------
    TypeError, ValueError
        As `as_numbers` does; or if `backend` cannot take it from where it is.
    """
    if value is not None and gpu_array_in(value) is value:
        return backend.adopt(value, name, dtype)[0]
    return as_numbers(value, name, dtype)


def resident(array: np.ndarray | Array, backend: Backend, dtype: str) -> Array:
    """An array from `as_array`, in the memory that `backend` computes in."""
    return backend.to_device(array, dtype) if isinstance(array, np.ndarray) else array


@dataclass(frozen=True)
class PaddedBatch:
    """Sequences as backends take them.

    Backends take no sequence without a step: such a row runs for one step, and its results are cleared.

    Attributes
    ----------
    x : array, shape (N, T, D)
        Padded with zeros; NumPy's, or resident if it came in a GPU's memory. It has one step where T is 0.
    lengths : int64 array, shape (N,), or None
        Steps of each row; None where all have T, and that is not 0.
    steps : int
        T.
    form : {"batch", "single", "list"}
        How the user passed it.
    give : callable or None
        Makes resident arrays what the user gets, of the kind that came; None where that is NumPy's.
    """

    x: np.ndarray | Array
    lengths: np.ndarray | None
    steps: int
    form: str
    give: Callable[[Array], Any] | None = None

    @cached_property
    def empty(self) -> list[int]:
        """The rows without a step."""
        return [] if self.lengths is None else np.flatnonzero(self.lengths == 0).tolist()

    @property
    def steps_to_run(self) -> np.ndarray | None:
        """`lengths` as backends take them."""
        return np.maximum(self.lengths, 1) if self.empty and self.lengths is not None else self.lengths

    def resident(self, backend: Backend, dtype: str) -> Array:
        """`x` in the memory that `backend` computes in."""
        return self.cleared(resident(self.x, backend, dtype), backend)

    def cleared(self, array: Array, backend: Backend) -> Array:
        """A resident array, or a copy of it that has zeros in the rows without a step, if there are any."""
        if self.empty:
            array = backend.multiply(array, 1.0)
            self.clear(array)
        return array

    def clear(self, array: Array) -> None:
        """Write zeros to the rows without a step."""
        for row in self.empty:
            array[row] = 0

    def keep(self, states: Sequence[Sequence[Array]], before: Sequence[Sequence[Array | None]] | None) -> None:
        """Write the states `before` to the rows without a step, for each layer and direction; None stands for zeros."""
        if not self.empty:
            return
        for index, of_layer in enumerate(states):
            for k, state in enumerate(of_layer):
                source = None if before is None else before[index][k]
                for row in self.empty:
                    state[row] = 0 if source is None else source[row]

    def outputs(self, y: Array, backend: Backend) -> Any:
        """Resident (N, T, ...) results as the user gets them."""
        return self.given(y if self.steps else y[:, :0], backend)

    def given(self, array: Array, backend: Backend) -> Any:
        """A resident (N, ...) array as the user gets it; without its first axis if there is one sequence alone."""
        if self.give is not None:
            return self.give(array[0] if self.form == "single" else array)
        return backend.to_numpy(array)[0] if self.form == "single" else backend.to_numpy(array)

    def restored(self, array: Array, backend: Backend) -> Any:
        """A resident (N, T, .) array in the form that the user passed."""
        if self.form != "list":
            return self.outputs(array, backend)
        lengths = self.x.shape[1:2] * len(self.x) if self.lengths is None else self.lengths
        rows = backend.to_numpy(array) if self.give is None else array
        parts = [row[: int(length)] for row, length in zip(rows, lengths, strict=True)]
        return parts if self.give is None else [self.give(part) for part in parts]

    def stacked(self, arrays: Sequence[Array], backend: Backend) -> Any:
        """Resident (N, S) arrays of layers and directions as one; a list of them where they differ in shape."""
        if self.give is None:
            return stacked([self.given(array, backend) for array in arrays])
        if len({array.shape for array in arrays}) > 1:
            return [self.given(array, backend) for array in arrays]
        parts = [array[0] if self.form == "single" else array for array in arrays]
        stack = backend.empty((len(parts), *parts[0].shape), str(parts[0].dtype))
        for k, part in enumerate(parts):
            stack[k] = part
        return self.give(stack)


def stacked(arrays: Sequence[np.ndarray]) -> Any:
    """Arrays of layers and directions as one; a list of them where they have different shapes."""
    if len({array.shape for array in arrays}) > 1:
        return list(arrays)
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def check_lengths(lengths: Any, rows: int, steps: int, least: int = 1) -> np.ndarray | None:
    """`lengths` as an int64 array, or None where every row has all `steps`.

    Raises
    ------
    TypeError, ValueError
        If they are not `rows` integers in least..steps.
    """
    if lengths is None:
        return None
    array = as_numbers(lengths, "lengths")
    if array.shape == (0,) == (rows,):
        return None
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths must hold integers, got dtype {array.dtype}")
    if array.shape != (rows,):
        raise ValueError(f"lengths must have shape ({rows},), one for each sequence, got {array.shape}")
    if array.min() < least or array.max() > steps:
        i = np.flatnonzero((array < least) | (array > steps))[0]
        raise ValueError(f"lengths must be in {least}..{steps}, the steps of x, got {array[i]} for sequence {i}")
    return None if (array == steps).all() else array.astype(np.int64)


def checked_sequences(sequences: Sequence[Any], name: str, least: int = 1) -> list[np.ndarray]:
    """Sequences as arrays (T_i, D).

    Raises
    ------
    TypeError, ValueError
        Naming the sequence that has fewer than `least` steps, is not two-dimensional, of another D, or not numeric.
    """
    _check_some(sequences, name)
    arrays = [as_numbers(sequence, f"{name}[{i}]") for i, sequence in enumerate(sequences)]
    check_shapes(arrays, name, least)
    return arrays


def _check_some(sequences: Sequence[Any], name: str) -> None:
    if not len(sequences):
        raise ValueError(f"{name} must hold at least one sequence, got none")


def check_shapes(arrays: Sequence[np.ndarray | Array], name: str, least: int = 1) -> None:
    """Refuse sequences that are not (T_i, D), all of one D, or have fewer than `least` steps.

    Raises
    ------
    ValueError
        Naming the first that is not.
    """
    for i, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[0] < least or not array.shape[1]:
            steps = "one step and " if least else ""
            expected = f"shape (steps, features) with at least {steps}one feature"
            raise ValueError(f"{name}[{i}] must have {expected}, got {array.shape}")
        if array.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"{name}[{i}] has {array.shape[1]} features, but {name}[0] has {arrays[0].shape[1]}; all must agree"
            )


def pad(sequences: Sequence[Any], dtype: str, name: str = "x", least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of shape (T_i, D) as one (N, T, D) array, zeros at the end, and their lengths.

    Raises
    ------
    TypeError, ValueError
        As `checked_sequences` does.
    """
    arrays = checked_sequences(sequences, name, least)
    lengths = np.array([len(array) for array in arrays], np.int64)
    padded = np.zeros((len(arrays), lengths.max(), arrays[0].shape[1]), dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded, lengths


def _padded_on(backend: Backend, sequences: Sequence[Any], dtype: str) -> tuple[Array, np.ndarray, Any]:
    """As `pad`, for arrays in a GPU's memory; and a function that gives results in the kind of the first one."""
    for i, sequence in enumerate(sequences):
        if gpu_array_in(sequence) is not sequence:
            raise TypeError(f"x[{i}] must be in a GPU's memory, as x[0] is, got {type(sequence).__name__}")
    adopted = [backend.adopt(sequence, f"x[{i}]", dtype) for i, sequence in enumerate(sequences)]
    arrays = [array for array, _ in adopted]
    check_shapes(arrays, "x", least=0)
    lengths = np.array([array.shape[0] for array in arrays], np.int64)
    padded = backend.zeros((len(arrays), int(lengths.max()), arrays[0].shape[1]), dtype)
    for k, array in enumerate(arrays):
        padded[k, : array.shape[0]] = array
    return padded, lengths, adopted[0][1]


def unpacked(value: Any) -> Any:
    """The list of sequences in a ``PackedSequence`` of PyTorch's; anything else as it is."""
    if not hasattr(value, "batch_sizes") or not hasattr(value, "unsorted_indices"):
        return value
    running = np.asarray(value.batch_sizes)  # sequences that have step t, of those that are sorted by length
    starts = np.cumsum(running) - running
    places = range(int(running[0])) if value.unsorted_indices is None else value.unsorted_indices.tolist()
    return [value.data[starts[running > place] + place] for place in places]


def as_batch(x: Any, lengths: Any, features: int, dtype: str, backend: Backend | None = None) -> PaddedBatch:
    """An (N, T, D) array, a (T, D) array, or a list of (T_i, D) arrays as a `PaddedBatch`.

    With a `backend` they may be in a GPU's memory, all of them.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, what was expected and what came.
    """
    there, give = (None if gpu_array_in(x) is None else backend), None
    if isinstance(x, list | tuple):
        if lengths is not None:
            raise ValueError("lengths must be None when x is a list: its sequences have lengths of their own")
        if there is not None:
            array, lengths, give = _padded_on(there, x, dtype)
        else:
            array, lengths = pad(x, dtype, least=0)
        form = "list"
    else:
        array, give = (as_numbers(x, "x", dtype), None) if there is None else there.adopt(x, "x", dtype)
        if array.ndim not in (2, 3):
            raise ValueError(f"x must have shape (N, T, {features}) or (T, {features}), got {array.shape}")
        form = "single" if array.ndim == 2 else "batch"
        array = array[None] if form == "single" else array
        if not array.shape[0]:
            raise ValueError(f"x must hold at least one sequence, got shape {array.shape}")
    rows, steps, last_axis = array.shape
    if last_axis != features:
        raise ValueError(f"x must have {features} features (input_size) on its last axis, got {last_axis}")
    row_steps = check_lengths(lengths, rows, steps, least=0)
    if not steps:
        row_steps = np.zeros(rows, np.int64)
        array = (np if there is None else there).zeros((rows, 1, features), dtype)
    return PaddedBatch(array, row_steps, steps, form, give)


def of_layers(
    given: Any, name: str, shapes: Sequence[tuple[int, ...]], dtype: str, backend: Backend
) -> list[np.ndarray | Array]:
    """An array for each layer and direction, of the shapes given: NumPy's, or resident if in a GPU's memory.

    Raises
    ------
    TypeError, ValueError
        If they are not numeric, or of other shapes.
    """
    if len({*shapes}) == 1:
        array = as_array(given, name, dtype, backend)
        if array.shape != (len(shapes), *shapes[0]):
            raise ValueError(f"{name} must have shape {(len(shapes), *shapes[0])}, got {array.shape}")
        return [array[k] for k in range(len(shapes))]
    if not isinstance(given, list | tuple) or len(given) != len(shapes):
        got = f"{len(given)} arrays" if isinstance(given, list | tuple) else type(given).__name__
        raise ValueError(f"{name} must be a list of {len(shapes)} arrays, as layers differ in size, got {got}")
    arrays = [as_array(array, f"{name}[{k}]", dtype, backend) for k, array in enumerate(given)]
    for k, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
        if array.shape != shape:
            raise ValueError(f"{name}[{k}] must have shape {shape}, got {array.shape}")
    return arrays
