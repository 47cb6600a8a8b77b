"""Views: the two-dimensional strided windows that every data operand names."""

from __future__ import annotations

import math
from typing import NamedTuple

from azsim.errors import MachineError
from azsim.isa.program import ELEMENT_BITS

__all__ = ["ELEMENT_BITS", "Range", "View", "overlaps"]


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
