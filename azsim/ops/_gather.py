"""Rows of a table by numbers that are computed: what Gather and RotaryEmbedding share."""

from __future__ import annotations

import numpy as np

from azsim.errors import InputError
from azsim.ir import Node
from azsim.ops._rows import rows_along, whole_rows
from azsim.ops._views import permuted
from azsim.ops.lowering import Access, Lowering, TensorView, Vector

__all__ = ["column", "gathered", "take_rows"]


def take_rows(node: Node, data: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Rows by number.

    Raises
    ------
    InputError
        If there is no such row.
    """
    wrong = indices[(indices < 0) | (indices >= len(data))]
    if wrong.size:
        raise InputError(
            f"node {node.name} ({node.op}): indices hold {wrong[0]}, "
            f"allowed are 0 to {len(data) - 1}"
        )
    return data[indices]


def column(lowering: Lowering, view: TensorView, name: str) -> Access:
    """See numbers as one column."""
    as_column = TensorView(view.buffer, view.offset, (*view.shape, 1), (*view.strides, 1))
    return rows_along(lowering, as_column, 1, name)


def gathered(
    lowering: Lowering, data: str, indices: TensorView, name: str, axis: int = 0
) -> TensorView:
    """Positions of an axis as rows, (indices..., all other axes in one).

    A constant stays in DRAM, from where they are fetched; what was fetched by the same numbers
    before is not fetched again.
    """
    numbers = column(lowering, indices, name)

    def make() -> TensorView:
        is_table = data in lowering.compressed.graph.initializers
        source = lowering.table(data, axis) if is_table else _matrix(lowering, data, axis, name)
        dtype = lowering.buffers[source.buffer].dtype
        target = lowering.scratch(name, (*indices.shape, source.cols), dtype)
        mnemonic = "load_gather" if is_table else "vector_gather"
        window = whole_rows(target, source.cols)
        operands = {"dst": window, "src": source, "indices": numbers}
        lowering.emit(Vector(mnemonic, operands))
        return target

    return lowering.once((data, repr(numbers), indices.shape, axis), make)


def _matrix(lowering: Lowering, data: str, axis: int, name: str) -> Access:
    """See a computed tensor as rows along an axis."""
    view = lowering.view(data)
    rank = len(view.shape)
    first = permuted(view, [axis, *(other for other in range(rank) if other != axis)])
    return rows_along(lowering, first, rank - 1, name)
