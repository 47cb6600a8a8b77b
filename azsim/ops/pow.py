"""Pow with a constant exponent of 2 (``x * x``), 3 (``(x * x) * x``), 0.5 (square root) or 1."""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops._elementwise import broadcast_shape
from azsim.ops._views import alias_or_copy, broadcast
from azsim.ops.linear import Linear
from azsim.ops.lowering import Binary, Lowering, Unary

OP = "Pow"
INPUTS = (2, 2)
ATTRIBUTES = ()
EXPONENTS = (0.5, 1.0, 2.0, 3.0)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Require float32 and one of the exponents that have an exact definition."""
    base, exponent = given(inputs, 0), constants[1]
    if base.dtype != "float32":
        raise UnsupportedError(f"input 0 is {base}; only float32 is supported")
    if exponent is None:
        raise UnsupportedError("its exponent is computed at run time; it has to be a constant")
    if exponent.size != 1 or float(exponent.reshape(-1)[0]) not in EXPONENTS:
        found = "a tensor" if exponent.size != 1 else str(exponent.reshape(-1)[0])
        raise UnsupportedError(f"its exponent is {found}; only 0.5, 1, 2 or 3 is supported")
    return [TensorType("float32", broadcast_shape(inputs))]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Compute by multiplications in the order that the module states."""
    x = inputs[0]
    rank = max(x.ndim, inputs[1].ndim)
    if x.ndim < rank:
        x = x.reshape((1,) * (rank - x.ndim) + x.shape)
    exponent = float(inputs[1].reshape(-1)[0])
    if exponent == 2.0:
        return [np.asarray(x * x)]
    if exponent == 3.0:
        return [np.asarray((x * x) * x)]
    return [np.asarray(np.sqrt(x))] if exponent == 0.5 else [x]


def lower(node: Node, lowering: Lowering) -> None:
    """Lower to one or two products, a square root, or nothing."""
    graph = lowering.compressed.graph
    shape = graph.types[node.outputs[0]].shape
    exponent = float(graph.initializers[node.inputs[1]].reshape(-1)[0])
    source = broadcast(lowering.view(node.inputs[0]), shape)
    if exponent == 1.0:
        alias_or_copy(node, lowering, source)
        return
    target = lowering.new(node.outputs[0], shape)
    if exponent == 0.5:
        lowering.elementwise(Unary, target, source, function="sqrt")
        return
    lowering.elementwise(Binary, target, source, source, function="mul")
    if exponent == 3.0:
        lowering.elementwise(Binary, target, target, source, function="mul")
