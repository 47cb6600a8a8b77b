"""What the comparisons share; the chip holds a truth value as 1.0 or 0.0.

Integers are compared as float32 numbers: exact up to 2**24.
"""

from __future__ import annotations

import numpy as np

from azsim import arith
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops._elementwise import Operator, broadcast_shape
from azsim.ops._views import broadcast
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Lowering, TensorView, Vector, contiguous_strides

__all__ = ["as_float", "comparison", "convert", "less", "select"]

_NUMBERS = ("float32", "int32", "int64")


def comparison(name: str, *, swapped: bool = False) -> Operator:
    """Make the functions of a comparison: one of the chip's, or one with its operands swapped."""
    compare = arith.COMPARE_FUNCTIONS[name]

    def infer(
        node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
    ) -> list[TensorType]:
        left, right = given(inputs, 0), given(inputs, 1)
        if left.dtype != right.dtype or left.dtype not in _NUMBERS:
            raise UnsupportedError(
                f"operands are {left.dtype} and {right.dtype}; "
                f"two of {', '.join(_NUMBERS)} are supported"
            )
        return [TensorType("bool", broadcast_shape(inputs))]

    def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
        left, right = (array.astype(np.float32) for array in inputs)
        return [np.asarray(compare(right, left) if swapped else compare(left, right))]

    def step(dst: Access, src: Access, src2: Access) -> Vector:
        operands = {"dst": dst, "src": src, "src2": src2, "comparison": name}
        return Vector("vector_compare", operands)

    def lower(node: Node, lowering: Lowering) -> None:
        shape = lowering.compressed.graph.types[node.outputs[0]].shape
        left, right = (
            broadcast(as_float(lowering, tensor, f"{node.name}#{index}"), shape)
            for index, tensor in enumerate(node.inputs)
        )
        target = lowering.new(node.outputs[0], shape)
        lowering.elementwise(step, target, *((right, left) if swapped else (left, right)))

    return Operator(infer, reference, lower)


def as_float(lowering: Lowering, tensor: str, name: str) -> TensorView:
    """Where a tensor lies as float32; integers are converted."""
    constant = lowering.compressed.graph.initializers.get(tensor)
    if constant is not None and constant.dtype.kind == "i":
        placed = lowering.constant_row(name, constant.astype(np.float32))
        strides = contiguous_strides(constant.shape)
        return TensorView(placed.buffer, 0, constant.shape, strides)
    view = lowering.view(tensor)
    if lowering.dtype(view) == "f32":
        return view
    converted = lowering.scratch(name, view.shape)
    lowering.elementwise(convert, converted, view)
    return converted


def convert(dst: Access, src: Access) -> Vector:
    """Step between float32 and int32."""
    return Vector("vector_convert", {"dst": dst, "src": src})


def less(dst: Access, src: Access, src2: Access) -> Vector:
    """Step that compares."""
    return Vector("vector_compare", {"dst": dst, "src": src, "src2": src2, "comparison": "less"})


def select(dst: Access, src: Access, src2: Access, other: Access) -> Vector:
    """Step that chooses `src2` where `src` is not 0, else `other`."""
    return Vector("vector_select", {"dst": dst, "src": src, "src2": src2, "other": other})
