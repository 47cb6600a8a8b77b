"""Expand: repeat along axes, as in broadcasting; no step and no data movement on the chip."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, integers
from azsim.ops._views import broadcast
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Expand"
INPUTS = (2, 2)
ATTRIBUTES = ()
TYPES = ("int8", "int32", "int64", "bool")


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Broadcast the shape with the constant one."""
    data, wanted = given(inputs, 0), integers(inputs, constants, 1) or ()
    try:
        return [TensorType(data.dtype, np.broadcast_shapes(data.shape, wanted))]
    except ValueError:
        raise UnsupportedError(
            f"shape {list(data.shape)} cannot be expanded to {list(wanted)}"
        ) from None


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Repeat."""
    shape = np.broadcast_shapes(inputs[0].shape, tuple(inputs[1].tolist()))
    return [np.broadcast_to(inputs[0], shape)]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the window with strides of 0."""
    shape = lowering.compressed.graph.types[node.outputs[0]].shape
    lowering.alias(node.outputs[0], broadcast(lowering.view(node.inputs[0]), shape))
