"""Gather: positions of an axis, by number.

A constant stays in DRAM, and only what is wanted of it is fetched: an embedding.  A number that is
no position is an error; so is one below 0, which counts from the end, unless it is a constant.
"""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import axis_of, given
from azsim.ops._gather import gathered, take_rows
from azsim.ops._views import alias_or_copy, part, permuted, reshaped
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering, TensorView, contiguous_strides

OP = "Gather"
INPUTS = (2, 2)
ATTRIBUTES = ("axis",)
TYPES = ("int8", "int32", "int64", "bool")


def _axis(node: Node, rank: int) -> int:
    axis = node.attributes.get("axis", 0)
    assert isinstance(axis, int)
    return axis_of(axis, rank)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Put the numbers' shape in the axis's place."""
    data, indices = given(inputs, 0), given(inputs, 1)
    axis = _axis(node, len(data.shape))
    if indices.dtype not in ("int32", "int64"):
        raise UnsupportedError(f"input 1 is {indices}; it has to hold integers")
    if constants[1] is not None:
        _check(constants[1], data.shape[axis])
    return [TensorType(data.dtype, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))]


def _check(numbers: np.ndarray, length: int) -> None:
    wrong = numbers[(numbers < -length) | (numbers >= length)]
    if wrong.size:
        raise UnsupportedError(f"indices hold {wrong[0]}, allowed are {-length} to {length - 1}")


def _order(rank: int, axis: int) -> list[int]:
    """Order of axes that puts `rank` axes in front into the place of an axis, but for the rest."""
    return [*range(rank, rank + axis), *range(rank)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Take the positions; those below 0 count from the end."""
    data, indices = inputs
    axis = _axis(node, data.ndim)
    indices = np.where(indices < 0, indices + data.shape[axis], indices)
    rows = take_rows(node, np.moveaxis(data, axis, 0), indices)
    order = _order(indices.ndim, axis)
    order += range(len(order), rows.ndim)
    return [np.asarray(rows.transpose(order), order="C")]


def lower(node: Node, lowering: Lowering) -> None:
    """Name a window where the numbers are evenly spaced constants; else one instruction."""
    graph, output = lowering.compressed.graph, node.outputs[0]
    shape = graph.types[node.inputs[0]].shape
    axis = _axis(node, len(shape))
    constant = graph.initializers.get(node.inputs[1])
    if constant is None:
        indices = lowering.view(node.inputs[1])
    else:
        numbers = np.where(constant < 0, constant + shape[axis], constant)
        if (window := _window(lowering.view(node.inputs[0]), axis, numbers)) is not None:
            alias_or_copy(node, lowering, window)
            return
        indices = _placed(lowering, f"{node.name}#indices", numbers)
    rows = gathered(lowering, node.inputs[0], indices, output, axis)
    rest = (*shape[:axis], *shape[axis + 1 :])
    whole = reshaped(rows, (*indices.shape, *rest))
    assert whole is not None
    order = _order(len(indices.shape), axis)
    lowering.alias(output, permuted(whole, [*order, *range(len(order), len(whole.shape))]))


def _window(view: TensorView, axis: int, numbers: np.ndarray) -> TensorView | None:
    """Evenly spaced positions of an axis; None where they are not."""
    if numbers.ndim == 0:
        return view.item(axis, int(numbers))
    steps = np.unique(np.diff(numbers)) if numbers.size > 1 else np.array([1])
    if numbers.ndim > 1 or steps.size > 1:
        return None
    return part(view, axis, int(numbers[0]), numbers.size, int(steps[0]))


def _placed(lowering: Lowering, name: str, numbers: np.ndarray) -> TensorView:
    """Constant numbers on the chip."""
    array = numbers.astype(np.int32)
    buffer = lowering.buffer(name, "i32", array.size, constant=array)
    return TensorView(buffer, 0, array.shape, contiguous_strides(array.shape))
