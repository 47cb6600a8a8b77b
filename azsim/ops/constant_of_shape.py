"""ConstantOfShape: one value repeated to a constant shape; always folded."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import integers
from azsim.ops.linear import Linear

OP = "ConstantOfShape"
INPUTS = (1, 1)
ATTRIBUTES = ("value",)


def _value(node: Node) -> np.ndarray:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32)))
    if value.size != 1:
        raise UnsupportedError(f"value has {value.size} elements; one is needed")
    return value.reshape(())


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Take the shape from the constant input."""
    shape = integers(inputs, constants, 0)
    assert shape is not None
    if min(shape, default=0) < 0:
        raise UnsupportedError(f"shape {list(shape)} has a negative length")
    return [TensorType(_value(node).dtype.name, shape)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Repeat the value."""
    value = _value(node)
    return [np.full(tuple(inputs[0].reshape(-1).tolist()), value, value.dtype)]
