"""Slice with constant bounds and any steps; no step and no data movement on the chip."""

from __future__ import annotations

import functools

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given, integers
from azsim.ops._views import alias_or_copy, sliced
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Slice"
INPUTS = (3, 5)
ATTRIBUTES = ()
TYPES = ("int8", "int32", "int64", "bool")

_Operands = tuple[tuple[int, ...] | None, ...]  # starts, ends, axes, steps


def _extent(length: int, start: int, end: int, step: int) -> tuple[int, int]:
    """First position and number of positions; bounds count from the end if below 0."""
    lowest, highest = (0, length) if step > 0 else (-1, length - 1)
    start = min(max(start + length if start < 0 else start, lowest, 0), highest)
    end = min(max(end + length if end < 0 else end, lowest), highest)
    return start, max(0, -((start - end) // step))


@functools.lru_cache(256)
def _axes(shape: tuple[int, ...], operands: _Operands) -> list[tuple[int, int, int]]:
    """Start, step and length for every axis."""
    starts, ends, axes, steps = operands
    assert starts is not None
    assert ends is not None
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise UnsupportedError("starts, ends, axes and steps differ in length")
    extents = [(0, 1, length) for length in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise UnsupportedError("a step is 0")
        axis = axis_of(axis, len(shape))
        first, length = _extent(shape[axis], start, end, step)
        extents[axis] = first, step, length
    return extents


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Resolve the constant bounds against the shape."""
    data = given(inputs, 0)
    operands = tuple(integers(inputs, constants, index) for index in range(1, 5))
    extents = _axes(data.shape, operands)
    return [TensorType(data.dtype, tuple(length for _, _, length in extents))]


def _operands(arrays: list[np.ndarray | None]) -> _Operands:
    arrays = [*arrays, *[None] * (4 - len(arrays))]
    return tuple(None if array is None else tuple(array.reshape(-1).tolist()) for array in arrays)


@functools.lru_cache(256)
def _window(shape: tuple[int, ...], operands: _Operands) -> tuple[slice, ...]:
    window = []
    for first, step, length in _axes(shape, operands):
        end = first + step * length
        window.append(slice(first, None if end < 0 else end, step))
    return tuple(window)


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Take the positions of each axis."""
    return [inputs[0][_window(inputs[0].shape, _operands(list(inputs[1:])))]]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the window."""
    view = lowering.view(node.inputs[0])
    constants = lowering.compressed.graph.initializers
    arrays = [constants[name] if name else None for name in node.inputs[1:]]
    extents = _axes(view.shape, _operands(arrays))
    starts, steps, lengths = zip(*extents, strict=True)
    alias_or_copy(node, lowering, sliced(view, starts, steps, lengths))
