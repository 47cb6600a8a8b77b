"""Short loops, written out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from azsim.compiler.schedule import Item, Repeat, Schedule, Storage, walk
from azsim.compiler.unroll import unroll
from azsim.ops.lowering import Access
from plain_schedule import elements, executed


def schedule(count: int, items: int, *, but_last: bool = False) -> Schedule:
    """A loop of `items` items that walks over a buffer, two frames long."""
    row = Access("x", 0, 1, 4, 4, 1, {7: 4, 0: 100})
    body = [Item("vector_unary", str(n), {"dst": row, "src": row}) for n in range(items)]
    if but_last:
        body.append(Item("load", "", {"dst": row, "src": row}, but_last=7))
    storages = {"x": Storage("x", "activation", "f32", 4096)}
    return Schedule((), (Repeat(7, count, tuple(body)),), (), 2, storages)


@pytest.mark.parametrize("but_last", [False, True])
@pytest.mark.parametrize(("count", "items"), [(1, 3), (2, 3), (3, 20), (16, 2)])
def test_what_is_done_stays_the_same(count: int, items: int, but_last: bool) -> None:
    given = schedule(count, items, but_last=but_last)
    found = unroll(given)
    assert not any(isinstance(item, Repeat) for item in found.body)
    for frame in (0, 1):
        before, after = (
            [
                (item.layer, elements(item.operands["dst"], at).tolist())  # type: ignore[arg-type]
                for item, at in executed(one.body, {0: frame}, {0: frame == 1})
            ]
            for one in (given, found)
        )
        assert before == after
    assert all(item.but_last is None for item in walk(found.body))


def test_long_loops_and_those_that_data_may_end_stay() -> None:
    for given in (schedule(4, 33), schedule(129, 1)):
        assert unroll(given) == given
    (loop,) = schedule(2, 3).body
    assert isinstance(loop, Repeat)
    for other in (replace(loop, rounds=1.5), replace(loop, body=(replace(loop, number=8),))):
        given = replace(schedule(2, 3), body=(other,))
        assert unroll(given) == given
