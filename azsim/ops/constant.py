"""Constant: a tensor, number or list written in the node; always folded."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops.linear import Linear

OP = "Constant"
INPUTS = (0, 0)
ATTRIBUTES = ("value", "value_float", "value_floats", "value_int", "value_ints")


def _value(node: Node) -> np.ndarray:
    if len(node.attributes) != 1:
        raise UnsupportedError(f"one attribute is needed: {', '.join(ATTRIBUTES)}")
    ((name, value),) = node.attributes.items()
    if name == "value":
        return np.asarray(value)
    return np.asarray(value, np.float32 if name.startswith("value_float") else np.int64)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Type of the value."""
    value = _value(node)
    return [TensorType(value.dtype.name, value.shape)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Return the value."""
    return [_value(node)]
