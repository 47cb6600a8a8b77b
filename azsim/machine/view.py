"""Views: the two-dimensional strided windows that every data operand names."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from azsim.errors import MachineError
from azsim.isa.program import ELEMENT_BITS

__all__ = ["ELEMENT_BITS", "Range", "View", "overlaps", "share_bytes", "shown_bytes"]


class Range(NamedTuple):
    """Bytes ``[low, high)`` of one memory that an instruction reads or writes.

    `view` shows which bytes between the two these are; without it all.
    """

    space: str
    low: int
    high: int
    is_write: bool
    view: View | None = None


class View(NamedTuple):
    """A resolved view; strides count elements, `addr` is in bytes.

    Packed types (i4, i2) hold their elements low bits first; rows start at byte boundaries and
    columns follow one another.
    """

    space: str
    dtype: str
    addr: int
    rows: int
    cols: int
    row_stride: int
    col_stride: int

    @property
    def element_bits(self) -> int:
        """Bits of one element."""
        return ELEMENT_BITS[self.dtype]

    @property
    def num_elements(self) -> int:
        """Rows times columns."""
        return self.rows * self.cols

    @property
    def num_bytes(self) -> int:
        """Bytes of the elements that the view shows, packed."""
        return self.rows * -(-self.cols * self.element_bits // 8)

    @property
    def shows_twice(self) -> bool:
        """Whether two positions of the view are one element in memory."""
        down, across = abs(self.row_stride), abs(self.col_stride)
        if self.rows == 1 or self.cols == 1:
            return (self.rows > 1 and down == 0) or (self.cols > 1 and across == 0)
        common = math.gcd(down, across)
        return common == 0 or (across // common < self.rows and down // common < self.cols)

    def extent(self) -> tuple[int, int]:
        """First byte and one past the last byte that the view can touch.

        Raises
        ------
        MachineError
            If a packed row does not start at a byte, or its columns are not next to one another.
        """
        bits = ELEMENT_BITS[self.dtype]
        if bits < 8:
            return self._packed_extent(bits)
        down, across = (self.rows - 1) * self.row_stride, (self.cols - 1) * self.col_stride
        low = (down if down < 0 else 0) + (across if across < 0 else 0)
        high = (down if down > 0 else 0) + (across if across > 0 else 0)
        size = bits // 8
        return self.addr + low * size, self.addr + (high + 1) * size

    def _packed_extent(self, bits: int) -> tuple[int, int]:
        if self.col_stride != 1 or self.row_stride * bits % 8 or self.row_stride < 0:
            raise MachineError(
                f"{self.dtype} view: rows have to start at bytes and columns to be adjacent, "
                f"got row_stride={self.row_stride} col_stride={self.col_stride}"
            )
        row_bytes = -(-self.cols * bits // 8)
        pitch = self.row_stride * bits // 8
        return self.addr, self.addr + (self.rows - 1) * pitch + row_bytes

    def reads(self) -> Range:
        """Footprint of reading the view."""
        return Range(self.space, *self.extent(), False, self)

    def writes(self) -> Range:
        """Footprint of writing the view."""
        return Range(self.space, *self.extent(), True, self)

    def stepped(self, step_bytes: int) -> View:
        """Return the same window further on."""
        return self._replace(addr=self.addr + step_bytes)


def overlaps(left: Range, right: Range) -> bool:
    """Whether two ranges share a byte of one memory."""
    return left.space == right.space and left.low < right.high and right.low < left.high


def share_bytes(left: View, right: View) -> bool:
    """Whether two views of one memory show a byte in common."""
    one, other = shown_bytes(left), shown_bytes(right)
    if isinstance(one, slice) and isinstance(other, slice):
        return one.start < other.stop and other.start < one.stop
    return np.intersect1d(_array(one), _array(other)).size > 0


def shown_bytes(view: View) -> slice | np.ndarray:
    """Addresses of the bytes that a view shows, in order; a slice where they follow one another."""
    shape = (view.rows, view.cols, view.row_stride, view.col_stride, view.element_bits)
    offsets = _offsets(*shape)
    if isinstance(offsets, slice):
        return slice(view.addr + offsets.start, view.addr + offsets.stop)
    return offsets + view.addr


def _array(found: slice | np.ndarray) -> np.ndarray:
    return np.arange(found.start, found.stop) if isinstance(found, slice) else found


@functools.lru_cache(maxsize=4096)
def _offsets(
    rows: int, cols: int, row_stride: int, col_stride: int, bits: int
) -> slice | np.ndarray:
    """Bytes that a view at address 0 shows.

    Rows may share bytes, so that a view shows more elements than there are bytes; no more is
    written down than the bytes from its first to its last.
    """
    run, low = max(1, bits // 8), 0
    axes = [(rows, row_stride * bits // 8)]
    if bits < 8 or col_stride == 1:
        run = -(-cols * bits // 8)
    else:
        axes.append((cols, col_stride * run))
    steps: list[tuple[int, int]] = []
    for count, step in sorted(axes, key=lambda axis: abs(axis[1])):
        low += min(0, (count - 1) * step)
        if not steps and abs(step) <= run:
            run += (count - 1) * abs(step)  # what is shown has no gap so far
        elif count > 1:
            steps.append((count, abs(step)))
    if not steps:
        return slice(low, low + run)
    span = run + sum((count - 1) * step for count, step in steps)
    if run * math.prod(count for count, _ in steps) <= span:
        found = np.arange(run)
        for count, step in steps:
            found = np.add.outer(np.arange(count) * step, found)
        return low + np.unique(found)
    shown = np.zeros(span, bool)
    shown[:run] = True
    for count, step in steps:
        done = 1
        while done < count:
            more = min(done, count - done)
            shown[more * step :] |= shown[: span - more * step]
            done += more
    return low + np.flatnonzero(shown)
