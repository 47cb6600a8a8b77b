"""Clip to a least and a greatest value, each of them optional; NaN stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from azsim import arith
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops._views import alias_or_copy, broadcast
from azsim.ops.linear import Linear
from azsim.ops.lowering import Binary, Lowering

OP = "Clip"
INPUTS = (1, 3)
ATTRIBUTES = ()

_FUNCTIONS = ("max", "min")  # with the least value, then with the greatest


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check that bounds are single numbers of the data's type."""
    data = given(inputs, 0)
    for index, found in enumerate(inputs[1:], 1):
        if found is not None and (found.dtype != data.dtype or found.num_elements != 1):
            raise UnsupportedError(f"input {index} is {found}; one {data.dtype} is needed")
    return [data]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Larger one of the data and the least value, then the smaller one with the greatest."""
    result = inputs[0]
    for function, bound in zip(_FUNCTIONS, inputs[1:], strict=False):
        if bound is not None:
            result = np.asarray(arith.BINARY_FUNCTIONS[function](bound.reshape(()), result))
    return [result]


def lower(node: Node, lowering: Lowering) -> None:
    """A step for each bound."""
    value = lowering.view(node.inputs[0])
    if not any(node.inputs[1:]):
        alias_or_copy(node, lowering, value)
        return
    target = lowering.new(node.outputs[0], value.shape)
    for function, name in zip(_FUNCTIONS, node.inputs[1:], strict=False):
        if name:
            bound = broadcast(replace(lowering.view(name), shape=(), strides=()), value.shape)
            lowering.elementwise(Binary, target, bound, value, function=function)
            value = target
