"""Reshape to a constant shape: 0 keeps an axis (unless `allowzero`), -1 takes what is left."""

from __future__ import annotations

import math

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, integers
from azsim.ops._views import alias_or_copy
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Reshape"
INPUTS = (2, 2)
ATTRIBUTES = ("allowzero",)
TYPES = ("int8", "int32", "int64", "bool")


def _target(node: Node, shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    if not node.attributes.get("allowzero", 0):
        kept = enumerate(wanted)
        if any(length == 0 and axis >= len(shape) for axis, length in kept):
            raise UnsupportedError(f"shape {list(wanted)} keeps an axis that {list(shape)} lacks")
        wanted = tuple(shape[axis] if n == 0 else n for axis, n in enumerate(wanted))
    num_elements = math.prod(shape)
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        if rest > 0 and num_elements % rest == 0:
            wanted = tuple(num_elements // rest if n == -1 else n for n in wanted)
    if min(wanted, default=1) < 0 or math.prod(wanted) != num_elements:
        raise UnsupportedError(f"shape {list(shape)} cannot become {list(wanted)}")
    return wanted


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Resolve the shape against the input's number of elements."""
    data, wanted = given(inputs, 0), integers(inputs, constants, 1)
    assert wanted is not None
    return [TensorType(data.dtype, _target(node, data.shape, wanted))]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Reshape in C order."""
    data, wanted = inputs
    return [data.reshape(_target(node, data.shape, tuple(wanted.reshape(-1).tolist())))]


def lower(node: Node, lowering: Lowering) -> None:
    """Name the same window under another shape; copy only where strides forbid that."""
    alias_or_copy(node, lowering, lowering.view(node.inputs[0]))
