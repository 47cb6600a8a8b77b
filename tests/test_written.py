"""Last writers of elements: what is kept short gives what an array would, and copies are apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from azsim.compiler.written import Written
from azsim.ops.lowering import Access

SIZE = 24


@st.composite
def windows(draw: st.DrawFn) -> Access | None:
    """All of a buffer, or a window into it, rows of which may have elements in common."""
    if draw(st.booleans()):
        return draw(st.sampled_from([None, Access("x", 0, 1, SIZE, SIZE, 1)]))
    rows, cols = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    row_stride, col_stride = draw(st.integers(0, 4)), draw(st.integers(1, 2))
    span = (rows - 1) * row_stride + (cols - 1) * col_stride
    return Access("x", draw(st.integers(0, SIZE - 1 - span)), rows, cols, row_stride, col_stride)


def elements(window: Access | None) -> np.ndarray:
    """Numbers of a window's elements, as often as it shows them."""
    if window is None:
        return np.arange(SIZE)
    rows = np.arange(window.rows)[:, None] * window.row_stride
    return (window.offset + rows + np.arange(window.cols) * window.col_stride).reshape(-1)


@given(steps=st.lists(st.tuples(st.integers(0, 2), windows(), st.booleans()), max_size=20))
def test_copies_are_arrays_of_their_own(
    steps: list[tuple[int, Access | None, bool]],
) -> None:
    kept = [(Written(SIZE), np.full(SIZE, -1))]
    for number, (which, window, is_copied) in enumerate(steps):
        written, marks = kept[which % len(kept)]
        if is_copied and len(kept) < 3:
            written, marks = written.copy(), marks.copy()
            kept.append((written, marks))
        written.write(window, number)
        marks[elements(window)] = number
        for one, wanted in kept:
            shown = wanted[elements(window)]
            assert sorted(one.distinct(window)) == np.unique(shown).tolist()
            numbers, counts = np.unique(shown, return_counts=True)
            assert one.counted(window) == dict(zip(numbers, counts, strict=True))
            assert one.distinct(None) == np.unique(wanted).tolist()
