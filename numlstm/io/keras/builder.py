"""A graph that is being built: its values have the shapes, types and masks that Keras knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...graphs.graph import Graph, Node, Value
from ...graphs.operators.shapes import NUMBERS

MOST = 50_000  # operations; a short description can hold many, in models that use models twice
OPSET = 17  # of ONNX's operators
OWN = "numlstm"  # the domain of operators that ONNX does not have
START = -(1 << 63)  # where a slice ends that goes backwards to the first element

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Tensor:
    """A value in a graph.

    Attributes
    ----------
    name : str
    shape : tuple of int or None
        None for unknown lengths.
    dtype : str
    mask : Tensor or None
        Which steps count, bools of shape (N, T), as Keras attaches it.
    """

    name: str
    shape: Shape
    dtype: str
    mask: Tensor | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def floating(self) -> bool:
        """Whether it holds floating-point numbers."""
        return self.dtype.startswith("float")

    def under(self, mask: Tensor | None) -> Tensor:
        """The same tensor with another mask."""
        return replace(self, mask=mask)


class GraphBuilder:
    """The nodes, constants and inputs of a graph; layers add theirs."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._constants: dict[str, np.ndarray] = {}
        self._inputs: list[Value] = []
        self._names: Counter[str] = Counter()
        self._where: list[str] = []

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Names of nodes begin with a name inside this block."""
        self._where.append(name)
        try:
            yield
        finally:
            self._where.pop()

    def _new(self, name: str) -> str:
        """A unique name."""
        whole = unique = "/".join([*self._where, name])
        while unique in self._names:
            self._names[whole] += 1
            unique = f"{whole}:{self._names[whole]}"
        self._names[unique] += 1
        return unique

    def input(self, name: str, dtype: str, shape: Shape) -> Tensor:
        """Add an input."""
        name = self._new(name)
        self._inputs.append(Value(name, dtype, shape))
        return Tensor(name, shape, dtype)

    def constant(self, array: Any, dtype: str | None = None, name: str = "constant") -> Tensor:
        """Add a constant."""
        try:
            array = np.array(array, dtype, order="C")
        except OverflowError:
            raise ValueError(
                f"a number in {'/'.join(self._where)!r} must be of type {dtype}, got a larger one"
            ) from None
        name = self._new(name)
        self._constants[name] = array
        return Tensor(name, array.shape, array.dtype.name)

    def nodes(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[tuple[Shape, str]],
        domain: str = "",
        **attributes: Any,
    ) -> tuple[Tensor, ...]:
        """Add a node; its results, of the shapes and types in `outputs`."""
        if len(self._nodes) == MOST:
            raise ValueError(f"the model must have at most {MOST} operations")
        name = self._new(op)
        single = len(outputs) == 1
        results = tuple(
            Tensor(name if single else f"{name}.{k}", shape, dtype) for k, (shape, dtype) in enumerate(outputs)
        )
        names = tuple("" if each is None else each.name for each in inputs)
        self._nodes.append(Node(op, names, tuple(each.name for each in results), attributes, name, domain))
        return results

    def node(
        self, op: str, inputs: Sequence[Tensor | None], shape: Shape, dtype: str | None = None, **attributes: Any
    ) -> Tensor:
        """Add a node with one result, by default of the type of the first input."""
        if dtype is None:
            assert inputs[0] is not None
            dtype = inputs[0].dtype
        return self.nodes(op, inputs, [(shape, dtype)], **attributes)[0]

    def graph(self, outputs: Sequence[tuple[str, Tensor]], backend: str | None = None) -> Graph:
        """The graph that computes the outputs, under their names, without nodes that they do not need."""
        named = []
        for name, tensor in outputs:
            result = self.node("Identity", [tensor], tensor.shape)
            self._nodes[-1] = replace(self._nodes[-1], outputs=(self._new(name),))
            named.append(Value(self._nodes[-1].outputs[0], result.dtype, result.shape))
        needed, kept = {value.name for value in named}, []
        for node in reversed(self._nodes):
            if needed & {*node.outputs}:
                kept.append(node)
                needed |= {*node.inputs}
        constants = {name: array for name, array in self._constants.items() if name in needed}
        return Graph(kept[::-1], self._inputs, named, constants, OPSET, backend)


# Nodes that many layers add -------------------------------------------------------------------------------------


def cast(builder: GraphBuilder, x: Tensor, dtype: str) -> Tensor:
    """A tensor in another type, with its mask."""
    if x.dtype == dtype:
        return x
    return builder.node("Cast", [x], x.shape, dtype, to=NUMBERS[dtype]).under(x.mask)


def number(builder: GraphBuilder, value: Any, like: Tensor) -> Tensor:
    """A number in the type of another tensor."""
    return builder.constant(np.asarray(value), like.dtype)


def unary(builder: GraphBuilder, op: str, x: Tensor, **attributes: Any) -> Tensor:
    """A function of each element."""
    return builder.node(op, [x], x.shape, **attributes)


def broadcast(*shapes: Shape) -> Shape:
    """The shape of arrays that are combined element by element."""
    ndim = max(map(len, shapes))
    lengths: list[int | None] = []
    for sizes in zip(*[(1,) * (ndim - len(shape)) + shape for shape in shapes], strict=True):
        known = {size for size in sizes if size not in (1, None)}
        if len(known) > 1:
            raise ValueError(f"shapes {', '.join(map(str, shapes))} do not go together")
        lengths.append(known.pop() if known else None if None in sizes else 1)
    return tuple(lengths)


def binary(builder: GraphBuilder, op: str, x: Tensor, y: Tensor, dtype: str | None = None) -> Tensor:
    """A function of each pair of elements."""
    return builder.node(op, [x, y], broadcast(x.shape, y.shape), dtype)


def transpose(builder: GraphBuilder, x: Tensor, axes: Sequence[int]) -> Tensor:
    """A tensor with its axes in another order."""
    return builder.node("Transpose", [x], tuple(x.shape[axis] for axis in axes), perm=tuple(axes))


def unsqueeze(builder: GraphBuilder, x: Tensor, axis: int) -> Tensor:
    """A tensor with one more axis of length 1, which is number `axis` of the result."""
    axis %= x.ndim + 1
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    return builder.node("Unsqueeze", [x, builder.constant([axis], "int64")], shape)


def squeeze(builder: GraphBuilder, x: Tensor, axis: int) -> Tensor:
    """A tensor without an axis of length 1."""
    axis %= x.ndim
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return builder.node("Squeeze", [x, builder.constant([axis], "int64")], shape)


def reshape(builder: GraphBuilder, x: Tensor, shape: Shape) -> Tensor:
    """A tensor in a new shape with the same first axis; at most one other length may be unknown."""
    sizes = [0, *(-1 if size is None else size for size in shape[1:])]
    return builder.node("Reshape", [x, builder.constant(sizes, "int64")], shape)


def take(builder: GraphBuilder, x: Tensor, index: int, axis: int) -> Tensor:
    """The part at one index of an axis, without this axis."""
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return builder.node("Gather", [x, builder.constant(index, "int64")], shape, axis=axis)


def sliced(
    builder: GraphBuilder, x: Tensor, start: int, stop: int, axis: int, size: int | None, step: int = 1
) -> Tensor:
    """A slice of one axis, of length `size`."""
    bounds = [builder.constant([value], "int64") for value in (start, stop, axis, step)]
    return builder.node("Slice", [x, *bounds], (*x.shape[:axis], size, *x.shape[axis + 1 :]))


def flip(builder: GraphBuilder, x: Tensor, axis: int) -> Tensor:
    """A tensor with an axis in reverse order."""
    return sliced(builder, x, -1, START, axis, x.shape[axis], -1)


def concat(builder: GraphBuilder, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors joined along an axis."""
    axis %= tensors[0].ndim
    sizes = [tensor.shape[axis] for tensor in tensors]
    size = None if None in sizes else sum(size for size in sizes if size is not None)
    rest = broadcast(*[(*tensor.shape[:axis], 1, *tensor.shape[axis + 1 :]) for tensor in tensors])
    return builder.node("Concat", tensors, (*rest[:axis], size, *rest[axis + 1 :]), axis=axis)


def any_of(builder: GraphBuilder, x: Tensor, axis: int, keepdims: bool = False) -> Tensor:
    """Whether any bool along an axis is true."""
    axis %= x.ndim
    shape = (*x.shape[:axis], *((1,) if keepdims else ()), *x.shape[axis + 1 :])
    largest = builder.node("ReduceMax", [cast(builder, x, "int32")], shape, axes=(axis,), keepdims=int(keepdims))
    return cast(builder, largest, "bool")


def different(builder: GraphBuilder, x: Tensor, value: Any) -> Tensor:
    """Where elements differ from a number."""
    return unary(builder, "Not", binary(builder, "Equal", x, number(builder, value, x), "bool"))
