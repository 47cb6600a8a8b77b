"""Unsqueeze: insert axes of length 1 (axes as an input, or as the attribute of old opsets)."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given, integers
from azsim.ops._views import alias_or_copy
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Unsqueeze"
INPUTS = (1, 2)
ATTRIBUTES = ("axes",)
TYPES = ("int8", "int32", "int64", "bool")


def _target(node: Node, shape: tuple[int, ...], listed: tuple[int, ...] | None) -> tuple[int, ...]:
    axes = node.attributes.get("axes", listed)
    if axes is None:
        raise UnsupportedError("axes are not given")
    assert isinstance(axes, tuple)
    rank = len(shape) + len(axes)
    inserted = {axis_of(int(axis), rank) for axis in axes}
    if len(inserted) != len(axes):
        raise UnsupportedError(f"axes {list(axes)} name one axis twice")
    rest = iter(shape)
    return tuple(1 if axis in inserted else next(rest) for axis in range(rank))


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Insert the axes."""
    data = given(inputs, 0)
    return [TensorType(data.dtype, _target(node, data.shape, integers(inputs, constants, 1)))]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Reshape."""
    data = inputs[0]
    axes = inputs[1] if len(inputs) > 1 else None
    listed = None if axes is None else tuple(axes.reshape(-1).tolist())
    return [data.reshape(_target(node, data.shape, listed))]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the same window with more axes."""
    alias_or_copy(node, lowering, lowering.view(node.inputs[0]))
