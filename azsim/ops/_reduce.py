"""What the reductions share: axes that are reduced become the columns of a `vector_reduce`."""

from __future__ import annotations

import math

import numpy as np

from azsim import arith
from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given, integers, is_float32
from azsim.ops._elementwise import Operator
from azsim.ops._rows import rows_along
from azsim.ops._views import alias_or_copy, permuted
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Lowering, Vector

__all__ = ["reduction"]


def reduction(name: str) -> Operator:
    """Make the functions of a reduction: ``sum``, ``mean``, ``max`` or ``min``."""
    compute = arith.REDUCE_FUNCTIONS[name]

    def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
        data = inputs[0]
        axes = _axes(node, data.ndim, inputs[1] if len(inputs) > 1 else None)
        if not axes:
            return [data]
        kept = [axis for axis in range(data.ndim) if axis not in axes]
        rows = data.transpose(*kept, *axes).reshape(-1, math.prod(data.shape[n] for n in axes))
        return [compute(rows).reshape(_shape(node, data.shape, axes))]

    def lower(node: Node, lowering: Lowering) -> None:
        view = lowering.view(node.inputs[0])
        constants = lowering.compressed.graph.initializers
        given_axes = constants[node.inputs[1]] if len(node.inputs) > 1 else None
        axes = _axes(node, len(view.shape), given_axes)
        if not axes:
            alias_or_copy(node, lowering, view)
            return
        kept = [axis for axis in range(len(view.shape)) if axis not in axes]
        source = rows_along(lowering, permuted(view, [*kept, *axes]), len(axes), node.name)
        target = lowering.new(node.outputs[0], _shape(node, view.shape, axes))
        column = Access(target.buffer, 0, source.rows, 1, 1, 1)
        operands = {"dst": column, "src": source, "reduction": name}
        lowering.emit(Vector("vector_reduce", operands))

    return Operator(_infer, reference, lower)


def _infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    is_float32(inputs[:1])
    shape = given(inputs, 0).shape
    values = integers(inputs, constants, 1)
    axes = _axes(node, len(shape), None if values is None else np.array(values, np.int64))
    return [TensorType("float32", _shape(node, shape, axes))]


def _axes(node: Node, rank: int, values: np.ndarray | None) -> list[int]:
    """Axes that are reduced, in ascending order: all unless some are named."""
    found = node.attributes.get("axes", ()) if values is None else values.reshape(-1).tolist()
    assert isinstance(found, tuple | list)
    if not found:
        return [] if node.attributes.get("noop_with_empty_axes") else list(range(rank))
    return sorted({axis_of(int(axis), rank) for axis in found})


def _shape(node: Node, shape: tuple[int, ...], axes: list[int]) -> tuple[int, ...]:
    if node.attributes.get("keepdims", 1):
        return tuple(1 if axis in axes else length for axis, length in enumerate(shape))
    return tuple(length for axis, length in enumerate(shape) if axis not in axes)
