"""MatMulCodes: a computed tensor times codes that are there already, such as those of a cache.

Not one of ONNX's.  Inputs are A (..., M, K), codes (..., K, N) of 8 bits and, optional, scales that
numpy can broadcast to (..., 1, N): one for each column of the codes, 1 if they are left out.  Axes
in front are broadcast.  ``Y = A (codes * scales)``, with rows of A quantized as in a MatMul of two
computed tensors.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops._codes import emit_products, multiply, product_shape, quantize_rows, rows_first
from azsim.ops._views import broadcast, transposed
from azsim.ops.linear import Linear, product_bits
from azsim.ops.lowering import Lowering, TensorView

OP = "MatMulCodes"
INPUTS = (2, 3)
ATTRIBUTES = ()


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check types and shapes."""
    data, codes = given(inputs, 0), given(inputs, 1)
    scales = inputs[2] if len(inputs) > 2 else None
    found = [kind.dtype for kind in (data, codes, scales) if kind is not None]
    if found != ["float32", "int8", "float32"][: len(found)]:
        raise UnsupportedError(
            f"operands are {', '.join(found)}; float32 times int8 with float32 scales is supported"
        )
    shape = product_shape(data.shape, codes.shape)
    if scales is not None:
        wanted = (*codes.shape[:-2], 1, codes.shape[-1])
        if not _fits(scales.shape, wanted):
            raise UnsupportedError(
                f"scales have shape {list(scales.shape)}, which is not broadcast to {list(wanted)}"
            )
    return [TensorType("float32", shape)]


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False


def is_product(node: Node, constants: Collection[str]) -> bool:
    """Its left side's bits are the scheme's to say."""
    return True


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Multiply all rows."""
    data, other = inputs[0], rows_first(inputs[1])
    if len(inputs) > 2 and inputs[2] is not None:
        wanted = (*inputs[1].shape[:-2], 1, inputs[1].shape[-1])
        other_scales = np.broadcast_to(inputs[2], wanted)[..., 0, :]
    else:
        other_scales = np.ones(other.shape[:-1], data.dtype)
    codes, scales = linear.quantize_left(node.name, data.reshape(-1, data.shape[-1]))
    left = codes.reshape(data.shape), scales.reshape(data.shape[:-1])
    return [multiply(linear, node.name, left, (other, other_scales))]


def lower(node: Node, lowering: Lowering) -> None:
    """Quantize the left side's rows; a product for each matrix of codes."""
    compressed = lowering.compressed
    bits = product_bits(compressed.products, node.name)
    codes = lowering.view(node.inputs[1])
    left = quantize_rows(lowering, lowering.view(node.inputs[0]), bits, node.name)
    wanted = (*codes.shape[:-2], 1, codes.shape[-1])
    if len(node.inputs) > 2 and node.inputs[2]:
        scales = broadcast(lowering.view(node.inputs[2]), wanted).item(len(wanted) - 2, 0)
    else:
        one = lowering.constant_row(f"{node.name}#one", np.ones(1, np.float32))
        shape = (*codes.shape[:-2], codes.shape[-1])
        scales = TensorView(one.buffer, 0, shape, (0,) * len(shape))
    target = lowering.new(node.outputs[0], compressed.graph.types[node.outputs[0]].shape)
    emit_products(lowering, target, left, (transposed(codes), scales), bits)
