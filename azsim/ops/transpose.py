"""Transpose: axes in another order; without `perm`, reversed."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops._views import alias_or_copy, permuted
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Transpose"
INPUTS = (1, 1)
ATTRIBUTES = ("perm",)
TYPES = ("int8", "int32", "int64", "bool")


def _order(node: Node, rank: int) -> tuple[int, ...]:
    order = node.attributes.get("perm", tuple(reversed(range(rank))))
    assert isinstance(order, tuple)
    if sorted(order) != list(range(rank)):
        raise UnsupportedError(f"perm {list(order)} does not permute {rank} axes")
    return tuple(int(axis) for axis in order)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Permute the shape."""
    data = given(inputs, 0)
    order = _order(node, len(data.shape))
    return [TensorType(data.dtype, tuple(data.shape[axis] for axis in order))]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Permute the axes."""
    return [inputs[0].transpose(_order(node, inputs[0].ndim))]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the same window with permuted strides."""
    view = lowering.view(node.inputs[0])
    alias_or_copy(node, lowering, permuted(view, _order(node, len(view.shape))))
