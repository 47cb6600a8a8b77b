"""CumSum: running sum along one axis, element after element."""

from __future__ import annotations

import numpy as np

from azsim import arith
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, axis_of, given, integers, is_float32
from azsim.ops._rows import moved_back, moved_last, rows_along, whole_rows
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Fill, Lowering, Vector, moved

OP = "CumSum"
INPUTS = (2, 2)
ATTRIBUTES = ("exclusive", "reverse")


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check the axis, keep the type."""
    is_float32(inputs[:1])
    attribute_is(node, "exclusive", 0, 1)
    attribute_is(node, "reverse", 0, 1)
    data = given(inputs, 0)
    (axis,) = integers(inputs, constants, 1) or (0,)
    axis_of(axis, len(data.shape))
    return [data]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Sum down the rows of (n, all other axes)."""
    data = inputs[0]
    axis = axis_of(int(inputs[1].reshape(-1)[0]), data.ndim)
    rows = np.moveaxis(data, axis, 0)
    terms = rows.reshape(len(rows), -1)[:: -1 if node.attributes.get("reverse") else 1]
    if node.attributes.get("exclusive"):
        sums = np.zeros_like(terms)
        sums[1:] = arith.cumulative_sum(terms[:-1])
    else:
        sums = arith.cumulative_sum(terms)
    if node.attributes.get("reverse"):
        sums = sums[::-1]
    return [np.ascontiguousarray(np.moveaxis(sums.reshape(rows.shape), 0, axis))]


def lower(node: Node, lowering: Lowering) -> None:
    """One step, and one for the zeros that an exclusive sum begins with."""
    view = lowering.view(node.inputs[0])
    constant = lowering.compressed.graph.initializers[node.inputs[1]]
    axis = axis_of(int(constant.reshape(-1)[0]), len(view.shape))
    last = moved_last(view, axis)
    source = _down(rows_along(lowering, last, 1, node.name))
    target = lowering.new(node.outputs[0], last.shape)
    sums = _down(whole_rows(target, source.rows))
    if node.attributes.get("reverse"):
        source, sums = _backwards(source), _backwards(sums)
    if node.attributes.get("exclusive"):
        lowering.emit(Fill(moved(sums, rows=1), 0))
        rows = sums.rows - 1
        sums = moved(sums, offset=sums.offset + sums.row_stride, rows=rows)
        source = moved(source, rows=rows)
    if sums.rows:
        lowering.emit(Vector("vector_cumulative_sum", {"dst": sums, "src": source}))
    lowering.alias(node.outputs[0], moved_back(target, axis))


def _down(rows: Access) -> Access:
    """Turn rows into columns: a running sum goes down the rows."""
    return moved(
        rows, rows=rows.cols, cols=rows.rows, row_stride=rows.col_stride, col_stride=rows.row_stride
    )


def _backwards(rows: Access) -> Access:
    """The last row first."""
    offset = rows.offset + (rows.rows - 1) * rows.row_stride
    return moved(rows, offset=offset, row_stride=-rows.row_stride)
