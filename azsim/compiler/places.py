"""Places: what a unit of work uses of a tensor in DRAM, and where that lies on the chip meanwhile.

A unit is an item, a loop, or the body of a loop with what moves in its rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from azsim.compiler.schedule import Item, Repeat, accesses, extent, is_written, walk
from azsim.ops.lowering import Access

__all__ = ["Place", "is_kept", "placed", "places_of"]

_Items = tuple[Item | Repeat, ...]

_Key = tuple[str, int, int, int, int, int, tuple[tuple[int, int], ...]]
"""Fields of an `Access`, as a key."""


@dataclass(frozen=True)
class Place:
    """Elements that a unit of work uses together: one window, or all between two elements.

    `row_loop` is the loop inside the unit whose rounds are the rows of `outside`, if one's are;
    with `is_turned` these are the columns of the window.
    """

    outside: Access
    reads: bool
    writes: bool
    windows: frozenset[_Key]
    row_loop: int | None = None
    is_turned: bool = False

    def inside(self, name: str) -> Access:
        """Where they lie on the chip, row after row."""
        rows, cols = self.outside.shape
        return Access(name, 0, rows, cols, cols, 1)


def places_of(items: _Items, buffer: str, loops: set[int]) -> list[Place] | None:
    """Windows of items into a buffer, together where they share elements; None if they cannot be.

    Windows move with `loops` alike, or the round of the others is part of the place.
    """
    found: list[Place] = []
    for item in items:
        for one in walk((item,)) if buffer in item.buffers else ():
            for name, access in accesses(one):
                if access.buffer == buffer:
                    writes = is_written(one, name)
                    reads = not writes or is_kept(one, name)
                    found.append(Place(access, reads, writes, frozenset({_key(access)})))
    counts = _counts(items)
    merged: list[Place] = []
    for place in found:
        for other in [one for one in merged if _meet(one, place, loops, counts)]:
            merged.remove(other)
            joined = _joined(other, place, loops, counts)
            if joined is None:
                return None
            place = joined
        merged.append(place)
    whole = [_simple(place, loops, counts) for place in merged]
    return None if any(place is None for place in whole) else [p for p in whole if p is not None]


def _counts(items: _Items) -> dict[int, int]:
    """Rounds of the loops among items."""
    found: dict[int, int] = {}
    for item in items:
        if isinstance(item, Repeat):
            found |= {item.number: item.count, **_counts(item.body)}
    return found


def _key(access: Access) -> _Key:
    moves = tuple(sorted(access.advance.items())) if access.advance else ()
    a = access
    return a.buffer, a.offset, a.rows, a.cols, a.row_stride, a.col_stride, moves


def _window(key: _Key) -> Access:
    *fields, moves = key
    return replace(Access(*fields), advance=dict(moves))  # type: ignore[arg-type]


def _of_round(access: Access, loops: set[int]) -> Access:
    """Window in the first round of the loops around."""
    if not access.advance:
        return access
    return replace(access, advance={n: s for n, s in access.advance.items() if n not in loops})


def _around_moves(access: Access, loops: set[int]) -> dict[int, int]:
    return {number: step for number, step in access.advance.items() if number in loops}


def _meet(one: Place, other: Place, loops: set[int], counts: Mapping[int, int]) -> bool:
    low, high = extent(_of_round(one.outside, loops), counts)
    first, last = extent(_of_round(other.outside, loops), counts)
    return low < last and first < high


def _joined(one: Place, other: Place, loops: set[int], counts: Mapping[int, int]) -> Place | None:
    """All elements from the first to the last of two places that share some."""
    if _around_moves(one.outside, loops) != _around_moves(other.outside, loops):
        return None
    both = one.reads or other.reads, one.writes or other.writes, one.windows | other.windows
    if _key(one.outside) == _key(other.outside):
        return Place(one.outside, *both)
    low, high = extent(_of_round(one.outside, loops), counts)
    first, last = extent(_of_round(other.outside, loops), counts)
    low, high = min(low, first), max(high, last)
    moves = _around_moves(one.outside, loops)
    # Elements between the windows stay as they are only if they were loaded.
    size = high - low
    return Place(Access(one.outside.buffer, low, 1, size, size, 1, moves), True, *both[1:])


def _simple(place: Place, loops: set[int], counts: Mapping[int, int]) -> Place | None:
    """A place that can be transferred: rows of neighbours, moving with the loops around only."""
    access = place.outside
    if (rows := _rows_of_loop(place, loops, counts)) is not None:
        return rows
    if len(place.windows) > 1:
        return place
    has_rows = access.cols == 1 or access.col_stride == 1
    stays = not set(access.advance) - loops
    if has_rows and stays and access.row_stride >= 0:
        if access.row_stride or access.rows == 1:
            return place
        return None if place.writes else replace(place, outside=replace(access, rows=1))
    if stays and access.row_stride == 1 and access.col_stride >= access.rows:
        turned = replace(
            access,
            rows=access.cols,
            cols=access.rows,
            row_stride=access.col_stride,
            col_stride=1,
        )
        return replace(place, outside=turned, is_turned=True)
    low, high = extent(_of_round(access, loops), counts)
    moves, size = _around_moves(access, loops), high - low
    outside = Access(access.buffer, low, 1, size, size, 1, moves)
    return Place(outside, True, place.writes, place.windows)


def _rows_of_loop(place: Place, loops: set[int], counts: Mapping[int, int]) -> Place | None:
    """What each round of one loop inside uses, as a row of its own; the rest stays outside."""
    if not any(moves for *_, moves in place.windows):
        return None
    windows = [_window(key) for key in place.windows]
    advance = windows[0].advance
    inside = [number for number in advance if number not in loops]
    if len(inside) != 1 or any(window.advance != advance for window in windows):
        return None
    (number,) = inside
    extents = [extent(window, {}) for window in windows]
    low, high = min(first for first, _ in extents), max(last for _, last in extents)
    if high - low > advance[number]:
        return None
    moves = _around_moves(windows[0], loops)
    outside = Access(
        place.outside.buffer, low, counts[number], high - low, advance[number], 1, moves
    )
    is_full = len(windows) == 1 and _is_dense(windows[0])
    return Place(outside, place.reads or not is_full, place.writes, place.windows, number)


def _is_dense(window: Access) -> bool:
    """Whether it shows each element from its first to its last."""
    return (window.cols == 1 or window.col_stride == 1) and (
        window.rows == 1 or window.row_stride == window.cols
    )


def placed(item: Item | Repeat, place: Place, inside: Access) -> Item | Repeat:
    """An item whose windows into a place are on the chip."""
    if place.outside.buffer not in item.buffers:
        return item
    if isinstance(item, Repeat):
        return replace(item, body=tuple(placed(one, place, inside) for one in item.body))

    def window(access: Access) -> Access:
        if access.buffer != place.outside.buffer or _key(access) not in place.windows:
            return access
        if _key(access) == _key(place.outside):
            return inside
        advance = {n: s for n, s in access.advance.items() if n not in place.outside.advance}
        if place.row_loop is not None:
            advance[place.row_loop] = inside.row_stride
        if place.is_turned:
            access = replace(access, col_stride=inside.row_stride)
        offset = access.offset - place.outside.offset
        return replace(access, buffer=inside.buffer, offset=offset, advance=advance)

    windows = {name: window(access) for name, access in accesses(item)}
    return replace(item, operands={**item.operands, **windows})


def is_kept(item: Item, name: str) -> bool:
    """Whether an item keeps some of what it writes: a product that is added, a scatter."""
    keeps = item.mnemonic == "vector_scatter" or bool(item.operands.get("accumulate"))
    return keeps and name == "dst"
