"""Norms and optimizer steps on flat vectors, in blocks that threads share.

A step is one call of machine code: where the gradient is clipped, its norm comes first. It computes the
hyper-parameters of `equations.optimizers` itself, in float64, so that whoever repeats it has to write a number and a
learning rate alone.
"""

from __future__ import annotations

import math
import weakref
from typing import NamedTuple

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .. import plain
from ..equations import optimizers as equations
from .machine import threads
from .machine.arrays import Arguments, address_of
from .machine.board import ShardCall
from .machine.compiling import Kernel, free_sums, kernel, once
from .machine.memory import array_at, lanes_of, lesser, stored, vector_bytes

BLOCK = 1024  # numbers: blocks bound the rounding of a long sum
FLOP_OF_A_NUMBER = 250.0  # which take as long as a step on a number that lies in the caches of other cores, too
LIMIT, SCALE, OPTIONS = range(3)  # places of the settings; the options of the optimizer come last
SETTINGS = OPTIONS + 4

penalised = plain.compiled(equations.penalised, once, ())
adam_decay = plain.compiled(equations.adam_decay, once, ())
adam = plain.compiled(equations.adam, once, ())
sgd = plain.compiled(equations.sgd, once, ())
rmsprop = plain.compiled(equations.rmsprop, once, ())
clip_scale = plain.compiled(equations.clip_scale, once, ())
adam_numbers = plain.compiled(equations.adam_numbers, once, ())
sgd_numbers = plain.compiled(equations.sgd_numbers, once, ())
rmsprop_numbers = plain.compiled(equations.rmsprop_numbers, once, ())


class StepCall(NamedTuple):
    """A step of an optimizer."""

    flat: int  # (size,) numbers, updated
    gradient: int  # (size,) numbers
    first: int  # (size,) numbers, updated: the running mean, the velocity, or the mean of squares
    second: int  # (size,) numbers, updated: Adam's mean of squares
    decay: int  # (size,) strengths of the penalty; 0 where there is none
    step_and_rate: int  # float64 (2,): the number of the step, and the learning rate
    size: int
    settings: int  # float64: the greatest norm, the gradient's factor, and then the options of the optimizer


class Clip:
    """The factor that brings the norm of a vector down to a limit; the step that takes it computes it."""

    def __init__(self, vector: np.ndarray, limit: float) -> None:
        self.vector, self.limit = vector, limit

    def __float__(self) -> float:
        return float(equations.clip_scale(global_norm[self.vector.dtype](self.vector), self.limit))


@intrinsic
def rounded(typing_context, real, numbers):
    """A named tuple of float64, its numbers rounded to another type."""
    result = types.NamedUniTuple(real.instance_type, len(numbers), numbers.instance_class)

    def generate(context, builder, signature, arguments):
        values = cgutils.unpack_tuple(builder, arguments[1])
        cast = [context.cast(builder, value, numbers.dtype, result.dtype) for value in values]
        return context.make_tuple(builder, result, cast)

    return result(real, numbers), generate


@free_sums
def _squares(vector):
    total = 0.0
    for i in range(vector.size):  # from another start, indices might be negative, and loads would be gathers
        value = np.float64(vector[i])  # float() of a float32 is a float32 to Numba
        total += value * value
    return total


@once
def _norm(vector):
    norm = 0.0
    for start in range(0, vector.size, BLOCK):
        norm += _squares(vector[start : start + BLOCK])
    return math.sqrt(norm)


@kernel
def global_norm(vector):
    """Euclidean norm in float64; blocks bound the rounding of a long sum."""
    return _norm(vector)


@kernel
def clip(real, at, first, last):
    """The factor that brings the norm of a gradient down to its limit."""
    run = stored(StepCall, at)
    settings = array_at(np.float64, run.settings, OPTIONS)
    settings[SCALE] = clip_scale(_norm(array_at(real, run.gradient, run.size)), settings[LIMIT])


@once
def _part(real, address, first, count):
    """Some blocks of a vector at an address."""
    number = vector_bytes(real) // lanes_of(real)
    return array_at(real, address + first * BLOCK * number, count if address else 0)


@once
def _vectors(real, run, first, last):
    """Parameters, gradient, first moment and decay of the blocks first <= b < last; and how many numbers they have."""
    count = lesser(last * BLOCK, run.size) - first * BLOCK
    flat, gradient = _part(real, run.flat, first, count), _part(real, run.gradient, first, count)
    return flat, gradient, _part(real, run.first, first, count), _part(real, run.decay, first, count), count


@once
def _settings(run):
    """The gradient's factor and the options; the number of the step and the learning rate."""
    s, now = array_at(np.float64, run.settings, SETTINGS), array_at(np.float64, run.step_and_rate, 2)
    return (s[SCALE], s[OPTIONS], s[OPTIONS + 1], s[OPTIONS + 2], s[OPTIONS + 3]), (now[0], now[1])


@kernel
def adam_step(real, at, first, last):
    """One step of Adam or AdamW, of the blocks first <= b < last."""
    run = stored(StepCall, at)
    flat, gradient, mean, decay, count = _vectors(real, run, first, last)
    square = _part(real, run.second, first, count)
    (factor, beta1, beta2, epsilon, decoupled), (number, rate) = _settings(run)
    factor, numbers = real(factor), rounded(real, adam_numbers(number, rate, beta1, beta2, epsilon, decoupled != 0))
    for i in range(count):
        theta, g = flat[i], gradient[i] * factor
        if decay.size:
            theta, g = adam_decay(theta, g, decay[i], numbers)
        flat[i], mean[i], square[i] = adam(theta, g, mean[i], square[i], numbers)


@kernel
def sgd_step(real, at, first, last):
    """One step of gradient descent with momentum, of the blocks first <= b < last."""
    run = stored(StepCall, at)
    flat, gradient, velocity, decay, count = _vectors(real, run, first, last)
    (factor, momentum, nesterov, _, _), (_, rate) = _settings(run)
    factor, numbers = real(factor), rounded(real, sgd_numbers(rate, momentum, nesterov != 0))
    for i in range(count):
        g = gradient[i] * factor
        if decay.size:
            g = penalised(flat[i], g, decay[i])
        flat[i], velocity[i] = sgd(flat[i], g, velocity[i], numbers)


@kernel
def rmsprop_step(real, at, first, last):
    """One step of RMSprop, of the blocks first <= b < last."""
    run = stored(StepCall, at)
    flat, gradient, square, decay, count = _vectors(real, run, first, last)
    (factor, rho, epsilon, _, _), (_, rate) = _settings(run)
    factor, numbers = real(factor), rounded(real, rmsprop_numbers(rate, rho, epsilon))
    for i in range(count):
        g = gradient[i] * factor
        if decay.size:
            g = penalised(flat[i], g, decay[i])
        flat[i], square[i] = rmsprop(flat[i], g, square[i], numbers)


for shared in (clip, adam_step, sgd_step, rmsprop_step):
    shared.takes(ShardCall)


class Memory:
    """What the steps of an optimizer on a flat vector read besides its numbers, and their calls.

    Attributes
    ----------
    vectors : tuple of array or None
        Gradient, moments, decay, and the number and rate of a step, as `StepCall` has them.
    settings : float64 array
    """

    def __init__(self, step: Kernel, flat: np.ndarray, vectors: tuple[np.ndarray | None, ...]) -> None:
        self.step, self.vectors, self.settings = step, vectors, np.zeros(SETTINGS)
        addresses = [0 if array is None else address_of(array) for array in (flat, *vectors)]
        call = StepCall(*addresses, size=flat.size, settings=address_of(self.settings))  # type: ignore[misc]
        self.arguments, self.real = Arguments.of(np.array(call, np.int64), self), flat.dtype.type
        self.blocks, self.work = -(-flat.size // BLOCK), FLOP_OF_A_NUMBER * flat.size

    def take(self, scale: float | Clip, *options: float) -> None:
        """Take a step."""
        self.settings[OPTIONS : OPTIONS + len(options)] = options
        if isinstance(scale, Clip) and scale.vector is self.vectors[0]:
            self.settings[LIMIT] = scale.limit
            threads.share(clip, self.real, self.arguments)
        else:
            self.settings[SCALE] = float(scale)
        threads.share(self.step, self.real, self.arguments, threads.even_shards(self.blocks, self.work))


_memories: dict[int, Memory] = {}  # by the id of the flat vector, as long as it lives


def memory_of(step: Kernel, flat: np.ndarray, *vectors: np.ndarray | None) -> Memory:
    """The memory for steps on these vectors, as `Memory` has them; it is kept for the next step."""
    kept = _memories.get(id(flat))
    if kept is None:
        weakref.finalize(flat, _memories.pop, id(flat), None)
    elif kept.step is step and all(a is b for a, b in zip(kept.vectors, vectors, strict=True)):
        return kept
    memory = _memories[id(flat)] = Memory(step, flat, vectors)
    return memory
