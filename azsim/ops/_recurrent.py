"""What operators with a large state share: updates in place, loops over parts and over steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from azsim.ir import Node
from azsim.ops._views import broadcast
from azsim.ops.lowering import (
    Access,
    Copy,
    Fill,
    Lowering,
    TensorView,
    Vector,
    contiguous_strides,
    multiply_add,
)

__all__ = ["Place", "add_skip", "carried_state", "places", "scratch", "sum_rows"]


@dataclass(frozen=True)
class Place:
    """One step of one part of a state: `count` channels (or heads) from `first` on.

    `part_loop` and `step_loop` are the numbers of the loops around it, if there are several.
    """

    first: int
    count: int
    part_loop: int | None
    step_loop: int | None

    def window(
        self,
        view: TensorView,
        shape: tuple[int, int],
        strides: Sequence[int],
        channel: int = 0,
        step: int = 0,
    ) -> Access:
        """Window into a tensor's buffer; strides of 0 repeat.

        `channel` and `step` are the elements from one channel, and from one step, to the next;
        0 where the tensor is the same for all of them.
        """
        moves = {self.part_loop: self.count * channel, self.step_loop: step}
        advance = {loop: length for loop, length in moves.items() if loop is not None and length}
        row_stride, col_stride = strides
        offset = view.offset + self.first * channel
        return Access(view.buffer, offset, *shape, row_stride, col_stride, advance)

    def of_state(self, view: TensorView) -> Access:
        """What the channels have of a (channels, width) tensor."""
        return self.window(view, (self.count, view.shape[1]), view.strides, view.strides[0])

    def of_scratch(self, view: TensorView) -> Access:
        """As many rows of a (channels, width) scratch as there are channels."""
        return self.window(view, (self.count, view.shape[1]), view.strides)

    def of_channels(self, view: TensorView, cols: int) -> Access:
        """One number a channel out of (steps, channels), in every column."""
        step, channel = view.strides
        return self.window(view, (self.count, cols), (channel, 0), channel, step)

    def of_row(self, view: TensorView) -> Access:
        """Row of the step out of (steps, width), for every channel."""
        step, col = view.strides
        return self.window(view, (self.count, view.shape[1]), (0, col), 0, step)


def places(lowering: Lowering, steps: int, channels: int, most: int) -> Iterator[Place]:
    """Open the loops over parts of at most `most` channels, in each one over all steps."""
    rounds = channels // most
    rest = channels - rounds * most
    for first, count, times in ((0, most, rounds), (rounds * most, rest, 1)):
        if count and times:
            with _loop(lowering, times) as part, _loop(lowering, steps) as step:
                yield Place(first, count, part, step)


def _loop(lowering: Lowering, count: int) -> AbstractContextManager[int | None]:
    return lowering.loop(count) if count > 1 else nullcontext()


def carried_state(
    node: Node,
    lowering: Lowering,
    index: int,
    output: int,
    shape: tuple[int, ...],
    axes: tuple[int, ...] | None = None,
) -> TensorView:
    """Place the new state, which begins as a copy of the old one and is updated in place.

    A graph input that only this node reads is itself updated: then nothing is copied, and what a
    frame leaves is where the next one looks for it.  Without an old state zeros are the beginning.

    Parameters
    ----------
    node : Node
    lowering : Lowering
    index, output : int
        Number of the input that is the old state and of the output that is the new one.
    shape : tuple of int
    axes : tuple of int, optional
        Order in which its axes should lie, the one whose elements are neighbours last.  They do if
        what the node leaves is the graph's next state.
    """
    graph = lowering.compressed.graph
    source = node.inputs[index] if len(node.inputs) > index else ""
    tensor = node.outputs[output] if len(node.outputs) > output else ""
    old = lowering.view(source) if source else None
    if old is not None and source in graph.inputs and _is_only_read_here(node, lowering, source):
        place = old
        if axes is not None and tensor and lowering.state.get(source) == tensor:
            place = _lying(old, axes)
            lowering.alias(source, place)
    else:
        dtype = "f32" if old is None else lowering.dtype(old)
        place = lowering.scratch(tensor or f"{node.name}#state", shape, dtype)
        if old is None:
            cols = math.prod(shape[1:])
            lowering.emit(Fill(Access(place.buffer, 0, shape[0], cols, cols, 1), 0))
        else:
            lowering.elementwise(Copy, place, old)
    if tensor:
        lowering.alias(tensor, place)
    return place


def _lying(view: TensorView, axes: tuple[int, ...]) -> TensorView:
    """View of the same buffer with its axes in another order in memory."""
    steps = contiguous_strides(tuple(view.shape[axis] for axis in axes))
    return replace(view, strides=tuple(steps[axes.index(axis)] for axis in range(len(axes))))


def _is_only_read_here(node: Node, lowering: Lowering, tensor: str) -> bool:
    graph = lowering.compressed.graph
    is_read_once = graph.consumers(tensor) == (node,) and node.inputs.count(tensor) == 1
    return is_read_once and tensor not in graph.outputs


def scratch(node: Node, lowering: Lowering, name: str, shape: tuple[int, ...]) -> TensorView:
    """Make a buffer for what no tensor is."""
    size = int(np.prod(shape, dtype=np.int64))
    buffer = lowering.buffer(f"{node.name}#{name}", "f32", size)
    return TensorView(buffer, 0, shape, contiguous_strides(shape))


def add_skip(node: Node, lowering: Lowering, index: int, u: TensorView, y: TensorView) -> None:
    """Y = y + (D * u), where the node has an input D (channels,) at `index`."""
    if len(node.inputs) > index and node.inputs[index]:
        skip = broadcast(lowering.view(node.inputs[index]), u.shape)
        lowering.elementwise(multiply_add, y, skip, u, y)


def sum_rows(lowering: Lowering, sums: Access, terms: Access) -> None:
    """Add up every row of `terms` as a tree."""
    operands = {"dst": sums, "src": terms, "reduction": "sum"}
    lowering.emit(Vector("vector_reduce", operands))
