"""What the elementwise operators share: each of their files names a function of `azsim.arith`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from azsim import arith
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, is_float32
from azsim.ops._views import alias_or_copy, broadcast
from azsim.ops.linear import Linear
from azsim.ops.lowering import Binary, Lowering, Unary

__all__ = ["Operator", "binary", "broadcast_shape", "unary"]

_Types = list[TensorType | None]
_Constants = list[np.ndarray | None]
_Arrays = list[np.ndarray]

_INTEGER_UNARY = {"neg", "abs"}


class Operator(NamedTuple):
    """The three functions of an operator's file."""

    infer: Callable[[Node, _Types, _Constants], list[TensorType]]
    reference: Callable[[Node, _Arrays, Linear], _Arrays]
    lower: Callable[[Node, Lowering], None]


def broadcast_shape(types: Sequence[TensorType | None]) -> tuple[int, ...]:
    """Shape that numpy (and ONNX) broadcasts the inputs to."""
    shapes = [found.shape for found in types if found is not None]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(list(shape)) for shape in shapes)
        raise UnsupportedError(f"shapes {listed} cannot be broadcast together") from None


def unary(function: str) -> Operator:
    """Make the functions of an operator with one operand."""
    compute = arith.UNARY_FUNCTIONS[function]

    def infer(node: Node, inputs: _Types, constants: _Constants) -> list[TensorType]:
        if function not in _INTEGER_UNARY:
            is_float32(inputs)
        return [given(inputs, 0)]

    def reference(node: Node, inputs: _Arrays, linear: Linear) -> _Arrays:
        return [np.asarray(compute(inputs[0]))]

    def lower(node: Node, lowering: Lowering) -> None:
        source = lowering.view(node.inputs[0])
        target = lowering.new(node.outputs[0], source.shape)
        lowering.elementwise(Unary, target, source, function=function)

    return Operator(infer, reference, lower)


def _whole_quotient(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    quotient = np.abs(left) // np.abs(right)  # ONNX truncates towards zero
    return (quotient * np.sign(left) * np.sign(right)).astype(left.dtype)


def binary(function: str) -> Operator:
    """Make the functions of an operator with two operands, or folded from left to right."""
    compute = arith.BINARY_FUNCTIONS[function]

    def infer(node: Node, inputs: _Types, constants: _Constants) -> list[TensorType]:
        dtypes = {found.dtype for found in inputs if found is not None}
        if len(dtypes) != 1:
            raise UnsupportedError(f"operands differ in type: {', '.join(sorted(dtypes))}")
        return [TensorType(dtypes.pop(), broadcast_shape(inputs))]

    def reference(node: Node, inputs: _Arrays, linear: Linear) -> _Arrays:
        whole = function == "div" and inputs[0].dtype.kind in "iu"
        result = inputs[0]
        for operand in inputs[1:]:
            result = np.asarray((_whole_quotient if whole else compute)(result, operand))
        return [result]

    def lower(node: Node, lowering: Lowering) -> None:
        shape = lowering.compressed.graph.types[node.outputs[0]].shape
        operands = [broadcast(lowering.view(name), shape) for name in node.inputs]
        if len(operands) == 1:
            alias_or_copy(node, lowering, operands[0])
            return
        target = lowering.new(node.outputs[0], shape)
        left = operands[0]
        for operand in operands[1:]:
            lowering.elementwise(Binary, target, left, operand, function=function)
            left = target

    return Operator(infer, reference, lower)
