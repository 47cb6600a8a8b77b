"""What ArgMax and ArgMin share: the place of the first extreme element along one axis."""

from __future__ import annotations

import numpy as np

from azsim import arith
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, axis_of, given, is_float32
from azsim.ops._elementwise import Operator
from azsim.ops._rows import moved_last, rows_along
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Lowering, Vector

__all__ = ["arg"]


def arg(rank: str) -> Operator:
    """Make the functions of an operator: ``max`` or ``min``."""
    compute = arith.ARG_FUNCTIONS[rank]

    def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
        data = inputs[0]
        rows = np.moveaxis(data, _axis(node, data.ndim), -1)
        found = compute(rows.reshape(-1, rows.shape[-1])).astype(np.int64)
        return [found.reshape(_shape(node, data.shape))]

    def lower(node: Node, lowering: Lowering) -> None:
        view = lowering.view(node.inputs[0])
        last = moved_last(view, _axis(node, len(view.shape)))
        source = rows_along(lowering, last, 1, node.name)
        target = lowering.new(node.outputs[0], _shape(node, view.shape), "i32")
        column = Access(target.buffer, 0, source.rows, 1, 1, 1)
        lowering.emit(Vector("vector_arg", {"dst": column, "src": source, "rank": rank}))

    return Operator(_infer, reference, lower)


def _axis(node: Node, rank: int) -> int:
    return axis_of(node.attributes.get("axis", 0), rank)  # type: ignore[arg-type]


def _shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    axis = _axis(node, len(shape))
    kept = (1,) if node.attributes.get("keepdims", 1) else ()
    return (*shape[:axis], *kept, *shape[axis + 1 :])


def _infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    is_float32(inputs)
    attribute_is(node, "select_last_index", 0)
    return [TensorType("int64", _shape(node, given(inputs, 0).shape))]
