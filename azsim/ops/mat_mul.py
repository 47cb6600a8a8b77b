"""MatMul: rows times a constant matrix, or two computed tensors of rank 2 or more.

Rows of the left side along the last axis have own scales; so have columns of a right side that is
computed, which `azsim.ops.linear` calls the other one's rows.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, is_float32
from azsim.ops._codes import emit_products, multiply, product_shape, quantize_rows, rows_first
from azsim.ops._matrix import multiply_rows
from azsim.ops._views import transposed
from azsim.ops.linear import Linear, product_bits
from azsim.ops.lowering import Lowering

OP = "MatMul"
INPUTS = (2, 2)
ATTRIBUTES = ()


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check shapes."""
    is_float32(inputs)
    left, right = given(inputs, 0).shape, given(inputs, 1).shape
    if constants[1] is None:
        return [TensorType("float32", product_shape(left, right))]
    if len(right) not in (1, 2) or not left:
        raise UnsupportedError(
            f"operands have shapes {list(left)} and {list(right)}; "
            "the right side has to be of rank 1 or 2"
        )
    if left[-1] != right[0]:
        raise UnsupportedError(f"left side has {left[-1]} columns, right side takes {right[0]}")
    return [TensorType("float32", (*left[:-1], *right[1:]))]


def is_product(node: Node, constants: Collection[str]) -> bool:
    """A right side that is no constant is computed."""
    return node.inputs[1] not in constants


def weight_inputs(node: Node) -> tuple[int, ...]:
    """Input 1 holds weights where it is a constant."""
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
    if linear.is_weight(node.inputs[1]):
        product = linear.multiply(node.inputs[1], *linear.quantize(node.inputs[1], rows))
        return [product.reshape((*left.shape[:-1], *right.shape[1:]))]
    codes, scales = linear.quantize_left(node.name, rows)
    columns = rows_first(right)
    other, other_scales = linear.quantize_right(columns.reshape(-1, columns.shape[-1]))
    return [
        multiply(
            linear,
            node.name,
            (codes.reshape(left.shape), scales.reshape(left.shape[:-1])),
            (other.reshape(columns.shape), other_scales.reshape(columns.shape[:-1])),
        )
    ]


def lower(node: Node, lowering: Lowering) -> None:
    """Quantize by row; one product with a weight, or one for each matrix that is computed."""
    graph = lowering.compressed.graph
    if not is_product(node, graph.initializers):
        right = graph.initializers[node.inputs[1]]
        multiply_rows(node, lowering, right.size // right.shape[0], None)
        return
    bits = product_bits(lowering.compressed.products, node.name)
    left, right = (lowering.view(name) for name in node.inputs)
    codes = quantize_rows(lowering, left, bits, node.name)
    other = quantize_rows(lowering, transposed(right), 8, f"{node.name}#right")
    target = lowering.new(node.outputs[0], graph.types[node.outputs[0]].shape)
    emit_products(lowering, target, codes, other, bits)
