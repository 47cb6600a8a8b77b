"""Gelu: ``x * (0.5 + 0.5 * erf(x / sqrt(2)))``, or its approximation by tanh.

The approximation, ``0.5 x (1 + tanh(u))`` with ``u = sqrt(2 / pi) (x + 0.044715 x**3)``, is
computed as ``x * sigmoid(2 u)``, which is the same function in fewer steps.
"""

from __future__ import annotations

import math

import numpy as np

from azsim import arith
from azsim.ir import Node, TensorType
from azsim.ops._chain import Chain
from azsim.ops._checks import attribute_is, given, is_float32
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Gelu"
INPUTS = (1, 1)
ATTRIBUTES = ("approximate",)

_ROOT_HALF = np.float32(math.sqrt(0.5))
_HALF = np.float32(0.5)
_LINEAR = np.float32(2 * math.sqrt(2 / math.pi))
_CUBIC = np.float32(2 * math.sqrt(2 / math.pi) * 0.044715)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check the form, keep the type."""
    is_float32(inputs)
    attribute_is(node, "approximate", "none", "tanh")
    return [given(inputs, 0)]


def _is_tanh(node: Node) -> bool:
    return node.attributes.get("approximate") == "tanh"


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Share of the normal distribution below x, or its approximation, times x."""
    (x,) = inputs
    with np.errstate(all="ignore"):
        if _is_tanh(node):
            share = arith.sigmoid(((x * x) * _CUBIC + _LINEAR) * x)
        else:
            share = arith.erf(x * _ROOT_HALF) * _HALF + _HALF
        return [share * x]


def lower(node: Node, lowering: Lowering) -> None:
    """Five steps, or four."""
    chain = Chain(node, lowering)
    if _is_tanh(node):
        chain.binary("mul", chain.source)
        chain.multiply_add(float(_CUBIC), float(_LINEAR))
        chain.binary("mul", chain.source)
        chain.unary("sigmoid")
    else:
        chain.binary("mul", float(_ROOT_HALF))
        chain.unary("erf")
        chain.multiply_add(float(_HALF), float(_HALF))
    chain.binary("mul", chain.source)
