"""Where: elements of one tensor where a condition holds, of another one elsewhere."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops._compare import select
from azsim.ops._elementwise import broadcast_shape
from azsim.ops._views import broadcast
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Where"
INPUTS = (3, 3)
ATTRIBUTES = ()


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check the types, broadcast the shapes."""
    condition, left, right = (given(inputs, index) for index in range(3))
    if condition.dtype != "bool":
        raise UnsupportedError(f"input 0 is {condition}; only bool is supported")
    if left.dtype != right.dtype:
        raise UnsupportedError(f"operands differ in type: {left.dtype}, {right.dtype}")
    return [TensorType(left.dtype, broadcast_shape(inputs))]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Choose."""
    return [np.where(*inputs)]


def lower(node: Node, lowering: Lowering) -> None:
    """One step."""
    shape = lowering.compressed.graph.types[node.outputs[0]].shape
    operands = [broadcast(lowering.view(name), shape) for name in node.inputs]
    lowering.elementwise(select, lowering.new(node.outputs[0], shape), *operands)
