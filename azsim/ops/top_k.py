"""TopK: the k largest elements along one axis, largest first, and their places."""

from __future__ import annotations

import numpy as np

from azsim import arith
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, axis_of, given, integers, is_float32
from azsim.ops._rows import moved_back, moved_last, rows_along, whole_rows
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering, Vector

OP = "TopK"
INPUTS = (2, 2)
ATTRIBUTES = ("axis", "largest", "sorted")
TYPES = ("int64",)


def _axis(node: Node, rank: int) -> int:
    return axis_of(node.attributes.get("axis", -1), rank)  # type: ignore[arg-type]


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check k against the axis."""
    is_float32(inputs[:1])
    attribute_is(node, "largest", 1)
    shape = given(inputs, 0).shape
    axis = _axis(node, len(shape))
    (k,) = integers(inputs, constants, 1) or (0,)
    if not 1 <= k <= shape[axis]:
        raise UnsupportedError(f"k is {k}; 1 to {shape[axis]}, the axis's length, is supported")
    shape = (*shape[:axis], k, *shape[axis + 1 :])
    return [TensorType("float32", shape), TensorType("int64", shape)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Rank every row, with the axis moved behind all others."""
    data, k = inputs[0], int(inputs[1].reshape(-1)[0])
    axis = _axis(node, data.ndim)
    rows = np.moveaxis(data, axis, -1)
    found = arith.top_k(rows.reshape(-1, rows.shape[-1]), k)
    values, places = (
        np.ascontiguousarray(np.moveaxis(array.reshape(*rows.shape[:-1], k), -1, axis))
        for array in found
    )
    return [values, places.astype(np.int64)]


def lower(node: Node, lowering: Lowering) -> None:
    """One step for both results."""
    view = lowering.view(node.inputs[0])
    axis = _axis(node, len(view.shape))
    last = moved_last(view, axis)
    k = int(lowering.compressed.graph.initializers[node.inputs[1]].reshape(-1)[0])
    shape = (*last.shape[:-1], k)
    results = []
    for index, dtype in enumerate(("f32", "i32")):
        tensor = node.outputs[index] if len(node.outputs) > index else ""
        target = lowering.scratch(tensor or f"{node.name}#{index}", shape, dtype)
        results.append(whole_rows(target, k))
        if tensor:
            lowering.alias(tensor, moved_back(target, axis))
    values, places = results
    source = rows_along(lowering, last, 1, node.name)
    lowering.emit(Vector("vector_top_k", {"dst": values, "src": source, "indices": places}))
