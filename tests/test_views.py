"""Views: which bytes they show, and whether two share one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.machine.view import View, share_bytes, shown_bytes


def addresses(found: slice | np.ndarray) -> list[int]:
    return list(range(found.start, found.stop)) if isinstance(found, slice) else found.tolist()


views = st.builds(
    View,
    st.just("activation"),
    st.sampled_from(["i8", "i16", "f32"]),
    st.integers(0, 40).map(lambda number: 4 * number),
    *[st.integers(1, 9)] * 2,
    *[st.integers(-12, 12)] * 2,
)


def elements(view: View) -> set[int]:
    """Addresses of all bytes of all elements, one by one."""
    size = view.element_bits // 8
    return {
        view.addr + (row * view.row_stride + col * view.col_stride) * size + byte
        for row, col, byte in itertools.product(range(view.rows), range(view.cols), range(size))
    }


@given(views, views)
def test_a_view_shows_the_bytes_of_its_elements(one: View, other: View) -> None:
    assert addresses(shown_bytes(one)) == sorted(elements(one))
    assert share_bytes(one, other) is bool(elements(one) & elements(other))


@given(st.integers(1, 5), st.integers(1, 17), st.integers(0, 9), st.sampled_from(["i4", "i2"]))
def test_rows_of_packed_codes_begin_at_bytes(rows: int, cols: int, gap: int, dtype: str) -> None:
    per_byte = 2 if dtype == "i4" else 4
    row_bytes = -(-cols // per_byte) + gap
    view = View("weight", dtype, 64, rows, cols, row_bytes * per_byte, 1)
    wanted = {64 + row * row_bytes + col // per_byte for row in range(rows) for col in range(cols)}
    assert addresses(shown_bytes(view)) == sorted(wanted)


@pytest.mark.parametrize("strides", [(1, 1), (3, 2), (0, 2), (2, -3)])
def test_a_window_that_slides_is_not_written_out(strides: tuple[int, int]) -> None:
    """It shows four billion elements of less than a megabyte; one by one they took 34 GB."""
    view = View("activation", "i8", 0, 65_536, 65_536, *strides)
    found = shown_bytes(view)
    num_bytes = found.stop - found.start if isinstance(found, slice) else found.size
    assert num_bytes <= 1 + 65_535 * sum(map(abs, strides))
    assert share_bytes(view, view._replace(addr=2))
