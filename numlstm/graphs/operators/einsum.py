"""ONNX's Einsum: products of any number of arrays, summed over axes; letters name the axes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from . import MANY, TEXT, check_room, check_same, operator

TERM = re.compile(r"([A-Za-z]*)(?:(\.\.\.)([A-Za-z]*))?")
SEARCHED = 6  # arrays among which the next two factors are searched

Labels = tuple[str, ...]


class Factor(NamedTuple):
    """An array and the names of its axes."""

    labels: Labels
    array: np.ndarray


@operator("Einsum", (1, MANY), since=12, shares=True, equation=TEXT(...))
def einsum(*arrays: np.ndarray, equation: str) -> Any:
    """Sums of products. A term of the equation names the axes of each array, and one those of the result."""
    check_same(*arrays)
    if arrays[0].dtype.kind not in "fiu":
        raise ValueError(f"Einsum of {arrays[0].dtype} is not known")
    terms, output = _read(equation, tuple(array.ndim for array in arrays))
    sizes = _sizes(terms, arrays)
    check_room([sizes[label] for label in output], *arrays)
    wide = "float32" if arrays[0].dtype == np.float16 else arrays[0].dtype
    factors = [_factor(*pair, sizes, wide) for pair in zip(terms, arrays, strict=True)]
    product = _multiplied(factors, output)
    order = [product.labels.index(label) for label in output]
    return product.array.transpose(order).astype(arrays[0].dtype, copy=False)


# Equations ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _read(equation: str, axes: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """The names of the axes of each array, and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(axes):
        raise ValueError(f"equation must have {len(axes)} terms, as there are inputs, got {equation!r:.80}")
    dots = {_dots(text, number, equation) for text, number in zip(texts, axes, strict=True)} - {None}
    if len(dots) > 1:
        raise ValueError(f"... must be as many axes everywhere in {equation!r:.80}, got {sorted(map(str, dots))}")
    number = max((count for count in dots if count is not None), default=0)
    terms = tuple(_labels(text, number, equation) for text in texts)
    output = _labels(right, number, equation) if arrow else _implied(terms, number)
    if number and arrow and "..." not in right:
        raise ValueError(f"the result in equation must have ..., as terms before it have, got {equation!r:.80}")
    known = {label for term in terms for label in term}
    if len({*output}) < len(output) or not known.issuperset(output):
        raise ValueError(f"the result in equation must have different letters, of those before it, got "
                         f"{equation!r:.80}")  # fmt: skip
    return terms, output


def _match(text: str, equation: str) -> re.Match[str]:
    found = TERM.fullmatch(text)
    if not found:
        raise ValueError(f"a term in equation must be letters, with ... once at most, got {text!r:.40} in "
                         f"{equation!r:.80}")  # fmt: skip
    return found


def _dots(text: str, axes: int, equation: str) -> int | None:
    """The number of axes that the dots in a term stand for; None without dots."""
    match = _match(text, equation)
    letters = len(match[1]) + len(match[3] or "")
    if letters > axes or (letters < axes and not match[2]):
        raise ValueError(f"term {text!r:.40} in equation must name {axes} axes, as its input has them")
    return axes - letters if match[2] else None


def _labels(text: str, dots: int, equation: str) -> Labels:
    """The names of axes: letters, and numbers for the axes of dots."""
    match = _match(text, equation)
    return (*match[1], *(map(str, range(dots)) if match[2] else ()), *(match[3] or ""))


def _implied(terms: Sequence[Labels], dots: int) -> Labels:
    """The axes of dots, and then the letters that occur once."""
    counts = Counter(label for term in terms for label in term)
    return (*map(str, range(dots)), *sorted(label for label in counts if counts[label] == 1 and label.isalpha()))


def _sizes(terms: Sequence[Labels], arrays: Sequence[np.ndarray]) -> dict[str, int]:
    """The length of each axis; if arrays differ, the one that is not 1."""
    sizes: dict[str, int] = {}
    for term, array in zip(terms, arrays, strict=True):
        term_sizes: dict[str, int] = {}
        for label, size in zip(term, array.shape, strict=True):
            if term_sizes.setdefault(label, size) != size:
                raise ValueError(
                    f"axes of one letter in a term must be of one length, got {term_sizes[label]} and {size}"
                )
            known = sizes.setdefault(label, size)
            if 1 not in (known, size) and known != size:
                raise ValueError(f"axes {label!r} must be of one length, or 1, got {known} and {size}")
            sizes[label] = size if known == 1 else known
    return sizes


# Products -----------------------------------------------------------------------------------------------------


def _factor(term: Labels, array: np.ndarray, sizes: dict[str, int], dtype: Any) -> Factor:
    """An array with each of its axes once, and without axes of length 1 that are repeated."""
    labels = [*term]
    for label in {*term}:
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            array = array.diagonal(0, first, second)
            labels = [*labels[:first], *labels[first + 1 : second], *labels[second + 1 :], label]
    repeated = tuple(k for k, label in enumerate(labels) if array.shape[k] != sizes[label])
    kept = tuple(label for k, label in enumerate(labels) if k not in repeated)
    return Factor(kept, array.squeeze(repeated).astype(dtype, copy=False))


def _multiplied(factors: list[Factor], output: Labels) -> Factor:
    """The product of all arrays, two at a time; pairs with the smallest product come first."""
    uses = Counter(label for factor in factors for label in factor.labels)
    alone = {label for label, number in uses.items() if number == 1} - {*output}
    rest = [_summed(factor, alone) for factor in factors]
    while len(rest) > 1:
        pairs = combinations(range(min(len(rest), SEARCHED)), 2)
        first, second = min(pairs, key=lambda pair: _cost(rest[pair[0]], rest[pair[1]], uses, output))
        y, x = rest.pop(second), rest.pop(first)
        kept = _kept(x, y, uses, output)
        uses.subtract(x.labels)
        uses.subtract(y.labels)
        product = _product(x, y, kept)
        uses.update(product.labels)
        rest.insert(0, product)
    return rest[0]


def _summed(factor: Factor, labels: Collection[str]) -> Factor:
    """The sum over some axes."""
    axes = tuple(k for k, label in enumerate(factor.labels) if label in labels)
    if not axes:
        return factor
    kept = tuple(label for label in factor.labels if label not in labels)
    return Factor(kept, np.asarray(factor.array.sum(axes, dtype=factor.array.dtype)))


def _kept(x: Factor, y: Factor, uses: Counter[str], output: Labels) -> set[str]:
    """The axes of two arrays that other arrays or the result have."""
    both = Counter((*x.labels, *y.labels))
    return {label for label, number in both.items() if label in output or uses[label] > number}


def _cost(x: Factor, y: Factor, uses: Counter[str], output: Labels) -> tuple[int, int]:
    """The number of elements of a product, and of the products that are summed for them."""
    sizes = dict(zip((*x.labels, *y.labels), (*x.array.shape, *y.array.shape), strict=True))
    kept = _kept(x, y, uses, output)
    return math.prod(size for label, size in sizes.items() if label in kept), math.prod(sizes.values())


def _product(x: Factor, y: Factor, kept: Collection[str]) -> Factor:
    """The product of two arrays, summed over axes that both have and that are not kept."""
    both = [label for label in x.labels if label in y.labels]
    batch, summed = [label for label in both if label in kept], [label for label in both if label not in kept]
    left, right = ([label for label in factor.labels if label not in both] for factor in (x, y))
    sizes = dict(zip((*x.labels, *y.labels), (*x.array.shape, *y.array.shape), strict=True))
    labels = (*batch, *left, *right)
    shape = tuple(sizes[label] for label in labels)
    check_room(shape, x.array, y.array)
    if summed:
        product = np.matmul(_blocks(x, batch, left, summed), _blocks(y, batch, summed, right))
        return Factor(labels, product.reshape(shape))
    before, after = _blocks(x, [*batch, *left]), _blocks(y, batch, right)
    columns = before.reshape([*(sizes[label] for label in (*batch, *left)), *(1 for _ in right)])
    rows = after.reshape([*(sizes[label] for label in batch), *(1 for _ in left), *(sizes[label] for label in right)])
    return Factor(labels, np.asarray(columns * rows))


def _blocks(factor: Factor, *groups: Sequence[str]) -> np.ndarray:
    """An array with its axes in groups, each of which becomes one axis."""
    order = [factor.labels.index(label) for group in groups for label in group]
    lengths = dict(zip(factor.labels, factor.array.shape, strict=True))
    shape = [math.prod(lengths[label] for label in group) for group in groups]
    return factor.array.transpose(order).reshape(shape)
