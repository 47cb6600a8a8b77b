"""Windows of windows: slices, broadcasts and reshapes of a `TensorView` that move no data."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from azsim.ir import Node
from azsim.ops.lowering import Access, Copy, Lowering, TensorView, collapse

__all__ = [
    "alias_or_copy",
    "broadcast",
    "part",
    "permuted",
    "reshaped",
    "row_of",
    "sliced",
    "transposed",
]


def sliced(
    view: TensorView, starts: Sequence[int], steps: Sequence[int], shape: Sequence[int]
) -> TensorView:
    """Take every `steps`-th position from `starts` on, `shape` of them; steps may be negative."""
    offset = view.offset + sum(
        start * stride for start, stride in zip(starts, view.strides, strict=True)
    )
    strides = tuple(step * stride for step, stride in zip(steps, view.strides, strict=True))
    return TensorView(view.buffer, offset, tuple(shape), strides)


def part(view: TensorView, axis: int, start: int, length: int, step: int = 1) -> TensorView:
    """Slice one axis."""
    rank = len(view.shape)
    starts = [start if position == axis else 0 for position in range(rank)]
    steps = [step if position == axis else 1 for position in range(rank)]
    shape = [*view.shape[:axis], length, *view.shape[axis + 1 :]]
    return sliced(view, starts, steps, shape)


def broadcast(view: TensorView, shape: tuple[int, ...]) -> TensorView:
    """Repeat a view to a shape that numpy would broadcast it to, with strides of 0."""
    missing = len(shape) - len(view.shape)
    strides = [0] * missing + [
        0 if length == 1 else stride
        for length, stride in zip(view.shape, view.strides, strict=True)
    ]
    return TensorView(view.buffer, view.offset, shape, tuple(strides))


def permuted(view: TensorView, order: Sequence[int]) -> TensorView:
    """Put the axes in another order."""
    shape = tuple(view.shape[axis] for axis in order)
    return TensorView(view.buffer, view.offset, shape, tuple(view.strides[axis] for axis in order))


def reshaped(view: TensorView, shape: tuple[int, ...]) -> TensorView | None:
    """See the same elements in the same order under another shape; None if strides forbid it."""
    lengths, (steps,) = collapse(view.shape, (view.strides,))
    axes = [axis for axis, length in enumerate(shape) if length != 1]
    strides = [0] * len(shape)
    position = 0
    for length, step in zip(lengths, steps, strict=True):
        run, covered = [], 1
        while covered < length and position < len(axes):
            run.append(axes[position])
            covered *= shape[axes[position]]
            position += 1
        if covered != length:
            return None
        inner = itertools.accumulate(
            (shape[axis] for axis in reversed(run)), lambda a, b: a * b, initial=step
        )
        for axis, stride in zip(reversed(run), inner, strict=False):
            strides[axis] = stride
    return TensorView(view.buffer, view.offset, shape, tuple(strides))


def transposed(view: TensorView) -> TensorView:
    """Swap the last two axes."""
    rank = len(view.shape)
    return permuted(view, (*range(rank - 2), rank - 1, rank - 2))


def alias_or_copy(node: Node, lowering: Lowering, source: TensorView) -> None:
    """Name `source` under the first output's shape; copy it where its strides forbid that."""
    output = node.outputs[0]
    shape = lowering.compressed.graph.types[output].shape
    view = reshaped(source, shape)
    if view is None:
        dtype = lowering.buffers[source.buffer].dtype
        dense = lowering.new(output, source.shape, dtype)
        lowering.elementwise(Copy, dense, source)
        view = reshaped(dense, shape)
        assert view is not None
    lowering.alias(output, view)


def row_of(view: TensorView) -> Access:
    """Window of one row over a view with at most one axis longer than 1."""
    lengths, (steps,) = collapse(view.shape, (view.strides,))
    (length,), (step,) = lengths or (1,), steps or (1,)
    return Access(view.buffer, view.offset, 1, length, 0, step)
