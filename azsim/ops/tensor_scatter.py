"""TensorScatter: new rows into a cache, one after another from a place on that is computed.

As ONNX 24 has it: ``past_cache`` (B, ..., S, ...), ``update`` of that shape with T positions along
`axis` instead of S, ``write_indices`` (B).  In mode ``circular`` what passes the end goes on at the
beginning: a ring.  B has to be 1.  A cache that is a graph input and read by nobody else is written
in place, so that a token costs as much as its own rows, however long the ring is.
"""

from __future__ import annotations

import math

import numpy as np

from azsim.errors import InputError, UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, axis_of, given
from azsim.ops._recurrent import carried_state
from azsim.ops._ring import numbers_from
from azsim.ops._rows import rows_along
from azsim.ops._views import reshaped
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Lowering, Vector

OP = "TensorScatter"
INPUTS = (3, 3)
ATTRIBUTES = ("axis", "mode")
TYPES = ("int8",)


def _axis(node: Node, rank: int) -> int:
    axis = node.attributes.get("axis", -2)
    assert isinstance(axis, int)
    return axis_of(axis, rank)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check types and shapes."""
    past, update, start = (given(inputs, index) for index in range(3))
    attribute_is(node, "mode", "linear", "circular")
    if past.dtype not in ("float32", "int8") or update.dtype != past.dtype:
        raise UnsupportedError(
            f"cache and update are {past.dtype} and {update.dtype}; "
            "both have to be float32, or both int8"
        )
    if start.dtype not in ("int32", "int64") or start.shape != (1,) or past.shape[:1] != (1,):
        raise UnsupportedError(
            f"cache {past} and write indices {start}; a batch of 1 with one integer is supported"
        )
    axis = _axis(node, len(past.shape))
    if axis == 0:
        raise UnsupportedError("axis 0 is the batch")
    rows = update.shape[axis] if len(update.shape) == len(past.shape) else 0
    if (*past.shape[:axis], rows, *past.shape[axis + 1 :]) != update.shape:
        raise UnsupportedError(f"update {update} does not fit cache {past} along axis {axis}")
    if rows > past.shape[axis]:
        raise UnsupportedError(f"{rows} rows do not fit a cache of {past.shape[axis]}")
    return [past]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Write a copy."""
    past, update, start = inputs
    axis = _axis(node, past.ndim)
    length, rows = past.shape[axis], update.shape[axis]
    first = int(start[0])
    most = length - (1 if _is_ring(node) else rows)
    if not 0 <= first <= most:
        raise InputError(
            f"node {node.name} ({OP}): write_indices hold {first}, allowed are 0 to {most}"
        )
    result = np.array(past, np.result_type(past, update))
    places = (first + np.arange(rows)) % length
    np.moveaxis(result, axis, 0)[places] = np.moveaxis(update, axis, 0)
    return [result]


def _is_ring(node: Node) -> bool:
    return node.attributes.get("mode", "linear") == "circular"


def lower(node: Node, lowering: Lowering) -> None:
    """One scatter for all that lies behind the axis, in loops over what lies before it."""
    past, start = node.inputs[0], lowering.view(node.inputs[2])
    shape = lowering.view(past).shape
    axis = _axis(node, len(shape))
    place = carried_state(node, lowering, 0, 0, shape)
    update = lowering.view(node.inputs[1])
    length, rows = shape[axis], update.shape[axis]
    before, behind = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    indices = numbers_from(lowering, start, rows, length if _is_ring(node) else 0, node.name)
    target = reshaped(place, (before, length, behind))
    assert target is not None  # a cache lies as it was made
    source = rows_along(lowering, update, len(shape) - axis - 1, node.name)

    def emit(move_dst: dict[int, int], move_src: dict[int, int]) -> None:
        down, across = target.strides[1:]
        dst = Access(target.buffer, target.offset, length, behind, down, across, move_dst)
        src = Access(
            source.buffer,
            source.offset,
            rows,
            behind,
            source.row_stride,
            source.col_stride,
            move_src,
        )
        lowering.emit(Vector("vector_scatter", {"dst": dst, "src": src, "indices": indices}))

    if before == 1:
        emit({}, {})
        return
    with lowering.loop(before) as number:
        emit({number: target.strides[0]}, {number: rows * source.row_stride})
