"""Swish: ``x * sigmoid(alpha * x)``; with an alpha of 1 also known as SiLU."""

from __future__ import annotations

import numpy as np

from azsim import arith
from azsim.ir import Node, TensorType
from azsim.ops._chain import Chain
from azsim.ops._checks import given, is_float32
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Swish"
INPUTS = (1, 1)
ATTRIBUTES = ("alpha",)


def _alpha(node: Node) -> np.float32:
    return np.float32(node.attributes.get("alpha", 1.0))  # type: ignore[arg-type]


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Keep the type."""
    is_float32(inputs)
    return [given(inputs, 0)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Multiply by alpha (unless it is 1), take the logistic function, multiply by x."""
    (x,) = inputs
    alpha = _alpha(node)
    return [arith.sigmoid(x if alpha == 1 else x * alpha) * x]


def lower(node: Node, lowering: Lowering) -> None:
    """Two or three steps."""
    chain = Chain(node, lowering)
    if (alpha := _alpha(node)) != 1:
        chain.binary("mul", float(alpha))
    chain.unary("sigmoid")
    chain.binary("mul", chain.source)
