"""Softmax along one axis: ``e / sum(e)`` with ``e = exp(x - max)``, see `azsim.arith.softmax`."""

from __future__ import annotations

import numpy as np

from azsim import arith
from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given, is_float32
from azsim.ops._rows import moved_back, moved_last, rows_along, whole_rows
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering, Vector

OP = "Softmax"
INPUTS = (1, 1)
ATTRIBUTES = ("axis",)


def _axis(node: Node, rank: int) -> int:
    axis = node.attributes.get("axis", -1)
    assert isinstance(axis, int)
    return axis_of(axis, rank)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check the axis, keep the type."""
    is_float32(inputs)
    data = given(inputs, 0)
    _axis(node, len(data.shape))
    return [data]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Softmax of every row, with the axis moved behind all others."""
    data = inputs[0]
    axis = _axis(node, data.ndim)
    rows = np.moveaxis(data, axis, -1)
    result = arith.softmax(rows.reshape(-1, data.shape[axis])).reshape(rows.shape)
    return [np.ascontiguousarray(np.moveaxis(result, -1, axis))]


def lower(node: Node, lowering: Lowering) -> None:
    """One step; the result of another axis than the last one is a transposed view."""
    view = lowering.view(node.inputs[0])
    axis = _axis(node, len(view.shape))
    moved = moved_last(view, axis)
    source = rows_along(lowering, moved, 1, node.name)
    target = lowering.new(node.outputs[0], moved.shape)
    lowering.emit(Vector("vector_softmax", {"dst": whole_rows(target, source.cols), "src": source}))
    lowering.alias(node.outputs[0], moved_back(target, axis))
