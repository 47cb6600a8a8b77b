"""Shape: the (static) shape of any tensor as int64; always folded."""

from __future__ import annotations

import numpy as np

from azsim.ir import Node, TensorType
from azsim.ops._checks import given
from azsim.ops.linear import Linear

OP = "Shape"
INPUTS = (1, 1)
ATTRIBUTES = ("start", "end")


def _selected(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
    assert isinstance(start, int)
    assert isinstance(end, int)
    return shape[start:end]


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """One number an axis."""
    return [TensorType("int64", (len(_selected(node, given(inputs, 0).shape)),))]


def fold(node: Node, inputs: list[TensorType | None]) -> list[np.ndarray]:
    """Value from the type alone: shapes are static."""
    return [np.array(_selected(node, given(inputs, 0).shape), np.int64)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Shape of the array."""
    return [np.array(_selected(node, inputs[0].shape), np.int64)]
