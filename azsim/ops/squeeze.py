"""Squeeze: drop axes of length 1 (axes as an input, or as the attribute of opset 12 and older)."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given, integers
from azsim.ops._views import alias_or_copy
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Squeeze"
INPUTS = (1, 2)
ATTRIBUTES = ("axes",)
TYPES = ("int8", "int32", "int64", "bool")


def _target(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, ...]:
    if axes is None:
        return tuple(length for length in shape if length != 1)
    dropped = {axis_of(axis, len(shape)) for axis in axes}
    for axis in sorted(dropped):
        if shape[axis] != 1:
            raise UnsupportedError(f"axis {axis} has length {shape[axis]} and cannot be dropped")
    return tuple(length for axis, length in enumerate(shape) if axis not in dropped)


def _axes(node: Node, given_axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    attribute = node.attributes.get("axes")
    return given_axes if attribute is None else tuple(attribute)  # type: ignore[arg-type]


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check that every dropped axis has length 1."""
    data = given(inputs, 0)
    return [
        TensorType(data.dtype, _target(data.shape, _axes(node, integers(inputs, constants, 1))))
    ]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Reshape."""
    data = inputs[0]
    axes = inputs[1] if len(inputs) > 1 else None
    listed = None if axes is None else tuple(axes.reshape(-1).tolist())
    return [data.reshape(_target(data.shape, _axes(node, listed)))]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the same window with fewer axes."""
    alias_or_copy(node, lowering, lowering.view(node.inputs[0]))
