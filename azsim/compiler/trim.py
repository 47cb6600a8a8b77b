"""Trim: rows of products that nothing reads are not computed.

Contract: takes lowered steps, gives them with shorter products; every element that a later step or
a graph output reads is computed as before.  A convolution over a padded recording has positions
that the model slices away, and they would cost as much as the others.  A tensor that is not
complete any more is named in `Lowering.fused`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from azsim.ops.lowering import Access, Loop, Lowering, Matmul, Step, TensorView, moved
from azsim.ops.steps import reads, writes

__all__ = ["trim"]


def trim(lowering: Lowering) -> Lowering:
    """Shorten the products of a lowering, which is changed and returned."""
    marks = _Marks(lowering)
    for name in lowering.compressed.graph.outputs:
        marks.of_view(lowering.views[name])[...] = True
    missing: dict[str, np.ndarray] = {}
    steps: list[tuple[str, Step]] = []
    for layer, step in reversed(lowering.steps):
        if isinstance(step, Matmul) and step.dst.rows > 1:
            read = np.flatnonzero(marks.of_window(step.dst).any(axis=1))
            if len(read) and (len(read) < step.dst.rows):
                first, last = int(read[0]), int(read[-1])
                for row in (*range(first), *range(last + 1, step.dst.rows)):
                    window = _row(step.dst, row, 1)
                    marks.of_window(window, missing)[...] = True
                step = _rows(step, first, last + 1 - first)
        for window in _kept(step):
            marks.of_window(window)[...] = True
        steps.append((layer, step))
    lowering.steps[:] = reversed(steps)
    for name, view in lowering.views.items():
        if view.buffer in missing and marks.of_view(view, missing).any():
            lowering.fused[name] = "positions that nothing reads are not computed"
    return lowering


def _row(window: Access, row: int, rows: int) -> Access:
    return moved(window, offset=window.offset + row * window.row_stride, rows=rows)


def _rows(step: Matmul, row: int, rows: int) -> Matmul:
    """Product of some of the rows."""
    scale = _row(step.scale, row, rows) if step.scale.rows > 1 else step.scale
    return replace(
        step, dst=_row(step.dst, row, rows), codes=_row(step.codes, row, rows), scale=scale
    )


def _kept(step: Step) -> Iterator[Access]:
    """Windows whose elements have to be there: what a step reads, all that a loop touches."""
    yield from reads(step)
    if isinstance(step, Loop):
        yield from writes(step)


class _Marks:
    """A mark for each element of each buffer."""

    def __init__(self, lowering: Lowering) -> None:
        self._lowering = lowering
        self._marks: dict[str, np.ndarray] = {}

    def _buffer(self, name: str, marks: dict[str, np.ndarray] | None) -> np.ndarray:
        marks = self._marks if marks is None else marks
        if name not in marks:
            marks[name] = np.zeros(self._lowering.buffers[name].num_elements, bool)
        return marks[name]

    def of_window(self, window: Access, marks: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """Marks of a window, in place; of the whole buffer where it moves with a loop."""
        buffer = self._buffer(window.buffer, marks)
        if window.advance:
            return buffer.reshape(1, -1)
        strides = (window.row_stride, window.col_stride)
        return np.lib.stride_tricks.as_strided(buffer[window.offset :], window.shape, strides)

    def of_view(self, view: TensorView, marks: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """Marks of a tensor, in place."""
        buffer = self._buffer(view.buffer, marks)
        return np.lib.stride_tricks.as_strided(buffer[view.offset :], view.shape, view.strides)
