"""Places in a ring, counted in float32, which has whole numbers below 2**24 exactly."""

from __future__ import annotations

import numpy as np

from azsim.ops._gather import column
from azsim.ops._views import broadcast
from azsim.ops.lowering import Access, Binary, Lowering, TensorView, Vector

__all__ = ["count_from", "numbers_from", "repeated", "to_integers", "wrapped", "wrapped_places"]


def wrapped_places(places: np.ndarray, length: int) -> np.ndarray:
    """Places at or past the end of a ring, by less than its length, from its beginning on."""
    return np.where(places >= length, places - places.dtype.type(length), places)


def repeated(lowering: Lowering, value: float, like: Access) -> Access:
    """Window that shows a number everywhere."""
    view = broadcast(lowering.number(value), (1, 1))
    return Access(view.buffer, 0, like.rows, like.cols, 0, 0)


def count_from(lowering: Lowering, start: TensorView, count: int, name: str) -> Access:
    """Row of `count` numbers from a number on, each one more than the one before."""
    steps = lowering.constant_row(f"{name}#steps", np.arange(count))
    target = lowering.scratch(f"{name}#counted", (1, count))
    row = Access(target.buffer, 0, 1, count, 0, 1)
    lowering.emit(Binary("add", row, Access(start.buffer, start.offset, 1, count, 0, 0), steps))
    return row


def wrapped(lowering: Lowering, places: Access, length: int, name: str) -> None:
    """Bring places that are past the end of a ring to its beginning, in place."""
    scratch = [lowering.scratch(f"{name}#{kind}", places.shape) for kind in ("is_past", "over")]
    is_past, over = (
        Access(view.buffer, 0, places.rows, places.cols, places.cols, 1) for view in scratch
    )
    end = repeated(lowering, length, places)
    operands: dict[str, Access | int | float | str] = {"dst": is_past, "src": end, "src2": places}
    lowering.emit(Vector("vector_compare", {**operands, "comparison": "less_equal"}))
    lowering.emit(Binary("sub", over, places, end))
    chosen: dict[str, Access | int | float | str] = {"src2": over, "other": places}
    lowering.emit(Vector("vector_select", {"dst": places, "src": is_past, **chosen}))


def to_integers(lowering: Lowering, row: Access, count: int, target: TensorView) -> None:
    """The first numbers of a row as a tensor of integers."""
    source = Access(row.buffer, row.offset, 1, count, 0, row.col_stride)
    dst = Access(target.buffer, target.offset, 1, count, 0, 1)
    lowering.emit(Vector("vector_convert", {"dst": dst, "src": source}))


def numbers_from(lowering: Lowering, start: TensorView, count: int, ring: int, name: str) -> Access:
    """Column of `count` integers from an integer on, round a ring of that length (0: no ring).

    What was counted for one tensor serves others.
    """
    if count == 1:
        return column(lowering, start, name)

    def make() -> TensorView:
        first = lowering.scratch(f"{name}#first", (1,))
        source = column(lowering, start, name)
        dst = Access(first.buffer, 0, 1, 1, 0, 1)
        lowering.emit(Vector("vector_convert", {"dst": dst, "src": source}))
        row = count_from(lowering, first, count, name)
        if ring:
            wrapped(lowering, row, ring, name)
        numbers = lowering.scratch(f"{name}#numbers", (count,), "i32")
        to_integers(lowering, row, count, numbers)
        return numbers

    key = ("numbers from", start.buffer, start.offset, count, ring)
    return column(lowering, lowering.once(key, make), name)
