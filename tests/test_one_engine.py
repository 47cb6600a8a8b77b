"""The least time of one engine, against every part of its work."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from azsim.compiler.one_engine import least_end

CYCLES = st.integers(0, 20)


def _largest(pieces: list[tuple[int, int, int]]) -> int:
    """Smallest head, all cycles and smallest tail of a part of the work: the most of all parts."""
    parts = (
        part
        for count in range(1, len(pieces) + 1)
        for part in itertools.combinations(pieces, count)
    )
    return max(
        (
            min(head for head, _, _ in part)
            + sum(work for _, work, _ in part)
            + min(tail for _, _, tail in part)
            for part in parts
        ),
        default=0,
    )


@given(st.lists(st.tuples(CYCLES, CYCLES, CYCLES), max_size=8))
def test_no_part_of_the_work_takes_longer(pieces: list[tuple[int, int, int]]) -> None:
    heads, work, tails = np.array(pieces, np.float64).reshape(-1, 3).T.copy()
    assert least_end(heads, work, tails) == _largest(pieces)


@given(st.lists(st.tuples(CYCLES, CYCLES, CYCLES), min_size=1, max_size=6))
def test_no_order_is_shorter(pieces: list[tuple[int, int, int]]) -> None:
    heads, work, tails = np.array(pieces, np.float64).reshape(-1, 3).T.copy()
    shortest = np.inf
    for order in itertools.permutations(pieces):
        now = end = 0
        for head, cycles, tail in order:
            now = max(now, head) + cycles
            end = max(end, now + tail)
        shortest = min(shortest, end)
    assert least_end(heads, work, tails) <= shortest


def test_work_is_put_aside_for_what_has_a_longer_tail() -> None:
    heads, work, tails = np.array([[0.0, 4.0], [10.0, 2.0], [1.0, 9.0]])
    assert least_end(heads, work, tails) == 15.0  # 4 + 2 + 9; one behind the other: 21 or 17
