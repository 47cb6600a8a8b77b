"""Written: which piece wrote each element of a buffer last.

Most buffers are written as a whole by one piece, which is a single number here; only what several
pieces write has a number for each element.  Copies share what neither has written since.
"""

from __future__ import annotations

import numpy as np

from azsim.ops.lowering import Access

__all__ = ["Written"]


class Written:
    """Numbers of the last writers of a buffer's elements; -1 where there was none.

    A window is an `Access`, or None for the whole buffer.

    Parameters
    ----------
    size : int
        Elements.
    """

    __slots__ = ("_all", "_each", "_is_shared", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._all = -1
        self._each: np.ndarray | None = None  # in the place of `_all`, where they differ
        self._is_shared = False

    def copy(self) -> Written:
        """Give one that may be written on its own."""
        other = Written(self._size)
        other._all, other._each = self._all, self._each
        self._is_shared = other._is_shared = True
        return other

    def distinct(self, window: Access | None) -> list[int]:
        """Writers of a window's elements."""
        if self._each is None:
            return [self._all]
        marks = self._shown(self._each, window)
        least, most = int(marks.min()), int(marks.max())
        return [least] if least == most else np.unique(marks).tolist()

    def counted(self, window: Access | None) -> dict[int, int]:
        """Writers of a window's elements, and how many elements each wrote."""
        if self._each is None:
            return {self._all: self._size if window is None else window.rows * window.cols}
        numbers, counts = np.unique(self._shown(self._each, window), return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))

    def write(self, window: Access | None, number: int) -> None:
        """Note the writer of a window."""
        if window is None or self._is_all(window):
            self._all, self._each = number, None
            return
        if self._each is None:
            self._each = np.full(self._size, self._all, np.int32)
        elif self._is_shared:
            self._each = self._each.copy()
        self._is_shared = False
        self._shown(self._each, window)[...] = number

    def _is_all(self, window: Access) -> bool:
        is_dense = window.col_stride == 1 and (window.rows == 1 or window.row_stride == window.cols)
        return is_dense and not window.offset and window.rows * window.cols == self._size

    def _shown(self, marks: np.ndarray, window: Access | None) -> np.ndarray:
        if window is None:
            return marks
        if window.rows == 1 and window.col_stride == 1:
            return marks[window.offset : window.offset + window.cols]
        step = marks.itemsize
        strides = (step * window.row_stride, step * window.col_stride)
        return np.ndarray(window.shape, marks.dtype, marks, step * window.offset, strides)
