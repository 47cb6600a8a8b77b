"""Cast: of constants to any type; at run time between float32, bool and integers.

From float32 to integers it drops the fraction and clips to int32, and NaN becomes 0: the chip holds
integers in 32 bits.  Integers beyond 2**24 are rounded as they become float32.
"""

from __future__ import annotations

import numpy as np

from azsim import arith
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops._compare import as_float, convert, less, select
from azsim.ops._views import alias_or_copy, broadcast
from azsim.ops.linear import Linear
from azsim.ops.lowering import Binary, Lowering, TensorView, Unary, chip_dtype

OP = "Cast"
INPUTS = (1, 1)
ATTRIBUTES = ("to", "saturate")
TYPES = ("int32", "int64", "bool")

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

_INTEGERS = ("int32", "int64")


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
    """Convert as C does, but clip."""
    (data,), dtype = inputs, _dtype(node)
    if data.dtype == np.float32 and dtype in _INTEGERS:
        data = arith.to_integer(np.trunc(data))
    return [data.astype(dtype)]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the same window where the chip's type stays; convert elsewhere."""
    types = lowering.compressed.graph.types
    before, after = types[node.inputs[0]].dtype, _dtype(node)
    if before in _INTEGERS and after == "bool":
        _to_bool(node, lowering, as_float(lowering, node.inputs[0], f"{node.name}#float"))
        return
    source = lowering.view(node.inputs[0])
    if before == "float32" and after == "bool":
        _to_bool(node, lowering, source)
    elif before == "float32" and after in _INTEGERS:
        whole = _truncated(node, lowering, source)
        lowering.elementwise(convert, lowering.new(node.outputs[0], source.shape, "i32"), whole)
    elif chip_dtype(before) != chip_dtype(after):
        target = lowering.new(node.outputs[0], source.shape, chip_dtype(after))
        lowering.elementwise(convert, target, source)
    else:
        alias_or_copy(node, lowering, source)


def _to_bool(node: Node, lowering: Lowering, source: TensorView) -> None:
    """1.0 where the source is not 0."""
    target = lowering.new(node.outputs[0], source.shape)
    one, zero = (broadcast(lowering.number(value), source.shape) for value in (1.0, 0.0))
    lowering.elementwise(select, target, source, one, zero)


def _truncated(node: Node, lowering: Lowering, x: TensorView) -> TensorView:
    """Drop the fraction: round the magnitude, take 1 away where that was up, put the sign back."""

    def scratch(name: str, dtype: str = "f32") -> TensorView:
        return lowering.scratch(f"{node.name}#{name}", x.shape, dtype)

    size, whole, number, flag = (
        scratch("size"),
        scratch("whole"),
        scratch("i32", "i32"),
        scratch("1"),
    )
    zero = broadcast(lowering.number(0.0), x.shape)
    lowering.elementwise(Unary, size, x, function="abs")
    lowering.elementwise(convert, number, size)
    lowering.elementwise(convert, whole, number)
    lowering.elementwise(less, flag, size, whole)
    lowering.elementwise(Binary, whole, whole, flag, function="sub")
    lowering.elementwise(Unary, size, whole, function="neg")
    lowering.elementwise(less, flag, x, zero)
    lowering.elementwise(select, whole, flag, size, whole)
    return whole
