"""Gemm with a constant right side: each row of the left side is quantized with its own scale."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, given, is_float32, is_weight
from azsim.ops._matrix import bias_row, multiply_rows
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Gemm"
INPUTS = (2, 3)
ATTRIBUTES = ("alpha", "beta", "transA", "transB")


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check shapes and attributes; the bias needs one value, or one a column."""
    is_float32(inputs)
    left, right = given(inputs, 0), is_weight(constants, 1)
    attribute_is(node, "alpha", 1)
    attribute_is(node, "beta", 1)
    attribute_is(node, "transA", 0)
    attribute_is(node, "transB", 0, 1)
    if len(left.shape) != 2 or right.ndim != 2:
        raise UnsupportedError(
            f"operands have shapes {list(left.shape)} and {list(right.shape)}; rank 2 is needed"
        )
    outputs, inner = right.shape if node.attributes.get("transB") else right.shape[::-1]
    if left.shape[1] != inner:
        raise UnsupportedError(f"left side has {left.shape[1]} columns, right side takes {inner}")
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is not None:
        constant = constants[2] is not None
        allowed = {(outputs,), (1, outputs)} | ({(), (1,), (1, 1)} if constant else set())
        if bias.shape not in allowed:
            raise UnsupportedError(
                f"input 2 has shape {list(bias.shape)}; one value a column ([{outputs}]) is needed"
            )
    return [TensorType("float32", (left.shape[0], outputs))]


def weight_inputs(node: Node) -> tuple[int, ...]:
    """Input 1 holds weights."""
    return (1,)


def to_matrix(node: Node, index: int, array: np.ndarray) -> np.ndarray:
    """(K, N), or (N, K) with transB, to (N, K)."""
    return np.ascontiguousarray(array if node.attributes.get("transB") else array.T)


def from_matrix(node: Node, index: int, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `to_matrix`."""
    return np.ascontiguousarray(matrix if node.attributes.get("transB") else matrix.T)


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Multiply, then add the bias."""
    product = linear.multiply(node.inputs[1], *linear.quantize(node.inputs[1], inputs[0]))
    return [product if len(inputs) < 3 or inputs[2] is None else product + inputs[2]]


def lower(node: Node, lowering: Lowering) -> None:
    """Quantize by row; one matmul with bias."""
    outputs = lowering.compressed.graph.types[node.outputs[0]].shape[-1]
    multiply_rows(node, lowering, outputs, bias_row(node, lowering, 2, outputs))
