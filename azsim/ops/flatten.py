"""Flatten to two axes, those before `axis` and the rest."""

from __future__ import annotations

import math

import numpy as np

from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given
from azsim.ops._views import alias_or_copy
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Flatten"
INPUTS = (1, 1)
ATTRIBUTES = ("axis",)
TYPES = ("int8", "int32", "int64", "bool")


def _target(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    axis = node.attributes.get("axis", 1)
    assert isinstance(axis, int)
    # The axis may also be the rank itself: then the second axis has length 1.
    axis = axis if axis == len(shape) else axis_of(axis, max(len(shape), 1))
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Multiply the lengths on either side of the axis."""
    data = given(inputs, 0)
    return [TensorType(data.dtype, _target(node, data.shape))]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Reshape in C order."""
    return [inputs[0].reshape(_target(node, inputs[0].shape))]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the same window under another shape; copy only where strides forbid that."""
    alias_or_copy(node, lowering, lowering.view(node.inputs[0]))
