"""What the normalisations share: rows along the last axes, one `vector_norm` for all of them."""

from __future__ import annotations

import math

import numpy as np

from azsim import arith
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, axis_of, given, is_float32
from azsim.ops._elementwise import Operator
from azsim.ops._rows import rows_along, whole_rows
from azsim.ops._views import broadcast, reshaped, row_of
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Copy, Lowering, TensorView, Vector

__all__ = ["norm"]


def norm(function: str) -> Operator:
    """Make the functions of an operator that normalises rows: ``layer_norm`` or ``rms_norm``."""
    compute = arith.NORM_FUNCTIONS[function]

    def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
        data = inputs[0]
        row = data.shape[_axis(node, data.ndim) :]
        scale = _spread(inputs[1], row)
        bias = _spread(inputs[2], row) if len(inputs) > 2 else None
        result = compute(data.reshape(-1, math.prod(row)), scale, bias, _epsilon(node))
        return [result.reshape(data.shape)]

    def lower(node: Node, lowering: Lowering) -> None:
        view = lowering.view(node.inputs[0])
        row = view.shape[_axis(node, len(view.shape)) :]
        source = rows_along(lowering, view, len(row), node.name)
        target = lowering.new(node.outputs[0], view.shape)
        operands: dict[str, Access | int | float | str] = {
            "dst": whole_rows(target, source.cols),
            "src": source,
            "scale": _row(lowering, node.inputs[1], row),
            "norm": function,
            "value": _epsilon(node),
        }
        if len(node.inputs) > 2:
            operands |= {"bias": _row(lowering, node.inputs[2], row), "use_bias": 1}
        lowering.emit(Vector("vector_norm", operands))

    return Operator(_infer, reference, lower)


def _axis(node: Node, rank: int) -> int:
    axis = node.attributes.get("axis", -1)
    assert isinstance(axis, int)
    return axis_of(axis, rank)


def _epsilon(node: Node) -> float:
    return float(np.float32(node.attributes.get("epsilon", 1e-5)))  # type: ignore[arg-type]


def _infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check that scale and bias fit one row."""
    is_float32(inputs)
    attribute_is(node, "stash_type", 1)
    data = given(inputs, 0)
    row = data.shape[_axis(node, len(data.shape)) :]
    if _epsilon(node) < 0:
        raise UnsupportedError(f"epsilon is {_epsilon(node)}; 0 or more is needed")
    for index, found in enumerate(inputs[1:], 1):
        if found is not None and not _fits(found.shape, row):
            raise UnsupportedError(
                f"input {index} has shape {list(found.shape)}, which does not fit {list(row)}"
            )
    return [data]


def _fits(shape: tuple[int, ...], row: tuple[int, ...]) -> bool:
    wide = (1,) * (len(row) - len(shape)) + shape
    leading, own = wide[: len(wide) - len(row)], wide[len(wide) - len(row) :]
    pairs = zip(own, row, strict=True)
    return math.prod(leading) == 1 and all(found in (1, length) for found, length in pairs)


def _spread(array: np.ndarray, row: tuple[int, ...]) -> np.ndarray:
    """Repeat a scale or a bias over a row: (n,)."""
    own = array.shape[max(0, array.ndim - len(row)) :]
    return np.broadcast_to(array.reshape(own), row).reshape(-1)


def _row(lowering: Lowering, name: str, row: tuple[int, ...]) -> Access:
    """Window of one row over a scale or a bias, with copies where it is repeated."""
    constant = lowering.compressed.graph.initializers.get(name)
    if constant is not None and constant.size != math.prod(row):
        return lowering.constant_row(name, _spread(constant, row))
    view = lowering.view(name)
    first = max(0, len(view.shape) - len(row))
    own = TensorView(view.buffer, view.offset, view.shape[first:], view.strides[first:])
    whole = broadcast(own, row)
    if reshaped(whole, (math.prod(row),)) is None:
        whole = lowering.scratch(f"{name}#row", row)
        lowering.elementwise(Copy, whole, broadcast(own, row))
    return row_of(whole)
