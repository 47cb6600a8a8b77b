"""Gather along the first axis, by numbers that are computed; of constants along any.

Rows of a constant matrix stay in DRAM and are fetched when they are wanted.  A number that is no
row is an error; so is one below 0 on the chip.
"""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given
from azsim.ops._gather import gathered, take_rows
from azsim.ops._views import reshaped
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Gather"
INPUTS = (2, 2)
ATTRIBUTES = ("axis",)
TYPES = ("int8", "int32", "int64")


def _axis(node: Node, rank: int) -> int:
    axis = node.attributes.get("axis", 0)
    assert isinstance(axis, int)
    return axis_of(axis, rank)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Put the numbers' shape in the axis's place."""
    data, indices = given(inputs, 0), given(inputs, 1)
    axis = _axis(node, len(data.shape))
    if indices.dtype not in ("int32", "int64"):
        raise UnsupportedError(f"input 1 is {indices}; it has to hold integers")
    is_constant = constants[0] is not None
    if not (is_constant and constants[1] is not None):
        if axis:
            raise UnsupportedError(f"axis is {axis}; only 0 is supported at run time")
        if is_constant and (data.dtype != "float32" or len(data.shape) != 2):
            raise UnsupportedError(
                f"input 0 is {data}; a constant has to be a matrix of float32 at run time"
            )
    return [TensorType(data.dtype, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Take the positions; those below 0 count from the end, which only constants may."""
    data, indices = inputs
    axis = _axis(node, data.ndim)
    indices = np.where(indices < 0, indices + data.shape[axis], indices)
    rows = take_rows(node, np.moveaxis(data, axis, 0), indices)
    order = [*range(indices.ndim, indices.ndim + axis), *range(indices.ndim)]
    rest = range(indices.ndim + axis, rows.ndim)
    return [np.ascontiguousarray(rows.transpose([*order, *rest]))]


def lower(node: Node, lowering: Lowering) -> None:
    """One instruction."""
    rows = gathered(lowering, node.inputs[0], lowering.view(node.inputs[1]), node.outputs[0])
    shape = lowering.compressed.graph.types[node.outputs[0]].shape
    view = reshaped(rows, shape)
    assert view is not None
    lowering.alias(node.outputs[0], view)
