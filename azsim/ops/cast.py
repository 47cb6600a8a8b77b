"""Cast: changes the type of constants; at run time only from float32 to itself."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops._views import alias_or_copy
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Cast"
INPUTS = (1, 1)
ATTRIBUTES = ("to", "saturate")

# ONNX's numbers (TensorProto.DataType) of the types that constants may have.
DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    11: "float64",
    12: "uint32",
    13: "uint64",
}


def _dtype(node: Node) -> str:
    number = node.attributes.get("to")
    if not isinstance(number, int) or number not in DTYPES:
        known = ", ".join(f"{key} ({name})" for key, name in DTYPES.items())
        raise UnsupportedError(f"to is {number}; supported: {known}")
    return DTYPES[number]


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Keep the shape."""
    return [TensorType(_dtype(node), given(inputs, 0).shape)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Convert as C does."""
    return [inputs[0].astype(_dtype(node))]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the same window."""
    alias_or_copy(node, lowering, lowering.view(node.inputs[0]))
