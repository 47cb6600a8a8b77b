"""Identity: another name for the same tensor."""

from __future__ import annotations

import numpy as np

from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops._views import alias_or_copy
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Identity"
INPUTS = (1, 1)
ATTRIBUTES = ()
TYPES = ("int8", "int32", "int64", "bool")


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Keep the type."""
    return [given(inputs, 0)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Return the input."""
    return [inputs[0]]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the same window."""
    alias_or_copy(node, lowering, lowering.view(node.inputs[0]))
