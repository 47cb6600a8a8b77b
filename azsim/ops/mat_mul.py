"""MatMul with a constant right side of rank 1 or 2; rows along the last axis have own scales."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, is_float32, is_weight
from azsim.ops._matrix import multiply_rows
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "MatMul"
INPUTS = (2, 2)
ATTRIBUTES = ()


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check shapes."""
    is_float32(inputs)
    left, right = given(inputs, 0).shape, is_weight(constants, 1)
    if right.ndim not in (1, 2) or not left:
        raise UnsupportedError(
            f"operands have shapes {list(left)} and {list(right.shape)}; "
            "the right side has to be of rank 1 or 2"
        )
    if left[-1] != right.shape[0]:
        raise UnsupportedError(
            f"left side has {left[-1]} columns, right side takes {right.shape[0]}"
        )
    return [TensorType("float32", (*left[:-1], *right.shape[1:]))]


def weight_inputs(node: Node) -> tuple[int, ...]:
    """Input 1 holds weights."""
    return (1,)


def to_matrix(node: Node, index: int, array: np.ndarray) -> np.ndarray:
    """(K, N) or (K,) to (N, K)."""
    return np.ascontiguousarray(array.reshape(array.shape[0], -1).T)


def from_matrix(node: Node, index: int, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `to_matrix`."""
    return np.ascontiguousarray(matrix.T).reshape(shape)


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Multiply all rows."""
    left, right = inputs
    rows = left.reshape(-1, left.shape[-1])
    product = linear.multiply(node.inputs[1], *linear.quantize(node.inputs[1], rows))
    return [product.reshape((*left.shape[:-1], *right.shape[1:]))]


def lower(node: Node, lowering: Lowering) -> None:
    """Quantize by row; one matmul."""
    right = lowering.compressed.graph.initializers[node.inputs[1]]
    multiply_rows(node, lowering, right.size // right.shape[0], None)
