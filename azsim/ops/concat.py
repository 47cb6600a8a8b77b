"""Concat along one axis."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given
from azsim.ops._views import part
from azsim.ops.linear import Linear
from azsim.ops.lowering import Copy, Lowering, chip_dtype

OP = "Concat"
INPUTS = (1, None)
ATTRIBUTES = ("axis",)
TYPES = ("int8", "int32", "int64", "bool")


def _axis(node: Node, rank: int) -> int:
    axis = node.attributes.get("axis")
    if not isinstance(axis, int):
        raise UnsupportedError("axis is not given")
    return axis_of(axis, rank)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Add the lengths along the axis; all else has to agree."""
    types = [given(inputs, index) for index in range(len(inputs))]
    axis = _axis(node, len(types[0].shape))

    def rest(found: TensorType) -> tuple[object, ...]:
        return found.dtype, found.shape[:axis], found.shape[axis + 1 :]

    if any(rest(found) != rest(types[0]) for found in types):
        listed = " and ".join(map(str, types))
        raise UnsupportedError(f"{listed} cannot be joined along axis {axis}")
    length = sum(found.shape[axis] for found in types)
    shape = types[0].shape
    return [TensorType(types[0].dtype, (*shape[:axis], length, *shape[axis + 1 :]))]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Concatenate."""
    return [np.concatenate(inputs, axis=_axis(node, inputs[0].ndim))]


def lower(node: Node, lowering: Lowering) -> None:
    """Copy every operand into its part."""
    kind = lowering.compressed.graph.types[node.outputs[0]]
    axis = _axis(node, len(kind.shape))
    target = lowering.new(node.outputs[0], kind.shape, chip_dtype(kind.dtype))
    start = 0
    for name in node.inputs:
        source = lowering.view(name)
        length = source.shape[axis]
        if source.shape and 0 not in source.shape:
            lowering.elementwise(Copy, part(target, axis, start, length), source)
        start += length
