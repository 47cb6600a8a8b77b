"""Two accesses that meet: whether they have bytes in common, and what to say of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from azsim.machine.view import View
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding
from azsim.sim.checks._windows import Access

__all__ = ["Pair", "finding_of", "meeting"]


@dataclass(frozen=True)
class Pair:
    """Two instructions whose accesses meet and that nothing orders."""

    late: int
    early: int
    access: Access  # of the late one
    other: Access

    @property
    def moves(self) -> bool:
        """Whether one of them has a window of which only the hull over all rounds is known."""
        return not (self.access.views and self.other.views)


def finding_of(subject: Subject, pair: Pair, why: str = "") -> Finding:
    access, other = pair.access, pair.other
    low, high = max(access.span.low, other.span.low), min(access.span.high, other.span.high)
    if not why:
        why = "and may share bytes in some round" if pair.moves else "and no wait orders the two"
    of_tensor = f" of '{access.region}'" if access.region else ""
    as_other = f" as '{other.region}'" if other.region and other.region != access.region else ""
    return subject.find(
        pair.late,
        f"{'writes' if access.span.is_write else 'reads'} {access.span.space} bytes "
        f"[{low:#x}, {high:#x}){of_tensor} that {subject.name(pair.early)} "
        f"{'writes' if other.span.is_write else 'reads'}{as_other}, {why}",
        pair.early,
    )


def meeting(subject: Subject, late: int, early: int) -> Pair | None:
    """The first accesses of two instructions that meet."""
    for access in subject.accesses.get(late, ()):
        for other in subject.accesses.get(early, ()):
            if _meet(access, other):
                return Pair(late, early, access, other)
    return None


def _meet(left: Access, right: Access) -> bool:
    a, b = left.span, right.span
    if a.space != b.space or not (a.is_write or b.is_write):
        return False
    if a.low >= b.high or b.low >= a.high:
        return False
    if not (left.views and right.views):
        return True
    bytes_of = _touched(left.views[0]), _touched(right.views[0])
    if isinstance(bytes_of[0], slice) and isinstance(bytes_of[1], slice):
        return True
    return np.intersect1d(_array(bytes_of[0]), _array(bytes_of[1])).size > 0


def _array(found: slice | np.ndarray) -> np.ndarray:
    return np.arange(found.start, found.stop) if isinstance(found, slice) else found


def _touched(view: View) -> slice | np.ndarray:
    """Bytes that a view shows; a slice where they follow one another."""
    shape = (view.rows, view.cols, view.row_stride, view.col_stride, view.element_bits)
    offsets = _offsets(*shape)
    if isinstance(offsets, slice):
        return slice(view.addr + offsets.start, view.addr + offsets.stop)
    return offsets + view.addr


@functools.lru_cache(maxsize=4096)
def _offsets(
    rows: int, cols: int, row_stride: int, col_stride: int, bits: int
) -> slice | np.ndarray:
    row_bytes = -(-cols * bits // 8)
    pitch = row_stride * bits // 8
    if (cols == 1 or col_stride == 1) and (rows == 1 or pitch == row_bytes):
        return slice(0, rows * row_bytes)
    size = max(1, bits // 8)
    width = row_bytes if bits < 8 or col_stride == 1 else cols
    step = 1 if bits < 8 or col_stride == 1 else col_stride * size
    first = np.add.outer(np.arange(rows) * pitch, np.arange(width) * step)
    wide = 1 if step == 1 else size
    return np.unique(np.add.outer(first, np.arange(wide)))
