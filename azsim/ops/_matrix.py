"""What the weighted operators share when they lower: fused activations, rows to multiply."""

from __future__ import annotations

import numpy as np

from azsim.ir import Node
from azsim.ops.lowering import Access, Copy, Lowering, Matmul, TensorView, rows_of

__all__ = ["bias_row", "matrix_rows", "multiply_rows", "result"]


def result(node: Node, lowering: Lowering, shape: tuple[int, ...]) -> tuple[TensorView, str]:
    """Place a product's result; returns where, and the activation function to apply there.

    A Relu that is the only reader of the product is fused: then only its output is placed.
    """
    graph = lowering.compressed.graph
    product = node.outputs[0]
    readers = graph.consumers(product)
    if product not in graph.outputs and [reader.op for reader in readers] == ["Relu"]:
        lowering.fused[product] = f"{readers[0].name} is applied as {node.name} is drained"
        return lowering.new(readers[0].outputs[0], shape), "relu"
    return lowering.new(product, shape), "none"


def bias_row(node: Node, lowering: Lowering, index: int, num_outputs: int) -> Access | None:
    """Window of one row over an optional bias; a constant is spread to one value an output."""
    if len(node.inputs) <= index or not node.inputs[index]:
        return None
    name = node.inputs[index]
    constant = lowering.compressed.graph.initializers.get(name)
    if constant is not None and constant.size != num_outputs:
        return lowering.constant_row(name, np.broadcast_to(constant.reshape(-1), num_outputs))
    view = lowering.view(name)
    return Access(view.buffer, view.offset, 1, num_outputs, 0, (view.strides or (1,))[-1])


def matrix_rows(lowering: Lowering, view: TensorView, name: str) -> Access:
    """See a tensor as rows along its last axis, copied where its strides forbid that."""
    rows = rows_of(view)
    if rows is None:
        dense = lowering.scratch(f"{name}#dense", view.shape)
        lowering.elementwise(Copy, dense, view)
        rows = rows_of(dense)
        assert rows is not None
    return rows


def multiply_rows(node: Node, lowering: Lowering, num_outputs: int, bias: Access | None) -> None:
    """Quantize every row of the first input on its own, and multiply by the second."""
    weight = lowering.weight(node.inputs[1])
    source = matrix_rows(lowering, lowering.view(node.inputs[0]), node.name)
    shape = lowering.compressed.graph.types[node.outputs[0]].shape
    target, function = result(node, lowering, shape)
    codes, scale = lowering.quantized(source, weight, node.name, per_row=True)
    window = Access(target.buffer, target.offset, source.rows, num_outputs, num_outputs, 1)
    lowering.emit(Matmul(weight.name, window, codes, scale, bias, function=function))
