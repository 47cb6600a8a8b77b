"""HardSwish: ``x * max(0, min(1, x / 6 + 0.5))``, with 1/6 as a float32 number."""

from __future__ import annotations

import numpy as np

from azsim import arith
from azsim.ir import Node, TensorType
from azsim.ops._chain import Chain
from azsim.ops._checks import given, is_float32
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "HardSwish"
INPUTS = (1, 1)
ATTRIBUTES = ()

_SIXTH, _HALF = 1 / 6, 0.5
_LINKS = (("min", 1.0), ("max", 0.0))


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Keep the type."""
    is_float32(inputs)
    return [given(inputs, 0)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """A ramp between 0 and 1, times x."""
    (x,) = inputs
    ramp = (x * np.float32(_SIXTH)) + np.float32(_HALF)
    for function, number in _LINKS:
        ramp = arith.BINARY_FUNCTIONS[function](ramp, np.float32(number))
    return [ramp * x]


def lower(node: Node, lowering: Lowering) -> None:
    """Four steps."""
    chain = Chain(node, lowering)
    chain.multiply_add(_SIXTH, _HALF)
    for function, number in _LINKS:
        chain.binary(function, number)
    chain.binary("mul", chain.source)
