"""Calls that are noted while they are made, so that they can be made again without the code that made them.

A step of training on batches of one shape is always the same calls, on memory that is kept. So it is recorded once:
what threads `share`, and what goes through `do`, `computed`, `contiguous` and `memory`. Whatever else happens in
between must be the same each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from .arrays import Arguments, aligned


class Recording:
    """The calls of a step, in order.

    Attributes
    ----------
    calls : list
        Callables without arguments; and tables with a call of machine code, as `threads.share` notes them.
    kept : list
        What these calls know by its address alone.
    result : callable
        Computes the result of the step from memory.
    """

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.kept: list[Any] = []
        self.result: Callable[[], float] = float

    def own(self, arguments: Arguments) -> int:
        """The address of a copy of the integers of a call, which others may overwrite."""
        own = Arguments.of(arguments.integers.copy(), arguments.kept)
        self.kept.append(own)
        return own.address


class _Active(threading.local):
    recording: Recording | None = None


_active = _Active()


def current() -> Recording | None:
    """The recording of this thread, if there is one."""
    return _active.recording


@contextmanager
def recording() -> Iterator[Recording]:
    """Note the calls that this thread makes inside the block."""
    _active.recording = noted = Recording()
    try:
        yield noted
    finally:
        _active.recording = None


@contextmanager
def only_if(repeated: bool) -> Iterator[None]:
    """Note what happens inside the block only if it is to be repeated."""
    noted = _active.recording
    _active.recording = noted if repeated else None
    try:
        yield
    finally:
        _active.recording = noted


def do(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function whose arguments are the same arrays and numbers each time."""
    if _active.recording:
        _active.recording.calls.append(partial(function, *arguments))
    return function(*arguments)


class Aside(partial):
    """A call that neither reads nor writes an array that others may take the place of."""


def aside(function: Callable[..., Any], *arguments: Any) -> None:
    """As `do`, for a function of arrays that no other ones may take the places of."""
    if _active.recording:
        _active.recording.calls.append(Aside(function, *arguments))
    function(*arguments)


def computed(function: Callable[..., np.ndarray], *arguments: Any, **options: Any) -> np.ndarray:
    """The new array that a function of NumPy gives; later calls write to it."""
    array = function(*arguments, **options)
    if _active.recording:
        _active.recording.calls.append(partial(function, *arguments, out=array, **options))
    return array


def contiguous(array: np.ndarray, dtype: Any = None) -> np.ndarray:
    """`array`, or a copy of it where it is not contiguous or of another dtype."""
    result = np.ascontiguousarray(array, dtype)
    if _active.recording and result is not array:
        _active.recording.calls.append(partial(np.copyto, result, array, "unsafe"))
    return result


def memory(shape: tuple[int, ...], dtype: Any, *, zero: bool = False) -> np.ndarray:
    """A new aligned array."""
    array = aligned(shape, dtype, zero=zero)
    if _active.recording:
        _active.recording.kept.append(array)
        if zero:
            _active.recording.calls.append(partial(array.fill, 0))
    return array


def keep(*objects: Any) -> None:
    """Keep what calls know by its address alone."""
    if _active.recording:
        _active.recording.kept.extend(objects)


def resulting(function: Callable[[], float]) -> float:
    """The result of a step, which a function computes from memory."""
    if _active.recording:
        _active.recording.result = function
    return function()
