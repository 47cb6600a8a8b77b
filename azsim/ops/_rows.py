"""Tensors seen as matrices, for instructions that work along rows."""

from __future__ import annotations

import math

from azsim.ops._views import permuted, reshaped
from azsim.ops.lowering import Access, Copy, Lowering, TensorView, rows_of

__all__ = ["moved_back", "moved_last", "rows_along", "whole_rows"]


def moved_last(view: TensorView, axis: int) -> TensorView:
    """Put an axis behind all others."""
    rest = [other for other in range(len(view.shape)) if other != axis]
    return permuted(view, [*rest, axis])


def moved_back(view: TensorView, axis: int) -> TensorView:
    """Put the last axis where `moved_last` took it from."""
    order = list(range(len(view.shape) - 1))
    order.insert(axis, len(view.shape) - 1)
    return permuted(view, order)


def rows_along(lowering: Lowering, view: TensorView, count: int, name: str) -> Access:
    """See the last `count` axes as columns and all others as rows, copied where strides forbid it.

    Rows and columns are in C order of the view, whatever its strides.
    """
    rank = len(view.shape) - count
    flat = (*view.shape[:rank], math.prod(view.shape[rank:]))
    merged = reshaped(view, flat)
    rows = None if merged is None else rows_of(merged)
    if rows is None:
        dense = lowering.scratch(f"{name}#dense", view.shape, lowering.dtype(view))
        lowering.elementwise(Copy, dense, view)
        rows = Access(dense.buffer, 0, math.prod(flat[:-1]), flat[-1], flat[-1], 1)
    return rows


def whole_rows(view: TensorView, cols: int) -> Access:
    """See a contiguous tensor as rows of `cols` columns."""
    return Access(view.buffer, view.offset, math.prod(view.shape) // cols, cols, cols, 1)
