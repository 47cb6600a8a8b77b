"""Split along one axis; no step and no data movement on the chip."""

from __future__ import annotations

import itertools

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given, integers
from azsim.ops._views import part
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering

OP = "Split"
INPUTS = (1, 2)
ATTRIBUTES = ("axis", "num_outputs", "split")
TYPES = ("int8", "int32", "int64", "bool")


def _axis(node: Node, rank: int) -> int:
    return axis_of(node.attributes.get("axis", 0), rank)  # type: ignore[arg-type]


def _lengths(node: Node, total: int, given_lengths: tuple[int, ...] | None) -> tuple[int, ...]:
    """Length of each part; equal ones, the last of which may be shorter, unless they are given."""
    lengths = given_lengths or node.attributes.get("split")
    if lengths is None:
        count = node.attributes.get("num_outputs", len(node.outputs))
        assert isinstance(count, int)
        length = -(-total // count)
        lengths = (*(length for _ in range(count - 1)), total - length * (count - 1))
    assert isinstance(lengths, tuple)
    if min(lengths) < 0 or sum(lengths) != total or len(lengths) < len(node.outputs):
        listed = ", ".join(map(str, lengths))
        raise UnsupportedError(
            f"{total} positions cannot be split into {len(node.outputs)} parts of {listed}"
        )
    return lengths  # type: ignore[return-value]


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Resolve the constant lengths against the shape."""
    data = given(inputs, 0)
    axis = _axis(node, len(data.shape))
    lengths = _lengths(node, data.shape[axis], integers(inputs, constants, 1))
    before, after = data.shape[:axis], data.shape[axis + 1 :]
    return [TensorType(data.dtype, (*before, length, *after)) for length in lengths]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Cut."""
    data = inputs[0]
    axis = _axis(node, data.ndim)
    given_lengths = tuple(inputs[1].tolist()) if len(inputs) > 1 else None
    lengths = _lengths(node, data.shape[axis], given_lengths)
    return np.split(data, list(itertools.accumulate(lengths))[:-1], axis)


def lower(node: Node, lowering: Lowering) -> None:
    """Name the windows."""
    view = lowering.view(node.inputs[0])
    axis = _axis(node, len(view.shape))
    constant = lowering.compressed.graph.initializers[node.inputs[1]] if node.inputs[1:] else None
    given_lengths = None if constant is None else tuple(constant.tolist())
    lengths = _lengths(node, view.shape[axis], given_lengths)
    starts = itertools.accumulate(lengths, initial=0)
    for output, start, length in zip(node.outputs, starts, lengths, strict=False):
        if output:
            lowering.alias(output, part(view, axis, start, length))
