"""QuantizeRows: codes of 8 bits, with a scale for each row along the last axis.

Not one of ONNX's.  ``codes = clip(round_half_even(x / scale), -127, 127)`` with the scale
``max |x| / 127`` of the row, 1 where that is 0.  Without compression codes are not rounded.
"""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, is_float32
from azsim.ops._codes import quantize_rows
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "QuantizeRows"
INPUTS = (1, 1)
ATTRIBUTES = ()
TYPES = ("int8",)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Codes of the same shape, scales without the last axis."""
    is_float32(inputs)
    shape = given(inputs, 0).shape
    if not shape:
        raise UnsupportedError("a single number has no rows")
    return [TensorType("int8", shape), TensorType("float32", shape[:-1])]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Quantize row by row."""
    (data,) = inputs
    codes, scales = linear.codes_to_keep(data.reshape(-1, data.shape[-1]))
    return [codes.reshape(data.shape), scales.reshape(data.shape[:-1])]


def lower(node: Node, lowering: Lowering) -> None:
    """Quantize all rows, in the order in which they lie."""
    views = quantize_rows(lowering, lowering.view(node.inputs[0]), 8, node.name)
    for name, view in zip(node.outputs, views, strict=False):
        if name:
            lowering.alias(name, view)
